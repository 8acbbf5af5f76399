//! The text form of rules, as in the settings and in the ledger.

use std::fmt;
use std::str::FromStr;

use super::{Effect, Rule};
use crate::agent::servers::names;
use crate::agent::tools::{Builtin, EXTERNAL, Subject, ToolName};
use crate::background::slots;

/// What a rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything, written as `*`.
    Everything,
    /// Files read by any tool or command: `read`.
    Reads,
    /// Files written by any tool or command: `write`.
    Writes,
    /// A tool. `bash` and `background_run` count as one: a rule applies both in the foreground and in the
    /// background.
    Tool(Builtin),
    /// Commands at a place: `bash@gpu`.
    At {
        /// The tool that runs the command.
        tool: Builtin,
        /// The name of the place, as in the settings.
        place: String,
    },
    /// A tool of an MCP server, `mcp__SERVER__TOOL`, or all tools of that server, `mcp__SERVER`.
    Server {
        /// The server's part of the name.
        server: String,
        /// The tool's part of the name; `None` for all tools of the server.
        tool: Option<String>,
    },
}

impl Scope {
    /// Every scope except places, servers and their tools.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Everything, Self::Reads, Self::Writes]
            .into_iter()
            .chain(Builtin::ALL.map(Self::Tool))
    }

    /// Parses the name of a scope.
    fn named(word: &str) -> Option<Self> {
        let server = || {
            let server = word.strip_prefix(EXTERNAL).filter(|server| !server.is_empty())?;
            match ToolName::parse(word) {
                // Accept names as in the server's own list, and as the model sees them.
                Some(ToolName::External { server, name }) => {
                    Some(Self::of(&names::tool(&names::label(&server), &name)))
                }
                Some(tool @ ToolName::Builtin(_)) => Some(Self::of(&tool)),
                None if server.contains("__") => None,
                None => Some(Self::Server { server: names::label(server), tool: None }),
            }
        };
        Self::all()
            .find(|scope| scope.to_string() == word)
            .or_else(|| Self::at(word))
            .or_else(server)
    }

    /// Parses the scope of commands at a place.
    fn at(word: &str) -> Option<Self> {
        let (tool, place) = word.split_once('@')?;
        let tool = Builtin::ALL.into_iter().find(|known| known.name() == tool)?;
        let is_one = tool.runs_commands() && slots::is_name(place);
        is_one.then(|| Self::At { tool, place: place.to_owned() })
    }

    /// The scope of one tool.
    pub(super) fn of(tool: &ToolName) -> Self {
        match tool {
            ToolName::Builtin(tool) => Self::Tool(*tool),
            ToolName::External { server, name } => {
                Self::Server { server: server.clone(), tool: Some(name.clone()) }
            }
        }
    }

    /// Whether it covers a tool by name.
    pub(super) fn names(&self, called: &ToolName) -> bool {
        match (self, called) {
            (Self::Everything, _) => true,
            (Self::Tool(own), ToolName::Builtin(called)) => own == called,
            (Self::Server { server, tool }, ToolName::External { server: of, name }) => {
                server == of && tool.as_ref().is_none_or(|tool| tool == name)
            }
            (Self::At { .. }, _)
            | (Self::Tool(_), ToolName::External { .. })
            | (Self::Server { .. }, ToolName::Builtin(_))
            | (Self::Reads | Self::Writes, _) => false,
        }
    }

    /// What may follow it in a rule.
    fn subject(&self) -> Subject {
        match self {
            Self::Everything | Self::Reads | Self::Writes => Subject::Path,
            Self::Tool(tool) | Self::At { tool, .. } => tool.subject(),
            Self::Server { .. } => Subject::Nothing,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Reads => f.write_str("read"),
            Self::Writes => f.write_str("write"),
            Self::Tool(tool) => tool.fmt(f),
            Self::At { tool, place } => write!(f, "{tool}@{place}"),
            Self::Server { server, tool: None } => write!(f, "{EXTERNAL}{server}"),
            Self::Server { server, tool: Some(tool) } => write!(f, "{EXTERNAL}{server}__{tool}"),
        }
    }
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// The text does not start with an effect.
    #[error(
        "`{0}` is not a rule: expected `allow`, `ask` or `deny`, then a tool, as in `allow bash git status`"
    )]
    Effect(String),
    /// The text names no tool.
    #[error("a rule without a tool: expected {}", tools())]
    NoTool,
    /// The tool is not known.
    #[error("unknown tool `{name}`: expected {}", tools())]
    Tool {
        /// The word in its place.
        name: String,
    },
    /// The words after the tool cannot be parsed.
    #[error("`{0}`: expected the first words of a command, with closed quotes, on one line")]
    Words(String),
    /// There is a star instead of words.
    #[error(
        "`{0}` ends in a star: expected the first words of a command; whatever follows them is \
        covered without a star"
    )]
    Star(String),
    /// There is a path or a command for a tool that takes neither.
    #[error("`{0}` is more than the tool's name: `{1}` takes neither a path nor a command")]
    NoPrefix(String, String),
}

fn tools() -> String {
    let names: Vec<_> = Scope::all().map(|scope| format!("`{scope}`")).collect();
    format!("{}, `{EXTERNAL}SERVER__TOOL`", names.join(", "))
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.effect, self.scope)?;
        match &self.prefix {
            Some(prefix) => write!(f, " {prefix}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (effect, rest) = split(text);
        let effect = match effect {
            "allow" => Effect::Allow,
            "ask" => Effect::Ask,
            "deny" => Effect::Deny,
            _ => return Err(BadRule::Effect(text.trim().to_owned())),
        };
        Self::with_effect(effect, rest)
    }
}

