//! Slots limit how many tasks run at once. This module has the tickets, which give the order, and decides
//! which tasks hold a slot.
//!
//! `slots/<name>/` has an empty file for each task that waits for the slot or holds it: `<number>.<task>`,
//! with numbers that ascend in the order of drawing, and a `+` at the end once the task may start. The file
//! `limit` says how many tasks may hold the slot at once. The file `lock` is locked (see [`crate::lock`]) by a
//! process that draws a ticket and publishes its task, or that takes the slot.
//!
//! A ticket alone does not hold a slot. It counts only while its task's record says so and the process that
//! proves it lives: the leader, and before its start the shim. So a slot is free as soon as the leader has
//! exited, whichever shim, keeper or daemon was killed, and a stale ticket blocks no task.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ctl::{self, Order};
use crate::record::{self, End, Record};
use crate::{clock, layout, lock, tree};

/// In a slot's folder: how many tasks may hold it at once.
const LIMIT: &str = "limit";
/// In a slot's folder: the lock.
const LOCK: &str = "lock";
/// The suffix of a ticket whose task may start.
const HELD: &str = "+";
/// The maximum length of a slot's name, in bytes; the name is also that of a folder.
pub const NAME_BYTES: usize = 64;

/// A task's id: 8 hex digits.
pub type Id = [u8; 8];

/// A slot's folder.
#[derive(Debug, Clone)]
pub struct Slot {
    state: PathBuf,
    dir: PathBuf,
}

/// A task's position in the queue for a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The ticket's number: tasks get the slot in ascending order of numbers.
    pub number: u64,
    /// The task that it belongs to.
    pub id: Id,
    /// Whether the task may start, or has started.
    pub held: bool,
}

/// The lock on a slot's tickets, held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock goes with the open file")] File);

/// Whether a task takes up room in a slot, and how a change of that can be noticed.
#[derive(Debug)]
pub enum Standing {
    /// It does, until this descriptor is readable or hung up.
    Counts(Sign),
    /// It does, but nothing signals a change: the task is just starting, or cannot be observed from here.
    Unseen,
    /// No shim supervises it, and no process of it is known to run.
    Orphan,
    /// It has ended, or never existed.
    Gone,
}

/// A descriptor that is readable or hung up once a task's state changes.
#[derive(Debug)]
pub enum Sign {
    /// A pidfd of its leader.
    Leader(OwnedFd),
    /// The FIFO that its shim holds open while the task waits.
    Line(File),
}

/// Whether a slot may have this name.
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

impl Slot {
    /// The slot of this name.
    pub fn new(state: &Path, name: &str) -> Self {
        Self { state: state.to_owned(), dir: state.join(layout::SLOTS).join(name) }
    }

