//! A task's life, from the spawn request until its end is reported.
//!
//! ```text
//!            Accepted                 Started
//!   Asked ------------> Checked ------------------> Running
//!     |  \               |  |                        |   |
//!     |   `--> Accepted -+--+------- Started --------'   |
//!     |           |      |  |                            |
//!     | Refused   |      |  | Elsewhere                  | Elsewhere
//!     v           |      |  `----------> Elsewhere <-----'
//!   Over <--------|------' Refused           |  ^  |
//!                 |                          |  `--' Elsewhere, the ledger knows nothing (2 times)
//!                 | Ended                    v Ended, or a third time
//!                 `--------------------> Recording --- Recorded ---> Recorded --- Told ---> Over
//!                                            |  |(Gone: no process of it is left)   ||
//!                                            `--------- its tree lives on ----> Survived -- Gone --> Over
//! ```
//!
//! `Told` leads from every state of an existing task to `Over`: another process has recorded its end, and this
//! process's client learns of it from the ledger.

/// How often the ledger is checked again for the end of a task that has left its executor, before the task
/// counts as lost. The checks are a second apart.
const LOOKS_MAX: u32 = 2;

/// A task's state in its life. `R` is the reply to its spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life<R> {
    /// The executor was asked to start it; it does not exist yet.
    Asked(R, Answer),
    /// It exists; its spawner waits to learn whether the program could be executed.
    Checked(R),
    /// It exists; it is not known yet whether its leader runs.
    Accepted,
    /// Its leader runs, and this was reported.
    Running,
    /// The executor no longer has it: another process should have recorded its end.
    Elsewhere {
        /// How often the ledger was checked in vain.
        looks: u32,
    },
    /// Its end is being written to the ledger.
    Recording(Tree),
    /// Its end is in the ledger, but not reported yet.
    Recorded(Tree),
    /// Its end was reported; other processes of its tree are alive.
    Survived,
    /// Nothing more to do.
    Over,
}

/// When a task's spawner gets its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Once the task exists.
    Accepted,
    /// Once its program was executed or refused.
    Executed,
}

/// Whether processes of a task's tree are alive after its leader's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// No process is left.
    Gone,
    /// Other processes are alive.
    Survives,
}

/// Whether the ledger's writer is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Writes are in progress, so an end may still be reported.
    Busy,
    /// No write is in progress.
    Idle,
}

/// An event in a task's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The executor has it: it exists.
    Accepted,
    /// The executor refused it or could not execute its program: it never existed.
    Refused,
    /// Its leader runs.
    Started,
    /// Its record contains its end.
    Ended {
        /// Whether its leader ever ran.
        ran: Ran,
        /// Whether processes of its tree are alive.
        tree: Tree,
        /// Whether the ledger's writer is busy.
        writer: Writer,
    },
    /// The executor no longer has it.
    Elsewhere(Writer),
    /// The last process of its tree has exited.
    Gone,
    /// The ledger has its end.
    Recorded,
    /// Its end was reported.
    Told,
}

/// Whether a leader ever ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// The leader ran.
    Yes,
    /// The leader was never started.
    Never,
}

/// An action for the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<R> {
    /// Reply to its spawner with the task.
    Answer(R),
    /// Reply to its spawner with the error.
    Refuse(R),
    /// Queue the new task's row for the ledger: the task certainly exists.
    Insert,
    /// Report that its leader runs.
    TellStarted,
    /// Send its end to the ledger.
    Record,
    /// Check the ledger for its end.
    Look,
    /// Record it as `lost`: nothing more can be found out.
    GiveUp,
    /// Delete its row from the ledger.
    Forget,
    /// Tell the executor to settle it.
    PutAway,
}

