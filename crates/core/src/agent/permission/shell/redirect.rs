//! Redirections of a command, and here-documents.

use super::{Files, Parser, Simple, Word};

/// A here-document whose body follows the next line break.
#[derive(Debug)]
pub(super) struct HereDoc {
    delimiter: String,
    strip_tabs: bool,
    expands: bool,
}

impl Parser<'_> {
    /// Whether `<(` or `>(` comes next.
    pub(super) fn is_process(&self) -> bool {
        matches!(self.peek(), Some('<' | '>')) && self.peek_at(1) == Some('(')
    }

    /// Whether a redirection comes next: `<`, `>`, `&>`, or digits directly before one.
    pub(super) fn is_redirect(&self) -> bool {
        let digits = (0..).take_while(|&i| self.peek_at(i).is_some_and(|c| c.is_ascii_digit()));
        let next = self.peek_at(digits.count());
        matches!(next, Some('<' | '>')) && !self.is_process() || self.peek() == Some('&')
    }

    pub(super) fn redirect(&mut self, simple: &mut Simple) -> Result<(), String> {
        self.take_while(|c| c.is_ascii_digit());
        let with = ["<<<", "<<-", "<<", "<&", ">&", "&>>", "&>", "<>", ">>", ">|", "<", ">"];
        let with = with.into_iter().find(|it| self.take(it)).unwrap_or_default();
        self.skip_blanks()?;
        if matches!(self.peek(), Some('#')) || self.is_process() && with != "<" && with != ">" {
            return Err("a redirection without its file".to_owned());
        }
        let target = self.word()?;
        let is_number = |it: &str| it == "-" || it.chars().all(|c| c.is_ascii_digit());
        let is_descriptor = target.literal().is_some_and(|it| !it.is_empty() && is_number(it));
        match with {
            "<<<" => self.script.is_fed |= target.is_dynamic(),
            "<<" | "<<-" => self.heredoc(&target, with == "<<-")?,
            "<&" | ">&" if is_descriptor => {}
            "<&" => return Err("`<&` with something else than a number".to_owned()),
            "<" => simple.redirects.push((Files::Read, target)),
            _ => simple.redirects.push((Files::Write, target)),
        }
        Ok(())
    }

    fn heredoc(&mut self, word: &Word, strip_tabs: bool) -> Result<(), String> {
        let plain = |it: &&str| it.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let delimiter = word.literal().filter(|it| !it.is_empty()).filter(plain);
        let expands = word.bare().is_some();
        match delimiter.filter(|_| expands || word.is_quoted()) {
            None => Err("a here-document with an unusual delimiter".to_owned()),
            Some(it) => {
                self.heredocs.push(HereDoc { delimiter: it.to_owned(), strip_tabs, expands });
                Ok(())
            }
        }
    }

    /// Reads the bodies of the here-documents that the line just read has announced. Substitutions in a body are
    /// run.
    pub(super) fn read_heredocs(&mut self) -> Result<(), String> {
        for heredoc in std::mem::take(&mut self.heredocs) {
            let (mut body, mut ends) = (Vec::new(), false);
            while self.at < self.chars.len() {
                let line = self.take_while(|c| c != '\n');
                self.at += 1;
                let shown = if heredoc.strip_tabs { line.trim_start_matches('\t') } else { &line };
                ends = shown == heredoc.delimiter;
                if ends {
                    break;
                }
                body.extend(line.chars().chain(['\n']));
            }
            if heredoc.expands {
                let mut word = Word::default();
                self.within(&body, |parser| parser.quoted(&mut word, None))?;
                self.script.is_fed |= word.is_dynamic();
            }
            if !ends {
                return Err("a here-document without its end".to_owned());
            }
        }
        Ok(())
    }
}
