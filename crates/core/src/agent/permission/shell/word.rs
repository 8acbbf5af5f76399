//! The words of a line: what is quoted, what is expanded, and what only the shell will know.

use super::{End, Parser};

/// A word as it stands in a line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Word {
    /// Its characters after quotes are removed, without what is expanded, and whether each was
    /// quoted.
    chars: Vec<(char, bool)>,
    /// Some of it stands in quotes, were it nothing.
    has_quotes: bool,
    /// Part of it is known only when it runs.
    is_expanded: bool,
    /// It is a process substitution and nothing else.
    pub(crate) is_process: bool,
}

impl Word {
    /// A word nobody knows before it runs.
    pub(crate) fn unknown() -> Self {
        Self { is_expanded: true, ..Self::default() }
    }

    /// Its characters, whatever they come to.
    pub(crate) fn text(&self) -> String {
        self.chars.iter().map(|(c, _)| c).collect()
    }

    /// The text of a word that is the same for the command as for the reader: nothing in it is
    /// expanded.
    pub(crate) fn literal(&self) -> Option<String> {
        let plain = !self.is_dynamic() && !self.is_glob() && !self.starts_with_tilde();
        plain.then(|| self.text())
    }

    /// The text of a literal word without any quotes: only such a word is one of the grammar's.
    pub(crate) fn bare(&self) -> Option<String> {
        (!self.has_quotes).then(|| self.literal()).flatten()
    }

    /// All of it is quoted.
    pub(super) fn is_quoted(&self) -> bool {
        self.chars.iter().all(|(_, quoted)| *quoted)
    }

    /// Part of it is known only when it runs (other than by the names of files).
    pub(crate) fn is_dynamic(&self) -> bool {
        // `a=~`: bash expands it, others don't. `~"x"`: a name, or not.
        let tilde = |pair: &[(char, bool)]| matches!(pair, [('=' | ':', _), ('~', false)]);
        let named_home = self.starts_with_tilde()
            && self.chars.get(1).is_some_and(|second| *second != ('/', false));
        let is_brace = self.chars.contains(&('{', false))
            && self.chars != [('{', false), ('}', false)]
            && self.chars.len() > 1;
        self.is_expanded || is_brace || named_home || self.chars.windows(2).any(tilde)
    }

    /// It stands for the names of files. A bracket that is not closed stands for itself.
    pub(crate) fn is_glob(&self) -> bool {
        let has = |c: char| self.chars.contains(&(c, false));
        has('*') || has('?') || (has('[') && has(']'))
    }

    /// It begins with the home directory.
    pub(crate) fn starts_with_tilde(&self) -> bool {
        self.chars.first() == Some(&('~', false))
    }

    /// `NAME=value`. An error is an assignment that is not understood.
    pub(super) fn assignment(&self) -> Result<Option<(String, Word)>, String> {
        let Some(equals) = self.chars.iter().position(|(c, _)| *c == '=') else { return Ok(None) };
        let (name, value) = self.chars.split_at(equals);
        if name.is_empty() || name.iter().chain(&value[..1]).any(|(_, quoted)| *quoted) {
            return Ok(None);
        }
        let text: String = name.iter().map(|(c, _)| c).collect();
        if text.contains('[') {
            return Err("an assignment to a part of an array".to_owned());
        }
        let text = text.strip_suffix('+').unwrap_or(&text);
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !text.starts_with(first) || !text.chars().all(|c| first(c) || c.is_ascii_digit()) {
            return Ok(None);
        }
        let value = Word { chars: value[1..].to_vec(), ..self.clone() };
        Ok(Some((text.to_owned(), value)))
    }
}

