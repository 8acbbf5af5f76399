//! What a line of shell would run: its simple commands, wherever in the line they hide.
//!
//! Owns the grammar. It reads a line as both bash and a POSIX shell do, for either may get to run
//! it: what the two understand differently (`$'..'`, `[[`, `((`, `&>` before more words), and all
//! it does not know, is [`Script::hidden`] rather than a guess. It takes more than a shell does: a
//! line with a syntax error may pass, for that runs nothing that is not listed. It never expands
//! anything and never looks at a file.
//!
//! It is written by hand because nothing fits: `yash-syntax` is under the GPL, `conch-parser` is
//! no longer kept, `brush-parser` brings a test framework and two parser generators into the
//! program and leaves the insides of words to a second reading, and `tree-sitter-bash` guesses
//! where it does not understand, which is the one thing that must not happen here.

mod redirect;
mod word;

use redirect::HereDoc;
pub(super) use word::Word;

/// How deep substitutions and subshells may be nested before the line counts as not understood.
const DEPTH_MAX: usize = 32;

/// What a line would run.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Every simple command of the line, those within substitutions before the one they are in.
    pub(super) commands: Vec<Simple>,
    /// Why there may be more commands than those listed.
    pub(super) hidden: Option<String>,
    /// Some command in it is given text in which something is expanded.
    pub(super) is_fed: bool,
    /// The functions that are defined in it.
    functions: Vec<String>,
}

/// One simple command.
#[derive(Debug, Default)]
pub(super) struct Simple {
    /// `NAME=value` before the command, or alone.
    pub(super) assignments: Vec<(String, Word)>,
    /// The command and its arguments.
    pub(super) words: Vec<Word>,
    /// The files it is connected to.
    pub(super) redirects: Vec<Redirect>,
}

/// A file a command is connected to.
#[derive(Debug)]
pub(super) enum Redirect {
    /// `< file`
    Read(Word),
    /// `> file`, `>> file`, `<> file`
    Write(Word),
}

/// Reads a line.
pub(super) fn parse(line: &str) -> Script {
    let mut script = Script::default();
    parse_into(line, &mut script, 0);
    script
}

fn parse_into(line: &str, script: &mut Script, depth: usize) {
    let mut parser =
        Parser { chars: line.chars().collect(), at: 0, script, heredocs: Vec::new(), depth };
    let outcome = parser.list(End::Line);
    if let Err(why) = outcome {
        script.hidden.get_or_insert(why);
    }
    let calls = |name: &String| {
        let called = |it: &&Simple| it.words.first().is_some_and(|it| it.text() == *name);
        script.commands.iter().filter(called).count()
    };
    // One that calls itself twice fills the machine with itself.
    if let Some(name) = script.functions.iter().find(|name| calls(name) > 2) {
        script
            .hidden
            .get_or_insert(format!("the function `{name}` may call itself again and again"));
    }
}

