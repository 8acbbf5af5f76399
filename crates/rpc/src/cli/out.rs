//! The only writer of standard output, and the properties of standard output and standard error.
//!
//! All results go to standard output through [`Out`]; remarks for people go to standard error through [`note`]. This
//! module knows nothing about tasks. A closed output (`meanwhile logs ID | head`) is [`Failure::ClosedOutput`], never
//! a panic.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::failure::Failure;

/// The styles of text. Without colours they are not used.
pub(crate) mod style {
    use super::{AnsiColor, Style};

    pub(crate) const PLAIN: Style = Style::new();
    pub(crate) const BOLD: Style = Style::new().bold();
    pub(crate) const DIM: Style = Style::new().dimmed();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
    pub(crate) const LIVE: Style = AnsiColor::Cyan.on_default();
    pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
    pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();
}

/// Whether standard output was closed when the program started. The standard library opens `/dev/null` in its place
/// before `main`, so this cannot be checked later.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "only a constructor runs before the standard library starts")]
// SAFETY: the loader calls each entry of this section once, before `main`, with no other thread;
// the function makes one system call and sets a flag.
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

#[expect(unsafe_code, reason = "a descriptor that may be closed has only a number")]
extern "C" fn look_at_stdout() {
    // SAFETY: fcntl(2) with F_GETFD takes two numbers and touches no memory.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT_WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

/// The writer of standard output.
pub(crate) struct Out {
    stdout: io::BufWriter<io::StdoutLock<'static>>,
    /// Whether standard output itself is a terminal.
    pub(crate) terminal: bool,
    /// Whether standard output is a terminal that supports colours.
    pub(crate) colour: bool,
    /// The width to fit; `None` if the output is not a terminal, and nothing is cut.
    pub(crate) width: Option<usize>,
}

impl Out {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let colour = wants_colour(&stdout);
        let terminal = stdout.is_terminal();
        let width = terminal
            .then(|| console::Term::stdout().size_checked())
            .flatten()
            .map(|(_, columns)| usize::from(columns));
        Self { stdout: io::BufWriter::new(stdout.lock()), terminal, colour, width }
    }

    /// Fails if standard output is closed: for commands that remove something after it is written.
    pub(crate) fn must_be_open(&self) -> Result<(), Failure> {
        match STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Failure::new("standard output is closed, so the results would be lost")
                .hint("`> /dev/null` takes the results out of the queue unread")),
        }
    }

    /// Writes bytes unchanged.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes)?;
        Ok(())
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// Writes one JSON document on a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
        self.line("")?;
        // A reader of JSON lines processes each one immediately.
        self.flush()
    }

    /// Flushes the output. Called before the program waits, and at its end.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        Ok(())
    }

    /// Text in a style, or unstyled if colours are off.
    pub(crate) fn paint<T: fmt::Display>(&self, style: Style, text: T) -> Painted<T> {
        paint(self.colour, style, text)
    }
}

/// Lets libraries that draw write to the same output.
impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Text with an optional style.
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.style.render(), self.text, self.style.render_reset())
    }
}

/// Text in a style if `colour`.
pub(crate) fn paint<T: fmt::Display>(colour: bool, style: Style, text: T) -> Painted<T> {
    Painted { style: if colour { style } else { style::PLAIN }, text }
}

/// Whether a stream is a terminal that supports colours, and they are not disabled (`NO_COLOR`, `CLICOLOR`,
/// `TERM=dumb`).
fn wants_colour(stream: &impl anstream::stream::RawStream) -> bool {
    !matches!(AutoStream::choice(stream), ColorChoice::Never)
}

/// Whether standard output uses colours.
pub(crate) fn stdout_colour() -> bool {
    wants_colour(&io::stdout())
}

/// Whether standard error uses colours.
pub(crate) fn stderr_colour() -> bool {
    wants_colour(&io::stderr())
}

/// Prints a remark for a person on standard error. Errors are ignored.
pub(crate) fn note(text: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints a remark if standard error is a terminal.
pub(crate) fn remark(text: impl fmt::Display) {
    if io::stderr().is_terminal() {
        note(paint(stderr_colour(), style::DIM, text));
    }
}
