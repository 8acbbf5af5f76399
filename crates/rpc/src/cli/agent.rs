//! Opens, drives and closes a session that the command itself holds.
//!
//! `run`, `chat` and `demo` display different things; the rest is here. A [`Drive`] reads the session's updates while
//! the caller waits for something, because a session waits for its reader, and interprets Ctrl-C: the first one ends
//! the turn, the next one exits.

pub(crate) mod told;

use std::path::PathBuf;

use meanwhile_core::agent::NoModel;
use meanwhile_core::agent::permission::{Effect, Rule};
use meanwhile_core::agent::session::{self, Session, Update, Updates, Wake};
use meanwhile_core::background::task::{Actor, Cause, Task};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Background, Stop};
use meanwhile_core::limits;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::args;
use super::failure::Failure;
use super::session::run_here as session_of;
use super::{out, show};
use crate::config;
use crate::convert::hint;
use crate::convert::update::is_resumed;
use crate::setup::Setup;

/// The parameters for opening a session.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) flags: &'a args::AgentFlags,
    /// Whether a person can be asked.
    pub(crate) can_ask: bool,
    /// What happens when a task ends while the agent is idle; `None`: the configured default.
    pub(crate) wake: Option<Wake>,
    /// Whether the session's tasks may outlive this command without a time limit.
    pub(crate) detaches: bool,
}

/// Opens a new session, or the one to resume.
pub(crate) async fn open(background: &Background, wish: Wish<'_>) -> Result<Drive, Failure> {
    let mut setup = Setup::of(&config::load()?).with_environment();
    if let Some(model) = &wish.flags.model {
        setup.model.model = Some(model.clone());
    }
    for (effect, texts) in [(Effect::Allow, &wish.flags.allow), (Effect::Deny, &wish.flags.deny)] {
        for text in texts {
            setup.rules.push(rule(effect, text)?);
        }
    }
    let provider = setup.provider().await.map_err(no_model)?;
    let mut terms = setup.terms(provider, wish.can_ask);
    terms.policy.wake = wish.wake.unwrap_or(terms.policy.wake);
    if wish.detaches {
        terms.policy.linger = None;
    }
    let background = background.clone();
    let resumed = wish.flags.resume.is_some();
    let opened = match wish.flags.resume.as_deref() {
        None => Session::create(background, terms).await,
        Some(name) => {
            Session::load(background.clone(), terms, &named(&background, name).await?).await
        }
    };
    let (session, updates) = opened.map_err(refused)?;
    Ok(Drive::new(session, updates, resumed))
}

/// The id of the named session: `last` is the newest, any other name is the start of an id.
pub(crate) async fn named(background: &Background, name: &str) -> Result<String, Failure> {
    if name != "last" {
        return whole(background, name).await;
    }
    if let Some(last) = Session::list(background, 0, 1).await.map_err(refused)?.first() {
        return Ok(last.id.to_string());
    }
    let none = Failure::new("there is no session in this workspace");
    let strays = Session::strays(background, 1).await.map_err(refused)?;
    Err(none.advise(strays.first().map(|stray| {
        let (id, from) = (stray.id.as_str(), stray.workspace.display());
        format!(
            "`meanwhile chat --resume {id}` resumes the one of `{from}`, which no longer exists"
        )
    })))
}

/// The id of the session that starts with this text.
async fn whole(background: &Background, beginning: &str) -> Result<String, Failure> {
    let all = Session::list(background, 0, u32::MAX).await.map_err(refused)?;
    let mut fits = all.iter().map(|info| info.id.as_str()).filter(|id| id.starts_with(beginning));
    match (fits.next(), fits.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "more than one session starts with `{}`; give more of its name",
            show::one_line(beginning)
        ))),
        // If its directory is gone, the session is only found by its full id.
        (None, _) if is_whole(beginning) => Ok(beginning.to_owned()),
        (None, _) => Err(Failure::new(format!(
            "no session `{}` in this workspace",
            show::one_line(beginning)
        ))
        .hint("`meanwhile sessions` lists them; `last` is the newest")),
    }
}