/// What a list of commands ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the text.
    Line,
    /// `)`
    Paren,
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    script: &'a mut Script,
    heredocs: Vec<HereDoc>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.chars.get(self.at + offset).copied()
    }

    /// Takes `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let taken = text.chars().enumerate().all(|(i, c)| self.peek_at(i) == Some(c));
        if taken {
            self.at += text.chars().count();
        }
        taken
    }

    /// Blanks, and lines that go on in the next.
    fn skip_blanks(&mut self) -> Result<(), String> {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.peek_at(1) == Some('\n') => {
                    self.skip_joint()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A line break that ends no command. Shells differ in where the body of a here-document begins
    /// when one comes before it.
    fn continued(&self) -> Result<(), String> {
        match self.heredocs.is_empty() {
            true => Ok(()),
            false => Err("a line break within the line of a here-document".to_owned()),
        }
    }

    /// A backslash and a line break, which a shell takes away before it reads on: what stands on
    /// either side of them must not become another thing then.
    fn skip_joint(&mut self) -> Result<(), String> {
        self.continued()?;
        let before = self.chars.get(..self.at).unwrap_or_default();
        let is_name = |c: &&char| c.is_ascii_alphanumeric() || **c == '_';
        let name = before.iter().rev().take_while(is_name).count();
        let mut rest = self.chars.get(self.at..).unwrap_or_default();
        while let ['\\', '\n', after @ ..] = rest {
            rest = after;
        }
        let comes = |any: &str| rest.first().is_some_and(|c| any.contains(*c));
        match before.len().checked_sub(name + 1).and_then(|at| before.get(at)) {
            Some('$' | '`') => return Err("a line break within an expansion".to_owned()),
            Some('(' | '<' | '>' | '&' | '|' | ';') if name == 0 && comes("(<>&|;-") => {
                return Err("a line break within an operator".to_owned());
            }
            _ if name > 0 && comes("<>") => {
                return Err("a line break before a redirection".to_owned());
            }
            _ => {}
        }
        self.at += 2;
        Ok(())
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err("it is nested too deep".to_owned()) } else { Ok(()) }
    }

    /// Commands up to `end`, which is taken.
    fn list(&mut self, end: End) -> Result<(), String> {
        loop {
            self.skip_blanks()?;
            match self.peek() {
                None if end == End::Line => {
                    return match self.heredocs.is_empty() {
                        true => Ok(()),
                        false => Err("a here-document without its end".to_owned()),
                    };
                }
                None => return Err("a bracket or a `case` that is not closed".to_owned()),
                Some('\n') => {
                    self.at += 1;
                    self.read_heredocs()?;
                }
                Some('#') => self.skip_comment(),
                Some(';') if self.peek_at(1) == Some(';') => {
                    return Err("`;;` outside of a `case`".to_owned());
                }
                Some(';') => self.at += 1,
                Some('&') if self.peek_at(1) != Some('>') => self.at += 1,
                Some('|') => self.at += 1,
                Some(')') if end == End::Paren => {
                    self.at += 1;
                    return Ok(());
                }
                Some(')') => return Err("a `)` that closes nothing".to_owned()),
                Some('(') if self.peek_at(1) == Some('(') => {
                    return Err("`((` is arithmetic in bash only".to_owned());
                }
                Some('(') => {
                    self.at += 1;
                    self.nested()?;
                }
                Some(_) => self.command()?,
            }
        }
    }

    /// Commands up to the `)` that closes them.
    fn nested(&mut self) -> Result<(), String> {
        self.deeper()?;
        let begin = self.at;
        let outer = std::mem::take(&mut self.heredocs);
        self.list(End::Paren)?;
        if !self.heredocs.is_empty() {
            return Err("a here-document that ends outside of its bracket".to_owned());
        }
        let broken = self.chars.get(begin..self.at).is_some_and(|within| within.contains(&'\n'));
        self.heredocs = outer;
        if broken {
            self.continued()?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// One simple command, or a word of the grammar after which a command may begin.
    fn command(&mut self) -> Result<(), String> {
        let mut simple = Simple::default();
        // After a redirection no word is one of the grammar's.
        let (mut both, mut begun) = (false, false);
        loop {
            self.skip_blanks()?;
            let Some(c) = self.peek() else { break };
            match c {
                '&' if self.peek_at(1) == Some('>') => {
                    self.at += 2;
                    let _ = self.take(">");
                    (both, begun) = (true, true);
                    let target = self.target()?;
                    simple.redirects.push(Redirect::Write(target));
                }
                '\n' | ';' | '&' | '|' | ')' => break,
                '#' => self.skip_comment(),
                '(' => {
                    let named = simple.assignments.is_empty() && !begun;
                    match simple.words.as_slice() {
                        [name] if named && name.literal().is_some() => {}
                        _ => return Err("a bracket among words".to_owned()),
                    }
                    self.at += 1;
                    self.skip_blanks()?;
                    if !self.take(")") {
                        return Err("a bracket among words".to_owned());
                    }
                    let name = simple.words.first().map(Word::text).unwrap_or_default();
                    self.script.functions.push(name);
                    return Ok(());
                }
                '<' | '>' if self.peek_at(1) != Some('(') => {
                    begun = true;
                    self.redirect(&mut simple)?;
                }
                _ if self.is_numbered_redirect() => {
                    while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                        self.at += 1;
                    }
                    begun = true;
                    self.redirect(&mut simple)?;
                }
                _ => {
                    if both {
                        return Err("words after `&>`".to_owned());
                    }
                    let word = self.word()?;
                    if !simple.words.is_empty() {
                        simple.words.push(word);
                        continue;
                    }
                    if let Some((name, value)) = word.assignment()? {
                        simple.assignments.push((name, value));
                        continue;
                    }
                    if simple.assignments.is_empty() && !begun && self.is_keyword(&word)? {
                        return Ok(());
                    }
                    simple.words.push(word);
                }
            }
        }
        if simple.assignments.len() + simple.words.len() + simple.redirects.len() > 0 {
            self.script.commands.push(simple);
        }
        Ok(())
    }

    /// The words of the grammar, where a command may begin.
    fn is_keyword(&mut self, word: &Word) -> Result<bool, String> {
        let Some(text) = word.bare() else { return Ok(false) };
        match text.as_str() {
            "if" | "then" | "else" | "elif" | "fi" | "do" | "done" | "{" | "}" | "!" | "while"
            | "until" => {}
            "for" => self.for_words()?,
            "case" | "esac" | "select" | "function" | "coproc" | "[[" | "]]" => {
                return Err(format!("`{text}`"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `NAME [in WORD..]`
    fn for_words(&mut self) -> Result<(), String> {
        self.skip_blanks()?;
        if self.peek() == Some('(') {
            return Err("`((` is arithmetic in bash only".to_owned());
        }
        let name = self.word()?.bare().ok_or("a loop without a plain variable")?;
        let assignments = vec![(name, Word::unknown())];
        self.script.commands.push(Simple { assignments, ..Simple::default() });
        self.skip_lines()?;
        // Looked at rather than read, so that nothing is read twice, and twice again within.
        let ends = matches!(self.peek_at(2), None | Some(' ' | '\t' | '\n' | ';'));
        if ends && self.take("in") {
            loop {
                self.skip_blanks()?;
                match self.peek() {
                    None | Some('\n' | ';') => return Ok(()),
                    Some('#') => self.skip_comment(),
                    Some('&' | '|' | '(' | ')') => return Err("a loop over a list".to_owned()),
                    Some(_) => drop(self.word()?),
                }
            }
        }
        Ok(())
    }

    fn skip_lines(&mut self) -> Result<(), String> {
        loop {
            self.skip_blanks()?;
            match self.peek() {
                Some('\n') => {
                    self.at += 1;
                    self.read_heredocs()?;
                }
                Some('#') => self.skip_comment(),
                _ => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
