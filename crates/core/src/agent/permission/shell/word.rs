//! The words of a line: their quotes and expansions.

use super::Parser;

/// Marks a quoted character in [`Word::raw`]. As a control character, it does not occur in a line.
const QUOTED: char = '\u{1}';
/// Marks an expansion.
const EXPANDED: char = '\u{2}';

/// A word of a line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Word {
    /// The characters after removal of quotes, without expansions.
    text: String,
    /// The same, but with a mark for each quoted character and each expansion.
    raw: String,
    /// Whether any part is in quotes, even an empty one.
    has_quotes: bool,
}

impl Word {
    /// A word that is only known at run time.
    pub(crate) fn unknown() -> Self {
        Self { raw: EXPANDED.to_string(), ..Self::default() }
    }

    /// The characters, without expansions.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a word without expansions: the command will get exactly this text.
    pub(crate) fn literal(&self) -> Option<&str> {
        let raw = &self.raw;
        // An unclosed bracket is literal.
        let is_glob = raw.contains(['*', '?']) || raw.contains('[') && raw.contains(']');
        (!is_glob && !raw.starts_with('~') && !self.is_dynamic()).then_some(&self.text)
    }

    /// The text of a literal word without quotes. A shell takes only such a word as a keyword.
    pub(super) fn bare(&self) -> Option<&str> {
        self.literal().filter(|_| !self.has_quotes)
    }

    /// Whether all of it is quoted.
    pub(super) fn is_quoted(&self) -> bool {
        self.has_quotes && self.raw.chars().all(|c| c == QUOTED)
    }

    /// Whether a part is only known at run time, other than through file name patterns or the home directory.
    pub(crate) fn is_dynamic(&self) -> bool {
        let raw = &self.raw;
        let is_brace = raw.contains('{') && raw != "{}" && raw.len() > 1;
        let of_another = raw.starts_with('~') && raw.len() > 1 && !raw.starts_with("~/");
        // `a=~`: bash expands it, other shells do not.
        let tilde = ["=~", ":~", "\u{1}~"].iter().any(|it| raw.contains(it));
        raw.contains(EXPANDED) || is_brace || of_another || tilde
    }

    /// The path below the home directory, if the word starts with `~` and has no other expansion.
    pub(crate) fn of_home(&self) -> Option<&str> {
        let is_plain = !self.is_dynamic() && !self.raw.contains(['*', '?', '[']);
        let rest = self.raw.starts_with('~').then(|| self.text.trim_start_matches(['~', '/']));
        rest.filter(|_| is_plain)
    }

    /// Parses `NAME=value`. An error is an assignment that is not understood.
    pub(super) fn assignment(&self) -> Result<Option<(String, Word)>, String> {
        let Some((name, raw)) = self.raw.split_once('=') else { return Ok(None) };
        let name = name.strip_suffix('+').unwrap_or(name);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && name.contains('[') {
            return Err("an assignment to a part of an array".to_owned());
        }
        if !begins || !name.chars().all(plain) {
            return Ok(None);
        }
        // Before the `=`, both texts are the same.
        let text = self.text.split_once('=').map_or("", |(_, value)| value).to_owned();
        Ok(Some((name.to_owned(), Word { text, raw: raw.to_owned(), ..self.clone() })))
    }

    fn push(&mut self, c: char, raw: char) {
        self.text.push(c);
        self.raw.push(raw);
    }
}

