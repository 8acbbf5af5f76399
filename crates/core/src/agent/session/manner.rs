//! What a person can change in an open session: its model, its permissions, and when it wakes.
//!
//! A change is stored with the session before it takes effect. New permissions and a new wake policy apply from the
//! next tool call on; a new model answers from the next turn on, because a turn must continue with the ids and the
//! reasoning of the model that started it.

use tokio::sync::watch;

use super::work::Work;
use super::{Error, Instruction, Session, SessionId, Terms, Wake};
use crate::agent::permission::Permissions;
use crate::agent::provider::Provider;
use crate::background::Background;
use crate::background::ledger::Deleted;

/// The current choices for a session.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) provider: Provider,
    pub(super) permissions: Permissions,
    pub(super) wake: Wake,
    /// Whether the model accepts images, if a person has set that.
    images: Option<bool>,
}

impl Manner {
    pub(super) fn of(terms: &Terms) -> Self {
        Self {
            provider: terms.provider.clone(),
            permissions: terms.rules.permissions(),
            wake: terms.policy.wake,
            images: terms.policy.images,
        }
    }
}

/// A change that a person makes.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The model for the following turns.
    Model(Provider),
    /// What the agent may do without asking.
    Permissions(Permissions),
    /// What happens when a task ends while the agent is idle.
    Wake(Wake),
}

/// The names of choices in the ledger.
const MODEL: &str = "model";
const PERMISSIONS: &str = "permissions";
const WAKE: &str = "wake";

impl Choice {
    /// The name and value that the ledger stores.
    fn stored(&self) -> (&'static str, String) {
        match self {
            Self::Model(provider) => (MODEL, provider.setting()),
            Self::Permissions(permissions) => (PERMISSIONS, permissions.name().to_owned()),
            Self::Wake(wake) => (WAKE, wake.name().to_owned()),
        }
    }
}

/// The choices stored for a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The model's setting, such as `anthropic/NAME`.
    pub model: Option<String>,
    /// What the agent may do without asking.
    pub permissions: Option<Permissions>,
    /// What happens when a task ends while the agent is idle.
    pub wake: Option<Wake>,
}

impl Chosen {
    /// Reads the choices of a session, which need not be open or even exist.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read.
    pub async fn of(background: &Background, id: &str) -> Result<Self, Error> {
        let id = id.to_owned();
        let stored = background.store().read(move |l| l.session_settings(&id)).await?;
        let mut chosen = Self::default();
        for (name, value) in stored {
            // Settings that only a newer version knows are ignored.
            match name.as_str() {
                MODEL => chosen.model = Some(value),
                PERMISSIONS => chosen.permissions = Permissions::named(&value),
                WAKE => chosen.wake = Wake::named(&value),
                _ => {}
            }
        }
        Ok(chosen)
    }
}

impl Wake {
    /// All values of the setting.
    pub const ALL: [Self; 2] = [Self::On, Self::Queue];

    /// The value's name in settings and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Queue => "queue",
        }
    }

    /// The value with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

impl Session {
    /// The model's setting, `anthropic/NAME`.
    pub fn model(&self) -> String {
        self.manner.borrow().provider.setting()
    }

    /// Whether the model accepts images, as set or as known about the model.
    pub fn takes_images(&self) -> bool {
        let manner = self.manner.borrow();
        manner.provider.is_sent_images(manner.images)
    }

    /// What the agent may do without asking.
    pub fn permissions(&self) -> Permissions {
        self.manner.borrow().permissions
    }

    /// What happens when a task ends while the agent is idle.
    pub fn wake(&self) -> Wake {
        self.manner.borrow().wake
    }

    /// Returns once results wait for the next prompt instead of starting a turn. Cancel-safe.
    pub async fn queues(&self) {
        // Cannot fail: this session holds the sender.
        let _ = self.manner.subscribe().wait_for(|manner| manner.wake == Wake::Queue).await;
    }

    /// Changes a setting of the session, now and for later loads.
    ///
    /// # Errors
    ///
    /// If the session is closed or the choice cannot be stored; then nothing changes.
    pub async fn choose(&self, choice: Choice) -> Result<(), Error> {
        if self.instructions.is_closed() {
            return Err(Error::Closed(self.id.clone()));
        }
        let ((name, value), id) = (choice.stored(), self.id.0.clone());
        let written =
            self.background.store().write(move |l| l.choose_for_session(&id, name, &value));
        written.await?;
        self.manner.send_modify(|manner| match choice {
            Choice::Model(provider) => manner.provider = provider,
            Choice::Permissions(permissions) => manner.permissions = permissions,
            Choice::Wake(wake) => manner.wake = wake,
        });
        // Waiting results may now start a turn.
        self.send(Instruction::Look).await
    }

    /// Deletes a session that is not open, with its whole transcript. Its tasks stay.
    ///
    /// # Errors
    ///
    /// If the workspace has no session of this id, or it is open.
    pub async fn delete(background: &Background, id: &str) -> Result<(), Error> {
        let (workspace, name) = (background.workspace().to_owned(), id.to_owned());
        let alive = background.liveness();
        let deleted =
            background.store().write(move |l| l.delete_session(&workspace, &name, &alive));
        match deleted.await? {
            Deleted::Gone => Ok(background.changed().await?),
            Deleted::Held { pid } => Err(Error::Busy { id: SessionId(id.to_owned()), pid }),
            Deleted::Unknown => Err(Error::Unknown(id.to_owned())),
        }
    }
}

impl Work {
    /// Switches to the model that was chosen since the last turn.
    pub(super) async fn take_model(&mut self) {
        let provider = self.manner.borrow().provider.clone();
        if provider.setting() == self.terms.provider.setting() {
            return;
        }
        self.window = provider.context_window();
        self.window_asked = false;
        self.terms.provider = provider;
        self.form.clear();
        if let Err(error) = self.recall_form().await {
            // The server then reports again which parts of a request it rejects.
            tracing::warn!(%error, "cannot read the stored request form for this server");
        }
    }

    /// The configured rules, with the permissions that the person chose for the session.
    pub(super) fn rules(&self) -> crate::agent::permission::Rules {
        self.terms.rules.clone().leaving(self.manner.borrow().permissions)
    }
}

/// The two ends of the channel for a session's settings.
pub(super) fn begin(terms: &Terms) -> (watch::Sender<Manner>, watch::Receiver<Manner>) {
    watch::channel(Manner::of(terms))
}
