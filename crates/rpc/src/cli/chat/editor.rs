//! The line that is typed, and the screen above it.
//!
//! Owns two threads. The one that reads the keyboard reads a line only when it was told to go on, so
//! that the terminal is always as it was found when this program leaves. Everything that is written
//! while a line is typed goes through the editor, which draws the line again below it; between two
//! lines it may take its time, so a thread of its own waits for it.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::Duration;

use meanwhile_core::background::words::reason;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, ExternalPrinter, Prompt};
use tokio::sync::mpsc;

use crate::cli::failure::Failure;

/// Before what is typed.
const SIGN: &str = "› ";
/// Lines of history that are kept.
const HISTORY: usize = 1_000;
/// How long the last words may take to the screen.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Printed to have the line drawn again: the editor has to be given a whole row, and this one is none.
const STILL: &str = "\x1b[A\n";

/// What the keyboard gave.
#[derive(Debug)]
pub(super) enum Line {
    /// A line.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the end of standard input.
    End,
}

/// The line that is typed. Dropped, it gives the terminal back as it was.
pub(super) struct Editor {
    lines: mpsc::Receiver<Line>,
    /// `None` once no more lines are wanted.
    go_on: Option<std_mpsc::Sender<()>>,
    screen: Screen,
    interactive: bool,
    before: Option<Termios>,
}

/// The screen above the line that is typed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Screen {
    queue: std_mpsc::Sender<ScreenJob>,
    status: Arc<Mutex<String>>,
    interactive: bool,
}

/// What the thread that writes is asked.
enum ScreenJob {
    /// Write this.
    Write(String),
    /// Say when everything before is written.
    Tell(std_mpsc::Sender<()>),
}

impl Editor {
    /// Begins to read lines, with the history of this file.
    pub(super) fn open(history: PathBuf) -> Result<Self, Failure> {
        let stdin = std::io::stdin();
        let interactive = stdin.is_terminal()
            && std::io::stdout().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let broken =
            |error: ReadlineError| Failure::new(format!("cannot use the terminal: {error}"));
        let (sender, lines) = mpsc::channel(1);
        let (go_on, told) = std_mpsc::channel();
        let status = Arc::new(Mutex::new(String::new()));
        if !interactive {
            let screen = Screen { queue: writer(None)?, status, interactive };
            let reader = move || read_plain(&sender);
            start("keyboard", reader)?;
            return Ok(Self { lines, go_on: Some(go_on), screen, interactive, before: None });
        }
        let before = tcgetattr(&stdin).ok();
        if let Some(mut quiet) = before.clone() {
            // Between two lines as well, keys are for the next line: none is shown twice, none ends
            // this program, none is lost.
            let ours =
                LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
            quiet.local_flags.remove(ours);
            // A terminal that cannot do that can still be typed on.
            let _ = tcsetattr(&stdin, SetArg::TCSANOW, &quiet);
        }
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(broken)?
            .auto_add_history(true)
            // The moving line is drawn as a colour would be, also where there are none.
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor =
            rustyline::Editor::<Moving, FileHistory>::with_config(config).map_err(broken)?;
        editor.set_helper(Some(Moving { status: status.clone(), ..Moving::default() }));
        // There is none the first time.
        let _ = editor.load_history(&history);
        let printer = editor.create_external_printer().map_err(broken)?;
        let screen = Screen { queue: writer(Some(Box::new(printer)))?, status, interactive };
        let reader = move || read(editor, &history, &sender, &told);
        start("keyboard", reader)?;
        Ok(Self { lines, go_on: Some(go_on), screen, interactive, before })
    }

    /// Whether a person types.
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The screen.
    pub(super) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// The next line. Cancel-safe. None is read before [`Editor::go_on`].
    pub(super) async fn next(&mut self) -> Line {
        self.lines.recv().await.unwrap_or(Line::End)
    }

    /// Lets the next line be typed.
    pub(super) fn go_on(&self) {
        if let Some(go_on) = &self.go_on {
            // The receiver is gone only at the end.
            let _ = go_on.send(());
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // The keyboard's thread ends, and what waited for its next line is written.
        self.go_on = None;
        let (written, told) = std_mpsc::channel();
        if self.screen.queue.send(ScreenJob::Tell(written)).is_ok() {
            // A terminal that takes nothing is not waited for.
            let _ = told.recv_timeout(LAST_WORDS);
        }
        if let Some(before) = &self.before {
            let stdin = std::io::stdin();
            // A terminal that is gone needs nothing back.
            let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, before);
        }
    }
}

