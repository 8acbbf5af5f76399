//! The files a command is connected to, and the text that stands in the line for one.

use super::{Parser, Redirect, Simple, Word};

/// A here-document whose body comes after the next line break.
#[derive(Debug)]
pub(super) struct HereDoc {
    delimiter: String,
    strip_tabs: bool,
    expands: bool,
}

impl Parser<'_> {
    /// `2>`: digits right before a redirection.
    pub(super) fn is_numbered_redirect(&self) -> bool {
        let digits = (0..).take_while(|&i| self.peek_at(i).is_some_and(|c| c.is_ascii_digit()));
        let count = digits.count();
        count > 0 && matches!(self.peek_at(count), Some('<' | '>'))
    }

    pub(super) fn redirect(&mut self, simple: &mut Simple) -> Result<(), String> {
        if self.take("<<<") {
            self.skip_blanks()?;
            self.script.is_fed |= self.word()?.is_dynamic();
        } else if self.take("<<-") {
            self.heredoc(true)?;
        } else if self.take("<<") {
            self.heredoc(false)?;
        } else if self.take("<&") {
            match self.target()?.literal() {
                Some(fd) if is_descriptor(&fd) => {}
                _ => return Err("`<&` with something else than a number".to_owned()),
            }
        } else if self.take(">&") {
            let target = self.target()?;
            if !target.literal().is_some_and(|fd| is_descriptor(&fd)) {
                simple.redirects.push(Redirect::Write(target));
            }
        } else if self.take("<>") || self.take(">>") || self.take(">|") || self.take(">") {
            let target = self.target()?;
            simple.redirects.push(Redirect::Write(target));
        } else if self.take("<") {
            let target = self.target()?;
            simple.redirects.push(Redirect::Read(target));
        }
        Ok(())
    }

    pub(super) fn target(&mut self) -> Result<Word, String> {
        self.skip_blanks()?;
        match self.peek() {
            Some('<' | '>') if self.peek_at(1) == Some('(') => self.word(),
            None | Some('\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '#') => {
                Err("a redirection without its file".to_owned())
            }
            Some(_) => self.word(),
        }
    }

    fn heredoc(&mut self, strip_tabs: bool) -> Result<(), String> {
        let word = self.target()?;
        let unusual = || "a here-document with an unusual delimiter".to_owned();
        let text = word.literal().ok_or_else(unusual)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.is_empty() || !text.chars().all(plain) {
            return Err(unusual());
        }
        let expands = match word.bare() {
            Some(_) => true,
            None if word.is_quoted() => false,
            None => return Err(unusual()),
        };
        self.heredocs.push(HereDoc { delimiter: text, strip_tabs, expands });
        Ok(())
    }

    /// The bodies of the here-documents named in the line that just ended.
    pub(super) fn read_heredocs(&mut self) -> Result<(), String> {
        for heredoc in std::mem::take(&mut self.heredocs) {
            let (mut body, mut trouble) = (String::new(), None);
            loop {
                if self.at >= self.chars.len() {
                    trouble = Some("a here-document without its end");
                    break;
                }
                let rest = self.chars.get(self.at..).unwrap_or_default();
                let line: String = rest.iter().take_while(|c| **c != '\n').collect();
                self.at = (self.at + line.chars().count() + 1).min(self.chars.len());
                let shown = if heredoc.strip_tabs { line.trim_start_matches('\t') } else { &line };
                if shown == heredoc.delimiter {
                    break;
                }
                if heredoc.expands && line.ends_with('\\') {
                    // Whether the next line may then be the end is not the same everywhere.
                    trouble = Some("a here-document with a line that goes on in the next");
                }
                body.push_str(&line);
                body.push('\n');
            }
            if heredoc.expands {
                self.expand_heredoc(&body)?;
            }
            if let Some(why) = trouble {
                return Err(why.to_owned());
            }
        }
        Ok(())
    }

    /// What is substituted in the body of a here-document is run.
    fn expand_heredoc(&mut self, body: &str) -> Result<(), String> {
        let mut parser = Parser {
            chars: body.chars().collect(),
            at: 0,
            script: &mut *self.script,
            heredocs: Vec::new(),
            depth: self.depth,
        };
        let mut word = Word::default();
        while let Some(c) = parser.peek() {
            match c {
                '$' => parser.dollar(&mut word, true)?,
                '`' => parser.backticks(&mut word, true)?,
                '\\' => parser.at += 2,
                _ => parser.at += 1,
            }
        }
        self.script.is_fed |= word.is_dynamic();
        Ok(())
    }
}

/// `1` or `-`, as after `>&`.
fn is_descriptor(text: &str) -> bool {
    text == "-" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()))
}