impl<R> Life<R> {
    /// The next state, and the actions to take, in this order.
    pub fn step(self, step: Step) -> (Self, Vec<Effect<R>>) {
        use Effect::TellStarted;
        use Effect::{Answer as Reply, Forget, GiveUp, Insert, Look, PutAway, Record, Refuse};
        match (self, step) {
            (Self::Asked(reply, Answer::Accepted), Step::Accepted) => {
                (Self::Accepted, vec![Insert, Reply(reply)])
            }
            (Self::Asked(reply, Answer::Executed), Step::Accepted) => {
                // Its row must wait: another process that saw the row before the refusal would consider the
                // task lost.
                (Self::Checked(reply), vec![])
            }
            (Self::Asked(reply, _), Step::Refused) => (Self::Over, vec![Refuse(reply)]),
            (Self::Checked(reply), Step::Refused) => (Self::Over, vec![Refuse(reply), Forget]),
            (Self::Accepted | Self::Running | Self::Elsewhere { .. }, Step::Refused) => {
                (Self::Over, vec![Forget])
            }
            (Self::Checked(reply), Step::Started) => {
                (Self::Running, vec![Reply(reply), TellStarted])
            }
            (Self::Accepted, Step::Started) => (Self::Running, vec![TellStarted]),
            (Self::Checked(reply), Step::Ended { ran, tree, .. }) => {
                let effects = match ran {
                    Ran::Yes => vec![Reply(reply), TellStarted, Record],
                    Ran::Never => vec![Reply(reply), Record],
                };
                (Self::Recording(tree), effects)
            }
            (Self::Accepted, Step::Ended { ran: Ran::Yes, tree, .. }) => {
                (Self::Recording(tree), vec![TellStarted, Record])
            }
            (Self::Accepted | Self::Running | Self::Elsewhere { .. }, Step::Ended { tree, .. }) => {
                (Self::Recording(tree), vec![Record])
            }
            // The end should be in the ledger and is not: a fault prevented the write.
            (Self::Recording(_), Step::Ended { tree, writer: Writer::Idle, .. }) => {
                (Self::Recording(tree), vec![Record])
            }
            (Self::Checked(reply), Step::Elsewhere(_)) => {
                (Self::Elsewhere { looks: 0 }, vec![Reply(reply), Look])
            }
            (Self::Accepted | Self::Running, Step::Elsewhere(_)) => {
                (Self::Elsewhere { looks: 0 }, vec![Look])
            }
            (Self::Elsewhere { looks }, Step::Elsewhere(Writer::Idle)) => {
                if looks < LOOKS_MAX {
                    (Self::Elsewhere { looks: looks + 1 }, vec![Look])
                } else {
                    (Self::Recording(Tree::Gone), vec![GiveUp])
                }
            }
            (Self::Recording(_), Step::Gone) => (Self::Recording(Tree::Gone), vec![]),
            (Self::Recorded(_), Step::Gone) => (Self::Recorded(Tree::Gone), vec![]),
            (Self::Recording(tree), Step::Recorded) => (Self::Recorded(tree), vec![]),
            (Self::Recording(tree) | Self::Recorded(tree), Step::Told) => match tree {
                Tree::Gone => (Self::Over, vec![PutAway]),
                Tree::Survives => (Self::Survived, vec![]),
            },
            (Self::Checked(reply), Step::Told) => (Self::Over, vec![Reply(reply), PutAway]),
            (Self::Accepted | Self::Running | Self::Elsewhere { .. }, Step::Told)
            | (Self::Survived, Step::Gone) => (Self::Over, vec![PutAway]),
            // Already known, late, or impossible.
            (
                same @ (Self::Asked(..)
                | Self::Checked(_)
                | Self::Accepted
                | Self::Running
                | Self::Elsewhere { .. }
                | Self::Recording(_)
                | Self::Recorded(_)
                | Self::Survived
                | Self::Over),
                Step::Accepted
                | Step::Refused
                | Step::Started
                | Step::Ended { .. }
                | Step::Elsewhere(_)
                | Step::Gone
                | Step::Recorded
                | Step::Told,
            ) => (same, vec![]),
        }
    }

    /// Whether it exists: it was accepted and is not over.
    pub fn exists(&self) -> bool {
        match self {
            Self::Asked(..) | Self::Over => false,
            Self::Checked(_)
            | Self::Accepted
            | Self::Running
            | Self::Elsewhere { .. }
            | Self::Recording(_)
            | Self::Recorded(_)
            | Self::Survived => true,
        }
    }

