//! The line that is typed, and the screen above it.
//!
//! Owns the one thread that reads the keyboard. It reads a line only when it was told to go on, so
//! that the terminal is always as it was found when this program leaves. Everything that is written
//! while a line is typed goes through the editor, which draws the line anew below it.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, ExternalPrinter, Prompt};
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, reason};

/// Before what is typed.
const SIGN: &str = "› ";
/// Lines of history that are kept.
const HISTORY: usize = 1_000;
/// Printed to have the line drawn anew: the editor has to be given a whole row, and this one is none.
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
    go_on: std_mpsc::Sender<()>,
    screen: Screen,
    interactive: bool,
    before: Option<Termios>,
}

/// The screen above the line that is typed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Screen {
    printer: Arc<Mutex<dyn ExternalPrinter + Send>>,
    status: Arc<Mutex<String>>,
    interactive: bool,
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
            let screen = Screen { printer: Arc::new(Mutex::new(Plain)), status, interactive };
            let reader = move || read_plain(&sender);
            start(reader)?;
            return Ok(Self { lines, go_on, screen, interactive, before: None });
        }
        let before = tcgetattr(&stdin).ok();
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
        let screen = Screen { printer: Arc::new(Mutex::new(printer)), status, interactive };
        let reader = move || read(editor, &history, &sender, &told);
        start(reader)?;
        Ok(Self { lines, go_on, screen, interactive, before })
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
        // Nobody listens any more only at the end.
        let _ = self.go_on.send(());
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let stdin = std::io::stdin();
            // A terminal that is gone needs nothing back.
            let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, before);
        }
    }
}

fn start(reader: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    // Blocked in a read at the end, it dies with the process.
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(reader)
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
                // A history that cannot be kept is no reason to stop talking.
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

/// Lines from something that is no terminal.
fn read_plain(lines: &mpsc::Sender<Line>) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        if lines.blocking_send(Line::Text(line)).is_err() {
            return;
        }
    }
    // Nobody listens any more only at the end.
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
            // Nobody looks: rows are lines as they came.
            false => usize::MAX,
        }
    }

    fn out(&self, text: String) {
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        // A screen that is gone is noticed where lines are read.
        let _ = printer.print(text);
    }
}

/// Columns of the terminal, less one: some terminals go on to the next row by themselves.
fn columns() -> usize {
    usize::from(console::Term::stdout().size().1).saturating_sub(1).max(20)
}

/// Standard output that is no terminal.
struct Plain;

impl ExternalPrinter for Plain {
    fn print(&mut self, text: String) -> rustyline::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }
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
        // Around the lock of standard output, which the other thread holds. A screen that is gone is
        // noticed where lines are read.
        let _ = nix::unistd::write(std::io::stdout(), text.as_bytes());
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
        // Only a line that is drawn anew with each key is drawn anew at its end.
        true
    }
}
