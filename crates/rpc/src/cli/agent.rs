//! A session that the command line holds itself: how it is opened, driven and left.
//!
//! `run`, `chat` and `demo` differ in what they show; what they share is here. A [`Drive`] reads the
//! session's updates while something is awaited, because a session waits for its reader, and
//! turns Ctrl-C into what it means: the first ends the turn, the next one leaves.

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

/// What is asked of the session on the command line.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) flags: &'a args::AgentFlags,
    /// A person can be asked.
    pub(crate) can_ask: bool,
    /// What a task that ends while the agent is idle does; default: what is set.
    pub(crate) wake: Option<Wake>,
    /// Its tasks are to go on without us, for as long as they like.
    pub(crate) detaches: bool,
}

/// Opens the session: a new one, or the one to be resumed.
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

/// The session that is meant: the newest is `last`, another is named by its beginning.
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
        format!("`meanwhile chat --resume {id}` goes on with the one of `{from}`, which is gone")
    })))
}

/// The session whose name begins so.
async fn whole(background: &Background, beginning: &str) -> Result<String, Failure> {
    let all = Session::list(background, 0, u32::MAX).await.map_err(refused)?;
    let mut fits = all.iter().map(|info| info.id.as_str()).filter(|id| id.starts_with(beginning));
    match (fits.next(), fits.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "more than one session begins with `{}`; write more of its name",
            show::one_line(beginning)
        ))),
        // Its directory may be gone: then it is found by its whole name.
        (None, _) if is_whole(beginning) => Ok(beginning.to_owned()),
        (None, _) => Err(Failure::new(format!(
            "no session `{}` in this workspace",
            show::one_line(beginning)
        ))
        .hint("`meanwhile sessions` lists them; `last` is the newest")),
    }
}

/// Whether it is a whole name: a UUID.
fn is_whole(name: &str) -> bool {
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits = |(at, byte): (usize, u8)| match is_dash(at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    name.len() == 36 && name.bytes().enumerate().all(fits)
}

/// The workspace to work in: the one that is named; that of the session that is to be gone on with, if
/// it is named whole and its directory is there; this one.
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

/// An error of a session in the words of the command line.
pub(crate) fn refused(error: session::Error) -> Failure {
    match error {
        session::Error::Core(error) => error.into(),
        session::Error::Unknown(id) => {
            Failure::new(format!("no session `{}` in this workspace", show::one_line(&id)))
                .hint("`meanwhile sessions` lists them; `last` is the newest")
        }
        session::Error::EmptyPrompt => Failure::usage("the prompt is empty; expected some text"),
        session::Error::Busy { ref id, .. } => {
            let watch = format!("`meanwhile sessions --watch {id}` shows what is said there");
            Failure::new(error.to_string()).advise(hint::session(&error)).hint(watch)
        }
        session::Error::Closed(_) => Failure::new(error.to_string()).advise(hint::session(&error)),
    }
}

/// How something that was awaited came out.
#[derive(Debug)]
pub(crate) enum Driven<T> {
    /// It is done.
    Done(T),
    /// Ctrl-C, where there was no turn to end any more.
    Left,
}

/// Reads a session's updates while something is awaited.
pub(crate) struct Drive {
    pub(crate) session: Session,
    updates: Updates,
    /// It was loaded, and says over again what was said before.
    resumed: bool,
    /// A turn runs, and whether it was told to end.
    turn: Option<Ending>,
    /// What the reader of the updates must not await.
    asides: JoinSet<()>,
    /// Ctrl-C, from the first time something is awaited on: one that comes between two awaits waits
    /// for the next.
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

    /// Shows what was said before in a session that is resumed.
    pub(crate) async fn replay(&mut self, mut show: impl FnMut(Update)) {
        while self.resumed {
            let Some(update) = self.updates.next().await else { return };
            self.resumed = !is_resumed(&update);
            show(update);
        }
    }

    /// Awaits something and shows what the session says meanwhile.
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
                // What was said before the end is shown before the end is.
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

    /// The next update, to be shown by the caller. Cancel-safe.
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

    /// Whether a turn runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.is_some()
    }

    /// Ends the turn that runs. Returns whether there was one that had not been told before.
    pub(crate) fn cancel(&mut self) -> bool {
        if self.turn != Some(Ending::NotYet) {
            return false;
        }
        self.turn = Some(Ending::Told);
        let session = self.session.clone();
        // The session may wait for its updates to be read, so this is not the place to wait for it.
        self.asides.spawn(async move {
            // Closed already: then the turn has ended.
            let _ = session.cancel().await;
        });
        true
    }

    /// Closes the session. What it still says is not shown any more.
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

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Ctrl-C: to end what runs, or else to leave.
    ToStop,
    /// SIGTERM, SIGHUP: to leave.
    ToEnd,
}

/// The signals that end a command, from now on.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// The next one.
    pub(crate) async fn recv(&mut self) -> Option<Told> {
        tokio::select! {
            it = self.interrupt.recv() => it.map(|()| Told::ToStop),
            it = self.terminate.recv() => it.map(|()| Told::ToEnd),
            it = self.hangup.recv() => it.map(|()| Told::ToEnd),
        }
    }
}

/// Every signal that ends a command, from now on.
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

/// The next one, where there is a listener.
async fn next(interrupts: &mut Option<Interrupts>) -> Option<Told> {
    interrupts.as_mut()?.recv().await
}

/// Stops tasks, each with its whole tree.
pub(crate) async fn stop(
    background: &Background,
    tasks: &[Task],
    why: &str,
) -> Result<(), Failure> {
    for task in tasks {
        let cause = Cause { actor: Actor::Client, message: why.to_owned() };
        let how = Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause };
        match background.stop(task.id, how).await {
            // It ended by itself first.
            Ok(_) | Err(meanwhile_core::Error::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Tells what is left: tasks that run, results that were not delivered.
/// Returns whether anything is.
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
        1 => out::note("1 result waits and was not heard"),
        many => out::note(format_args!("{many} results wait and were not heard")),
    }
    says_how_to_go_on(session);
    true
}

/// Says with which command a session goes on.
pub(crate) fn says_how_to_go_on(session: &Session) {
    out::note(how_to_go_on(session));
}

/// With which command a session goes on.
pub(crate) fn how_to_go_on(session: &Session) -> String {
    format!("`meanwhile chat --resume {}` goes on from here", session.id())
}
