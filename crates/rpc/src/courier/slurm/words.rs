//! What Slurm reports about a job, and what follows from it: functions without side effects.
//!
//! The record of a task decides how the task ended. Slurm's report adds to it, and decides only where there is no
//! record: the job has ended or Slurm no longer knows it, and its keeper has been silent for [`SILENCE`]. A query
//! that Slurm does not answer changes nothing.

use std::time::Duration;

use meanwhile_core::background::words::one_line;
use meanwhile_shim::record::{Actor, Cause, End, Exit, Outcome};
use meanwhile_shim::spec::Resources;

/// The fields of a job in the output of `squeue` and `sacct`.
pub(super) const FORMAT: &str = "%i|%T|%N|%j|%r";
/// After the job has ended, the keeper's silence after which the task counts as `lost`: four of the keeper's
/// heartbeats, because a busy file server delays them.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// How long a recorded end waits for Slurm's report about it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// States of a job that is over (squeue(1), "JOB STATE CODES").
const FINAL: [&str; 10] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
];
/// The final states that mean a time limit was reached.
const LIMITS: [&str; 2] = ["DEADLINE", "TIMEOUT"];
/// The final states in which Slurm ended the running processes.
const ENDERS: [&str; 4] = ["CANCELLED", "NODE_FAIL", "PREEMPTED", "REVOKED"];

/// A job, as `squeue` reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    pub(super) number: String,
    pub(super) state: String,
    /// Empty: it never was on one.
    pub(super) node: String,
    pub(super) name: String,
    /// Why it waits.
    pub(super) reason: String,
}

/// Reads what `squeue` wrote.
pub(super) fn rows(text: &str) -> impl Iterator<Item = Row> + '_ {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(5, '|').map(|part| part.trim().to_owned());
        let mut next = || parts.next();
        let (number, state, node) = (next()?, next()?, next()?);
        let (name, reason) = (next()?, next()?);
        let reason = if reason == "None" { String::new() } else { reason };
        Some(Row { number, state, node, name, reason })
    })
}

/// Of several jobs of a task the one that counts: one that is not over, and then the latest.
pub(super) fn current<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    let is_over = |row: &Row| FINAL.contains(&row.state.as_str());
    rows.max_by_key(|row| (!is_over(row), row.number.parse::<u64>().unwrap_or(0)))
}

/// What Slurm says of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Word {
    /// Nothing yet.
    #[default]
    Silent,
    /// It waits or runs.
    Goes(Row),
    /// It is over.
    Over(Row),
    /// It does not know it any more.
    Forgotten,
}

impl Word {
    pub(super) fn of(row: Row) -> Self {
        if FINAL.contains(&row.state.as_str()) { Self::Over(row) } else { Self::Goes(row) }
    }

    /// Whether no more is to come of it.
    pub(super) fn is_last(&self) -> bool {
        match self {
            Self::Silent | Self::Goes(_) => false,
            Self::Over(_) | Self::Forgotten => true,
        }
    }
}

/// What is known of a task beside Slurm's word.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Its end, from its record.
    pub(super) end: Option<&'a End>,
    /// A keeper has claimed it.
    pub(super) claimed: bool,
    /// Slurm has asked the keeper to end it.
    pub(super) terminated: bool,
    /// No shim could run it on its node, and its keeper has said so.
    pub(super) failed: bool,
    /// We have ordered its end.
    pub(super) ordered: bool,
    /// For how long neither keeper nor shim has written anything.
    pub(super) quiet: Duration,
    /// How long its end has been known.
    pub(super) waited: Duration,
    /// What it asked for.
    pub(super) asked: Option<&'a Resources>,
}

