//! A task's spec: what to run. The daemon writes it; shims, and daemons later, read it.
//!
//! It is a text of `key=value` entries, each ended by a NUL, like `/proc/<pid>/environ`: no value can
//! contain a NUL, since execve(2) could not take it. The last entry is `end=`; a text without it is
//! incomplete. Unknown keys are skipped, so that an older reader can read a newer text.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::confine::{Mode, Plan};

/// The key of an argument.
const ARG: &str = "arg";
/// The key of an argument of a confined task.
const CONFINED_ARG: &str = "confined-arg";

/// The key of an argument of a task at a place.
const ELSEWHERE_ARG: &str = "place-arg";

/// Everything about a task that is fixed at spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The task's id.
    pub id: String,
    /// The directory of its workspace.
    pub workspace: PathBuf,
    /// The queue that gets its notifications.
    pub queue: String,
    /// A name for people, given by the client.
    pub label: Option<String>,
    /// The command as it is shown to people.
    pub command: String,
    /// The program and its arguments; for a shell line, `/bin/sh -c line`.
    pub argv: Vec<OsString>,
    /// The spawning client waits for execve(2): if that fails, the spawn fails and there is no task.
    pub checked: bool,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Variables to set in the environment, or with `None` to remove from it.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// When it was spawned, in milliseconds since the epoch.
    pub created_ms: i64,
    /// How long it may run; `None`: without limit.
    pub deadline: Option<Duration>,
    /// How long it may run while no daemon is attached to its workspace; `None`: without limit.
    pub linger: Option<Duration>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Bytes of output to keep from the beginning.
    pub head_cap: u64,
    /// Bytes of output to keep from the end.
    pub tail_cap: u64,
    /// Force the exit record to the disk.
    pub sync: bool,
    /// Patterns to match in the output.
    pub watches: Vec<Watch>,
    /// The client's token, which makes a repeated spawn return the same task.
    pub client_token: Option<String>,
    /// It is a server. The shim ignores this.
    pub service: bool,
    /// How strictly it is confined; `None`: not at all. What it may access is in a separate file.
    pub confine: Option<Mode>,
    /// What it may access. The process that publishes the task writes it to a separate file, and
    /// [`Spec::parse`] does not read it.
    pub plan: Option<Box<Plan>>,
    /// What it waits for before it starts.
    pub line: Line,
    /// `env` is the complete environment; none of the starter's variables are added.
    pub whole: bool,
    /// An agent runs it in the foreground, as a step of its turn. The shim ignores this.
    pub is_step: bool,
    /// The place where it runs; `None`: this machine. At a place `cwd` is a directory there, and no shim runs it.
    pub place: Option<String>,
    /// What it asks a batch system there for.
    pub resources: Resources,
    /// The state of the sources here at the spawn, to be compared with those at the place; `None`: not compared.
    pub sources: Option<String>,
}

/// The resources that a task requests from a batch system. The system's defaults apply to what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// The number of processors.
    pub cpus: Option<u32>,
    /// The amount of memory, in bytes.
    pub memory: Option<u64>,
    /// The number of graphics processors.
    pub gpus: Option<u32>,
    /// How long it may run.
    pub time: Option<Duration>,
    /// The partition of the cluster.
    pub partition: Option<String>,
    /// Further options of the batch system, unchanged.
    pub extra: Vec<String>,
}

/// What a task waits for before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The slot that it holds while it runs.
    pub slot: Option<Slot>,
    /// Ids of the tasks that must end first.
    pub after: Vec<String>,
    /// What happens to it if one of them fails.
    pub on_failure: OnFailure,
    /// Why one of them counts as failed, if that one had ended before the spawn.
    pub failed: Option<String>,
    /// How long it may wait; `None`: without limit.
    pub deadline: Option<Duration>,
}

/// A slot, with the limit that was configured when the task was spawned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name, see [`crate::slots::is_name`].
    pub name: String,
    /// How many tasks may hold it at once.
    pub limit: u32,
}

