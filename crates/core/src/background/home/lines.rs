//! Tickets for slots: drawing them, and reporting what a task waits for. See [`meanwhile_shim::slots`] for how
//! they work.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_shim::slots::{Lock, Slot, Standing, standing};
use meanwhile_shim::{clock, record, spec};

use super::Home;
use crate::background::ledger::NewTask;
use crate::background::task::{Ahead, TaskId, Wait};

/// Time between two attempts to lock a slot.
const ROUND: Duration = Duration::from_millis(1);
/// How many attempts. The lock is only held while some records are read.
const TRIES: u32 = 2_000;

/// A task that holds a slot, or waits for a slot or for other tasks.
#[derive(Debug, Clone)]
pub struct InLine {
    /// The task's id.
    pub id: TaskId,
    /// The task's workspace.
    pub workspace: PathBuf,
    /// The task's command, as displayed.
    pub command: String,
    /// How long its leader has run; `None`: it still waits.
    pub ran: Option<Duration>,
}

impl Home {
    /// Draws a ticket for a task that is about to be published. The task must be published before the returned
    /// lock is dropped: a ticket without a task is removed.
    pub fn draw(&self, wanted: &spec::Slot, id: TaskId) -> io::Result<Lock> {
        let slot = Slot::new(self.root(), &wanted.name);
        slot.make()?;
        for _ in 0..TRIES {
            if let Some(lock) = slot.lock()? {
                slot.set_limit(&lock, wanted.limit)?;
                slot.draw(&lock, *id.as_bytes())?;
                return Ok(lock);
            }
            std::thread::sleep(ROUND);
        }
        let name = &wanted.name;
        let message =
            format!("another process keeps slot `{name}` locked; spawn the task again later");
        Err(io::Error::other(message))
    }

    /// Removes the ticket of a task that was not published.
    pub fn undraw(&self, slot: &spec::Slot, id: TaskId) {
        Slot::new(self.root(), &slot.name).leave(*id.as_bytes());
    }

    /// What a task that has not started waits for; `None`: nothing any more.
    pub fn wait_of(&self, task: &NewTask) -> Option<Wait> {
        let is_over = |id: &TaskId| matches!(standing(self.root(), *id.as_bytes()), Standing::Gone);
        let after: Vec<TaskId> = task.after.iter().copied().filter(|id| !is_over(id)).collect();
        match &task.slot {
            _ if let Some(name) = &task.place => Some(self.wait_at(task.id, name)),
            _ if !after.is_empty() => Some(Wait::After(after)),
            Some(slot) => self.wait_for(task.id, slot),
            None => None,
        }
    }

    /// How a task waits at its place.
    fn wait_at(&self, id: TaskId, name: &str) -> Wait {
        let record = self.record_file(id).and_then(|file| record::read(&file));
        let why = record.ok().and_then(|record| record.engine).map(|engine| engine.reason);
        Wait::Place { name: name.to_owned(), why: why.unwrap_or_default() }
    }

    /// A task's wait for a slot; `None`: there is room for it.
    fn wait_for(&self, id: TaskId, name: &str) -> Option<Wait> {
        let slot = Slot::new(self.root(), name);
        let tickets = slot.tickets().ok()?;
        let at = tickets.iter().position(|ticket| ticket.id == *id.as_bytes())?;
        if tickets[at].held {
            return None;
        }
        let takes_room = |id| match slot.standing(id) {
            Standing::Counts(_) | Standing::Unseen | Standing::Orphan => true,
            Standing::Gone => false,
        };
        let (ahead, behind) = tickets.split_at(at);
        let ahead: Vec<_> = ahead.iter().filter(|ticket| takes_room(ticket.id)).collect();
        let passed = behind.iter().filter(|ticket| ticket.held && takes_room(ticket.id)).count();
        if ahead.len() + passed < slot.limit() {
            return None;
        }
        let waiting = ahead.iter().filter(|ticket| !ticket.held).count();
        // A task for which there is room no longer waits, even if its shim has not noticed yet.
        let room = slot.limit().saturating_sub(ahead.len() - waiting + passed);
        let position = waiting.saturating_sub(room) + 1;
        Some(Wait::Slot {
            name: name.to_owned(),
            position: u32::try_from(position).unwrap_or(u32::MAX),
            behind: ahead.last().and_then(|last| read_id(last.id)).map(|id| self.ahead(id)),
        })
    }

    fn ahead(&self, id: TaskId) -> Ahead {
        // The task may have ended meanwhile and its folder been reused.
        let spec = self.spec(id).ok();
        Ahead { id, title: spec.map(|spec| spec.label.unwrap_or(spec.command)) }
    }

    /// The tasks that hold or wait for a slot, in ticket order, and the slot's limit.
    pub fn in_line(&self, name: &str) -> (Vec<InLine>, usize) {
        let slot = Slot::new(self.root(), name);
        let tickets = slot.tickets().unwrap_or_default();
        let tasks = tickets.iter().filter_map(|ticket| self.one_in_line(read_id(ticket.id)?));
        (tasks.collect(), slot.limit())
    }

    /// The entry of one task that runs or waits.
    pub fn one_in_line(&self, id: TaskId) -> Option<InLine> {
        if let Standing::Gone = standing(self.root(), *id.as_bytes()) {
            return None;
        }
        let spec = self.spec(id).ok()?;
        let record = record::read(&self.record_file(id).ok()?).ok()?;
        let runs_here = record.leader_pid != 0 && record.elsewhere.is_none();
        let ran = runs_here.then(|| clock::age(record.leader_start));
        Some(InLine { id, workspace: spec.workspace, command: spec.command, ran })
    }
}

fn read_id(id: [u8; 8]) -> Option<TaskId> {
    std::str::from_utf8(&id).ok()?.parse().ok()
}
