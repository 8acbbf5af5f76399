//! The input line, and the screen above it.
//!
//! Owns two threads. One reads the keyboard, and reads a line only when it is told to, so that the terminal is always
//! restored when the program exits. The other writes: whatever is written while a line is typed goes through the
//! editor, which redraws the line below it; between two lines the editor may block, so it has a thread of its own.

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

/// The prompt in front of the input.
const SIGN: &str = "› ";
/// The number of lines kept in the history.
const HISTORY: usize = 1_000;
/// How long to wait for the last output to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Printed to make the editor redraw the line: it only prints whole rows, and this one leaves no visible row.
const STILL: &str = "\x1b[A\n";

/// What was read from the keyboard.
#[derive(Debug)]
pub(super) enum Line {
    /// A complete line.
    Text(String),
    /// The person pressed Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the end of standard input.
    End,
}

/// The input line. Dropping it restores the terminal.
pub(super) struct Editor {
    lines: mpsc::Receiver<Line>,
    /// `None` once no more lines will be read.
    go_on: Option<std_mpsc::Sender<()>>,
    screen: Screen,
    interactive: bool,
    before: Option<Termios>,
}

/// The screen above the input line. Cheap to clone.
#[derive(Clone)]
pub(super) struct Screen {
    queue: std_mpsc::Sender<ScreenJob>,
    status: Arc<Mutex<String>>,
    interactive: bool,
}

/// A request to the writing thread.
enum ScreenJob {
    /// Write this text.
    Write(String),
    /// Reply when everything before is written.
    Tell(std_mpsc::Sender<()>),
}

impl Editor {
    /// Starts to read lines, with the history in this file.
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
            // Between two lines, keys are kept for the next line: they are not echoed, do not interrupt the program,
            // and do not get lost.
            let ours =
                LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
            quiet.local_flags.remove(ours);
            // If the terminal does not support this, input still works.
            let _ = tcsetattr(&stdin, SetArg::TCSANOW, &quiet);
        }
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(broken)?
            .auto_add_history(true)
            // The editor draws the status line through its hook for colours, so they must be enabled even if the
            // output has none.
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor =
            rustyline::Editor::<Moving, FileHistory>::with_config(config).map_err(broken)?;
        editor.set_helper(Some(Moving { status: status.clone(), ..Moving::default() }));
        // Fails the first time, when the file does not exist.
        let _ = editor.load_history(&history);
        let printer = editor.create_external_printer().map_err(broken)?;
        let screen = Screen { queue: writer(Some(Box::new(printer)))?, status, interactive };
        let reader = move || read(editor, &history, &sender, &told);
        start("keyboard", reader)?;
        Ok(Self { lines, go_on: Some(go_on), screen, interactive, before })
    }

    /// Whether a person types at a terminal.
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(super) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// The next line. Cancel-safe. Waits for [`Editor::go_on`] before it reads.
    pub(super) async fn next(&mut self) -> Line {
        self.lines.recv().await.unwrap_or(Line::End)
    }

    /// Allows the next line to be typed.
    pub(super) fn go_on(&self) {
        if let Some(go_on) = &self.go_on {
            // The receiver is only dropped at the end.
            let _ = go_on.send(());
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // Ends the keyboard thread, and writes the output that waited for the next line.
        self.go_on = None;
        let (written, told) = std_mpsc::channel();
        if self.screen.queue.send(ScreenJob::Tell(written)).is_ok() {
            // Do not wait for a terminal that accepts no output.
            let _ = told.recv_timeout(LAST_WORDS);
        }
        if let Some(before) = &self.before {
            let stdin = std::io::stdin();
            // Fails if the terminal is gone.
            let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, before);
        }
    }
}

/// Starts the writing thread, which uses the editor if there is one.
fn writer(
    mut editor: Option<Box<dyn ExternalPrinter + Send>>,
) -> Result<std_mpsc::Sender<ScreenJob>, Failure> {
    let (queue, orders) = std_mpsc::channel();
    let write = move || {
        while let Ok(order) = orders.recv() {
            match order {
                ScreenJob::Write(text) => {
                    let through = editor.as_mut().map(|editor| editor.print(text.clone()));
                    // Without an editor, or after the editor's end, write directly.
                    if !matches!(through, Some(Ok(()))) {
                        write_out(&text);
                    }
                }
                // The receiver may have stopped waiting.
                ScreenJob::Tell(written) => drop(written.send(())),
            }
        }
    };
    start("screen", write)?;
    Ok(queue)
}

/// Writes without the lock of standard output, which the main thread holds.
fn write_out(text: &str) {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    // If the terminal is gone, reading a line reports it.
    drop(stdout.and_then(|stdout| std::fs::File::from(stdout).write_all(text.as_bytes())));
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    // A thread that is still blocked at the end dies with the process.
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
                // If the history cannot be saved, the chat continues.
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

/// Reads lines from an input that is not a terminal.
fn read_plain(lines: &mpsc::Sender<Line>) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        if lines.blocking_send(Line::Text(line)).is_err() {
            return;
        }
    }
    // The receiver is only dropped at the end.
    let _ = lines.blocking_send(Line::End);
}

impl Screen {
    /// Prints lines above the input line.
    pub(super) fn print(&self, text: &str) {
        self.out(format!("{text}\n"));
    }

    /// Whether the output goes to a person at a terminal.
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Changes the status line, which must be as wide as the screen.
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

    /// The number of columns in a row.
    pub(super) fn width(&self) -> usize {
        match self.interactive {
            true => columns(),
            // Without a terminal, lines are not wrapped.
            false => usize::MAX,
        }
    }

    fn out(&self, text: String) {
        // Does not fail: the writing thread outlives every sender.
        let _ = self.queue.send(ScreenJob::Write(text));
    }
}

/// The columns of the terminal, minus one, because some terminals wrap when the last one is used.
fn columns() -> usize {
    usize::from(console::Term::stdout().size().1).saturating_sub(1).max(20)
}

/// The prompt: the status line and, below it, the input. It is blank, because the editor measures it; [`Moving`]
/// draws the status line in its place.
struct TwoRows;

impl Prompt for TwoRows {
    fn raw(&self) -> &str {
        "\n› "
    }
}

#[derive(Default)]
struct Moving {
    status: Arc<Mutex<String>>,
    /// The line was accepted: it is drawn a last time, without the status line.
    accepted: AtomicBool,
    /// The columns of the typed text.
    typed: AtomicUsize,
}

impl Moving {
    /// Erases the status line above an interrupted line, which the editor does not redraw.
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
        // At its end, the editor redraws a line only if it redraws it with each key.
        true
    }
}
