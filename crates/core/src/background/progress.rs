//! Reads the progress that a command prints from the end of its output.
//!
//! Pure, and necessarily a guess: there is no standard, so this knows the formats of common tools. A match
//! counts only if its position or context indicates progress (the start of a line, brackets, a bar, a speed, a
//! word such as "downloading"), because a wrong number is worse than none.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use crate::background::ansi;
use crate::background::task::Progress;

/// How many lines at the end are searched. Earlier ones do not show the current progress.
const LINES: usize = 8;
/// Bytes at the end that are searched: far more than eight lines of a wide terminal.
const TAIL_BYTES: usize = 8 << 10;
/// Longest line that is searched, in bytes. Longer ones are data.
const LINE_BYTES: usize = 1 << 10;
/// Maximum bytes of the message.
const MESSAGE_BYTES: usize = 200;

/// The most recent progress in the last lines of an output. A carriage return ends a line too: tools redraw a
/// bar with it.
pub fn read_progress(tail_of_output: &str) -> Option<Progress> {
    let start = tail_of_output.len().saturating_sub(TAIL_BYTES);
    let tail = &tail_of_output.as_bytes()[start..];
    let plain = ansi::strip(tail);
    // The cut may split a character; its line is the oldest.
    let plain = String::from_utf8_lossy(&plain);
    let lines = plain.rsplit(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines.take(LINES).find_map(read_line)
}

fn read_line(line: &str) -> Option<Progress> {
    if line.len() > LINE_BYTES || !may_tell(line) {
        return None;
    }
    if let Some(percent) = read_percent(line).or_else(|| read_ratio(line)) {
        return Some(Progress { percent: Some(percent), message: Some(message(line)) });
    }
    let forms = &*FORMS;
    // pnpm shows no total, because it does not know it yet.
    forms.count.is_match(line).then(|| Progress { percent: None, message: Some(message(line)) })
}

/// Whether a line contains what every format needs. Most lines do not, and skip the patterns.
fn may_tell(line: &str) -> bool {
    line.contains(['%', '/'])
        || line.contains(" of ")
        || line.starts_with(['[', '(', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
        || line.starts_with("Progress:")
}

/// The line without its bar, which a client draws itself.
fn message(line: &str) -> String {
    let text = FORMS.bar.replace_all(line, " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = if text.is_empty() { line } else { &text };
    let fits = |&(at, c): &(usize, char)| at + c.len_utf8() <= MESSAGE_BYTES;
    text.char_indices().take_while(fits).map(|(_, c)| c).collect()
}

/// The patterns, compiled when a task first writes output. `regex-lite`, because with `regex` they took 2 to 5
/// MB, more than the rest of an idle daemon, and a few short lines need no speed.
struct Forms {
    /// `45%`, `45.3 %`, with the characters directly before and after.
    percent: Regex,
    /// A drawn bar.
    bar: Regex,
    /// A transfer's speed or remaining time.
    speed: Regex,
    /// Words that indicate progress.
    word: Regex,
    /// Words that indicate another percentage.
    other: Regex,
    /// Words that indicate that two numbers are not progress.
    count_of_other: Regex,
    /// The continuation of a sentence after a percentage at its start.
    prose: Regex,
    /// `curl`'s meter: a percentage, and three times at the end.
    curl: Regex,
    /// `n/m` in the supported formats, the most reliable first.
    ratios: Vec<Regex>,
    /// `12 MB/80 MB`, `12.3/80.1 MB`.
    sizes: Regex,
    /// A bar of `#` and dots without a number.
    fill: Regex,
    /// pnpm's progress line.
    count: Regex,
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("a pattern of this module is valid");
    let n = "([0-9][0-9,]*)";
    let nouns = "(?i:step|tests?|files?|chunks?|shards?|epoch|batch|pages?|parts?|layers?|tasks?|\
         stages?|items?|modules?|packages?|crates?|objects?|targets?|jobs?|rows?|records?|images?|\
         building|compiling|compiled|downloading|downloaded|processing|processed|running|\
         installing|installed|linking|fetching|fetched|copying|uploading|uploaded|progress|\
         completed|finished|done)";
    Forms {
        percent: regex(r"(^|[^0-9A-Za-z.,+/_-])([0-9]{1,3})(?:\.[0-9]+)?[ ]?%([^0-9A-Za-z%]|$)"),
        bar: regex(
            r"[\[(|<]?(?:[=#]{2,}[>\-. ]*|[=#]?>[\-. ]{3,}|[█▓▒░━╸╺▏▎▍▌▋▊▉■□▰▱⣿⠂⡀]{2,}[ ]*)[\])|>]?",
        ),
        speed: regex(r"(?i)[0-9] ?[kmgt]?i?b(?:ytes)?/s(?:ec)?\b|\beta\b|\b[0-9.]+[km]?it/s\b"),
        word: regex(
            r"(?i)\b(?:progress|complete|completed|done|finished|(?:down|up)load(?:ing|ed)?|install(?:ing|ed)?|build(?:ing)?|compil(?:ing|ed)|extract(?:ing|ed)?|unpack(?:ing|ed)?|receiving|resolving|counting|compressing|writing|updating|checking|cloning|fetching|transferring|processing|processed|copying|linking|loading|converting|encoding|training|indexing|scanning|syncing|verifying|pulling|pushing|reading(?: package)?|generating|exporting|rendering|analy[sz]ing|importing|migrating|bundling|optimi[sz]ing)\b",
        ),
        other: regex(
            r"(?i)\b(?:cpu|mem|memory|ram|disk|heap|swap|usage|used|idle|coverage|covered|branches|statements|packet loss|faster|slower|smaller|larger|bigger|fewer|accuracy|confidence|battery|discount|probability|hit rate|tests passed|compared|threshold|opacity|width|height)\b",
        ),
        count_of_other: regex(
            r"(?i)\b(?:retry|retrying|retries|attempts?|try|tries|score|rated)\b|[0-9] +[a-z]+ failed\b",
        ),
        prose: regex(
            r"(?i)^\s*(?:of\s+[^0-9~\s]|off\b|more\b|less\b|chance\b|sure\b|increase|decrease|reduction|compat|legit|pure\b|free\b|safe\b|is\b|are\b|was\b|were\b)",
        ),
        curl: regex(
            r"^([0-9]{1,3}) +[0-9.]+[kMGTP]? +[0-9]{1,3} +[0-9.]+[kMGTP]? .*(?:[0-9-]+:[0-9-]{2}:[0-9-]{2} +){2,3}",
        ),
        ratios: vec![
            // ninja, yarn, bazel, ghc; docker with the stage's name.
            regex(&format!(r"\[ *(?:[A-Za-z][A-Za-z0-9_.-]* +)?{n} ?(?:/| of ) ?{n}\]")),
            // cargo: a bar followed by the numbers.
            regex(&format!(r"[=#>\-. ][\])|] *{n}/{n}(?:$|[\s:,])")),
            regex(&format!(r"\( *{n} ?(?:/|of) ?{n} *\)")),
            // ctest, keras, or only the numbers. Not a date, which is followed by a time or a word.
            regex(&format!(r"^{n}/{n}(?:$|: | *\[| +(?:Test|test|files?|tests?|OK|PASS|FAIL)\b)")),
            // meson.
            regex(&format!(
                r"^{n}/{n} .+ (?:OK|FAIL|SKIP|TIMEOUT|ERROR|EXPECTEDFAIL) +[0-9.]+ ?s\b"
            )),
            regex(&format!(
                r"\b{nouns}(?::| \([0-9]+\):)? +#?{n} ?(?:/| of ) ?{n}(?:$|[\s:,;)\].])"
            )),
            regex(&format!(r"(?:^|[\s(]){n} ?(?:/| of ) ?{n} +{nouns}\b")),
        ],
        sizes: regex(
            r"(?:^|[\s\[(])([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?i?B)? ?/ ?([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?i?B)(?:$|[\s,)\]])",
        ),
        fill: regex(r"^[\[(]([#█=]+)([.⠂░-]*)[\])]"),
        count: regex(r"^Progress: resolved [0-9]+, reused [0-9]+, downloaded [0-9]+"),
    }
});

/// A percentage at a position where tools print their progress.
fn read_percent(line: &str) -> Option<u8> {
    let forms = &*FORMS;
    if let Some(found) = forms.curl.captures(line) {
        return group(&found, 1).filter(|&percent| percent <= 100);
    }
    let has_bar = forms.bar.is_match(line);
    if !has_bar && forms.other.is_match(line) {
        return None;
    }
    forms.percent.captures_iter(line).find_map(|found| {
        let percent: u8 = group(&found, 2).filter(|&percent| percent <= 100)?;
        let whole = found.get(0)?;
        let (before, after) = (found.get(1)?.as_str(), found.get(3)?.as_str());
        let rest = &line[whole.end() - after.len()..];
        if forms.prose.is_match(rest) {
            return None;
        }
        let lead = line[..whole.start() + before.len()].trim_end();
        let is_bracketed = (lead.ends_with('[') || lead.ends_with('('))
            && rest.trim_start().starts_with([']', ')'])
            && !ends_sentence(lead, rest);
        let is_told = has_bar
            || is_bracketed
            || lead.is_empty()
            || forms.speed.is_match(line)
            || forms.word.is_match(line) && !is_sentence(lead);
        is_told.then_some(percent)
    })
}

/// Whether a percentage in brackets only annotates prose: "12 passed (85%) of them".
fn ends_sentence(lead: &str, rest: &str) -> bool {
    lead.ends_with('(')
        && rest.trim_start_matches([' ', ')']).starts_with(|c: char| c.is_lowercase())
}

/// Whether the text before a percentage is part of a sentence rather than a label: "reduced the size of the
/// download by". Labels are short and do not end with a preposition or the like.
fn is_sentence(lead: &str) -> bool {
    let last = lead.rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
    matches!(
        last,
        "by" | "to" | "about" | "only" | "least" | "than" | "the" | "of" | "over" | "under" | "up"
    ) || lead.split_whitespace().count() > 8
}

/// The percentage from two numbers, at a position where tools print progress.
fn read_ratio(line: &str) -> Option<u8> {
    let forms = &*FORMS;
    if forms.count_of_other.is_match(line) {
        return None;
    }
    let of_numbers = forms.ratios.iter().find_map(|form| {
        form.captures_iter(line).find_map(|found| percent_of(group(&found, 1)?, group(&found, 2)?))
    });
    let of_sizes = || {
        let found = forms.sizes.captures(line).filter(|_| !forms.other.is_match(line))?;
        let total_unit = found.get(4)?.as_str();
        let done_unit = found.get(2).map_or(total_unit, |unit| unit.as_str());
        let done = size(found.get(1)?.as_str(), done_unit)?;
        percent_of(done, size(found.get(3)?.as_str(), total_unit)?)
    };
    let of_fill = || {
        let found = forms.fill.captures(line)?;
        let done = found.get(1)?.as_str().chars().count();
        let left = found.get(2)?.as_str().chars().count();
        // A few dots or signs alone are decoration in a log.
        (done + left >= 8 && left > 0).then(|| percent_of(done as u64, (done + left) as u64))?
    };
    of_numbers.or_else(of_sizes).or_else(of_fill)
}

fn percent_of(done: u64, total: u64) -> Option<u8> {
    if total == 0 || done > total {
        return None;
    }
    u8::try_from(u128::from(done) * 100 / u128::from(total)).ok()
}

/// A number in a match, without its thousands separators.
fn group<T: std::str::FromStr>(found: &Captures<'_>, index: usize) -> Option<T> {
    found.get(index)?.as_str().replace(',', "").parse().ok()
}

/// A size in bytes.
fn size(number: &str, unit: &str) -> Option<u64> {
    let base: f64 = if unit.contains('i') { 1_024.0 } else { 1_000.0 };
    let power = match unit.bytes().next()? {
        b'k' | b'K' => 1,
        b'M' => 2,
        b'G' => 3,
        b'T' => 4,
        _ => 0,
    };
    let bytes = number.parse::<f64>().ok()? * base.powi(power);
    // The patterns match only digits and a dot, and a cast saturates.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    Some(bytes as u64)
}