/// Whether this is a full id: a UUID.
fn is_whole(name: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits = |(at, byte): (usize, u8)| match is_dash(at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    name.len() == 36 && name.bytes().enumerate().all(fits)
}

/// The workspace to use: the given one; or that of the session to resume, if its full id is given and its directory
/// exists; or the current directory.
pub(crate) fn workspace(
    named: Option<PathBuf>,
    flags: &args::AgentFlags,
) -> Result<Option<PathBuf>, Failure> {
    let whole = flags.resume.as_deref().filter(|id| is_whole(id));
    let (Some(id), None) = (whole, &named) else { return Ok(named) };
    let mut home = None;
    session_of(named, async |visit| {
        home = Session::home(&visit.background, id).await.map_err(refused)?;
        Ok(0)
    })?;
    Ok(home.filter(|home| home.is_dir()))
}

fn rule(effect: Effect, text: &str) -> Result<Rule, Failure> {
    let word = match effect {
        Effect::Allow => "allow",
        Effect::Ask => "ask",
        Effect::Deny => "deny",
    };
    format!("{word} {text}")
        .parse()
        .map_err(|error| Failure::usage(format!("--{word} `{}`: {error}", show::one_line(text))))
}

fn no_model(error: NoModel) -> Failure {
    Failure::new(error.to_string()).advise(hint::model(&error)).hint(hint::WITHOUT_MODEL)
}

/// Converts an error of a session for the command line.
pub(crate) fn refused(error: session::Error) -> Failure {
    match error {
        session::Error::Core(error) => error.into(),
        session::Error::Unknown(id) => {
            Failure::new(format!("no session `{}` in this workspace", show::one_line(&id)))
                .hint("`meanwhile sessions` lists them; `last` is the newest")
        }
        session::Error::EmptyPrompt => Failure::usage("the prompt is empty; expected some text"),
        session::Error::Busy { ref id, .. } => {
            let watch = format!("`meanwhile sessions --watch {id}` shows it");
            Failure::new(error.to_string()).advise(hint::session(&error)).hint(watch)
        }
        session::Error::Closed(_) => Failure::new(error.to_string()).advise(hint::session(&error)),
    }
}

/// The result of [`Drive::until`].
#[derive(Debug)]
pub(crate) enum Driven<T> {
    /// The work has finished.
    Done(T),
    /// Ctrl-C was pressed when no turn was left to end.
    Left,
}

/// Reads a session's updates while the caller waits for something.
pub(crate) struct Drive {
    pub(crate) session: Session,
    updates: Updates,
    /// Whether the session was loaded and first repeats its earlier updates.
    resumed: bool,
    /// Set while a turn runs: whether it was told to end.
    turn: Option<Ending>,
    /// Work that the reader of the updates must not wait for.
    asides: JoinSet<()>,
    /// The signals, from the first wait on: one that arrives between two waits is kept for the next.
    interrupts: Option<Interrupts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotYet,
    Told,
}

impl Drive {
    pub(crate) fn new(session: Session, updates: Updates, resumed: bool) -> Self {
        Self { session, updates, resumed, turn: None, asides: JoinSet::new(), interrupts: None }
    }

    /// Passes the earlier updates of a resumed session to `show`.
    pub(crate) async fn replay(&mut self, mut show: impl FnMut(Update)) {
        while self.resumed {
            let Some(update) = self.updates.next().await else { return };
            self.resumed = !is_resumed(&update);
            show(update);
        }
    }

    /// Waits for something, and shows the session's updates until then.
    pub(crate) async fn until<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut show: impl FnMut(Update) -> Result<(), Failure>,
    ) -> Result<Driven<T>, Failure> {
        let mut work = std::pin::pin!(work);
        if self.interrupts.is_none() {
            self.interrupts = Some(interrupts()?);
        }
        loop {
            tokio::select! {
                // Show the last updates before the end.
                biased;
                Some(update) = self.updates.next() => {
                    self.note(&update);
                    show(update)?;
                }
                done = &mut work => return Ok(Driven::Done(done)),
                Some(told) = next(&mut self.interrupts) => {
                    if !self.cancel() || told == Told::ToEnd {
                        return Ok(Driven::Left);
                    }
                }
            }
        }
    }

    /// The next update, for the caller to show. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        let update = self.updates.next().await?;
        self.note(&update);
        Some(update)
    }

    fn note(&mut self, update: &Update) {
        match update {
            Update::TurnStarted { .. } => self.turn = Some(Ending::NotYet),
            Update::TurnEnded { .. } => self.turn = None,
            Update::Prompt(_)
            | Update::Image(_)
            | Update::Text(_)
            | Update::Thinking(_)
            | Update::Retrying { .. }
            | Update::ToolCall { .. }
            | Update::ToolRunning { .. }
            | Update::ToolTask { .. }
            | Update::ToolEnded { .. }
            | Update::Plan(_)
            | Update::Background { .. }
            | Update::Notice(_)
            | Update::Ask(_)
            | Update::Usage { .. }
            | Update::Answer { .. }
            | Update::Title(_)
            | Update::Traced(_) => {}
        }
    }

    /// Whether a turn is running.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.is_some()
    }

    /// Ends the current turn. Returns `false` if no turn is running or it was already told to end.
    pub(crate) fn cancel(&mut self) -> bool {
        if self.turn != Some(Ending::NotYet) {
            return false;
        }
        self.turn = Some(Ending::Told);
        let session = self.session.clone();
        // The session may be waiting for its updates to be read, so do not wait for it here.
        self.asides.spawn(async move {
            // Fails if the session is closed; then the turn has ended.
            let _ = session.cancel().await;
        });
        true
    }

    /// Closes the session. Its last updates are not shown.
    pub(crate) async fn close(mut self) {
        let session = self.session.clone();
        let mut closed = std::pin::pin!(session.close());
        loop {
            tokio::select! {
                () = &mut closed => return,
                Some(_) = self.updates.next() => {}
            }
        }
    }
}