impl Line {
    /// Whether it waits for anything.
    pub fn waits(&self) -> bool {
        self.slot.is_some() || !self.after.is_empty() || self.failed.is_some()
    }
}

impl Line {
    fn put(&self, put: &mut impl FnMut(&str, &[u8])) {
        if let Some(slot) = &self.slot {
            put("slot", slot.name.as_bytes());
            put("slot-limit", slot.limit.to_string().as_bytes());
        }
        for id in &self.after {
            put("after", id.as_bytes());
        }
        if self.on_failure == OnFailure::Run {
            put("after-run", b"1");
        }
        if let Some(why) = &self.failed {
            put("after-failed", why.as_bytes());
        }
        if let Some(deadline) = self.deadline {
            put("queue-deadline", deadline.as_millis().to_string().as_bytes());
        }
    }
}

/// What happens to a task if one that it waits for fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It runs nevertheless.
    Run,
    /// It does not run.
    #[default]
    Skip,
}

/// What a task was started with, kept so that it can be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The spec without the variables in `keys`.
    pub spec: Spec,
    /// The environment to which the spec's `env` is applied.
    pub base: Vec<(OsString, OsString)>,
    /// Names of variables that `env` set, and whose values are not kept because they are keys.
    pub keys: Vec<OsString>,
}

/// Where standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// It is `/dev/null`.
    Null,
    /// A pipe, to which clients write.
    Pipe,
    /// A terminal, fed from the FIFO `stdin`.
    Pty {
        /// Its height in characters.
        rows: u16,
        /// Its width in characters.
        cols: u16,
    },
}

/// A pattern to match in the output. The shim ignores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name, given by the client.
    pub id: String,
    /// A regular expression.
    pub pattern: String,
    /// How many matches are reported at most.
    pub limit: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            id: String::new(),
            workspace: PathBuf::new(),
            queue: String::new(),
            label: None,
            command: String::new(),
            argv: Vec::new(),
            checked: false,
            cwd: PathBuf::new(),
            env: Vec::new(),
            created_ms: 0,
            deadline: None,
            linger: None,
            stdin: Stdin::Null,
            head_cap: 0,
            tail_cap: 0,
            sync: false,
            watches: Vec::new(),
            client_token: None,
            service: false,
            confine: None,
            plan: None,
            line: Line::default(),
            whole: false,
            is_step: false,
            place: None,
            resources: Resources::default(),
            sources: None,
        }
    }
}

