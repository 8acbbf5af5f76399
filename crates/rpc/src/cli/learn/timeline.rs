//! Chapter 1: an agent's loop, two lanes of real commands, and the points where results enter.
//!
//! The loop is a session with a scripted model. Each of its steps is a command that reads one word from a FIFO, and
//! each command in a lane is a shell that reads its steps from standard input. So this module controls the lesson's
//! time, and can slow it down and pause it without touching a process.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Session as Agent, TurnEnd, Update, Updates};
use meanwhile_core::agent::trace::{Event as Traced, Fact};
use meanwhile_core::background::task::{TaskId, Timestamp};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Background, Command, Event, Spawn, Stdin};
use nix::sys::stat::Mode;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::lanes::{self, NAME, Row, Scale};
use super::pen::{Look, Pen, Piece};
use super::scratch::LINGER;
use super::session;
use crate::cli::agent;
use crate::cli::demo::board::{Board, Lane as Task, What};
use crate::cli::failure::Failure;
use crate::cli::show;

/// The script for the loop's model.
const SCRIPT: &str = include_str!("timeline/script.toml");
/// The FIFO in the workspace that the loop's steps read from.
const STEPS: &str = "steps";
/// What a step reads while there is work, and when there is none. The script contains both lines.
const WORK: &[u8] = b"work goes on\n";
const NO_WORK: &[u8] = b"no work is left\n";
/// The prompt that starts the loop's work.
const PROMPT: &str = "There is work.";
/// How long a step of the loop takes in the lesson's time. With the model call before it, it is one second.
const STEP: Duration = Duration::from_millis(650);
/// How long a step of a command takes in the lesson's time.
const COMMAND_STEP: Duration = Duration::from_secs(1);
/// The duration of one column in the lesson's time.
const COLUMN: Duration = Duration::from_millis(200);
/// The columns after the current time, for the text after a bar: how a command ended, how many wait.
const NOTE: usize = 15;
/// The maximum number of commands that wait for a lane.
const WAITING: usize = 9;

/// The command of a lane.
struct Kind {
    key: char,
    lane: &'static str,
    name: &'static str,
    command: &'static str,
    steps: u32,
}

const KINDS: [Kind; 2] = [
    Kind {
        key: 'a',
        lane: "lane A",
        name: "build",
        command: "while read -r n; do echo \"compiled $n of 4\"; done",
        steps: 4,
    },
    Kind {
        key: 'b',
        lane: "lane B",
        name: "tests",
        command: "while read -r n; do echo \"test $n of 7\"; done; echo \"1 failed\"; exit 1",
        steps: 7,
    },
];

/// A lane: the running command, and how many wait.
#[derive(Default)]
struct Lane {
    waiting: usize,
    running: Option<Running>,
}

/// A running command, which is given its steps.
struct Running {
    id: TaskId,
    /// The number of steps that it has been given.
    done: u32,
    /// When the next step is due, in the lesson's time.
    due: Duration,
}

/// Whether the loop has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    GoesOn,
    /// The next step reports that there is no more work.
    Ends,
}

/// What the player has seen of this chapter.
#[derive(Debug, Default)]
struct Seen {
    started: bool,
    entered: bool,
    idle: bool,
    woken: bool,
}

impl Seen {
    const ALL: usize = 4;

    /// The number of things seen, and what to do next.
    fn next(&self) -> (usize, &'static str) {
        let steps = [
            (self.started, "Press a or b: a command starts beside the loop."),
            (self.entered, "Wait for its end, and see its result enter a call."),
            (self.idle, "Start another, then press e: the loop's work ends."),
            (self.woken, "Now a result will wake the loop (a, b)."),
        ];
        let done = steps.iter().filter(|step| step.0).count();
        let next = steps.iter().find(|step| !step.0);
        (done, next.map_or("Play on, or go on with n.", |step| step.1))
    }
}

pub(super) struct Timeline {
    background: Background,
    agent: Agent,
    updates: Updates,
    board: Board,
    pub(super) clock: Clock,
    steps: File,
    work: Work,
    /// When each waiting step of the loop started to wait, in the lesson's time.
    beats: VecDeque<Duration>,
    lanes: [Lane; 2],
    seen: Seen,
    /// The running prompts.
    prompts: JoinSet<()>,
}