/// How the task ended; `None`: it has not, or more is to be heard.
pub(super) fn verdict(known: Known<'_>, word: &Word) -> Option<End> {
    match (known.end, word) {
        (Some(end), _) if !wants_word(&known, end) => Some(end.clone()),
        (Some(end), Word::Over(row)) => Some(with_word(&known, end, row)),
        (Some(end), Word::Forgotten) => Some(end.clone()),
        (Some(end), Word::Silent | Word::Goes(_)) => {
            (known.waited >= PATIENCE).then(|| end.clone())
        }
        (None, Word::Over(row)) if !known.claimed && was_ended_before(&known, row) => {
            Some(without_end(Outcome::Stopped, said(row, known.asked)))
        }
        (None, Word::Over(row)) if !known.claimed && LIMITS.contains(&row.state.as_str()) => {
            Some(without_end(Outcome::TimedOut, said(row, known.asked)))
        }
        (None, Word::Forgotten) if !known.claimed && known.ordered => {
            let message = "Slurm does not know it any more, and it had not begun".to_owned();
            Some(without_end(Outcome::Stopped, message))
        }
        (None, _) if known.failed => {
            let message = "it cannot run on its node".to_owned();
            Some(without_end(Outcome::Exited, message))
        }
        (None, Word::Over(row)) if known.quiet >= SILENCE => {
            let who = match known.claimed {
                true => "neither its shim nor its keeper left an end",
                false => "it never began there",
            };
            Some(without_end(Outcome::Lost, format!("{}; {who}", said(row, known.asked))))
        }
        (None, Word::Forgotten) if known.quiet >= SILENCE => {
            let message = "Slurm does not know it any more, and it left no end".to_owned();
            Some(without_end(Outcome::Lost, message))
        }
        (None, Word::Silent | Word::Goes(_) | Word::Over(_) | Word::Forgotten) => None,
    }
}

/// Whether a job that has not begun was ended: by an order, by Slurm, or while it waited.
fn was_ended_before(known: &Known<'_>, row: &Row) -> bool {
    known.ordered || row.node.is_empty() || ENDERS.contains(&row.state.as_str())
}

/// Whether Slurm may have more to say of an end than its record.
fn wants_word(known: &Known<'_>, end: &End) -> bool {
    if known.ordered && end.outcome == Outcome::Stopped {
        return false;
    }
    let by_force = match end.exit {
        // A shell tells so that a signal ended its command.
        Exit::Code(code) => code > 128,
        Exit::Signal(_) => true,
        Exit::NotStarted(_) | Exit::Unknown => false,
    };
    known.terminated || by_force || end.outcome == Outcome::Stopped
}

/// An end with Slurm's word on it.
fn with_word(known: &Known<'_>, end: &End, row: &Row) -> End {
    let state = row.state.as_str();
    let was_ended =
        known.terminated || matches!(end.exit, Exit::Signal(libc::SIGTERM | libc::SIGKILL));
    let outcome = match () {
        () if was_ended && LIMITS.contains(&state) => Outcome::TimedOut,
        () if was_ended && ENDERS.contains(&state) => Outcome::Stopped,
        () if state == "OUT_OF_MEMORY" => end.outcome,
        () => return end.clone(),
    };
    let cause = Some(Cause { actor: Actor::Engine, message: said(row, known.asked) });
    End { outcome, cause, ..end.clone() }
}

fn said(row: &Row, asked: Option<&Resources>) -> String {
    let limit = match (row.state.as_str(), asked) {
        ("OUT_OF_MEMORY", Some(Resources { memory: Some(bytes), .. })) => {
            format!(", asked {}", memory(*bytes))
        }
        _ => String::new(),
    };
    format!("Slurm: {}{limit}", row.state)
}

pub(super) fn without_end(outcome: Outcome, message: String) -> End {
    let cause = Cause { actor: Actor::Engine, message };
    crate::courier::ends::unheard(outcome, cause, 0)
}

/// An amount of memory as `sbatch` takes it: whole mebibytes, at least one.
fn memory(bytes: u64) -> String {
    format!("{}M", bytes.div_ceil(1 << 20).max(1))
}

