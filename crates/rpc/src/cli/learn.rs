//! `meanwhile learn`: a lesson, played with keys.
//!
//! Three chapters on the real engine: a loop with commands beside it, where to run a command, and which model call
//! sees a result. No answer is stored here: the second chapter uses the core's rule, and the third runs the scenario
//! and reads the session's trace.
//!
//! Everything happens in a temporary [`Scratch`]. However the player exits, by a key, Ctrl-C or a signal, the same
//! cleanup runs: the terminal is restored, tasks are stopped, and the directory is deleted.

mod clock;
mod conductor;
mod draining;
mod face;
mod json;
mod lanes;
mod lesson;
mod pen;
mod placing;
mod scenario;
mod scratch;
mod screen;
mod session;
mod timeline;

use meanwhile_core::background::Events;
use meanwhile_core::background::words::reason;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args;
use super::failure::Failure;
use super::out::Out;
use lesson::Lesson;
use scratch::Scratch;
use screen::Screen;

/// Runs `meanwhile learn`: plays the chapters, or prints them as JSON.
pub(crate) fn run(args: args::Learn) -> Result<u8, Failure> {
    if !args.json
        && let Some(lack) = screen::lacks()
    {
        return Err(Failure::new(format!("`meanwhile learn` needs a terminal: {lack}"))
            .hint("`meanwhile learn --json` prints its questions and answers")
            .hint("`meanwhile demo` shows what its first chapter shows as lines"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {}", reason(&error))))?;
    let result = runtime.block_on(stay(args));
    runtime.shutdown_background();
    result
}

/// Opens the scratch directory, plays or prints the chapters in it, and deletes it, whatever the result.
async fn stay(args: args::Learn) -> Result<u8, Failure> {
    // Handle signals before anything exists that has to be cleaned up.
    let mut endings = Endings::listen()?;
    let questions = placing::questions(placing::history());
    let (scratch, mut events) = Scratch::open().await?;
    let work = async {
        match args.json {
            true => print(&scratch, &mut endings, args.chapter, &questions).await,
            false => {
                let chapter = args.chapter.unwrap_or(1);
                play(&scratch, &mut events, &mut endings, chapter, questions).await
            }
        }
    };
    let result = work.await;
    let closed = scratch.close().await;
    let code = result?;
    closed.map(|()| code)
}

/// Prints the questions and answers of one chapter, or of all.
async fn print(
    scratch: &Scratch,
    endings: &mut Endings,
    chapter: Option<u8>,
    questions: &[placing::Question],
) -> Result<u8, Failure> {
    let is_wanted = |number| chapter.is_none_or(|only| only == number);
    let draining = match is_wanted(3) {
        false => None,
        true => tokio::select! {
            code = endings.next() => return Ok(code),
            played = json::played(scratch) => Some(played?),
        },
    };
    let placing = is_wanted(2).then(|| json::asked(questions));
    let mut out = Out::new();
    out.json(&json::Lesson { placing, draining })?;
    Ok(0)
}

/// Plays the chapters until the player exits. Returns the program's exit code.
async fn play(
    scratch: &Scratch,
    events: &mut Events,
    endings: &mut Endings,
    chapter: u8,
    questions: Vec<placing::Question>,
) -> Result<u8, Failure> {
    let mut lesson = Lesson::open(scratch, chapter, questions).await?;
    let left = {
        let mut screen = Screen::open()?;
        lesson.run(&mut screen, events, endings).await
    };
    let last = lesson.close().await;
    if left.is_ok() {
        // Ignore errors: the terminal may be gone.
        let mut out = Out::new();
        let _told = last.iter().try_for_each(|line| out.line(line)).and_then(|()| out.flush());
    }
    left
}

/// The signals that end the program, each with its exit code: 128 plus its number, as in shells.
struct Endings([(Signal, u8); 3]);

impl Endings {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind: SignalKind| {
            let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX);
            signal(kind).map(|signal| (signal, code)).map_err(|error| {
                Failure::new(format!("cannot listen for signals: {}", reason(&error)))
            })
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// The exit code for the next signal. Cancel-safe.
    async fn next(&mut self) -> u8 {
        let [(a, a_code), (b, b_code), (c, c_code)] = &mut self.0;
        tokio::select! {
            _ = a.recv() => *a_code,
            _ = b.recv() => *b_code,
            _ = c.recv() => *c_code,
        }
    }
}