impl Spec {
    /// The bytes of the spec's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_on(&[])
    }

    /// The bytes of the spec's file, including the environment of the start as [`base_bytes`] returns it.
    pub fn to_bytes_on(&self, base: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut put = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
        };
        let number = |n: u64| n.to_string().into_bytes();
        put("spec", b"1");
        put("id", self.id.as_bytes());
        put("workspace", self.workspace.as_os_str().as_bytes());
        put("queue", self.queue.as_bytes());
        if let Some(label) = &self.label {
            put("label", label.as_bytes());
        }
        put("command", self.command.as_bytes());
        // The arguments of a confined task, and those of one at a place, have other keys. A shim that knows
        // neither skips these, finds nothing to run, and so never runs the task unconfined or on this machine.
        let key = match (&self.place, self.confine) {
            (Some(_), _) => ELSEWHERE_ARG,
            (None, Some(_)) => CONFINED_ARG,
            (None, None) => ARG,
        };
        for arg in &self.argv {
            put(key, arg.as_bytes());
        }
        if let Some(mode) = self.confine {
            put("confine", mode.name().as_bytes());
        }
        if self.checked {
            put("checked", b"1");
        }
        put("cwd", self.cwd.as_os_str().as_bytes());
        for (name, value) in &self.env {
            match value {
                Some(value) => put("env", &[name.as_bytes(), b"=", value.as_bytes()].concat()),
                None => put("unset", name.as_bytes()),
            }
        }
        put("created", self.created_ms.to_string().as_bytes());
        if let Some(deadline) = self.deadline {
            put("deadline", &number(deadline.as_millis() as u64));
        }
        if let Some(linger) = self.linger {
            put("linger", &number(linger.as_millis() as u64));
        }
        match self.stdin {
            Stdin::Null => {}
            Stdin::Pipe => put("stdin", b"pipe"),
            Stdin::Pty { rows, cols } => put("pty", format!("{rows} {cols}").as_bytes()),
        }
        put("head", &number(self.head_cap));
        put("tail", &number(self.tail_cap));
        if self.sync {
            put("sync", b"1");
        }
        for watch in &self.watches {
            put("watch", watch.id.as_bytes());
            put("pattern", watch.pattern.as_bytes());
            put("limit", &number(u64::from(watch.limit)));
        }
        if self.service {
            put("service", b"1");
        }
        if self.is_step {
            put("role", b"step");
        }
        let (token, place) = (("token", &self.client_token), ("place", &self.place));
        for (key, text) in [token, place, ("sources", &self.sources)] {
            text.iter().for_each(|text| put(key, text.as_bytes()));
        }
        self.resources.put(&mut put);
        self.line.put(&mut put);
        if self.whole {
            put("whole", b"1");
        } else {
            out.extend_from_slice(base);
        }
        out.extend_from_slice(b"end=\0");
        out
    }

    /// Parses a spec; fails if its last entry is missing.
    #[expect(clippy::too_many_lines, reason = "one arm for each key")]
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("spec: {what}"));
        let mut spec = Self::default();
        let mut whole = false;
        for entry in bytes.split(|b| *b == 0) {
            if entry.is_empty() {
                continue;
            }
            let at = entry.iter().position(|b| *b == b'=').ok_or_else(|| bad("no `=`"))?;
            let (key, value) = (&entry[..at], &entry[at + 1..]);
            let text = || String::from_utf8_lossy(value).into_owned();
            let os = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            let number = || {
                std::str::from_utf8(value)
                    .ok()
                    .and_then(|t| t.parse::<u64>().ok())
                    .ok_or_else(|| bad("not a number"))
            };
            match key {
                b"spec" if value != b"1" => return Err(bad("another version")),
                b"id" => spec.id = text(),
                b"workspace" => spec.workspace = OsString::from_vec(value.to_vec()).into(),
                b"queue" => spec.queue = text(),
                b"label" => spec.label = Some(text()),
                b"command" => spec.command = text(),
                b"confine" => {
                    spec.confine = Some(Mode::of_name(value).ok_or_else(|| bad("confine"))?);
                }
                _ if [ARG, CONFINED_ARG, ELSEWHERE_ARG].map(str::as_bytes).contains(&key) => {
                    spec.argv.push(os(value));
                }
                b"place" => spec.place = Some(text()),
                b"sources" => spec.sources = Some(text()),
                b"cpus" => spec.resources.cpus = Some(number()? as u32),
                b"memory" => spec.resources.memory = Some(number()?),
                b"gpus" => spec.resources.gpus = Some(number()? as u32),
                b"time" => spec.resources.time = Some(Duration::from_millis(number()?)),
                b"partition" => spec.resources.partition = Some(text()),
                b"extra" => spec.resources.extra.push(text()),
                b"checked" => spec.checked = true,
                b"cwd" => spec.cwd = OsString::from_vec(value.to_vec()).into(),
                b"env" => {
                    let at = value.iter().position(|b| *b == b'=').ok_or_else(|| bad("env"))?;
                    spec.env.push((os(&value[..at]), Some(os(&value[at + 1..]))));
                }
                b"unset" => spec.env.push((os(value), None)),
                b"created" => {
                    spec.created_ms = text().parse().map_err(|_| bad("not a number"))?;
                }
                b"deadline" => spec.deadline = Some(Duration::from_millis(number()?)),
                b"linger" => spec.linger = Some(Duration::from_millis(number()?)),
                b"stdin" => spec.stdin = Stdin::Pipe,
                b"pty" => {
                    let text = text();
                    let (rows, cols) = text.split_once(' ').ok_or_else(|| bad("pty"))?;
                    spec.stdin = Stdin::Pty {
                        rows: rows.parse().map_err(|_| bad("pty"))?,
                        cols: cols.parse().map_err(|_| bad("pty"))?,
                    };
                }
                b"head" => spec.head_cap = number()?,
                b"tail" => spec.tail_cap = number()?,
                b"sync" => spec.sync = true,
                b"watch" => {
                    spec.watches.push(Watch { id: text(), pattern: String::new(), limit: 1 });
                }
                b"pattern" => {
                    spec.watches.last_mut().ok_or_else(|| bad("pattern"))?.pattern = text();
                }
                b"limit" => {
                    spec.watches.last_mut().ok_or_else(|| bad("limit"))?.limit = number()? as u32;
                }
                b"token" => spec.client_token = Some(text()),
                b"service" => spec.service = true,
                b"slot" => spec.line.slot = Some(Slot { name: text(), limit: 1 }),
                b"slot-limit" => {
                    spec.line.slot.as_mut().ok_or_else(|| bad("slot-limit"))?.limit =
                        number()? as u32;
                }
                b"after" => spec.line.after.push(text()),
                b"after-run" => spec.line.on_failure = OnFailure::Run,
                b"after-failed" => spec.line.failed = Some(text()),
                b"queue-deadline" => {
                    spec.line.deadline = Some(Duration::from_millis(number()?));
                }
                b"whole" => spec.whole = true,
                b"role" => spec.is_step = value == b"step",
                b"end" => whole = true,
                _ => {}
            }
        }
        if !whole {
            return Err(bad("cut off"));
        }
        Ok(spec)
    }
}

