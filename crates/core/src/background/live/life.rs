//! A task's life, from the wish to run it until its end is told.
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
//! `Told` leads from every state of an existing task to `Over`: another process has recorded its end,
//! and our client hears of it from the ledger.

/// How often a task that left its executor, and whose end the ledger does not know, is looked for
/// there before it is given up. There is a second between two looks.
const LOOKS_MAX: u32 = 2;

/// Where a task is in its life. `R` is how its spawner is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life<R> {
    /// Its executor was asked to start it; it does not exist yet.
    Asked(R, Answer),
    /// It exists; its spawner waits to hear whether the program could be executed.
    Checked(R),
    /// It exists; whether its leader runs is not known yet.
    Accepted,
    /// Its leader runs, and that was told.
    Running,
    /// Its executor does not have it any more: another process is to have recorded its end.
    Elsewhere {
        /// How often the ledger was looked at and did not know the end.
        looks: u32,
    },
    /// Its end is on its way into the ledger.
    Recording(Tree),
    /// Its end is in the ledger, and about to be told.
    Recorded(Tree),
    /// Its end is told; others of its tree live on.
    Survived,
    /// Nothing is left to do.
    Over,
}

/// When the spawner of a task is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Once the task exists.
    Accepted,
    /// Once its program was executed or refused.
    Executed,
}

/// What is left of a task's tree after its leader's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// No process.
    Gone,
    /// Others live on.
    Survives,
}

/// What the ledger's writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Something is under way, so what is not told may be told yet.
    Busy,
    /// Nothing is under way.
    Idle,
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its executor has it: it exists.
    Accepted,
    /// Its executor does not take it, or could not execute its program: it never was.
    Refused,
    /// Its leader runs.
    Started,
    /// Its end is read.
    Ended {
        /// Whether its leader ever ran.
        ran: Ran,
        /// What is left of it.
        tree: Tree,
        /// What the ledger does.
        writer: Writer,
    },
    /// Its executor does not have it any more.
    Elsewhere(Writer),
    /// The last of its tree is gone.
    Gone,
    /// The ledger has its end.
    Recorded,
    /// Its end is told.
    Told,
}

/// Whether a leader ever ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It did.
    Yes,
    /// It was never started.
    Never,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<R> {
    /// Answer its spawner with the task.
    Answer(R),
    /// Answer its spawner with the reason.
    Refuse(R),
    /// Note the new task, which is sure to exist, for the ledger.
    Insert,
    /// Tell that its leader runs.
    TellStarted,
    /// Send its end to the ledger.
    Record,
    /// Look for its end in the ledger.
    Look,
    /// Send `lost` to the ledger: no more can be known.
    GiveUp,
    /// Take it out of the ledger.
    Forget,
    /// Tell its executor that it is over.
    PutAway,
}

impl<R> Life<R> {
    /// What becomes of the task, and what is to be done about it, in this order.
    pub fn step(self, step: Step) -> (Self, Vec<Effect<R>>) {
        use Effect::TellStarted;
        use Effect::{Answer as Reply, Forget, GiveUp, Insert, Look, PutAway, Record, Refuse};
        match (self, step) {
            (Self::Asked(reply, Answer::Accepted), Step::Accepted) => {
                (Self::Accepted, vec![Insert, Reply(reply)])
            }
            (Self::Asked(reply, Answer::Executed), Step::Accepted) => {
                // A process that sees its row while it is refused would take it for a task that was lost.
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
            // Its end was to be in the ledger and is not: a fault kept it from being sent.
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
            // What is known already, comes late, or cannot be.
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

    /// Whether it exists: it was accepted, and is not over.
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

    /// Whether its end is told.
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

    /// Whether anybody but its spawner may hear of it: it is sure to exist, and has not ended.
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

    /// Whether it may write, as far as is known.
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

    /// Every pair that is not in `rows` changes nothing.
    fn check(step: Step, rows: &[(State, State, &[Effect<&str>])]) {
        for state in ALL.into_iter().chain([Life::Over]) {
            let row = rows.iter().find(|(from, ..)| *from == state);
            let want = row.map_or((state, vec![]), |(_, to, effects)| (*to, effects.to_vec()));
            assert_eq!(state.step(step), want, "{state:?} at {step:?}");
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
