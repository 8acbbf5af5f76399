//! How a command that failed reports it to the person.
//!
//! Owns the two lines `error: …` and `hint: …` and the exit codes of failures. The errors of the background manager
//! are worded for every caller; here they get advice about the command line.

use std::fmt;
use std::io;
use std::process::ExitCode;

use meanwhile_core::background::words::reason;
use meanwhile_core::{Culprit, Error};

use super::out::{self, style};
use super::show::harmless;
use crate::config::ConfigError;
use crate::convert::hint;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A failure to report.
    Told {
        /// What was wrong, in lower case without a full stop.
        message: String,
        /// Advice on what to do, one line each.
        hints: Vec<String>,
        /// The exit code.
        code: u8,
    },
    /// The reader of standard output has closed it. Nothing is reported.
    ClosedOutput,
}

/// The exit code for an invalid command line, the same as `clap` uses.
pub(crate) const USAGE: u8 = 2;
/// The exit code for all other failures.
pub(crate) const FAILED: u8 = 1;

impl Failure {
    /// A failure that the command line did not cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), hints: Vec::new(), code: FAILED }
    }

    /// An error in the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), hints: Vec::new(), code: USAGE }
    }

    /// Adds a line of advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        match &mut self {
            Self::Told { hints, .. } => hints.push(hint.into()),
            Self::ClosedOutput => {}
        }
        self
    }

    /// Adds this advice, if there is any.
    #[must_use]
    pub(crate) fn advise(self, advice: Option<impl Into<String>>) -> Self {
        match advice {
            Some(advice) => self.hint(advice),
            None => self,
        }
    }

    /// Prints the failure on standard error.
    pub(crate) fn tell(&self) {
        let Self::Told { message, hints, .. } = self else { return };
        let colour = out::stderr_colour();
        // A message may quote a name or path that contains control characters.
        let tell = |style, word, text: &str| {
            out::note(format_args!("{} {}", out::paint(colour, style, word), harmless(text)));
        };
        tell(style::ERROR, "error:", message);
        for hint in hints {
            tell(style::HINT, "hint:", hint);
        }
    }

    /// The exit code of the program.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Told { code, .. } => ExitCode::from(*code),
            // Exits quietly, like other programs in a pipe whose reader has exited.
            Self::ClosedOutput => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { message, .. } => f.write_str(message),
            Self::ClosedOutput => f.write_str("no process reads the output"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedOutput;
        }
        Self::new(format!("cannot write to standard output: {}", reason(&error)))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            ConfigError::NoHome => failure.hint("set `HOME` to an absolute path"),
            ConfigError::Unreadable { .. } => {
                failure.hint("make the file readable for you, or move it away")
            }
            ConfigError::Bad { .. } => {
                failure.hint("correct the line, or remove it to get the default")
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let advice = hint::core(&error);
        match error {
            Error::Invalid { field, message } => Self::usage(format!("`{field}`: {message}")),
            Error::UnknownTask(id) => Self::new(format!("no task `{id}`"))
                .hint("`meanwhile ps --everywhere` lists all tasks"),
            Error::SpawnFailed { ref culprit, errno, .. } => {
                let advice = match (culprit, errno) {
                    (Culprit::Program, libc::ENOENT) => Some(
                        "programs are searched in PATH; a shell's builtin needs that shell: `sh -c 'BUILTIN'`",
                    ),
                    (Culprit::Directory(_), libc::ENOENT | libc::ENOTDIR) => Some(
                        "`--cwd` takes an existing directory; a relative one is in the current directory",
                    ),
                    (Culprit::Interpreter(_), _) => {
                        Some("install it, or correct the program's first line")
                    }
                    (Culprit::Program | Culprit::Directory(_), _) => None,
                };
                Self::new(error.to_string()).advise(advice)
            }
            Error::LimitReached { .. } | Error::CannotConfine(_) => {
                Self::new(error.to_string()).advise(advice)
            }
            Error::NotRunning { id, message } => {
                Self::new(format!("task `{id}` is not running: {message}"))
            }
            Error::StoreUnavailable(_) => Self::new(error.to_string())
                .advise(advice)
                .hint("`meanwhile doctor` checks the state directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_exit_code() {
        let check = |error: Error, expected: u8| {
            let text = error.to_string();
            let Failure::Told { code, .. } = Failure::from(error) else {
                panic!("`{text}` is not told")
            };
            assert_eq!(code, expected, "{text}");
        };
        let id = meanwhile_core::background::task::TaskId::random();
        check(Error::Invalid { field: "cwd".into(), message: "no".into() }, USAGE);
        check(Error::UnknownTask(id), FAILED);
        check(
            Error::SpawnFailed { command: "x".into(), culprit: Culprit::Program, errno: 2 },
            FAILED,
        );
        check(
            Error::LimitReached { limit: meanwhile_core::Limit::OpenFiles, message: "full".into() },
            FAILED,
        );
        check(Error::NotRunning { id, message: "it ended".into() }, FAILED);
        check(Error::CannotConfine("no".into()), FAILED);
        check(Error::unavailable(meanwhile_core::StoreFaultKind::ReadOnly, "read-only"), FAILED);
    }

    #[test]
    fn a_reader_that_left_is_not_an_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::ClosedOutput), "{failure:?}");
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(failure, Failure::Told { .. }), "{failure:?}");
    }
}