impl Rule {
    /// Parses a rule whose effect is known from the context: `bash git status`.
    pub fn with_effect(effect: Effect, text: &str) -> Result<Self, BadRule> {
        let (tool, prefix) = split(text);
        if tool.is_empty() {
            return Err(BadRule::NoTool);
        }
        // A rule with a misspelt name would never apply.
        let Some(scope) = Scope::named(tool) else {
            return Err(BadRule::Tool { name: tool.to_owned() });
        };
        if prefix.is_empty() {
            return Ok(Self { effect, scope, prefix: None });
        }
        if prefix.chars().any(char::is_control) {
            return Err(BadRule::Words(prefix.escape_debug().to_string()));
        }
        match scope.subject() {
            Subject::Command => match shlex::split(prefix).as_deref() {
                None | Some([]) => return Err(BadRule::Words(prefix.to_owned())),
                Some([.., last]) if last == "*" || last.ends_with(":*") => {
                    return Err(BadRule::Star(prefix.to_owned()));
                }
                Some([..]) => {}
            },
            Subject::Path => {}
            Subject::Nothing => {
                return Err(BadRule::NoPrefix(prefix.to_owned(), tool.to_owned()));
            }
        }
        Ok(Self { effect, scope, prefix: Some(prefix.to_owned()) })
    }

    /// Whether it is about commands, judged by its tool.
    pub(super) fn is_about_commands(&self) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Tool(tool) => tool.runs_commands(),
            Scope::Reads | Scope::Writes | Scope::At { .. } | Scope::Server { .. } => false,
        }
    }

    /// The rule as it applies to commands at a place: rules for this place, and, of rules without a place, those
    /// that deny or ask.
    pub(super) fn at(&self, place: &str) -> Option<Self> {
        match &self.scope {
            Scope::At { tool, place: own } => {
                (own == place).then(|| Self { scope: Scope::Tool(*tool), ..self.clone() })
            }
            Scope::Everything
            | Scope::Reads
            | Scope::Writes
            | Scope::Tool(_)
            | Scope::Server { .. } => (self.effect != Effect::Allow).then(|| self.clone()),
        }
    }

    /// The words with which a command must start; `None` if any command matches.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        self.prefix.as_deref().and_then(shlex::split)
    }
}

/// The first word, and the rest without surrounding blanks.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_a_rule_and_the_same_text_again() {
        for text in [
            "allow *",
            "deny *",
            "ask read ../",
            "allow read ~/notes",
            "deny write_file",
            "allow write .",
            "allow write /srv/a b",
            "allow bash",
            "deny bash rm",
            "allow bash git status",
            "allow background_run npm run build",
            "allow bash@gpu python train.py",
            "deny bash@gpu",
            "allow bash git commit -m 'two words'",
            "allow bash 'my tool' \"it's\"",
            "ask stop_background",
            "deny update_plan",
            "ask edit_file Cargo.toml",
            "ask grep /usr",
            "allow mcp__github",
            "deny mcp__github__create_issue",
        ] {
            let rule: Rule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.to_string(), text);
        }
        let spaced: Rule = "  allow \t bash   git status  ".parse().expect("blanks don't matter");
        assert_eq!(spaced.to_string(), "allow bash git status");
    }

    #[test]
    fn what_is_not_a_rule_is_told_what_was_expected() {
        for (text, expected) in [
            ("", "`` is not a rule: expected `allow`, `ask` or `deny`"),
            ("permit bash ls", "`permit bash ls` is not a rule: expected `allow`"),
            ("Allow bash", "`Allow bash` is not a rule"),
            ("allow", "a rule without a tool: expected `*`, `read`, `write`, `bash`"),
            ("allow shell ls", "unknown tool `shell`: expected `*`"),
            ("allow git status", "unknown tool `git`: expected"),
            ("allow bash git 'status", "`git 'status`: expected the first words of a command"),
            ("allow bash git\nrm", "`git\\nrm`: expected the first words"),
            ("allow bash # all", "`# all`: expected the first words"),
            ("allow bash npm run *", "`npm run *` ends in a star"),
            ("allow bash npm run:*", "`npm run:*` ends in a star"),
            ("allow bash@", "unknown tool `bash@`"),
            ("allow read_file@gpu", "unknown tool `read_file@gpu`"),
            ("allow mcp__", "unknown tool `mcp__`"),
            ("allow mcp__x__", "unknown tool `mcp__x__`"),
            ("allow mcp__x__y z", "`z` is more than the tool's name: `mcp__x__y`"),
            ("allow stop_background x", "`x` is more than the tool's name: `stop_background`"),
        ] {
            let error = text.parse::<Rule>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    /// Without this, a rule with the name from the server's own list would never apply.
    #[test]
    fn a_rule_names_a_server_as_it_calls_itself() {
        let named = |name: &str| {
            let rule: Rule = format!("deny {name}").parse().expect("a rule");
            rule.scope
        };
        let server = "io.github.corp/database-of-production";
        let tool = names::tool(&names::label(server), "list.all");
        assert!(named(&format!("mcp__{server}__list.all")).names(&tool));
        assert!(named(&format!("mcp__{server}")).names(&tool));
        assert!(named(&tool.to_string()).names(&tool));
        assert!(!named("mcp__io_github_corp").names(&tool));
    }

    proptest! {
        #[test]
        fn whatever_is_a_rule_is_written_and_read_as_itself(
            effect in prop::sample::select(vec!["allow", "ask", "deny"]),
            tool in prop::sample::select(Scope::all().map(|it| it.to_string()).chain(["mcp__a__b".to_owned()]).collect::<Vec<_>>()),
            prefix in "[ -~\u{e4}\u{a0}]{0,12}",
        ) {
            if let Ok(rule) = format!("{effect} {tool} {prefix}").parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }
    }
}
