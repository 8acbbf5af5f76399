//! Ends a task's process tree: which processes belong to it, and how all of them are stopped.

use std::io;
use std::time::{Duration, Instant};

use meanwhile_shim::identity::{Process, Sent};
use meanwhile_shim::record::{Cause, cut};
use meanwhile_shim::tree;

use super::{Kin, Life, Shim, Stopping};

/// The maximum length of a command in the text of [`Shim::unproven`], in bytes.
const NAMED_BYTES: usize = 60;

impl Shim {
    /// Begins to end the tree; a second order can only shorten the grace of the first.
    pub(super) fn stop(&mut self, signal: i32, grace: Duration, cause: Cause) {
        let now = Instant::now();
        let kill_at = now + grace;
        let signalled = self.living();
        self.note_stuck(Vec::new());
        match &mut self.stopping {
            Some(stopping) => {
                stopping.kill_at = stopping.kill_at.min(kill_at);
                (stopping.signal, stopping.signalled) = (signal, signalled.clone());
            }
            None => {
                if !matches!(self.life, Life::Ended { .. }) {
                    self.files.stopping(&cause);
                }
                let signalled = signalled.clone();
                let stuck = Vec::new();
                self.stopping = Some(Stopping { cause, kill_at, signal, signalled, stuck });
            }
        }
        tree::signal(&signalled, signal);
    }

    /// Sends the signal to orphans that missed it: a process that was being forked when its parent was killed
    /// by it. Processes that a living parent starts now are part of its cleanup, so they get no signal.
    pub(super) fn signal_orphans(&mut self) {
        let (Kin::Child, Some(stopping)) = (&self.kin, &mut self.stopping) else { return };
        let children = tree::children_of_single_thread(std::process::id()).into_iter();
        let mut missed: Vec<Process> = children.filter_map(Process::of).collect();
        missed.retain(|child| {
            child.pid != self.leader
                && !stopping.signalled.contains(child)
                && child.is_alive()
                && !tree::is_shim(child.pid)
        });
        tree::signal(&missed, stopping.signal);
        stopping.signalled.extend(missed);
    }

    /// The processes of the task, including zombies.
    pub(super) fn members(&self) -> Vec<Process> {
        let members = tree::descendants(std::process::id());
        match &self.kin {
            Kin::Child => members,
            Kin::Adopted { leader, .. } => {
                let mut known = self.known.borrow_mut();
                known.extend(members);
                known.extend(tree::marked(&self.spec.id, *leader).members);
                known.retain(|process| process.exists());
                known.iter().copied().collect()
            }
        }
    }

    /// A text for the cause about processes that may be the task's, but get no signal because nothing proves it.
    pub(super) fn unproven(&self) -> Option<String> {
        let Kin::Adopted { leader: Some(leader), .. } = self.kin else { return None };
        let found = tree::marked(&self.spec.id, Some(leader)).unproven;
        let named = tree::name(&found).into_iter();
        let named: Vec<_> =
            named.map(|it| format!("{} (`{}`)", it.pid, cut(&it.command, NAMED_BYTES))).collect();
        (!named.is_empty()).then(|| {
            format!(
                "; not stopped, because nothing proves that they belong to this task, although the id of \
                 their session is its leader's pid: {}",
                named.join(", ")
            )
        })
    }

    pub(super) fn living(&self) -> Vec<Process> {
        if let (Kin::Child, Life::Draining { .. }) = (&self.kin, self.life) {
            // The leader's children are now this process's children; usually there are none.
            let others = tree::children_of_single_thread(std::process::id());
            if others.iter().all(|pid| *pid == self.leader) {
                return Vec::new();
            }
        }
        self.members().into_iter().filter(|process| process.is_alive()).collect()
    }

    /// Does the next step of an order to stop.
    pub(super) fn look_at_stop(&mut self, now: Instant) -> io::Result<()> {
        let Some(stopping) = &self.stopping else { return Ok(()) };
        let (kill_at, give_up_at) = (stopping.kill_at, stopping.give_up_at());
        let mut stuck = Vec::new();
        if now >= kill_at {
            let killed = tree::kill_all(|| self.members());
            self.reap();
            // A signal that was refused will be refused again; a process that hangs in the kernel gets time.
            if now >= give_up_at || killed.iter().all(|(_, sent)| *sent == Sent::Refused) {
                stuck = killed.into_iter().map(|(process, _)| process).collect();
                stuck.retain(|process| process.is_alive());
            }
        } else {
            self.signal_orphans();
        }
        if let Life::Draining { exit, .. } = self.life {
            let left = self.living();
            if left.is_empty() || !stuck.is_empty() {
                self.take_output(usize::MAX)?;
                if let Some(stopping) = &self.stopping {
                    let (outcome, cause) = (stopping.outcome(), stopping.cause.clone());
                    self.end(outcome, exit, Some(cause), tree::name(&left));
                }
            }
        }
        // After the end, so that clients that wait for the stop see both.
        self.note_stuck(stuck);
        Ok(())
    }

    /// Records which processes could not be ended, and rings, if that has changed.
    fn note_stuck(&mut self, stuck: Vec<Process>) {
        if let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.stuck != stuck) {
            self.files.left(&stuck);
            stopping.stuck = stuck;
        }
    }
}
