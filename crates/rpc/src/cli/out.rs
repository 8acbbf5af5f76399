//! The one writer of standard output, and what is known about the two screens.
//!
//! Everything the command line prints for a program to read goes through [`Out`]; remarks for a
//! person go to standard error through [`note`]. Nothing here knows tasks. A reader that went away
//! (`meanwhile logs ID | head`) is [`Failure::ClosedOutput`], never a panic.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::failure::Failure;

/// How pieces of text look. Without colours every style is empty.
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

/// Whether standard output was closed when the program was started. The standard library opens
/// `/dev/null` in its place before `main`, and what is written there reaches no reader.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "only a constructor runs before the standard library's start")]
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

/// Standard output.
pub(crate) struct Out {
    stdout: io::BufWriter<io::StdoutLock<'static>>,
    /// Whether standard output itself is a terminal.
    pub(crate) terminal: bool,
    /// Whether standard output is a terminal that wants colours.
    pub(crate) colour: bool,
    /// The width to fit to; `None` where no terminal shows it, and nothing is cut.
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

    /// Refuses to go on where standard output is closed: for a command that takes something away once
    /// it is written.
    pub(crate) fn must_be_open(&self) -> Result<(), Failure> {
        match STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Failure::new("standard output is closed, so that nothing would be read")
                .hint("`> /dev/null` takes the results out of the queue unread")),
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes)?;
        Ok(())
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// One JSON document on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
        self.line("")?;
        // A reader of JSON lines acts on each as it comes.
        self.flush()
    }

    /// Hands everything to the reader. Called before the program waits, and at its end.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        Ok(())
    }

    /// Text in a style, or without one where colours are not wanted.
    pub(crate) fn paint<T: fmt::Display>(&self, style: Style, text: T) -> Painted<T> {
        paint(self.colour, style, text)
    }
}

/// For libraries that draw: what they write is output as well.
impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Text that may have a style.
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

/// Whether a stream is a terminal that wants colours (`NO_COLOR`, `CLICOLOR`, `TERM=dumb`).
fn wants_colour(stream: &impl anstream::stream::RawStream) -> bool {
    !matches!(AutoStream::choice(stream), ColorChoice::Never)
}

/// Whether standard output is a terminal that wants colours.
pub(crate) fn stdout_colour() -> bool {
    wants_colour(&io::stdout())
}

/// Whether standard error is a terminal that wants colours.
pub(crate) fn stderr_colour() -> bool {
    wants_colour(&io::stderr())
}

/// A remark for a person, on standard error. That it is not read is not a failure.
pub(crate) fn note(text: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A remark that only makes sense to a person who looks at the screen.
pub(crate) fn remark(text: impl fmt::Display) {
    if io::stderr().is_terminal() {
        note(paint(stderr_colour(), style::DIM, text));
    }
}
