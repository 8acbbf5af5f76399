//! The terminal, which the lesson takes over and restores.
//!
//! Owns raw mode, the alternate screen and the thread that reads the keyboard. Output goes through [`Out`], one frame
//! at a time, and only where it differs from the previous frame.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meanwhile_core::background::words::reason;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute, queue};
use tokio::sync::mpsc;

use super::pen::{Pen, Theme};
use crate::cli::failure::Failure;
use crate::cli::out::{self, Out};

/// How long the keyboard thread waits for a key before it checks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// The maximum number of keys to buffer. The terminal keeps further ones.
const KEYS: usize = 64;

/// An input from the keyboard or the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character, or Enter as `\n`.
    Char(char),
    Escape,
    /// The person pressed Ctrl-C.
    Interrupt,
    /// The size of the window has changed.
    Resized,
    /// The terminal is gone.
    Gone,
}

/// Standard output, until the terminal is gone. The drawing library would panic when it is dropped if it cannot
/// write, so later writes succeed without effect, and `gone` is set.
struct Ink {
    out: Out,
    gone: Rc<Cell<bool>>,
}

impl Ink {
    fn noted<T>(&self, written: io::Result<T>, otherwise: T) -> io::Result<T> {
        Ok(written.unwrap_or_else(|_| {
            self.gone.set(true);
            otherwise
        }))
    }
}

impl Write for Ink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.noted(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = Write::flush(&mut self.out);
        self.noted(flushed, ())
    }
}

/// The terminal. Dropping this restores it.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Ink>>,
    gone: Rc<Cell<bool>>,
    theme: Theme,
    keys: mpsc::Receiver<Key>,
    wanted: Arc<AtomicBool>,
}

/// What the terminal lacks for the lesson; `None` if it is suitable.
pub(super) fn lacks() -> Option<&'static str> {
    if !io::stdin().is_terminal() {
        return Some("standard input is not a terminal");
    }
    if !io::stdout().is_terminal() {
        return Some("standard output is not a terminal");
    }
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    is_dumb.then_some("`TERM` names a terminal that cannot be drawn on")
}

impl Screen {
    pub(super) fn open() -> Result<Self, Failure> {
        let broken = |error: io::Error| {
            give_back();
            Failure::new(format!("cannot use the terminal: {}", reason(&error)))
        };
        enable_raw_mode().map_err(broken)?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Restore the terminal first, so that the message can be read.
            give_back();
            before(panic);
        }));
        let gone = Rc::new(Cell::new(false));
        let mut out = Ink { out: Out::new(), gone: gone.clone() };
        execute!(out, EnterAlternateScreen, cursor::Hide).map_err(broken)?;
        let terminal = Terminal::new(CrosstermBackend::new(out)).map_err(broken)?;
        let wanted = Arc::new(AtomicBool::new(true));
        let (sender, keys) = mpsc::channel(KEYS);
        let still = wanted.clone();
        let reader = std::thread::Builder::new().name("keyboard".to_owned());
        reader.spawn(move || read(&sender, &still)).map_err(broken)?;
        let theme = Theme { colour: out::stdout_colour() };
        Ok(Self { terminal, gone, theme, keys, wanted })
    }

    /// The next input. Cancel-safe.
    pub(super) async fn key(&mut self) -> Key {
        if self.gone.get() {
            return Key::Gone;
        }
        self.keys.recv().await.unwrap_or(Key::Gone)
    }

    /// Draws a frame, with synchronized output if the terminal supports it.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Pen<'_>)) -> Result<(), Failure> {
        let theme = self.theme;
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            paint(&mut Pen::new(frame.buffer_mut(), area, theme));
        })?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        give_back();
    }
}

/// Restores the terminal. Errors are ignored, because it may be gone.
fn give_back() {
    let mut out = io::stdout();
    let _ = execute!(out, EndSynchronizedUpdate, LeaveAlternateScreen, cursor::Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// Reads the keyboard until `wanted` is false.
fn read(keys: &mpsc::Sender<Key>, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        let key = match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => match event::read() {
                Ok(event) => match key(&event) {
                    Some(key) => key,
                    None => continue,
                },
                Err(_) => Key::Gone,
            },
            Err(_) => Key::Gone,
        };
        if keys.blocking_send(key).is_err() || key == Key::Gone {
            return;
        }
    }
}

/// The input for an event of the terminal; `None` for events without a meaning here.
fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(key) if key.kind != KeyEventKind::Release => typed(key),
        Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
        Event::Paste(_) => None,
    }
}

fn typed(key: &KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if let KeyCode::Char(c) = key.code {
        return match (is_control, c) {
            (false, c) => Some(Key::Char(c)),
            (true, 'c') => Some(Key::Interrupt),
            (true, _) => None,
        };
    }
    match key.code == KeyCode::Enter {
        true => Some(Key::Char('\n')),
        false => (key.code == KeyCode::Esc).then_some(Key::Escape),
    }
}