/// Starts the thread that writes, through the editor where there is one.
fn writer(
    mut editor: Option<Box<dyn ExternalPrinter + Send>>,
) -> Result<std_mpsc::Sender<ScreenJob>, Failure> {
    let (queue, orders) = std_mpsc::channel();
    let write = move || {
        while let Ok(order) = orders.recv() {
            match order {
                ScreenJob::Write(text) => {
                    let through = editor.as_mut().map(|editor| editor.print(text.clone()));
                    // Without an editor, or after its end.
                    if !matches!(through, Some(Ok(()))) {
                        write_out(&text);
                    }
                }
                // Who asked may have stopped waiting.
                ScreenJob::Tell(written) => drop(written.send(())),
            }
        }
    };
    start("screen", write)?;
    Ok(queue)
}

/// Writes around the lock of standard output, which the main thread holds.
fn write_out(text: &str) {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    // A screen that is gone is noticed where lines are read.
    drop(stdout.and_then(|stdout| std::fs::File::from(stdout).write_all(text.as_bytes())));
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    // Blocked at the end, it dies with the process.
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started
        .map(drop)
        .map_err(|error| Failure::new(format!("cannot start a thread: {}", reason(&error))))
}

fn read(
    mut editor: rustyline::Editor<Moving, FileHistory>,
    history: &std::path::Path,
    lines: &mpsc::Sender<Line>,
    told: &std_mpsc::Receiver<()>,
) {
    loop {
        let line = match editor.readline(&TwoRows) {
            Ok(text) => {
                // A history that cannot be kept is not a reason to stop talking.
                let _ = editor.append_history(history);
                Line::Text(text)
            }
            Err(ReadlineError::Interrupted) => {
                editor.helper().into_iter().for_each(Moving::wipe);
                Line::Interrupted
            }
            Err(ReadlineError::Signal(_)) => continue,
            Err(_) => Line::End,
        };
        let is_end = matches!(line, Line::End);
        if lines.blocking_send(line).is_err() || is_end || told.recv().is_err() {
            return;
        }
    }
}

/// Lines from something that is not a terminal.
fn read_plain(lines: &mpsc::Sender<Line>) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        if lines.blocking_send(Line::Text(line)).is_err() {
            return;
        }
    }
    // The receiver is gone only at the end.
    let _ = lines.blocking_send(Line::End);
}

impl Screen {
    /// Prints lines above the one that is typed.
    pub(super) fn print(&self, text: &str) {
        self.out(format!("{text}\n"));
    }

    /// Whether a person looks.
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Changes the moving line. Its width is to be the screen's.
    pub(super) fn status(&self, line: String) {
        {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            if *status == line {
                return;
            }
            *status = line;
        }
        self.out(STILL.to_owned());
    }

    /// Columns that a row may take.
    pub(super) fn width(&self) -> usize {
        match self.interactive {
            true => columns(),
            // No terminal: rows are lines as they came.
            false => usize::MAX,
        }
    }

    fn out(&self, text: String) {
        // The thread that writes ends after every holder of this.
        let _ = self.queue.send(ScreenJob::Write(text));
    }
}

/// Columns of the terminal, less one: some terminals go on to the next row by themselves.
fn columns() -> usize {
    usize::from(console::Term::stdout().size().1).saturating_sub(1).max(20)
}

/// The prompt: the moving line, and below it where is typed. Blank, as the editor measures it;
/// [`Moving`] draws the moving line in its place.
struct TwoRows;

impl Prompt for TwoRows {
    fn raw(&self) -> &str {
        "\n› "
    }
}

#[derive(Default)]
struct Moving {
    status: Arc<Mutex<String>>,
    /// The line was accepted: it is drawn for the last time, without the moving line.
    accepted: AtomicBool,
    /// Columns of what is typed.
    typed: AtomicUsize,
}

impl Moving {
    /// Takes the moving line away above a line that was interrupted, which is not drawn again.
    fn wipe(&self) {
        let typed = self.typed.load(Ordering::Relaxed) + console::measure_text_width(SIGN);
        let up = 2 + typed / (columns() + 1);
        let text = format!("\x1b[{up}A\r\x1b[2K\x1b[{up}B");
        write_out(&text);
    }
}

impl Helper for Moving {}

impl Completer for Moving {
    type Candidate = String;
}

impl Hinter for Moving {
    type Hint = String;
}

impl Validator for Moving {}

impl Highlighter for Moving {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        _prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.accepted.load(Ordering::Relaxed) {
            return Cow::Owned(format!("\n{SIGN}"));
        }
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Cow::Owned(format!("{}\n{SIGN}", status.trim_end()))
    }

    fn highlight_char(&self, line: &str, _pos: usize, kind: CmdKind) -> bool {
        self.typed.store(console::measure_text_width(line), Ordering::Relaxed);
        self.accepted.store(kind == CmdKind::ForcedRefresh, Ordering::Relaxed);
        // Only a line that is drawn again with each key is drawn again at its end.
        true
    }
}