    /// Whether its end was reported.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Survived | Self::Over => true,
            Self::Asked(..)
            | Self::Checked(_)
            | Self::Accepted
            | Self::Running
            | Self::Elsewhere { .. }
            | Self::Recording(_)
            | Self::Recorded(_) => false,
        }
    }

    /// Whether it is visible to clients other than its spawner: it certainly exists and has not ended.
    pub fn is_listed(&self) -> bool {
        match self {
            Self::Accepted
            | Self::Running
            | Self::Elsewhere { .. }
            | Self::Recording(_)
            | Self::Recorded(_) => true,
            Self::Asked(..) | Self::Checked(_) | Self::Survived | Self::Over => false,
        }
    }

    /// Whether it may still produce output.
    pub fn may_write(&self) -> bool {
        match self {
            Self::Checked(_) | Self::Accepted | Self::Running => true,
            Self::Asked(..)
            | Self::Elsewhere { .. }
            | Self::Recording(_)
            | Self::Recorded(_)
            | Self::Survived
            | Self::Over => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::{Forget, GiveUp, Insert, Look, PutAway, Record, Refuse, TellStarted};

    const R: &str = "its spawner";
    type State = Life<&'static str>;

    const ASKED: State = Life::Asked(R, Answer::Accepted);
    const ASKED_CHECKED: State = Life::Asked(R, Answer::Executed);
    const CHECKED: State = Life::Checked(R);
    const ALL: [State; 12] = [
        ASKED,
        ASKED_CHECKED,
        CHECKED,
        Life::Accepted,
        Life::Running,
        Life::Elsewhere { looks: 0 },
        Life::Elsewhere { looks: LOOKS_MAX },
        Life::Recording(Tree::Gone),
        Life::Recording(Tree::Survives),
        Life::Recorded(Tree::Gone),
        Life::Recorded(Tree::Survives),
        Life::Survived,
    ];

    fn ended(tree: Tree, writer: Writer) -> Step {
        Step::Ended { ran: Ran::Yes, tree, writer }
    }

    /// Checks that every pair that is not in `rows` changes nothing.
    fn check(step: Step, rows: &[(State, State, &[Effect<&str>])]) {
        for state in ALL.into_iter().chain([Life::Over]) {
            let row = rows.iter().find(|(from, ..)| *from == state);
            let want = row.map_or((state, vec![]), |(_, to, effects)| (*to, effects.to_vec()));
            assert_eq!(state.step(step), want, "{state:?} at {step:?}");
        }
    }

    #[test]
    fn what_each_state_is_for_others() {
        for state in ALL.into_iter().chain([Life::Over]) {
            let [exists, ended, listed, writes] = match state {
                Life::Asked(..) => [false, false, false, false],
                Life::Checked(_) => [true, false, false, true],
                Life::Accepted | Life::Running => [true, false, true, true],
                Life::Elsewhere { .. } | Life::Recording(_) | Life::Recorded(_) => {
                    [true, false, true, false]
                }
                Life::Survived => [true, true, false, false],
                Life::Over => [false, true, false, false],
            };
            let found = [state.exists(), state.has_ended(), state.is_listed(), state.may_write()];
            assert_eq!(found, [exists, ended, listed, writes], "{state:?}");
        }
    }

    #[test]
    fn a_task_is_accepted_or_refused() {
        let answer = Effect::Answer(R);
        check(
            Step::Accepted,
            &[(ASKED, Life::Accepted, &[Insert, answer]), (ASKED_CHECKED, CHECKED, &[])],
        );
        check(
            Step::Refused,
            &[
                (ASKED, Life::Over, &[Refuse(R)]),
                (ASKED_CHECKED, Life::Over, &[Refuse(R)]),
                (CHECKED, Life::Over, &[Refuse(R), Forget]),
                (Life::Accepted, Life::Over, &[Forget]),
                (Life::Running, Life::Over, &[Forget]),
                (Life::Elsewhere { looks: 0 }, Life::Over, &[Forget]),
                (Life::Elsewhere { looks: LOOKS_MAX }, Life::Over, &[Forget]),
            ],
        );
        check(
            Step::Started,
            &[
                (CHECKED, Life::Running, &[answer, TellStarted]),
                (Life::Accepted, Life::Running, &[TellStarted]),
            ],
        );
    }

    #[test]
    fn an_end_is_recorded_once() {
        for tree in [Tree::Gone, Tree::Survives] {
            let to = Life::Recording(tree);
            let rows: Vec<(State, State, &[Effect<&str>])> = vec![
                (CHECKED, to, &[Effect::Answer(R), TellStarted, Record]),
                (Life::Accepted, to, &[TellStarted, Record]),
                (Life::Running, to, &[Record]),
                (Life::Elsewhere { looks: 0 }, to, &[Record]),
                (Life::Elsewhere { looks: LOOKS_MAX }, to, &[Record]),
            ];
            check(ended(tree, Writer::Busy), &rows);
            let again: [(State, State, &[Effect<&str>]); 2] = [
                (Life::Recording(Tree::Gone), to, &[Record]),
                (Life::Recording(Tree::Survives), to, &[Record]),
            ];
            check(ended(tree, Writer::Idle), &[&rows[..], &again].concat());
        }
        let never = |state: State| {
            let step = Step::Ended { ran: Ran::Never, tree: Tree::Gone, writer: Writer::Busy };
            state.step(step).1
        };
        assert_eq!(never(CHECKED), [Effect::Answer(R), Record], "nothing started");
        assert_eq!(never(Life::Accepted), [Record], "nothing started");
    }

    #[test]
    fn an_end_recorded_elsewhere_is_looked_for_and_then_given_up() {
        let first: Vec<(State, State, &[Effect<&str>])> = vec![
            (CHECKED, Life::Elsewhere { looks: 0 }, &[Effect::Answer(R), Look]),
            (Life::Accepted, Life::Elsewhere { looks: 0 }, &[Look]),
            (Life::Running, Life::Elsewhere { looks: 0 }, &[Look]),
        ];
        check(Step::Elsewhere(Writer::Busy), &first);
        let again: [(State, State, &[Effect<&str>]); 2] = [
            (Life::Elsewhere { looks: 0 }, Life::Elsewhere { looks: 1 }, &[Look]),
            (Life::Elsewhere { looks: LOOKS_MAX }, Life::Recording(Tree::Gone), &[GiveUp]),
        ];
        check(Step::Elsewhere(Writer::Idle), &[&first[..], &again].concat());
    }

    #[test]
    fn a_task_is_put_away_once_it_is_told_and_gone() {
        check(
            Step::Gone,
            &[
                (Life::Recording(Tree::Survives), Life::Recording(Tree::Gone), &[]),
                (Life::Recorded(Tree::Survives), Life::Recorded(Tree::Gone), &[]),
                (Life::Survived, Life::Over, &[PutAway]),
            ],
        );
        check(
            Step::Recorded,
            &[
                (Life::Recording(Tree::Gone), Life::Recorded(Tree::Gone), &[]),
                (Life::Recording(Tree::Survives), Life::Recorded(Tree::Survives), &[]),
            ],
        );
        check(
            Step::Told,
            &[
                (CHECKED, Life::Over, &[Effect::Answer(R), PutAway]),
                (Life::Accepted, Life::Over, &[PutAway]),
                (Life::Running, Life::Over, &[PutAway]),
                (Life::Elsewhere { looks: 0 }, Life::Over, &[PutAway]),
                (Life::Elsewhere { looks: LOOKS_MAX }, Life::Over, &[PutAway]),
                (Life::Recording(Tree::Gone), Life::Over, &[PutAway]),
                (Life::Recording(Tree::Survives), Life::Survived, &[]),
                (Life::Recorded(Tree::Gone), Life::Over, &[PutAway]),
                (Life::Recorded(Tree::Survives), Life::Survived, &[]),
            ],
        );
    }
}
