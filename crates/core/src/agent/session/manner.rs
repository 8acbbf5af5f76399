//! What a person may change of a session while it is open: its model, what it may do unasked, and when it wakes.
//!
//! A change is remembered with the session before it is in force. What the agent may do and when it wakes hold
//! from the next tool call on; another model answers from the next turn on, because a turn goes on with the ids
//! and the reasoning of the model that began it.

use tokio::sync::watch;

use super::work::Work;
use super::{Error, Instruction, Session, SessionId, Terms, Wake};
use crate::agent::permission::Permissions;
use crate::agent::provider::Provider;
use crate::background::Background;
use crate::background::ledger::Deleted;

/// How a session is led.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) provider: Provider,
    pub(super) permissions: Permissions,
    pub(super) wake: Wake,
    /// Whether models take images, where a person has set that.
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

/// A person's choice.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Another model.
    Model(Provider),
    /// How much it may do unasked.
    Permissions(Permissions),
    /// What a task that ends while the agent is idle does.
    Wake(Wake),
}

/// The names of choices in the ledger.
const MODEL: &str = "model";
const PERMISSIONS: &str = "permissions";
const WAKE: &str = "wake";

impl Choice {
    /// How the ledger has it.
    fn stored(&self) -> (&'static str, String) {
        match self {
            Self::Model(provider) => (MODEL, provider.setting()),
            Self::Permissions(permissions) => (PERMISSIONS, permissions.name().to_owned()),
            Self::Wake(wake) => (WAKE, wake.name().to_owned()),
        }
    }
}

/// What was chosen for a session before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The setting of its model.
    pub model: Option<String>,
    /// How much it may do unasked.
    pub permissions: Option<Permissions>,
    /// What a task that ends while the agent is idle does.
    pub wake: Option<Wake>,
}

impl Chosen {
    /// Of a session that need not be open, nor be there at all.
    ///
    /// # Errors
    ///
    /// The store.
    pub async fn of(background: &Background, id: &str) -> Result<Self, Error> {
        let id = id.to_owned();
        let stored = background.store().read(move |l| l.session_settings(&id)).await?;
        let mut chosen = Self::default();
        for (name, value) in stored {
            // What a newer version has stored is left alone.
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
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::On, Self::Queue];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Queue => "queue",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

impl Session {
    /// The model's setting, `anthropic/NAME`.
    pub fn model(&self) -> String {
        self.manner.borrow().provider.setting()
    }

    /// Whether its model takes images, as far as is set or known.
    pub fn takes_images(&self) -> bool {
        let manner = self.manner.borrow();
        manner.provider.is_sent_images(manner.images)
    }

    /// How much it may do unasked.
    pub fn permissions(&self) -> Permissions {
        self.manner.borrow().permissions
    }

    /// What a task that ends while it is idle does.
    pub fn wake(&self) -> Wake {
        self.manner.borrow().wake
    }

    /// Returns once results wait for the next prompt. Cancel-safe.
    pub async fn queues(&self) {
        // The other end is ours.
        let _ = self.manner.subscribe().wait_for(|manner| manner.wake == Wake::Queue).await;
    }

    /// Changes how the session is led, from now on and after a load.
    ///
    /// # Errors
    ///
    /// It is closed, or the choice cannot be stored; then nothing is changed.
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
        // Results that waited may start a turn now.
        self.send(Instruction::Look).await
    }

    /// Deletes a session that is not open, with everything that was said in it. Its tasks stay.
    ///
    /// # Errors
    ///
    /// There is none of this name in the workspace, or it is open.
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
    /// Goes on with the model that was chosen meanwhile.
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
            // The server says again what it does not take.
            tracing::warn!(%error, "what a server was conceded cannot be read");
        }
    }

    /// What the rules say, with what the person chose for all of the session.
    pub(super) fn rules(&self) -> crate::agent::permission::Rules {
        self.terms.rules.clone().leaving(self.manner.borrow().permissions)
    }
}

/// The two ends of a session's manner.
pub(super) fn begin(terms: &Terms) -> (watch::Sender<Manner>, watch::Receiver<Manner>) {
    watch::channel(Manner::of(terms))
}
