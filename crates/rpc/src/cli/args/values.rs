//! Parses single values of the command line, and the words after `spawn`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::background::Command as TaskCommand;
use meanwhile_core::limits;

use crate::config::parse_duration;
use crate::convert::signal;

/// How long a task outlives the last daemon. A type of its own, because `clap` gives `Option` the meaning "may be
/// left out".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Linger(pub(crate) Option<Duration>);

pub(super) fn parse_linger(text: &str) -> Result<Linger, String> {
    match text {
        "never" => Ok(Linger(None)),
        time => parse_duration(time)
            .map(|time| Linger(Some(time)))
            .map_err(|error| format!("{error}, or `never`")),
    }
}

pub(super) fn parse_grace(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time > limits::STOP_GRACE_MAX {
        let most = limits::STOP_GRACE_MAX.as_secs() / 60;
        return Err(format!("`{text}` is too long: expected at most {most} minutes"));
    }
    Ok(time)
}

pub(super) fn parse_env(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("`{text}` names no variable: expected NAME=VALUE or NAME"));
    }
    Ok((name.to_owned(), value))
}

/// Parses a signal, such as `TERM`, `SIGTERM`, `term` or `15`.
pub(super) fn parse_signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>() {
        // signal(7): 1 to 64 on Linux.
        return match number {
            1..=64 => Ok(number),
            _ => Err(format!("`{text}` is not a signal: expected a number from 1 to 64")),
        };
    }
    signal::number(&text.to_ascii_uppercase()).ok_or_else(|| {
        format!("`{text}` is not a signal: expected a name such as TERM, or a number")
    })
}

/// The command that the words after `spawn` mean: one word with shell characters is a line for the shell, anything
/// else a program and its arguments.
pub(crate) fn task_command(words: Vec<OsString>) -> TaskCommand {
    match words.as_slice() {
        [line] => match line.to_str().filter(|line| needs_shell(line)) {
            Some(line) => TaskCommand::Shell(line.to_owned()),
            None => TaskCommand::Argv(words),
        },
        _ => TaskCommand::Argv(words),
    }
}

/// The same with `--shell`, which takes exactly one line.
pub(crate) fn shell_command(shell: PathBuf, words: &[OsString]) -> Result<TaskCommand, String> {
    match words {
        [line] => match line.to_str() {
            Some(line) => Ok(TaskCommand::ShellOf { shell, line: line.to_owned() }),
            None => Err("a line for `--shell` must be UTF-8".to_owned()),
        },
        words => Err(format!(
            "`--shell` takes one line, and {} arguments were given; quote them as one",
            words.len()
        )),
    }
}

/// Whether a shell would interpret a word instead of using it as the name of a program. POSIX, "Shell Command
/// Language", 2.2 Quoting, lists the characters; `~`, `!`, `{`, `}` and `=` are special at the start of a word or in
/// some shells.
fn needs_shell(word: &str) -> bool {
    word.chars().any(|c| c.is_whitespace() || "|&;<>()$`\\\"'*?[]#~=!{}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_with_shell_characters_is_a_line() {
        let check = |words: &[&str], shell: bool| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let expected = match shell {
                true => TaskCommand::Shell(words[0].to_str().expect("it is UTF-8").to_owned()),
                false => TaskCommand::Argv(words.clone()),
            };
            assert_eq!(task_command(words), expected);
        };
        check(&["make"], false);
        check(&["./run.sh"], false);
        check(&["cargo", "test"], false);
        check(&["echo", "a && b"], false);
        check(&["cargo test"], true);
        check(&["true;false"], true);
        check(&["a|b"], true);
        check(&["$HOME/bin/x"], true);
        check(&["~/bin/x"], true);
        check(&["X=1"], true);
        check(&[""], false);
    }

    #[test]
    fn signals_go_by_name_or_number() {
        let check =
            |text: &str, expected: Option<i32>| assert_eq!(parse_signal(text).ok(), expected);
        check("TERM", Some(15));
        check("SIGTERM", Some(15));
        check("term", Some(15));
        check("9", Some(9));
        check("64", Some(64));
        for bad in ["", "0", "65", "-9", "SIGNOTHING", "SIG"] {
            check(bad, None);
        }
    }

    #[test]
    fn variables_are_set_or_taken_out() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let expected =
                expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
            assert_eq!(parse_env(text).ok(), expected, "{text:?}");
        };
        check("A=1", Some(("A", Some("1"))));
        check("A=", Some(("A", Some(""))));
        check("A=b=c", Some(("A", Some("b=c"))));
        check("A", Some(("A", None)));
        check("=1", None);
        check("", None);
    }

    #[test]
    fn linger_and_grace_have_their_words() {
        assert_eq!(parse_linger("never"), Ok(Linger(None)));
        assert_eq!(parse_linger("1h"), Ok(Linger(Some(Duration::from_secs(3_600)))));
        assert!(parse_linger("forever").is_err_and(|error| error.ends_with("or `never`")));
        assert_eq!(parse_grace("0s"), Ok(Duration::ZERO));
        assert!(parse_grace("2h").is_err());
    }
}
