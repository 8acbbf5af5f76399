//! The settings of a session that a client can change, as ACP's config options; one of them also as ACP's modes.

use meanwhile_core::agent::permission::Permissions;
use meanwhile_core::agent::session::{Session, Wake};

use super::error::invalid;
use crate::wire::{Error, acp};

/// A setting of a session that a client can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigOption {
    /// The model that answers.
    Model,
    /// What the agent may do without asking.
    Permissions,
    /// What happens when a task ends while the agent is idle.
    Wake,
}

impl ConfigOption {
    /// All options, in the order of display.
    const ALL: [Self; 3] = [Self::Model, Self::Permissions, Self::Wake];

    /// The option's id on the wire.
    fn id(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Permissions => "permissions",
            Self::Wake => "wake",
        }
    }

    /// The option with this id.
    ///
    /// # Errors
    ///
    /// There is no such option; the text lists the options.
    pub(crate) fn named(id: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|option| option.id() == id);
        found.ok_or_else(|| unknown("configId", id, Self::ALL.map(Self::id)))
    }
}

/// The error for a name that is not among the expected ones.
fn unknown<'a>(field: &str, got: &str, expected: impl IntoIterator<Item = &'a str>) -> Error {
    let shown: String = got.chars().take(64).collect();
    let expected: Vec<_> = expected.into_iter().map(|name| format!("`{name}`")).collect();
    invalid(field, format!("is `{shown}`; expected one of {}", expected.join(", ")))
}

/// Parses the value of `permissions`.
///
/// # Errors
///
/// The value is unknown; the text lists the known ones.
pub(crate) fn permissions(field: &str, name: &str) -> Result<Permissions, Error> {
    let names = Permissions::ALL.map(Permissions::name);
    Permissions::named(name).ok_or_else(|| unknown(field, name, names))
}

/// Parses the value of `wake`.
///
/// # Errors
///
/// The value is unknown; the text lists the known ones.
pub(crate) fn wake(field: &str, name: &str) -> Result<Wake, Error> {
    Wake::named(name).ok_or_else(|| unknown(field, name, Wake::ALL.map(Wake::name)))
}

/// The text of a value from the client.
///
/// # Errors
///
/// The value is not a string.
pub(crate) fn text(value: &acp::SessionConfigOptionValue) -> Result<&str, Error> {
    let text = value.as_value_id().map(|id| &*id.0);
    text.ok_or_else(|| invalid("value", "is not a string; expected the `value` of an option"))
}

/// The options of a session with their current values, and the known models.
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
                .description("What the agent may do without asking".to_owned())
                .category(Category::Mode)
        }
        ConfigOption::Wake => {
            let choices = vec![
                choice("on", "Start a turn", Some("The agent goes on by itself")),
                choice("queue", "Wait for the next prompt", None),
            ];
            select("Results", session.wake().name(), choices).description(
                "What happens when a background task ends while the agent is idle".to_owned(),
            )
        }
    }
}

/// The permissions as modes, for clients that do not know config options.
pub(crate) fn modes(session: &Session) -> acp::SessionModeState {
    let modes = Permissions::ALL.map(|it| {
        let (name, about) = it.words();
        acp::SessionMode::new(it.name(), name).description(about.to_owned())
    });
    acp::SessionModeState::new(session.permissions().name(), modes.to_vec())
}