impl Parser<'_> {
    /// One word; there is one.
    pub(super) fn word(&mut self) -> Result<Word, String> {
        let mut word = Word::default();
        let begin = self.at;
        if matches!(self.peek(), Some('<' | '>')) && self.peek_at(1) == Some('(') {
            self.at += 2;
            self.nested()?;
            word.is_expanded = true;
            word.is_process = true;
        }
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\\' => match self.peek_at(1) {
                    Some('\n') => {
                        self.skip_joint()?;
                        continue;
                    }
                    Some(next) => {
                        word.chars.push((next, true));
                        word.has_quotes = true;
                        self.at += 2;
                    }
                    None => return Err("a backslash at its end".to_owned()),
                },
                '\'' => self.single_quotes(&mut word)?,
                '"' => self.double_quotes(&mut word)?,
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backticks(&mut word, false)?,
                c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                    return Err(format!("the character {c:?}"));
                }
                c => {
                    word.chars.push((c, false));
                    self.at += 1;
                }
            }
            word.is_process = false;
        }
        if self.at == begin {
            return Err("a word is missing".to_owned());
        }
        if word.is_process && matches!(self.peek(), Some('(')) {
            return Err("a bracket among words".to_owned());
        }
        Ok(word)
    }

    fn single_quotes(&mut self, word: &mut Word) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err("a quote that is not closed".to_owned()),
                Some('\'') => break,
                Some(c) => self.quoted_char(word, c)?,
            }
        }
        self.at += 1;
        word.has_quotes = true;
        Ok(())
    }

    fn quoted_char(&mut self, word: &mut Word, c: char) -> Result<(), String> {
        if c == '\n' {
            self.continued()?;
        }
        if c == '\0' {
            return Err("a NUL".to_owned());
        }
        word.chars.push((c, true));
        self.at += 1;
        Ok(())
    }

    fn double_quotes(&mut self, word: &mut Word) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err("a quote that is not closed".to_owned()),
                Some('"') => break,
                Some('\\') => match self.peek_at(1) {
                    Some('\n') => {
                        self.skip_joint()?;
                    }
                    Some(c @ ('$' | '`' | '"' | '\\')) => {
                        word.chars.push((c, true));
                        self.at += 2;
                    }
                    Some(_) | None => {
                        word.chars.push(('\\', true));
                        self.at += 1;
                    }
                },
                Some('$') => self.dollar(word, true)?,
                Some('`') => self.backticks(word, true)?,
                Some(c) => self.quoted_char(word, c)?,
            }
        }
        self.at += 1;
        word.has_quotes = true;
        Ok(())
    }

    /// What begins with `$`.
    pub(super) fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), String> {
        self.at += 1;
        match self.peek() {
            Some('(') if self.peek_at(1) == Some('(') => {
                self.at += 2;
                // With a name in it, bash would run what is in that variable's subscripts.
                while self.peek().is_some_and(|c| c.is_ascii_digit() || "+-*/% ".contains(c)) {
                    self.at += 1;
                }
                if !self.take("))") {
                    return Err("arithmetic with more than numbers".to_owned());
                }
                word.is_expanded = true;
            }
            Some('(') => {
                self.at += 1;
                self.nested()?;
                word.is_expanded = true;
            }
            Some('{') => {
                self.at += 1;
                self.parameter(word)?;
            }
            Some('[') => return Err("`$[` is arithmetic in bash only".to_owned()),
            Some(c @ ('\'' | '"')) if !quoted => {
                return Err(format!("`${c}` means something in bash only"));
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                word.is_expanded = true;
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                word.is_expanded = true;
            }
            Some(_) | None => word.chars.push(('$', true)),
        }
        Ok(())
    }

    /// `${..}`, of which only what all shells read alike is taken, and nothing that sets a variable.
    fn parameter(&mut self, word: &mut Word) -> Result<(), String> {
        let begin = self.at;
        while self.peek().is_some_and(|c| c != '}') {
            self.at += 1;
        }
        let inner: String = self.chars.get(begin..self.at).unwrap_or_default().iter().collect();
        if !self.take("}") {
            return Err("a `${` that is not closed".to_owned());
        }
        let unknown = || format!("the expansion `${{{inner}}}`");
        let body = inner.strip_prefix('#').filter(|rest| !rest.is_empty()).unwrap_or(&inner);
        let name: String =
            body.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let rest = body.get(name.len()..).unwrap_or_default();
        let operators = [":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"];
        let argument = match rest {
            "" => "",
            _ => operators.iter().find_map(|it| rest.strip_prefix(it)).ok_or_else(unknown)?,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*?,:=@%+# ".contains(c);
        if name.is_empty() || !argument.chars().all(plain) {
            return Err(unknown());
        }
        word.is_expanded = true;
        Ok(())
    }

    /// What stands between backticks.
    pub(super) fn backticks(&mut self, word: &mut Word, quoted: bool) -> Result<(), String> {
        self.deeper()?;
        self.at += 1;
        let begin = self.at;
        while self.peek().is_some_and(|c| c != '`') {
            self.at += 1;
        }
        let inner: Vec<char> = self.chars.get(begin..self.at).unwrap_or_default().to_vec();
        if !self.take("`") {
            return Err("a backtick that is not closed".to_owned());
        }
        if inner.contains(&'\\') || (quoted && inner.contains(&'"')) {
            return Err("quotes within backticks".to_owned());
        }
        if inner.contains(&'\n') {
            self.continued()?;
        }
        let mut parser = Parser {
            chars: inner,
            at: 0,
            script: &mut *self.script,
            heredocs: Vec::new(),
            depth: self.depth,
        };
        parser.list(End::Line)?;
        word.is_expanded = true;
        self.depth -= 1;
        Ok(())
    }
}
