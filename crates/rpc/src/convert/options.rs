//! What may be changed of a session, in ACP's words: config options, and the one of them that ACP also has as modes.

use meanwhile_core::agent::permission::Permissions;
use meanwhile_core::agent::session::{Session, Wake};

use super::error::invalid;
use crate::wire::{Error, acp};

/// A config option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigOption {
    /// Which model answers.
    Model,
    /// What it may do unasked.
    Permissions,
    /// What a task that ends while the agent is idle does.
    Wake,
}

impl ConfigOption {
    /// All of them, in the order in which they are shown.
    const ALL: [Self; 3] = [Self::Model, Self::Permissions, Self::Wake];

    /// Its name on the wire.
    fn id(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Permissions => "permissions",
            Self::Wake => "wake",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    ///
    /// There is none; the text says which there are.
    pub(crate) fn named(id: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|option| option.id() == id);
        found.ok_or_else(|| unknown("configId", id, Self::ALL.map(Self::id)))
    }
}

/// A value that is none of those there are.
fn unknown<'a>(field: &str, got: &str, expected: impl IntoIterator<Item = &'a str>) -> Error {
    let shown: String = got.chars().take(64).collect();
    let expected: Vec<_> = expected.into_iter().map(|name| format!("`{name}`")).collect();
    invalid(field, format!("is `{shown}`; expected one of {}", expected.join(", ")))
}

/// The value of an option that has names.
///
/// # Errors
///
/// It is none; the text says which there are.
pub(crate) fn permissions(field: &str, name: &str) -> Result<Permissions, Error> {
    let names = Permissions::ALL.map(Permissions::name);
    Permissions::named(name).ok_or_else(|| unknown(field, name, names))
}

/// The same.
///
/// # Errors
///
/// The same.
pub(crate) fn wake(field: &str, name: &str) -> Result<Wake, Error> {
    Wake::named(name).ok_or_else(|| unknown(field, name, Wake::ALL.map(Wake::name)))
}

/// The text of a value that was sent.
///
/// # Errors
///
/// It is not a string.
pub(crate) fn text(value: &acp::SessionConfigOptionValue) -> Result<&str, Error> {
    let text = value.as_value_id().map(|id| &*id.0);
    text.ok_or_else(|| invalid("value", "is not a string; expected the `value` of an option"))
}

/// The options of a session as they stand, with the models that are known.
pub(crate) fn of(session: &Session, models: &[String]) -> Vec<acp::SessionConfigOption> {
    ConfigOption::ALL.into_iter().map(|option| shown(option, session, models)).collect()
}

fn shown(option: ConfigOption, session: &Session, models: &[String]) -> acp::SessionConfigOption {
    use acp::SessionConfigOptionCategory as Category;
    let choice = |value: &str, name: &str, about: Option<&str>| {
        acp::SessionConfigSelectOption::new(value.to_owned(), name)
            .description(about.map(str::to_owned))
    };
    let select = |name: &str, current: &str, choices: Vec<acp::SessionConfigSelectOption>| {
        acp::SessionConfigOption::select(option.id(), name, current.to_owned(), choices)
    };
    match option {
        ConfigOption::Model => {
            let current = session.model();
            let mut names: Vec<&str> = models.iter().map(String::as_str).collect();
            if !names.contains(&current.as_str()) {
                names.insert(0, &current);
            }
            let choices = names.into_iter().map(|name| choice(name, name, None)).collect();
            select("Model", &current, choices)
                .description("Which model answers, from the next turn on".to_owned())
                .category(Category::Model)
        }
        ConfigOption::Permissions => {
            let choices = Permissions::ALL.map(|it| {
                let (name, about) = it.words();
                choice(it.name(), name, Some(about))
            });
            select("Permissions", session.permissions().name(), choices.to_vec())
                .description("What the agent may do unasked".to_owned())
                .category(Category::Mode)
        }
        ConfigOption::Wake => {
            let choices = vec![
                choice("on", "Start a turn", Some("The agent goes on by itself")),
                choice("queue", "Wait for the next prompt", None),
            ];
            select("Results", session.wake().name(), choices).description(
                "What the result of a background task does while the agent is idle".to_owned(),
            )
        }
    }
}

/// The permissions as modes, for clients that know no config options.
pub(crate) fn modes(session: &Session) -> acp::SessionModeState {
    let modes = Permissions::ALL.map(|it| {
        let (name, about) = it.words();
        acp::SessionMode::new(it.name(), name).description(about.to_owned())
    });
    acp::SessionModeState::new(session.permissions().name(), modes.to_vec())
}
