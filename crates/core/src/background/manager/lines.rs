//! What a task waits for before it starts: turns a spawn's request into the shim's parameters.

use std::path::Path;

use meanwhile_shim::{layout, slots, spec};

use super::Background;
use crate::agent::permission::{Rules, Verdict};
use crate::agent::tools::{Access, Builtin, Intent, Kind};
use crate::background::task::{End, Exit, Outcome};
use crate::background::words::ended;
use crate::background::{Line, OnFailure, Slot};
use crate::error::Error;

impl Background {
    /// The parameters that tell the shim what a task waits for. `command` is the command as a shell line.
    pub(super) async fn line(
        &self,
        wish: Line,
        command: &str,
        cwd: &Path,
    ) -> Result<spec::Line, Error> {
        let (mut after, mut failed) = (Vec::new(), None);
        for (place, id) in wish.after.into_iter().enumerate() {
            let task = match self.find(id).await {
                Ok(task) => task,
                Err(Error::UnknownTask(_)) => {
                    let message = Error::UnknownTask(id).to_string();
                    return Err(Error::Invalid { field: format!("after[{place}]"), message });
                }
                Err(error) => return Err(error),
            };
            match task.end() {
                None => after.push(id.to_string()),
                Some(End { outcome: Outcome::Exited, exit: Exit::Code(0), .. }) => {}
                Some(_) => {
                    let how = ended(&task);
                    failed = failed.or(Some(format!("task `{id}`, which it waited for, {how}")));
                }
            }
        }
        if wish.on_failure == OnFailure::Run {
            failed = None;
        }
        let slots = &self.settings.slots;
        let slot = match wish.slot {
            Some(name) => match slots.iter().find(|slot| slot.name == name) {
                Some(slot) => Some(slot),
                None => return Err(unknown(&name, slots)),
            },
            None => slots.iter().find(|slot| self.fits(slot, command, cwd)),
        };
        let slot = slot.filter(|slot| !self.is_held_here(&slot.name));
        let slot = slot.map(|slot| spec::Slot { name: slot.name.clone(), limit: slot.limit });
        Ok(spec::Line { slot, after, on_failure: wish.on_failure, failed, deadline: wish.deadline })
    }

    /// Updates a slot's limit to the current setting, for a task that is restarted.
    pub(super) fn set_limit(&self, line: &mut spec::Line) {
        line.slot.take_if(|slot| self.is_held_here(&slot.name));
        if let Some(slot) = &mut line.slot
            && let Some(now) = self.settings.slots.iter().find(|it| it.name == slot.name)
        {
            slot.limit = now.limit;
        }
    }

    /// Whether a slot's rules match a command of the line. They are evaluated like deny rules, which match a
    /// command anywhere in the line, whatever else allows it.
    fn fits(&self, slot: &Slot, command: &str, cwd: &Path) -> bool {
        if slot.rules.is_empty() {
            return false;
        }
        let access = Access::Command { line: command.to_owned(), cwd: cwd.to_owned(), level: None };
        let intent = Intent::new(Builtin::Bash, String::new(), Kind::Execute, vec![access]);
        let verdict = Rules::new(slot.rules.clone()).judge(&intent, &self.workspace);
        matches!(verdict, Verdict::Deny { .. })
    }

    /// Whether this process is part of a task that holds the slot. A task that it starts does not need the
    /// slot: it would wait for its own parent forever.
    fn is_held_here(&self, slot: &str) -> bool {
        let Some(task) = std::env::var_os(layout::TASK_ID_VARIABLE) else { return false };
        let tickets = slots::Slot::new(self.archive.root(), slot).tickets();
        let is_own = |ticket: &slots::Ticket| ticket.held && task.as_encoded_bytes() == ticket.id;
        tickets.is_ok_and(|tickets| tickets.iter().any(is_own))
    }
}

fn unknown(name: &str, slots: &[Slot]) -> Error {
    let known: Vec<_> = slots.iter().map(|slot| format!("`{}`", slot.name)).collect();
    let expected = match known.is_empty() {
        true => "none is configured; add it to config.toml as `[slots.NAME]`".to_owned(),
        false => format!("expected {}", known.join(" or ")),
    };
    let message = format!("there is no slot `{name}`: {expected}");
    Error::Invalid { field: "slot".to_owned(), message }
}
