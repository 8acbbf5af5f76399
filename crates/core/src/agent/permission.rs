//! What the agent may do without asking, what it has to ask for, and what it may not do.
//!
//! Owns the rules and their judgement. Asks nobody itself, and reads no file of a workspace: a
//! checked-out repository must not give itself rights (contract, section 8).

use std::path::Path;

use super::tools::{Access, Intent};

/// What is to be done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Run it.
    Allow,
    /// Ask the person.
    Ask {
        /// Why, for the person: `rm -rf b` has no rule.
        why: String,
        /// The rules that "always" would add, so that this call and its like are not asked again.
        /// Empty: it has to be asked every time.
        always: Vec<Rule>,
    },
    /// Don't run it.
    Deny {
        /// Why, for the model.
        why: String,
    },
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Run without asking.
    Allow,
    /// Ask each time.
    Ask,
    /// Never.
    Deny,
}

/// One rule: `allow bash git status`, `deny write_file`, `ask read ../`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub effect: Effect,
    /// Which tool: its name, or `*`. `bash` and `background_run` are one: the same rule holds in the
    /// foreground and in the background.
    pub tool: String,
    /// For commands, the words a command must begin with; for files, the path it must lie in. `None`:
    /// any.
    pub prefix: Option<String>,
}

/// The rules in force: those of the settings, then those remembered, then the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// These rules and the built-in ones. Of the rules that fit, `deny` wins over `ask`, and `ask`
    /// over `allow`; nothing fits: reads in the workspace are allowed, all else is asked.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Adds a rule, as a person's "always" does.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Judges a call by everything it touches; the strictest part decides.
    pub fn judge(&self, intent: &Intent, workspace: &Path) -> Verdict {
        let _ = (workspace, &intent.access as &Vec<Access>);
        unimplemented!()
    }
}
