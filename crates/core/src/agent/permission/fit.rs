//! Matches the start of a command against the words of a rule.

use super::shell::Word;
use super::{Effect, Rule};

/// Whether a command starts with the words of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The command does not match.
    No,
    /// Only known at run time, or there are options between the words.
    Perhaps,
    /// The command matches.
    Yes,
}

/// Whether a rule applies to a command.
pub(super) fn fit(rule: &Rule, words: &[Word]) -> Fit {
    if rule.prefix.is_none() {
        return Fit::Yes;
    }
    let Some(wanted) = rule.words() else { return Fit::No };
    if begins(&wanted, words, rule.effect) {
        return Fit::Yes;
    }
    if rule.effect != Effect::Allow && may_begin(&wanted, words) { Fit::Perhaps } else { Fit::No }
}

/// Whether an allow rule names both the variables that are set for a command and the command.
pub(super) fn fits_with(rule: &Rule, words: &[Word], set: &[(String, Word)]) -> bool {
    let set = set.iter().map(|(name, value)| Some(format!("{name}={}", value.literal()?)));
    let set: Option<Vec<String>> = set.collect();
    let (Some(set), Some(wanted)) = (set.filter(|set| !set.is_empty()), rule.words()) else {
        return false;
    };
    let rest = wanted.strip_prefix(set.as_slice()).filter(|rest| !rest.is_empty());
    rest.is_some_and(|rest| begins(rest, words, rule.effect))
}

fn begins(wanted: &[String], words: &[Word], effect: Effect) -> bool {
    let fits = |(at, (wanted, word)): (usize, (&String, &Word))| {
        word.literal().is_some_and(|it| it == wanted || at == 0 && is_same(effect, it, wanted))
    };
    wanted.len() <= words.len() && wanted.iter().zip(words).enumerate().all(fits)
}

/// A deny rule for a program also matches its full path; an allow rule matches only the exact name.
fn is_same(effect: Effect, name: &str, wanted: &str) -> bool {
    effect != Effect::Allow && name.rsplit_once('/').is_some_and(|(_, program)| program == wanted)
}

/// Whether a command may start with the words of a rule: a word is only known at run time, or there are options,
/// perhaps with a value, before the next word (`git -C x push`).
fn may_begin(wanted: &[String], words: &[Word]) -> bool {
    let (mut wanted, mut may_skip) = (wanted.iter().peekable(), false);
    for (at, word) in words.iter().enumerate() {
        let Some(next) = wanted.peek() else { return true };
        match word.literal() {
            None => return true,
            Some(it) if it == **next || at == 0 && is_same(Effect::Deny, it, next) => {
                wanted.next();
                may_skip = false;
            }
            Some(it) if at > 0 && it.starts_with('-') => may_skip = true,
            Some(_) if std::mem::take(&mut may_skip) => {}
            Some(_) => return false,
        }
    }
    wanted.peek().is_none()
}