impl Resources {
    fn put(&self, put: &mut impl FnMut(&str, &[u8])) {
        let time = self.time.map(|time| time.as_millis() as u64);
        let numbers = [
            ("cpus", self.cpus.map(u64::from)),
            ("memory", self.memory),
            ("gpus", self.gpus.map(u64::from)),
            ("time", time),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                put(key, number.to_string().as_bytes());
            }
        }
        let texts = self.partition.iter().map(|it| ("partition", it));
        for (key, text) in texts.chain(self.extra.iter().map(|it| ("extra", it))) {
            put(key, text.as_bytes());
        }
    }
}

/// An environment as bytes that are added to a spec's file. No shim reads it.
pub fn base_bytes<'a>(env: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in env {
        out.extend_from_slice(&[b"base=", name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    out
}

/// A spec's bytes with only the name of each variable that is a key; `None` if there is no such variable.
pub fn without_keys(bytes: &[u8], is_key: impl Fn(&OsStr) -> bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut found = false;
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        match variable(entry, b"env=").filter(|(name, _)| is_key(name)) {
            Some((name, _)) => {
                found = true;
                out.extend_from_slice(&[b"key=", name.as_bytes()].concat());
            }
            None => out.extend_from_slice(entry),
        }
        out.push(0);
    }
    found.then_some(out)
}

fn variable<'a>(entry: &'a [u8], key: &[u8]) -> Option<(&'a OsStr, &'a OsStr)> {
    let rest = entry.strip_prefix(key)?;
    let at = rest.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(&rest[..at]), OsStr::from_bytes(&rest[at + 1..])))
}