/// What is asked for, as options of `sbatch`.
pub(super) fn options(asked: &Resources) -> Vec<String> {
    let time = asked.time.map(|time| {
        let seconds = time.as_secs().max(1);
        format!("--time={}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    });
    let known = [
        asked.cpus.map(|cpus| format!("--cpus-per-task={cpus}")),
        asked.memory.map(|bytes| format!("--mem={}", memory(bytes))),
        asked.gpus.map(|gpus| format!("--gres=gpu:{gpus}")),
        time,
        asked.partition.as_ref().map(|partition| format!("--partition={partition}")),
    ];
    known.into_iter().flatten().chain(asked.extra.iter().cloned()).collect()
}

/// Whether a command failed because Slurm did not answer, which says nothing of a job.
pub(super) fn is_silence(words: &str) -> bool {
    // src/common/slurm_errno.c and the commands' own.
    [
        "Unable to contact",
        "Socket timed out",
        "Connection refused",
        "Connection reset",
        "Zero Bytes were transmitted",
        "Transport endpoint",
        "temporarily unable to accept job",
        "Slurm backup controller in standby",
        "Communication connection failure",
        "Message receive failure",
        "Message send failure",
        "Unspecified error",
        "unge encode failed",
        "unge decode failed",
        "rotocol authentication error",
        "Unable to resolve",
        "Resource temporarily unavailable",
        // Of these commands, as `commands` puts it.
        "has not answered",
        "cannot be started",
        "was cut off",
    ]
    .iter()
    .any(|silence| words.contains(silence))
}

/// What a command of Slurm's said, without its own name in front of each line.
pub(super) fn plain(words: &str) -> String {
    let line = |line: &str| {
        let (_, rest) = line.split_once(": error: ").unwrap_or(("", line));
        rest.trim().to_owned()
    };
    let lines: Vec<String> = words.lines().map(line).filter(|line| !line.is_empty()).collect();
    one_line(&lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, node: &str) -> Row {
        Row { number: "7".into(), state: state.into(), node: node.into(), ..Row::default() }
    }

    fn over(state: &str) -> Word {
        Word::of(row(state, "n1"))
    }

    fn end(outcome: Outcome, exit: Exit) -> End {
        End { exit, ..crate::courier::ends::unheard(outcome, by(Actor::Daemon), 3) }
    }

    fn by(actor: Actor) -> Cause {
        Cause { actor, message: "m".into() }
    }

    /// The rows of the table of faults, as far as words and a record decide them.
    #[test]
    fn the_record_is_the_truth_and_slurm_adds_its_word() {
        let (code, signal) = (Exit::Code, Exit::Signal);
        let exited = |exit| end(Outcome::Exited, exit);
        let stopped = end(Outcome::Stopped, signal(15));
        let check = |end: &End, terminated, word: &Word, outcome, engine: Option<&str>| {
            let known = Known { end: Some(end), claimed: true, terminated, ..Known::default() };
            let found = verdict(known, word).map(|it| (it.outcome, it.exit, it.cause));
            let cause = match engine {
                Some(message) => Cause { actor: Actor::Engine, message: message.into() },
                None => by(Actor::Daemon),
            };
            assert_eq!(found, Some((outcome, end.exit, Some(cause))), "{word:?}");
        };
        use Outcome::{Exited, Stopped, TimedOut};
        // A controller that was killed, a slurmstepd that was killed: the exit code.
        check(&exited(code(5)), false, &over("CANCELLED"), Exited, None);
        check(&exited(code(7)), false, &over("NODE_FAIL"), Exited, None);
        check(&exited(code(0)), false, &Word::Silent, Exited, None);
        // scancel; a command that tells SIGTERM as 143; one whose shim heard it first.
        check(&stopped, true, &over("CANCELLED"), Stopped, Some("Slurm: CANCELLED"));
        check(&exited(code(143)), true, &over("CANCELLED"), Stopped, Some("Slurm: CANCELLED"));
        check(&exited(signal(15)), false, &over("PREEMPTED"), Stopped, Some("Slurm: PREEMPTED"));
        check(&stopped, true, &over("TIMEOUT"), TimedOut, Some("Slurm: TIMEOUT"));
        // Memory.
        let text = "Slurm: OUT_OF_MEMORY";
        check(&exited(code(137)), false, &over("OUT_OF_MEMORY"), Exited, Some(text));
        check(&exited(signal(9)), false, &over("OUT_OF_MEMORY"), Exited, Some(text));
        // Killed by itself.
        check(&exited(signal(9)), false, &over("FAILED"), Exited, None);
        check(&exited(signal(9)), false, &Word::Forgotten, Exited, None);
    }

    #[test]
    fn an_end_by_force_waits_for_the_word_a_while_and_an_ordered_one_does_not() {
        let stopped = end(Outcome::Stopped, Exit::Signal(15));
        let known =
            Known { end: Some(&stopped), claimed: true, terminated: true, ..Known::default() };
        assert_eq!(verdict(known, &Word::of(row("COMPLETING", "n1"))), None);
        assert_eq!(verdict(known, &Word::Silent), None);
        let late = Known { waited: PATIENCE, ..known };
        assert_eq!(verdict(late, &Word::Silent), Some(stopped.clone()));
        let ordered = Known { ordered: true, ..known };
        assert_eq!(verdict(ordered, &Word::Silent), Some(stopped.clone()));
    }

    #[test]
    fn without_an_end_nothing_is_guessed() {
        let quiet = Known { claimed: true, quiet: SILENCE, ..Known::default() };
        let outcome = |known, word: &Word| verdict(known, word).map(|end| end.outcome);
        for word in [Word::Silent, Word::of(row("RUNNING", "n1")), Word::of(row("SUSPENDED", "n1"))]
        {
            assert_eq!(outcome(quiet, &word), None, "{word:?}");
        }
        for word in [over("FAILED"), over("NODE_FAIL"), over("COMPLETED"), Word::Forgotten] {
            assert_eq!(outcome(quiet, &word), Some(Outcome::Lost), "{word:?}");
            // Its keeper may live: nothing but its silence says that it does not.
            let lively = Known { quiet: Duration::from_secs(45), ..quiet };
            assert_eq!(outcome(lively, &word), None, "{word:?}");
        }
        let waiting = Known::default();
        assert_eq!(outcome(waiting, &Word::of(row("CANCELLED", ""))), Some(Outcome::Stopped));
        // It had a node, and had not begun: the prolog ran, or the node was waking.
        for state in ["CANCELLED", "PREEMPTED", "NODE_FAIL"] {
            assert_eq!(outcome(waiting, &over(state)), Some(Outcome::Stopped), "{state}");
        }
        assert_eq!(outcome(waiting, &over("DEADLINE")), Some(Outcome::TimedOut));
        let ordered = Known { ordered: true, ..waiting };
        assert_eq!(outcome(ordered, &over("FAILED")), Some(Outcome::Stopped));
        assert_eq!(outcome(ordered, &Word::Forgotten), Some(Outcome::Stopped));
        assert_eq!(outcome(waiting, &over("FAILED")), None);
    }

    #[test]
    fn jobs_are_read_as_squeue_writes_them() {
        let text =
            "12|PENDING||mw-0123abcd|Resources, a|b\n13|RUNNING|n1|other|None\nslurm_load: odd\n";
        let found: Vec<Row> = rows(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].reason, "Resources, a|b");
        assert_eq!((found[1].node.as_str(), found[1].reason.as_str()), ("n1", ""));
        // The order of `squeue` is that of priorities.
        let rows = [("9", "CANCELLED"), ("10", "PENDING"), ("11", "FAILED")]
            .map(|(number, state)| Row { number: number.into(), ..row(state, "") });
        let number = |rows: &[Row]| current(rows.iter()).map(|row| row.number.clone());
        assert_eq!(number(&rows).as_deref(), Some("10"));
        assert_eq!(number(&[rows[2].clone(), rows[0].clone()]).as_deref(), Some("11"));
    }

    #[test]
    fn resources_are_options_of_sbatch() {
        let asked = Resources {
            cpus: Some(4),
            memory: Some((1 << 30) + 1),
            gpus: Some(2),
            time: Some(Duration::from_secs(90_061)),
            partition: Some("gpu".into()),
            extra: vec!["--qos=high".into()],
        };
        let expected = [
            "--cpus-per-task=4",
            "--mem=1025M",
            "--gres=gpu:2",
            "--time=25:01:01",
            "--partition=gpu",
            "--qos=high",
        ];
        assert_eq!(options(&asked), expected);
        assert_eq!(options(&Resources::default()), Vec::<String>::new());
    }

    #[test]
    fn a_refusal_is_told_from_silence() {
        let refused =
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n";
        assert!(!is_silence(refused));
        assert_eq!(plain(refused), "Batch job submission failed: Invalid partition name specified");
        assert!(is_silence(
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
        ));
        assert!(is_silence("slurm_load_jobs error: Socket timed out on send/recv operation"));
        assert!(is_silence("sbatch: error: Munge encode failed: Failed to access the socket"));
        assert!(is_silence("`sbatch` was cut off (signal: 9 (SIGKILL))"));
    }
}