impl Parser<'_> {
    /// Parses a word, which must exist.
    pub(super) fn word(&mut self) -> Result<Word, String> {
        let mut word = Word::default();
        let begin = self.at;
        if self.is_process() {
            self.at += 2;
            self.nested()?;
            word.raw.push(EXPANDED);
        }
        while let Some(c) = self.peek() {
            match c {
                '<' | '>' if self.is_process() => {
                    return Err("a bracket among words".to_owned());
                }
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\\' if self.joins_letters(&word) => {
                    self.continued()?;
                    self.at += 2;
                }
                // The blank after the line break ends the word.
                '\\' if self.peek_at(1) == Some('\n')
                    && matches!(self.peek_at(2), Some(' ' | '\t')) =>
                {
                    break;
                }
                '\\' => {
                    let next = self.peek_at(1).filter(|c| *c != '\n');
                    word.push(next.ok_or("a line break within a word")?, QUOTED);
                    word.has_quotes = true;
                    self.at += 2;
                }
                '\'' => {
                    self.at += 1;
                    let text = self.take_while(|c| c != '\'');
                    if !self.take("'") || text.contains('\0') {
                        return Err("a quote that is not closed, or a NUL in it".to_owned());
                    }
                    if text.contains('\n') {
                        self.continued()?;
                    }
                    text.chars().for_each(|c| word.push(c, QUOTED));
                    word.has_quotes = true;
                }
                '"' => {
                    self.at += 1;
                    self.quoted(&mut word, Some('"'))?;
                    word.has_quotes = true;
                }
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backticks(&mut word, false)?,
                c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                    return Err(format!("the character {c:?}"));
                }
                c => {
                    word.push(c, c);
                    self.at += 1;
                }
            }
        }
        if self.at == begin {
            return Err("a word is missing".to_owned());
        }
        Ok(word)
    }

    /// Whether a backslash and a line break stand between two letters.
    fn joins_letters(&self, before: &Word) -> bool {
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        self.peek_at(1) == Some('\n')
            && is_letter(before.raw.chars().last())
            && is_letter(self.peek_at(2))
    }

    /// Parses text in which only `$`, backticks and backslashes are special, up to and including `end`.
    pub(super) fn quoted(&mut self, word: &mut Word, end: Option<char>) -> Result<(), String> {
        loop {
            match self.peek() {
                next if next == end => break,
                None | Some('\0') => {
                    return Err("a quote that is not closed, or a NUL in it".to_owned());
                }
                Some('\\') => match self.peek_at(1) {
                    Some('\n') => return Err("a line break within a quoted word".to_owned()),
                    Some(c @ ('$' | '`' | '"' | '\\')) => {
                        word.push(c, QUOTED);
                        self.at += 2;
                    }
                    Some(_) | None => {
                        word.push('\\', QUOTED);
                        self.at += 1;
                    }
                },
                Some('$') => self.dollar(word, true)?,
                Some('`') => self.backticks(word, true)?,
                Some(c) => {
                    if c == '\n' {
                        self.continued()?;
                    }
                    word.push(c, QUOTED);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Parses an expansion, after `$`.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.at += 1;
        match self.peek() {
            Some('(') if self.peek_at(1) == Some('(') => {
                self.at += 2;
                // bash would execute the subscripts in the value of a variable.
                self.take_while(|c| c.is_ascii_digit() || "+-*/% ".contains(c));
                if !self.take("))") {
                    return Err("arithmetic with more than numbers".to_owned());
                }
            }
            Some('(') => {
                self.at += 1;
                self.nested()?;
            }
            Some('{') => {
                self.at += 1;
                let inner = self.take_while(|c| c != '}');
                if !self.take("}") || !is_parameter(&inner) {
                    return Err(format!("the expansion `${{{inner}}}`"));
                }
            }
            Some('[') => return Err("`$[` is arithmetic in bash only".to_owned()),
            Some('\\') if self.peek_at(1) == Some('\n') => {
                return Err("a line break within an expansion".to_owned());
            }
            Some(c @ ('\'' | '"')) if !quoted => {
                return Err(format!("`${c}` means something in bash only"));
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => drop(self.take_while(is_name)),
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => self.at += 1,
            Some(_) | None => {
                word.push('$', QUOTED);
                return Ok(());
            }
        }
        word.raw.push(EXPANDED);
        Ok(())
    }

    /// Parses a command in backticks.
    fn backticks(&mut self, word: &mut Word, quoted: bool) -> Result<(), String> {
        self.at += 1;
        let text = self.take_while(|c| c != '`');
        if !self.take("`") || text.contains('\\') || (quoted && text.contains('"')) {
            return Err("quotes within backticks, or none that closes them".to_owned());
        }
        if text.contains('\n') {
            self.continued()?;
        }
        let inner: Vec<char> = text.chars().collect();
        self.within(&inner, |parser| parser.list(None))?;
        word.raw.push(EXPANDED);
        Ok(())
    }
}

/// Whether all shells read the text inside `${..}` alike, and it neither sets a variable nor computes.
fn is_parameter(inner: &str) -> bool {
    let body = inner.strip_prefix('#').filter(|rest| !rest.is_empty()).unwrap_or(inner);
    let rest = body.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let operators = [":-", ":+", ":?", "-", "+", "?", "#", "%", "/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*?,:%+# ".contains(c);
    rest.len() < body.len()
        && (rest.is_empty() || operators.iter().any(|it| rest.starts_with(it)))
        && rest.chars().all(plain)
}