impl Kept {
    /// Parses a spec's file, including the environment and the names of the keys.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let entries = || bytes.split(|byte| *byte == 0);
        let base = entries().filter_map(|entry| variable(entry, b"base="));
        let keys = entries().filter_map(|entry| entry.strip_prefix(b"key="));
        Ok(Self {
            spec: Spec::parse(bytes)?,
            base: base.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            keys: keys.map(|name| OsStr::from_bytes(name).to_owned()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Spec {
        Spec {
            id: "0123abcd".into(),
            workspace: "/w/a b".into(),
            queue: "default".into(),
            label: Some("build".into()),
            command: "echo a=b\nc".into(),
            argv: vec![
                "/bin/sh".into(),
                "-c".into(),
                OsString::from_vec(vec![0xff, b'=']),
                "".into(),
            ],
            checked: true,
            cwd: "/w".into(),
            env: vec![
                ("A".into(), Some("x=y".into())),
                ("B".into(), None),
                ("C".into(), Some("".into())),
            ],
            created_ms: -5,
            deadline: Some(Duration::from_millis(1_500)),
            linger: Some(Duration::ZERO),
            stdin: Stdin::Pty { rows: 24, cols: 80 },
            head_cap: 1,
            tail_cap: 2,
            sync: true,
            watches: vec![Watch { id: "w".into(), pattern: "a=b".into(), limit: 7 }],
            client_token: Some("t".into()),
            service: true,
            confine: Some(Mode::Work),
            plan: None,
            line: Line {
                slot: Some(Slot { name: "build".into(), limit: 2 }),
                after: vec!["feedc0de".into(), "00000000".into()],
                on_failure: OnFailure::Run,
                failed: Some("task `11111111` exited with code 1".into()),
                deadline: Some(Duration::from_secs(9)),
            },
            whole: false,
            is_step: true,
            place: Some("build".into()),
            resources: Resources {
                cpus: Some(4),
                memory: Some(1 << 34),
                gpus: Some(1),
                time: Some(Duration::from_secs(3_600)),
                partition: Some("gpu".into()),
                extra: vec!["--qos=high".into(), "-C a".into()],
            },
            sources: Some("1f0c2aa9 -".into()),
        }
    }

    #[test]
    fn a_reader_that_knows_nothing_of_confinement_and_places_finds_nothing_to_run() {
        let known = |spec: &Spec| {
            let text = spec.to_bytes();
            text.split(|b| *b == 0).filter(|entry| entry.starts_with(b"arg=")).count()
        };
        assert_eq!(known(&full()), 0);
        assert_eq!(known(&Spec { confine: None, ..full() }), 0, "it runs at a place");
        assert_eq!(known(&Spec { confine: None, place: None, ..full() }), 4);
    }

    #[test]
    fn a_spec_reads_back_as_written() {
        for spec in [
            full(),
            Spec { stdin: Stdin::Pipe, confine: None, ..full() },
            Spec { whole: true, ..full() },
            Spec::default(),
        ] {
            assert_eq!(Spec::parse(&spec.to_bytes()).unwrap(), spec);
        }
    }

    #[test]
    fn what_is_kept_has_the_environment_and_no_key() {
        let env = [("HOME", "/h"), ("X", "a=b")].map(|(a, b)| (OsStr::new(a), OsStr::new(b)));
        let bytes = full().to_bytes_on(&base_bytes(env.into_iter()));
        assert_eq!(Spec::parse(&bytes).unwrap(), full(), "a shim reads the spec alone");
        let kept = Kept::parse(&bytes).unwrap();
        assert_eq!(kept.base, env.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(kept.keys.is_empty());
        assert_eq!(without_keys(&bytes, |name| name == "HOME" || name == "B"), None);
        let scrubbed = without_keys(&bytes, |name| name == "A").unwrap();
        assert!(!scrubbed.windows(3).any(|some| some == b"x=y"));
        let scrubbed = Kept::parse(&scrubbed).unwrap();
        assert_eq!((scrubbed.keys, scrubbed.base), (vec![OsString::from("A")], kept.base));
        assert_eq!(scrubbed.spec, Spec { env: full().env.split_off(1), ..full() });
        let whole = Spec { whole: true, ..full() };
        let bytes = whole.to_bytes_on(&base_bytes(env.into_iter()));
        let kept = Kept::parse(&bytes).unwrap();
        assert_eq!((kept.spec, kept.base), (whole, Vec::new()));
    }

    #[test]
    fn a_spec_that_was_cut_off_is_refused_wherever_it_was_cut() {
        let bytes = full().to_bytes();
        for len in 0..bytes.len() - "end=\0".len() + 3 {
            assert!(Spec::parse(&bytes[..len]).is_err(), "at {len}");
        }
    }
}
