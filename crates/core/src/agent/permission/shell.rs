//! Lists the simple commands that a shell line would run, wherever they are in the line.
//!
//! This module owns the grammar. It reads a line both as bash and as a POSIX shell, because either may run it.
//! Where the two differ, and for everything unknown, it sets [`Script::hidden`] instead of guessing. It accepts
//! more than a shell does: a line with a syntax error may pass, because that runs nothing beyond the list. It
//! expands nothing and reads no file.
//!
//! It is handwritten because no library fits: `yash-syntax` is under the GPL, `conch-parser` is unmaintained,
//! `brush-parser` adds a test framework and two parser generators to the program, and `tree-sitter-bash` guesses
//! where it does not understand.

mod redirect;
mod word;

use std::collections::HashMap;

use super::files::Files;
use redirect::HereDoc;
pub(super) use word::Word;

/// Maximum nesting of substitutions and subshells; a deeper line counts as not understood.
const DEPTH_MAX: usize = 32;
/// Keywords after which a command may start.
const KEYWORDS: [&str; 12] =
    ["if", "then", "else", "elif", "fi", "do", "done", "{", "}", "!", "while", "until"];
/// Keywords that are not supported.
const UNREAD: [&str; 7] = ["case", "esac", "select", "function", "coproc", "[[", "]]"];

/// The commands that a line would run.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Every simple command of the line; those inside substitutions precede the command that contains them.
    pub(super) commands: Vec<Simple>,
    /// Why there may be more commands than those listed.
    pub(super) hidden: Option<String>,
    /// Whether a command gets an input text with expansions.
    pub(super) is_fed: bool,
    /// The functions that it defines. The commands in their bodies are listed, and so are those that call them.
    pub(super) functions: Vec<String>,
    /// The shells of the line, each as the index of its parent. Shell 0 is the outer shell, which is its own parent; each
    /// subshell `( )` and each substitution adds one.
    pub(super) shells: Vec<usize>,
    /// Whether some of its commands run conditionally or repeatedly.
    pub(super) has_blocks: bool,
}

/// When a command runs, judged by the operator before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Link {
    /// The command runs unconditionally.
    #[default]
    Start,
    /// The command runs only if the previous one succeeded: after `&&`.
    And,
    /// The command comes after `|` or `||`.
    Other,
}

/// One simple command. `for NAME in WORD..` counts as one, too.
#[derive(Debug, Default)]
pub(super) struct Simple {
    /// `NAME=value` before the command, or without a command.
    pub(super) assignments: Vec<(String, Word)>,
    /// The command and its arguments.
    pub(super) words: Vec<Word>,
    /// The files that it redirects from or to.
    pub(super) redirects: Vec<(Files, Word)>,
    /// The shell that it runs in: an index into [`Script::shells`].
    pub(super) shell: usize,
    /// When it runs.
    pub(super) link: Link,
    /// Whether the command runs in a process of its own, in a pipeline or in the background.
    pub(super) is_apart: bool,
}

/// Parses a line.
pub(super) fn parse(line: &str) -> Script {
    let mut script = Script { shells: vec![0], ..Script::default() };
    let chars: Vec<char> = line.chars().collect();
    let heredocs = Vec::new();
    let outcome = Parser { heredocs, ..Parser::new(&chars, &mut script, 0, 0) }.list(None);
    if let Err(why) = outcome {
        script.hidden.get_or_insert(why);
    }
    let mut calls: HashMap<&str, usize> = HashMap::new();
    for name in script.commands.iter().filter_map(|it| it.words.first()).map(Word::text) {
        *calls.entry(name).or_default() += 1;
    }
    // A function that calls itself twice is a fork bomb.
    if script.functions.iter().any(|name| calls.get(name.as_str()).is_some_and(|it| *it > 2)) {
        script.hidden.get_or_insert("a function may call itself again and again".to_owned());
    }
    script
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
    script: &'a mut Script,
    /// Here-documents whose bodies follow the next line break.
    heredocs: Vec<HereDoc>,
    depth: usize,
    /// The current shell, the index of the first command of the current list, and the link of the next command.
    /// `has_read` says whether a command was read since then.
    shell: usize,
    begun_at: usize,
    link: Link,
    has_read: bool,
}