    /// Creates its folder.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    /// Locks it; `None`: another process holds the lock, which takes only a moment.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC)
            .open(self.dir.join(LOCK))?;
        Ok(lock::exclusive(&file)?.then_some(Lock(file)))
    }

    /// Its tickets, in the order in which they were drawn.
    pub fn tickets(&self) -> io::Result<Vec<Ticket>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut tickets = Vec::new();
        for entry in entries {
            tickets.extend(entry?.file_name().to_str().and_then(Ticket::parse));
        }
        // A listing may show a ticket under both of its names while it is renamed.
        tickets.sort_unstable_by_key(|ticket: &Ticket| (ticket.number, ticket.id, !ticket.held));
        tickets.dedup_by_key(|ticket| (ticket.number, ticket.id));
        Ok(tickets)
    }

    /// How many tasks may hold it at once, at least 1.
    pub fn limit(&self) -> usize {
        let text = fs::read_to_string(self.dir.join(LIMIT)).unwrap_or_default();
        text.trim().parse().unwrap_or(1).max(1)
    }

    /// Sets how many tasks may hold it from now on, and orders the waiting ones to check their turn.
    pub fn set_limit(&self, _: &Lock, limit: u32) -> io::Result<()> {
        let text = limit.to_string();
        if fs::read_to_string(self.dir.join(LIMIT)).is_ok_and(|said| said == text) {
            return Ok(());
        }
        let new = self.dir.join("limit.new");
        fs::write(&new, text)?;
        fs::rename(new, self.dir.join(LIMIT))?;
        for ticket in self.tickets()?.iter().filter(|ticket| !ticket.held) {
            let name = String::from_utf8_lossy(&ticket.id).into_owned();
            let ctl = self.state.join(layout::LIVE).join(name).join(layout::CTL);
            // If its shim is dead, the next one checks without an order.
            let _ = ctl::open(&ctl).and_then(|ctl| Order::Look.send(&ctl, &ticket.id));
        }
        Ok(())
    }

    /// Draws a ticket after all others; a task that already has one keeps it.
    pub fn draw(&self, _: &Lock, id: Id) -> io::Result<()> {
        let tickets = self.tickets()?;
        if tickets.iter().any(|ticket| ticket.id == id) {
            return Ok(());
        }
        let number = tickets.last().map_or(0, |last| last.number) + 1;
        let ticket = Ticket { number, id, held: false };
        let path = self.dir.join(ticket.name());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(|_| ())
    }

    /// Records that a ticket's task may start, or that it must wait again.
    pub fn hold(&self, _: &Lock, ticket: &Ticket, held: bool) -> io::Result<()> {
        let to = Ticket { held, ..ticket.clone() };
        if to == *ticket {
            return Ok(());
        }
        fs::rename(self.dir.join(ticket.name()), self.dir.join(to.name()))
    }

    /// Removes a ticket.
    pub fn discard(&self, ticket: &Ticket) {
        let _ = fs::remove_file(self.dir.join(ticket.name()));
    }

    /// Removes a task's ticket.
    pub fn leave(&self, id: Id) {
        for ticket in self.tickets().unwrap_or_default() {
            if ticket.id == id {
                self.discard(&ticket);
            }
        }
    }

    /// Whether a ticket's task takes up room.
    pub fn standing(&self, id: Id) -> Standing {
        standing(&self.state, id)
    }
}

/// How a task ended; `None` if it has not ended, or its record was removed or is just being moved.
pub fn end_of(state: &Path, id: Id) -> Option<End> {
    let name = String::from_utf8_lossy(&id).into_owned();
    let live = state.join(layout::LIVE).join(&name).join(layout::RECORD);
    let read = |path: &Path| record::read(&layout::open_regular(path).ok()?).ok();
    // The record may have been moved to `done` since the caller checked whether the task runs.
    read(&state.join(layout::DONE).join(&name)).or_else(|| read(&live))?.end
}

/// Whether a task takes up room. A descriptor is opened before the state that it signals is checked, so that
/// no change is missed.
pub fn standing(state: &Path, id: Id) -> Standing {
    let name = String::from_utf8_lossy(&id).into_owned();
    let folder = state.join(layout::LIVE).join(&name);
    let read = || {
        let file = layout::open_regular(&folder.join(layout::RECORD)).ok()?;
        let record = record::read(&file).ok()?;
        // The folder may have been renamed for another task while the path was resolved.
        fs::metadata(&folder).ok()?;
        Some((file, record))
    };
    let Some((file, record)) = read() else { return Standing::Gone };
    if record.elsewhere.is_some() {
        // It runs at a place, so a reboot of this machine does not end it.
        return if record.end.is_some() { Standing::Gone } else { Standing::Unseen };
    }
    if record.end.is_some() && record.leader_pid != 0 || record.boot_id != clock::boot_id() {
        return Standing::Gone;
    }
    let is_supervised = lock::is_held(&file).unwrap_or(true);
    if let Some(leader) = record.leader() {
        return match leader.open() {
            Ok(Some(pidfd)) if leader.is_alive() => Standing::Counts(Sign::Leader(pidfd)),
            // If the leader's pid belongs to another pid namespace, only the shim's lock counts.
            Ok(_) if is_supervised && record.shim_in(&folder).is_none() => Standing::Unseen,
            Ok(_) => Standing::Gone,
            Err(_) if leader.is_alive() => Standing::Unseen,
            Err(_) => Standing::Gone,
        };
    }
    if !is_supervised || record.end.is_some() {
        return of_marked(&name, &record);
    }
    if !record.queued {
        // It is about to wait or to start.
        return Standing::Unseen;
    }
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let line = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(layout::LINE));
    let waits = || read().is_some_and(|(_, record)| record.queued && record.end.is_none());
    match line {
        Ok(line) if waits() => Standing::Counts(Sign::Line(line)),
        Ok(_) | Err(_) => Standing::Unseen,
    }
}

