//! Which options of `sbatch` a place or a task can have.

const NOTHING: &str = "nothing would run; leave it out";
/// Options that are refused: the name, the letter if there is one, and the reason with what to do.
const REFUSED: [(&str, Option<char>, &str); 9] = [
    ("array", Some('a'), "a task is one job; spawn a task for each element"),
    (
        "clusters",
        Some('M'),
        "a place is the cluster of its own host; set up a place on a host of the other cluster",
    ),
    ("parsable", None, "it is always given; leave it out"),
    ("test-only", None, NOTHING),
    (
        "wait",
        Some('W'),
        "a task waits in the queue by itself; leave it out, and use `meanwhile wait`",
    ),
    ("help", Some('h'), NOTHING),
    ("usage", None, NOTHING),
    ("version", Some('V'), NOTHING),
    ("wrap", None, "a job runs the command of its task; leave it out"),
];
/// Options after which no value follows as a word of its own (sbatch(1)).
const FLAGS: [&str; 24] = [
    "contiguous",
    "exclusive",
    "get-user-env",
    "help",
    "hold",
    "ignore-pbs",
    "nice",
    "no-kill",
    "no-requeue",
    "overcommit",
    "oversubscribe",
    "parsable",
    "propagate",
    "quiet",
    "reboot",
    "requeue",
    "share",
    "spread-job",
    "test-only",
    "usage",
    "use-min-nodes",
    "verbose",
    "version",
    "wait",
];
/// The letters of such options.
const FLAG_LETTERS: &str = "HhkOQsvVW";
/// Variables by which `sbatch` submits to another cluster.
const CLUSTERS: [&str; 2] = ["SLURM_CLUSTERS", "SBATCH_CLUSTERS"];

/// An option as it is written.
enum Written<'a> {
    /// A word that `sbatch` takes for a script.
    Script,
    Long {
        name: &'a str,
        has_value: bool,
    },
    /// Letters, the last of which may have a value.
    Short {
        letters: Vec<char>,
        has_value: bool,
    },
}

impl<'a> Written<'a> {
    fn of(word: &'a str) -> Self {
        match word.strip_prefix("--").map(|rest| rest.split_once('=').unwrap_or((rest, ""))) {
            Some(("", _)) => Self::Script,
            Some((name, _)) => Self::Long { name, has_value: word.contains('=') },
            None => match word.strip_prefix('-') {
                None | Some("") => Self::Script,
                Some(rest) => {
                    let is_flag = |it: char| FLAG_LETTERS.contains(it);
                    let flags = rest.chars().take_while(|it| is_flag(*it)).count();
                    let letters: Vec<char> = rest.chars().take(flags + 1).collect();
                    let has_value = rest.chars().count() > letters.len();
                    Self::Short { letters, has_value }
                }
            },
        }
    }

    /// Why a job cannot have it.
    fn refusal(&self) -> Option<&'static str> {
        let is_it = |(name, letter, _): &&(&str, Option<char>, &str)| match self {
            Self::Script => false,
            // `sbatch` takes beginnings of names, too.
            Self::Long { name: given, .. } => name.starts_with(given),
            Self::Short { letters, .. } => letter.is_some_and(|letter| letters.contains(&letter)),
        };
        REFUSED.iter().find(is_it).map(|(.., why)| *why)
    }

    /// Whether the next word may be its value.
    fn wants_value(&self) -> bool {
        match self {
            Self::Script => false,
            Self::Long { name, has_value } => !has_value && !FLAGS.contains(name),
            Self::Short { letters, has_value } => {
                !has_value && letters.last().is_some_and(|last| !FLAG_LETTERS.contains(*last))
            }
        }
    }
}

/// Checks options for `sbatch`.
///
/// # Errors
///
/// The text names the first one that cannot be given, and says what to do.
pub fn check(options: &[String]) -> Result<(), String> {
    let mut words = options.iter().peekable();
    while let Some(word) = words.next() {
        let written = Written::of(word);
        if let Some(why) = written.refusal() {
            return Err(format!("`{word}` cannot be an option of a job here: {why}"));
        }
        if let Written::Script = written {
            return Err(format!(
                "`{word}` is not an option, and `sbatch` would take it for a script; expected options such as \
                 `--qos=high`, or `-w` and `n2` as two words"
            ));
        }
        // An option that is not known here, such as one of a plug-in, may have no value. What looks like an option
        // is checked as one.
        if written.wants_value() {
            let _value = words.next_if(|next| !next.starts_with('-'));
        }
    }
    Ok(())
}

/// Checks this process's environment.
///
/// # Errors
///
/// A variable in it makes `sbatch` submit to another cluster.
pub fn check_environment() -> Result<(), String> {
    match CLUSTERS.iter().find(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty())) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the variable `{name}` is set, which submits jobs to another cluster than the one that is asked for them; \
             unset it, and set up a place on a host of that cluster"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_would_make_something_else_than_a_job_are_refused() {
        let check =
            |words: &[&str]| check(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        for allowed in [
            &[][..],
            &["--partition=gpu", "--time=8:00:00"],
            &["--partition", "gpu", "--nice"],
            &["-w", "n2", "-N1", "--exclusive=user"],
            &["-Hw", "n2"],
            &["--stepmgr"],
            &["--of-a-plugin", "value", "--verbose"],
            &[
                "--wait-all-nodes=1",
                "--mem=4G",
                "--wckey=a",
                "--account=a",
                "--cluster-constraint=x",
            ],
        ] {
            assert_eq!(check(allowed), Ok(()), "{allowed:?}");
        }
        for (refused, part) in [
            (&["--array=1-3"][..], "one job"),
            (&["--arr", "1-3"], "one job"),
            (&["-a1-3"], "one job"),
            (&["--nice", "-M", "other"], "cluster"),
            (&["--clusters=other"], "cluster"),
            (&["--wrap=true"], "command of its task"),
            (&["--test-only"], "nothing would run"),
            (&["-HW"], "meanwhile wait"),
            (&["--wait"], "meanwhile wait"),
            (&["--parsable"], "leave it out"),
            (&["n2"], "script"),
            (&["--nice", "10"], "script"),
            (&["-w", "n2", "run.sh"], "script"),
            (&["--"], "script"),
            (&["--excl", "-a1-3"], "one job"),
            (&["--of-a-plugin", "--array=1-3"], "one job"),
            (&["--of-a-plugin", "-M", "other"], "cluster"),
            (&["--help"], "nothing would run"),
            (&["-V"], "nothing would run"),
        ] {
            let why = check(refused).expect_err("it cannot be had");
            assert!(why.contains(part), "{refused:?}: {why}");
        }
    }
}