impl<'a> Parser<'a> {
    fn new(chars: &'a [char], script: &'a mut Script, depth: usize, shell: usize) -> Self {
        let (begun_at, link, has_read) = (script.commands.len(), Link::Start, false);
        Self { chars, at: 0, script, heredocs: Vec::new(), depth, shell, begun_at, link, has_read }
    }
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.chars.get(self.at + offset).copied()
    }

    /// Consumes `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let taken = text.chars().enumerate().all(|(i, c)| self.peek_at(i) == Some(c));
        if taken {
            self.at += text.chars().count();
        }
        taken
    }

    /// Consumes characters while they fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let taken: Vec<char> = rest.iter().copied().take_while(|c| fits(*c)).collect();
        self.at += taken.len();
        taken.into_iter().collect()
    }

    /// Skips blanks, and line continuations between words. Elsewhere a shell joins the text on both sides of a
    /// continuation, which may change its meaning.
    fn skip_blanks(&mut self) -> Result<(), String> {
        let mut after_blank = self.at == 0 && self.depth == 0;
        loop {
            let joins = |c: char| "<>&|;()-\\\n".contains(c);
            match self.peek() {
                Some(' ' | '\t') => (self.at, after_blank) = (self.at + 1, true),
                Some('\\')
                    if self.peek_at(1) == Some('\n')
                        && (after_blank || !self.peek_at(2).is_some_and(joins)) =>
                {
                    self.continued()?;
                    self.at += 2;
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// A line break that ends no command. Shells disagree on where the body of a here-document starts after one.
    fn continued(&self) -> Result<(), String> {
        match self.heredocs.is_empty() {
            true => Ok(()),
            false => Err("a line break within the line of a here-document".to_owned()),
        }
    }

    /// Parses a part of the text by itself, one level deeper.
    fn within<T>(
        &mut self,
        chars: &[char],
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.depth >= DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        let (script, depth) = (&mut *self.script, self.depth + 1);
        let shell = script.shells.len();
        script.shells.push(self.shell);
        read(&mut Parser::new(chars, script, depth, shell))
    }

    /// Parses the operator between two commands.
    fn operator(&mut self) {
        let from = self.begun_at;
        let (shell, commands) = (self.shell, &mut self.script.commands);
        let own = commands.iter_mut().skip(from).filter(|it| it.shell == shell);
        let next = (self.chars.get(self.at), self.chars.get(self.at + 1));
        let (length, link) = match next {
            (Some('&'), Some('&')) => (2, Link::And),
            (Some('|'), Some('|')) => (2, Link::Other),
            (Some('|'), second) => {
                own.last().into_iter().for_each(|it| it.is_apart = true);
                (1 + usize::from(second == Some(&'&')), Link::Other)
            }
            (Some('&'), _) => {
                own.for_each(|it| it.is_apart = true);
                (1, Link::Start)
            }
            _ => (1, Link::Start),
        };
        self.at += length;
        self.begins(link);
    }

    fn begins(&mut self, link: Link) {
        (self.link, self.has_read) = (link, false);
        if link == Link::Start {
            self.begun_at = self.script.commands.len();
        }
    }

    /// Parses commands up to and including `end`, or to the end of the text.
    fn list(&mut self, end: Option<char>) -> Result<(), String> {
        loop {
            self.skip_blanks()?;
            let next = self.peek();
            match next {
                Some(c) if end == Some(c) => {
                    self.at += 1;
                    return Ok(());
                }
                None if end.is_some() => return Err("a bracket that is not closed".to_owned()),
                None if self.heredocs.is_empty() => return Ok(()),
                None => return Err("a here-document without its end".to_owned()),
                Some('\n') => {
                    self.at += 1;
                    if self.has_read {
                        self.begins(Link::Start);
                    }
                    self.read_heredocs()?;
                }
                Some('#') => drop(self.take_while(|c| c != '\n')),
                Some(')') => return Err("a `)` that closes nothing".to_owned()),
                Some('(') => {
                    self.at += 1;
                    self.has_read = true;
                    self.nested()?;
                }
                Some('&') if self.peek_at(1) == Some('>') => self.command()?,
                Some(';') if self.peek_at(1) == next => {
                    return Err("`;;` outside of a `case`".to_owned());
                }
                Some(';' | '&' | '|') => self.operator(),
                Some(_) => self.command()?,
            }
        }
    }

    /// Parses commands up to the closing `)`.
    fn nested(&mut self) -> Result<(), String> {
        if self.peek() == Some('(') {
            return Err("`((` is arithmetic in bash only".to_owned());
        }
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let taken = self.within(rest, |inner| {
            inner.list(Some(')'))?;
            match inner.heredocs.is_empty() {
                true => Ok(inner.at),
                false => Err("a here-document that ends outside of its bracket".to_owned()),
            }
        })?;
        if rest.iter().take(taken).any(|c| *c == '\n') {
            self.continued()?;
        }
        self.at += taken;
        Ok(())
    }

    /// Parses one simple command, or a keyword after which a command may start.
    fn command(&mut self) -> Result<(), String> {
        self.has_read = true;
        let mut simple = Simple::default();
        // After a redirection, no word is a keyword. A POSIX shell reads `&>` as two operators.
        let (mut begun, mut both) = (false, false);
        loop {
            self.skip_blanks()?;
            match self.peek() {
                None | Some('\n' | ';' | '|' | ')') => break,
                Some('&') if self.peek_at(1) != Some('>') => break,
                Some('#') => drop(self.take_while(|c| c != '\n')),
                Some('(') => {
                    let name = simple.words.first().filter(|_| simple.words.len() == 1 && !begun);
                    let name = name.filter(|_| simple.assignments.is_empty());
                    let name = name.and_then(Word::literal).ok_or("a bracket among words")?;
                    self.at += 1;
                    self.skip_blanks()?;
                    if !self.take(")") {
                        return Err("a bracket among words".to_owned());
                    }
                    self.script.functions.push(name.to_owned());
                    self.script.has_blocks = true;
                    return Ok(());
                }
                Some(_) if self.is_redirect() => {
                    begun = true;
                    both |= self.peek() == Some('&');
                    self.redirect(&mut simple)?;
                }
                Some(_) if both => return Err("words after `&>`".to_owned()),
                Some(_) => {
                    let word = self.word()?;
                    if let Some(set) = word.assignment()?.filter(|_| simple.words.is_empty()) {
                        simple.assignments.push(set);
                        continue;
                    }
                    let first = simple.words.is_empty() && simple.assignments.is_empty() && !begun;
                    let bare = word.bare().filter(|_| first);
                    match bare {
                        Some(it) if KEYWORDS.contains(&it) => {
                            self.script.has_blocks = true;
                            return Ok(());
                        }
                        Some(it) if UNREAD.contains(&it) => return Err(format!("`{it}`")),
                        Some(_) | None => simple.words.push(word),
                    }
                }
            }
        }
        let mut bare = simple.words.iter().map(Word::bare);
        match bare.next().flatten() {
            Some("for") => {
                let is_plain = bare.next().flatten().is_some()
                    && matches!(bare.next(), None | Some(Some("in")));
                if !is_plain {
                    return Err("a loop that is not `for NAME in WORD..`".to_owned());
                }
            }
            Some("time")
                if bare
                    .take(2)
                    .flatten()
                    .any(|it| KEYWORDS.contains(&it) || UNREAD.contains(&it)) =>
            {
                return Err("a word of the grammar after `time`".to_owned());
            }
            Some(_) | None => {}
        }
        if simple.assignments.len() + simple.words.len() + simple.redirects.len() > 0 {
            (simple.shell, simple.link) = (self.shell, self.link);
            self.script.commands.push(simple);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