impl Timeline {
    pub(super) async fn open(background: &Background, work: &Path) -> Result<Self, Failure> {
        let path = work.join(STEPS);
        let broken = |error: std::io::Error| {
            Failure::new(format!("cannot make `{}`: {}", path.display(), reason(&error)))
        };
        match nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
            // The chapter was opened before.
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(broken(error.into())),
        }
        // Open for reading too (fifo(7)): opening then does not block, and readers never see the end of the file.
        let mut how = OpenOptions::new();
        how.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let steps = how.open(&path).map_err(broken)?;
        let script = Scripted::from_text("learn", SCRIPT, Patience::default());
        let script = script.expect("the script is part of the program");
        let provider = Provider::Scripted(Arc::new(script));
        let opened = Agent::create(background.clone(), session::terms(provider)).await;
        let (agent, updates) = opened.map_err(agent::refused)?;
        let now = Timestamp::now();
        let mut this = Self {
            background: background.clone(),
            board: Board::new(now, agent.id().to_string(), PROMPT),
            agent,
            updates,
            clock: Clock::new(now),
            steps,
            work: Work::GoesOn,
            beats: VecDeque::new(),
            lanes: Default::default(),
            seen: Seen::default(),
            prompts: JoinSet::new(),
        };
        this.prompt();
        Ok(this)
    }

    /// Closes the loop's session. Closing the store stops its commands.
    pub(super) async fn close(mut self) {
        session::close(&self.agent, &mut self.updates).await;
    }

    /// The next update of the session. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Update> {
        self.updates.next().await
    }

    /// Adds an update of the session.
    pub(super) fn update(&mut self, update: Update) -> Result<(), Failure> {
        if let Update::Traced(Traced { fact: Fact::ToolStarted { .. }, at, .. }) = &update {
            self.beats.push_back(self.clock.at(*at));
        }
        if let Update::TurnEnded { end: TurnEnd::Failed(why), .. } = &update {
            return Err(Failure::new(why.clone()));
        }
        self.board.update(update);
        let delivered = |task: &Task| task.delivered.is_some();
        self.seen.entered |= self.board.tasks.iter().any(delivered);
        self.seen.idle |= self.is_idle();
        self.seen.woken |= self.board.wakes > 0;
        Ok(())
    }

    /// Adds an event of the workspace.
    pub(super) fn event(&mut self, event: Event) {
        self.board.event(event);
    }

    /// Gives out the steps that are due.
    pub(super) async fn tick(&mut self, now: Timestamp) -> Result<(), Failure> {
        let time = self.clock.at(now);
        if self.beats.front().is_some_and(|since| time >= *since + STEP) && self.clock.rate() > 0.0
        {
            let word = match self.work {
                Work::GoesOn => WORK,
                Work::Ends => NO_WORK,
            };
            // Each word is shorter than PIPE_BUF, and a step reads it before the next is due.
            if self.steps.write_all(word).is_ok() {
                self.beats.pop_front();
            }
        }
        for (lane, kind) in self.lanes.iter_mut().zip(&KINDS) {
            if lane.running.as_ref().is_some_and(|it| has_ended(&self.board, it.id)) {
                lane.running = None;
            }
            match &mut lane.running {
                None if lane.waiting > 0 => {
                    lane.waiting -= 1;
                    let spawned = self.background.spawn(wish(kind, &self.agent)).await?;
                    let id = spawned.task.id;
                    self.board.spawned(spawned.task);
                    lane.running = Some(Running { id, done: 0, due: time + COMMAND_STEP });
                }
                Some(it) if it.done < kind.steps && time >= it.due => {
                    it.done += 1;
                    it.due += COMMAND_STEP;
                    let line = format!("{}\n", it.done).into_bytes();
                    let last = it.done == kind.steps;
                    match self.background.write(it.id, line, last).await {
                        // Stopped from outside, which its end reports.
                        Ok(()) | Err(meanwhile_core::Error::NotRunning { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }

    /// Handles a key.
    pub(super) fn key(&mut self, key: char) {
        if let Some(at) = KINDS.iter().position(|kind| kind.key == key) {
            let lane = &mut self.lanes[at];
            lane.waiting = (lane.waiting + 1).min(WAITING);
            self.seen.started = true;
        }
        if key != 'e' {
            return;
        }
        match (self.work, self.is_idle()) {
            (Work::GoesOn, _) => self.work = Work::Ends,
            (Work::Ends, false) => self.work = Work::GoesOn,
            (Work::Ends, true) => {
                self.work = Work::GoesOn;
                self.prompt();
            }
        }
    }

    /// Sends the loop a prompt.
    fn prompt(&mut self) {
        let agent = self.agent.clone();
        self.prompts.spawn(async move {
            // The updates report how the turn ends.
            let _ = agent.prompt(PROMPT.to_owned()).await;
        });
    }

    fn is_idle(&self) -> bool {
        self.board.turns.last().is_some_and(|turn| turn.1.is_some())
    }

    pub(super) fn keys(&self) -> Vec<(&'static str, &'static str)> {
        let work = match self.work {
            Work::GoesOn => "end its work",
            Work::Ends => "more work",
        };
        vec![("a", "build"), ("b", "tests"), ("e", work)]
    }

    pub(super) fn draw(&self, pen: &mut Pen<'_>, now: Timestamp) {
        let time = self.clock.at(now);
        pen.text(
            "The agent is a loop: it asks the model, runs the tools of the answer, and asks again. \
             Each round is a model call (the lesson this comes from says \"turn\"). Commands in the \
             background run beside it.",
            Look::Plain,
            0,
        );
        pen.gap();
        let (columns, _) = pen.size();
        let scale = Scale::rolling(time, COLUMN, columns.saturating_sub(NAME + NOTE));
        let note = |lane: &Lane| match lane.waiting {
            0 => String::new(),
            waiting => format!("{waiting} more waits"),
        };
        let rows: Vec<Row<'_>> = KINDS
            .iter()
            .zip(&self.lanes)
            .map(|(kind, lane)| Row { name: kind.lane, tasks: kind.name, note: note(lane) })
            .collect();
        lanes::draw(pen, &self.board, &self.clock, scale, now, &rows);
        lanes::legend(pen);
        pen.gap();
        pen.row(&self.queue());
        pen.row(&self.state());
        let (done, says) = self.seen.next();
        let look = if done == Seen::ALL { Look::Good } else { Look::Bold };
        pen.text(&format!("{done} of {} seen. {says}", Seen::ALL), look, 0);
        pen.gap();
        self.words(pen);
    }

    /// The results that wait for the next model call: ids and ends.
    fn queue(&self) -> Vec<Piece> {
        let waiting: Vec<String> = self
            .board
            .tasks
            .iter()
            .filter(|task| task.end().is_some() && task.delivered.is_none())
            .map(|task| format!("{} {}", task.task.id, show::state(&task.task).0))
            .collect();
        vec![
            ("queue: ".to_owned(), Look::Plain),
            (format!("[{}]", waiting.join(", ")), Look::Result),
        ]
    }

    fn state(&self) -> Vec<Piece> {
        let call = self.board.calls.last().map_or(0, |call| call.number);
        let loop_is = match (self.is_idle(), self.work) {
            (true, _) => format!("idle after call {call}, which costs nothing"),
            (false, Work::GoesOn) => format!("at work, call {call}"),
            (false, Work::Ends) => format!("at its last step, call {call}"),
        };
        let (pace, pace_look) = match self.clock.is_paused() {
            true => ("   paused; space goes on".to_owned(), Look::Bold),
            false => (format!("   {}", self.clock.name()), Look::Dim),
        };
        let look = if self.is_idle() { Look::Bold } else { Look::Agent };
        vec![(loop_is, look), (pace, pace_look)]
    }

    /// The last events about results.
    fn words(&self, pen: &mut Pen<'_>) {
        let told: Vec<(Timestamp, String, Look)> =
            self.board.moments().iter().filter_map(|it| self.word(it.after, &it.what)).collect();
        let skip = told.len().saturating_sub(pen.left());
        for (at, text, look) in told.into_iter().skip(skip) {
            let time = show::seconds(self.clock.at(at));
            pen.row(&[(format!("{time:>6}  "), Look::Dim), (text, look)]);
        }
    }

    fn word(&self, after: Duration, what: &What) -> Option<(Timestamp, String, Look)> {
        let at = Timestamp(
            self.board.start.0 + i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2),
        );
        let (text, look) = match what {
            What::Spawned { name, command } => (format!("{name} starts: {command}"), Look::Good),
            What::Ended { name, how, good } => {
                let look = if *good { Look::Good } else { Look::Bad };
                (format!("{name} ends, {how}: its result is queued"), look)
            }
            What::Call { number, carries, wake } if !carries.is_empty() => {
                let by = if *wake { ", which it started itself" } else { "" };
                (format!("{} enters call {number}{by}", carries.join(", ")), Look::Result)
            }
            What::Idle { .. } => ("the loop is idle".to_owned(), Look::Plain),
            What::Call { .. } | What::Prompt(_) | What::Said(_) | What::Tool(_) => return None,
        };
        Some((at, text, look))
    }
}

fn has_ended(board: &Board, id: TaskId) -> bool {
    board.tasks.iter().any(|task| task.task.id == id && task.end().is_some())
}

fn wish(kind: &Kind, agent: &Agent) -> Spawn {
    Spawn {
        command: Command::Shell(kind.command.to_owned()),
        cwd: None,
        env: Default::default(),
        label: Some(kind.name.to_owned()),
        queue: agent.id().to_string(),
        deadline: None,
        linger: Some(LINGER),
        stdin: Stdin::Pipe,
        watches: Vec::new(),
        client_token: None,
        service: false,
        confine: None,
        is_step: false,
        on: None,
        resources: Default::default(),
        line: Default::default(),
    }
}