/// What a signal asks the command to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Ctrl-C: end the current turn or, if there is none, exit.
    ToStop,
    /// SIGTERM or SIGHUP: exit.
    ToEnd,
}

/// A listener for the signals that end a command.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// The next signal.
    pub(crate) async fn recv(&mut self) -> Option<Told> {
        tokio::select! {
            it = self.interrupt.recv() => it.map(|()| Told::ToStop),
            it = self.terminate.recv() => it.map(|()| Told::ToEnd),
            it = self.hangup.recv() => it.map(|()| Told::ToEnd),
        }
    }
}

/// Starts to listen for the signals that end a command.
pub(crate) fn interrupts() -> Result<Interrupts, Failure> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| Failure::new(format!("cannot listen for signals: {}", reason(&error))))
    };
    Ok(Interrupts {
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
        hangup: listen(SignalKind::hangup())?,
    })
}

/// The next signal, if there is a listener.
async fn next(interrupts: &mut Option<Interrupts>) -> Option<Told> {
    interrupts.as_mut()?.recv().await
}

/// Stops tasks with their process trees.
pub(crate) async fn stop(
    background: &Background,
    tasks: &[Task],
    why: &str,
) -> Result<(), Failure> {
    for task in tasks {
        let cause = Cause { actor: Actor::Client, message: why.to_owned() };
        let how = Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause };
        match background.stop(task.id, how).await {
            // It ended before the stop.
            Ok(_) | Err(meanwhile_core::Error::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reports what is unfinished: running tasks, and results that were not delivered. Returns whether there is any.
pub(crate) fn report(session: &Session, running: &[Task], waiting: u64) -> bool {
    if running.is_empty() && waiting == 0 {
        return false;
    }
    let colour = out::stderr_colour();
    match running.len() {
        0 => {}
        1 => out::note("unfinished: 1 task goes on"),
        many => out::note(format_args!("unfinished: {many} tasks go on")),
    }
    for task in running {
        let id = out::paint(colour, out::style::BOLD, task.id);
        out::note(format_args!("  {id}  {}", show::one_line(&task.command)));
    }
    match waiting {
        0 => {}
        1 => out::note("1 result was not delivered and waits in the queue"),
        many => out::note(format_args!("{many} results were not delivered and wait in the queue")),
    }
    says_how_to_go_on(session);
    true
}

/// Prints the command that resumes the session.
pub(crate) fn says_how_to_go_on(session: &Session) {
    out::note(how_to_go_on(session));
}

/// The hint with the command that resumes the session.
pub(crate) fn how_to_go_on(session: &Session) -> String {
    format!("`meanwhile chat --resume {}` resumes the session", session.id())
}