/// Whether a task takes up room whose shim was killed before it could record the leader: its processes are
/// found by the variable that marks them.
fn of_marked(name: &str, record: &Record) -> Standing {
    if record.phase == record::Phase::Idle {
        return Standing::Orphan;
    }
    let members = tree::marked(name, None).members;
    match members.into_iter().find(|process| process.is_alive()).map(|it| it.open()) {
        Some(Ok(Some(pidfd))) => Standing::Counts(Sign::Leader(pidfd)),
        Some(_) => Standing::Unseen,
        None if record.end.is_some() => Standing::Gone,
        None => Standing::Orphan,
    }
}

impl Ticket {
    fn name(&self) -> String {
        let held = if self.held { HELD } else { "" };
        format!("{:012}.{}{held}", self.number, String::from_utf8_lossy(&self.id))
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, rest) = name.split_once('.')?;
        let (id, held) = rest.strip_suffix(HELD).map_or((rest, false), |id| (id, true));
        Some(Self { number: number.parse().ok()?, id: id.as_bytes().try_into().ok()?, held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> (tempfile::TempDir, Slot) {
        let root = tempfile::tempdir().unwrap();
        let slot = Slot::new(root.path(), "build");
        slot.make().unwrap();
        (root, slot)
    }

    #[test]
    fn tickets_keep_the_order_of_drawing_whatever_goes() {
        let (_root, slot) = lab();
        let lock = slot.lock().unwrap().unwrap();
        let ids = [*b"ffffffff", *b"00000000", *b"0123abcd"];
        for id in ids {
            slot.draw(&lock, id).unwrap();
            slot.draw(&lock, id).unwrap();
        }
        let order = || slot.tickets().unwrap().iter().map(|ticket| ticket.id).collect::<Vec<_>>();
        assert_eq!(order(), ids);
        let first = slot.tickets().unwrap()[0].clone();
        slot.hold(&lock, &first, true).unwrap();
        assert_eq!(slot.tickets().unwrap()[0], Ticket { held: true, ..first });
        slot.leave(ids[0]);
        slot.leave(ids[1]);
        slot.draw(&lock, ids[0]).unwrap();
        assert_eq!(order(), [ids[2], ids[0]]);
    }

    #[test]
    fn the_lock_is_one_process_s_and_goes_with_it() {
        let (_root, slot) = lab();
        let lock = slot.lock().unwrap().unwrap();
        assert!(slot.lock().unwrap().is_none());
        slot.set_limit(&lock, 3).unwrap();
        drop(lock);
        assert!(slot.lock().unwrap().is_some());
        assert_eq!(slot.limit(), 3);
    }

    #[test]
    fn a_slot_that_no_task_used_has_no_tickets_and_a_limit_of_one() {
        let root = tempfile::tempdir().unwrap();
        let slot = Slot::new(root.path(), "new");
        assert_eq!((slot.tickets().unwrap(), slot.limit()), (Vec::new(), 1));
    }

    #[test]
    fn a_name_is_a_folder_s() {
        for good in ["build", "a-1_B"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "a/b", "..", "a b", "é", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn another_file_is_not_a_ticket() {
        for name in ["lock", "limit", "limit.new", "1.abc", "x.0123abcd", "1.0123abcd++"] {
            assert_eq!(Ticket::parse(name), None, "{name}");
        }
    }
}
