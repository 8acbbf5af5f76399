//! `glob` and `grep`, based on ripgrep's crates.
//!
//! Both omit what `.gitignore` and similar files exclude, and `.git` itself; hidden files are treated like any
//! other. Their results are limited, and they stop when the call is dropped.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch,
};
use ignore::{DirEntry, WalkBuilder};

use super::Outcome;
use super::blocking::{Gone, blocking};
use super::files::failed;
use super::paths::{canonical, follow, relative};
use crate::background::words::thousands;
use crate::confine::is_secret_name;

/// Maximum number of files that a glob sorts by age. A glob with more matches is too wide anyway.
const FOUND_MAX: usize = 20_000;
/// How many files a glob shows.
const FILES: usize = 200;
/// How many matching lines are shown: by default, and at most.
const MATCHES: (u64, u64) = (100, 1_000);
/// Maximum number of context lines.
const CONTEXT_MAX: u64 = 20;
/// How many bytes of a line are shown.
const LINE_BYTES: usize = 400;
/// Maximum bytes of a compiled pattern, and of its cache.
const COMPILED_BYTES: usize = 4 << 20;
/// Bytes that a search holds of a file: its longest line, or the whole file if a match may span lines. A file that
/// needs more is skipped.
const HEAP_BYTES: usize = 32 << 20;
/// Bytes of a result reserved for the last lines.
const NOTE_BYTES: usize = 240;

/// A search by name.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    pub(super) pattern: String,
    pub(super) base: PathBuf,
    pub(super) workspace: PathBuf,
    /// Paths that are left out of the search, with everything below them.
    pub(super) except: Vec<PathBuf>,
}

/// A search in the contents of files.
#[derive(Debug, Clone)]
pub(super) struct Grep {
    pub(super) pattern: String,
    pub(super) base: PathBuf,
    pub(super) workspace: PathBuf,
    /// Paths that are left out of the search, with everything below them.
    pub(super) except: Vec<PathBuf>,
    pub(super) glob: Option<String>,
    pub(super) ignore_case: bool,
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) limit: Option<u64>,
}

/// Splits a glob into its leading directory and the rest: `src/**/*.rs` becomes `src` and `**/*.rs`. A pattern
/// without a slash matches at every depth. A directory that exists under the literal name, such as `app/[id]`, is
/// taken literally.
pub(super) fn split<'a>(pattern: &'a str, base: &Path) -> (&'a str, String) {
    let pattern = pattern.trim();
    if !pattern.contains('/') {
        return ("", format!("**/{pattern}"));
    }
    let is_wild = ['*', '?', '[', '{', '\\'];
    let mut wild = pattern.find(is_wild).unwrap_or(pattern.len());
    // Skip directories whose names contain wildcard characters.
    while wild < pattern.len() {
        let end = pattern[wild..].find('/').map_or(pattern.len(), |slash| wild + slash);
        if end == pattern.len() || !base.join(&pattern[..end]).is_dir() {
            break;
        }
        wild = pattern[end..].find(is_wild).map_or(pattern.len(), |at| end + at);
    }
    let (prefix, rest) = match pattern[..wild].rfind('/') {
        Some(0) => ("/", &pattern[1..]),
        Some(at) => (&pattern[..at], &pattern[at + 1..]),
        None => ("", pattern),
    };
    (prefix, if rest.is_empty() { "**".to_owned() } else { rest.to_owned() })
}

/// A glob, and the same glob with literal brackets: both kinds of name exist.
struct Matcher(Vec<GlobMatcher>);

impl Matcher {
    fn is_match(&self, path: &Path) -> bool {
        self.0.iter().any(|glob| glob.is_match(path))
    }
}

fn matcher(pattern: &str) -> Result<Matcher, String> {
    let build = |pattern: &str| {
        let built = GlobBuilder::new(pattern).literal_separator(true).build();
        built.map(|glob| glob.compile_matcher())
    };
    let glob = build(pattern).map_err(|error| format!("not a valid glob pattern: {error}"))?;
    let literal = pattern.replace('[', "\u{1}").replace(']', "[]]").replace('\u{1}', "[[]");
    let literal = (literal != pattern).then(|| build(&literal).ok()).flatten();
    Ok(Matcher([glob].into_iter().chain(literal).collect()))
}

/// The note for the model if files were left out whose reading would need permission.
const HELD: &str = "\n... files that rules exclude, or that may contain keys, were left out; name a path to search it ...";

/// Whether a file's name suggests that it contains keys.
fn holds_keys(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_secret_name(&name.to_string_lossy()))
}

fn is_held_back(except: &[PathBuf]) -> bool {
    except.iter().any(|path| path.exists())
}

/// The files below a directory, or the one file, sorted by name.
///
/// A link to a file counts as a file; links to directories are not followed.
fn files<'a>(
    base: &Path,
    workspace: &Path,
    except: &[PathBuf],
    gone: &'a Gone,
) -> impl Iterator<Item = DirEntry> + use<'a> {
    let top = top(base, workspace);
    // If the base itself is excluded, it is searched all the same, because the model named it.
    let is_excluded = top != base && !walk(&top, base, &[]).any(|entry| entry.path() == base);
    let top = if is_excluded { base } else { &top };
    let entries = walk(top, base, except).take_while(|_| !gone.is_set());
    let base = base.to_owned();
    entries.filter(move |entry| {
        let is_file = entry
            .file_type()
            .is_some_and(|kind| kind.is_file() || (kind.is_symlink() && entry.path().is_file()));
        is_file && entry.path().starts_with(&base)
    })
}

/// The topmost directory whose `.gitignore` applies: the repository or, without one, the workspace. Files above it
/// exclude nothing.
fn top(base: &Path, workspace: &Path) -> PathBuf {
    let repository = base.ancestors().find(|path| path.join(".git").exists());
    let top = repository.unwrap_or_else(|| match base.starts_with(workspace) {
        true => workspace,
        false => base,
    });
    top.to_owned()
}

/// Walks from `top` to the files below `base`.
fn walk(top: &Path, base: &Path, except: &[PathBuf]) -> impl Iterator<Item = DirEntry> + use<> {
    let mut walk = WalkBuilder::new(top);
    // A `.gitignore` also applies in a workspace that is not a repository.
    walk.hidden(false).require_git(false).parents(false).sort_by_file_name(Ord::cmp);
    let (base, except) = (base.to_owned(), except.to_vec());
    walk.filter_entry(move |entry| {
        let path = entry.path();
        let is_git = entry.file_name() == ".git" && entry.depth() > 0;
        let is_on_the_way = path.starts_with(&base) || base.starts_with(path);
        !is_git && is_on_the_way && !except.iter().any(|held| path.starts_with(held))
    });
    walk.build().filter_map(Result::ok)
}

/// Runs the tool `glob`.
pub(super) async fn glob(glob: Glob, room: usize) -> Result<Outcome, String> {
    blocking(move |gone| glob_now(&glob, room, gone)).await.map(Outcome::of)
}

fn glob_now(glob: &Glob, room: usize, gone: &Gone) -> Result<String, String> {
    let base = &glob.base;
    let matcher = matcher(&glob.pattern).map_err(|error| format!("`pattern`: {error}"))?;
    let about = fs::metadata(base).map_err(|error| failed("look in", base, &error))?;
    if !about.is_dir() {
        return Err(format!("`path`: `{}` is not a directory", base.display()));
    }
    let mut found = Vec::new();
    let workspace = canonical(&glob.workspace);
    for entry in files(base, &workspace, &glob.except, gone) {
        let name = entry.path().strip_prefix(base).unwrap_or(entry.path());
        if matcher.is_match(name) {
            let modified = entry.metadata().ok().and_then(|about| about.modified().ok());
            found.push((Reverse(modified), entry.into_path()));
            if found.len() >= FOUND_MAX {
                break;
            }
        }
    }
    let held = if is_held_back(&glob.except) { HELD } else { "" };
    if found.is_empty() {
        return Ok(format!("no file matches; files that .gitignore excludes were left out{held}"));
    }
    found.sort_unstable();
    let mut text = String::new();
    let mut shown = 0;
    for (_, path) in found.iter().take(FILES) {
        let name = relative(path, &workspace);
        if text.len() + name.len() + NOTE_BYTES > room {
            break;
        }
        text.push_str(&name);
        text.push('\n');
        shown += 1;
    }
    let left = found.len() - shown;
    if left > 0 {
        let least = if found.len() >= FOUND_MAX { "at least " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "... {least}{left} more, older; take a narrower pattern ...");
    }
    text.truncate(text.trim_end().len());
    text.push_str(held);
    Ok(text)
}

/// Runs the tool `grep`.
pub(super) async fn grep(grep: Grep, room: usize) -> Result<Outcome, String> {
    blocking(move |gone| grep_now(&grep, room, gone)).await.map(Outcome::of)
}

fn grep_now(grep: &Grep, room: usize, gone: &Gone) -> Result<String, String> {
    let base = &grep.base;
    fs::metadata(base).map_err(|error| failed("search", base, &error))?;
    let wanted = grep.glob.as_deref().map(wanted).transpose()?;
    let mut keys_left_out = false;
    let (regex, mut searcher) = searcher(grep)?;
    let most = grep.limit.unwrap_or(MATCHES.0).min(MATCHES.1);
    let mut hits = Hits {
        text: String::new(),
        room: room.saturating_sub(NOTE_BYTES),
        left: most,
        matched: line_matcher(grep),
        last: None,
        file: String::new(),
        gone,
        state: Search::Goes,
    };
    let workspace = canonical(&grep.workspace);
    let mut searched = HashSet::new();
    let mut links = VecDeque::new();
    let mut walk = files(base, &workspace, &grep.except, gone).fuse();
    loop {
        // Search links last.
        let entry = match walk.next() {
            Some(entry) if entry.path_is_symlink() => {
                links.push_back(entry);
                continue;
            }
            Some(entry) => entry,
            None => match links.pop_front() {
                Some(entry) => entry,
                None => break,
            },
        };
        let name = match entry.path().strip_prefix(base) {
            // The base is the file itself.
            Ok(rest) if rest.as_os_str().is_empty() => Path::new(entry.file_name()),
            Ok(rest) => rest,
            Err(_) => entry.path(),
        };
        if wanted.as_ref().is_some_and(|(glob, is_wanted)| glob.is_match(name) != *is_wanted) {
            continue;
        }
        let mut may_hold_keys = holds_keys(entry.path());
        // Search the target of a link only once, by its own name if it is in the workspace, and only if it may be
        // read like the directory.
        if entry.path_is_symlink() {
            let Some(target) = follow(entry.path()) else { continue };
            let is_held = grep.except.iter().any(|held| target.starts_with(held));
            let is_seen = searched.contains(&target);
            if is_held || is_seen || !target.starts_with(&workspace) {
                continue;
            }
            may_hold_keys |= holds_keys(&target);
            searched.insert(target);
        } else {
            searched.insert(entry.path().to_owned());
        }
        // A file that is likely to contain keys is only searched if it is named itself, which needs permission.
        if entry.path() != base && may_hold_keys {
            keys_left_out = true;
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        hits.file = relative(entry.path(), &workspace);
        hits.last = None;
        // Skip files that cannot be read or have lines of gigabytes.
        let _ = searcher.search_reader(&regex, gone.watch(file), &mut hits);
        match hits.state {
            Search::Goes => {}
            Search::Full | Search::Enough => break,
        }
    }
    let found = most - hits.left;
    let held = if keys_left_out || is_held_back(&grep.except) { HELD } else { "" };
    if found == 0 && hits.text.is_empty() {
        return Ok(format!(
            "nothing matches; binary files and files that .gitignore excludes were left out{held}"
        ));
    }
    let mut text = hits.text;
    text.push_str(&left_out(&hits.state, most, found));
    text.truncate(text.trim_end().len());
    text.push_str(held);
    Ok(text)
}

/// The files that a glob names, or with `!` those that it does not name.
fn wanted(glob: &str) -> Result<(Matcher, bool), String> {
    let (is_wanted, glob) = match glob.trim().strip_prefix('!') {
        Some(glob) => (false, glob),
        None => (true, glob.trim()),
    };
    let glob = match glob.contains('/') {
        true => glob.trim_start_matches("./").to_owned(),
        false => format!("**/{glob}"),
    };
    Ok((matcher(&glob).map_err(|error| format!("`glob`: {error}"))?, is_wanted))
}

/// Says that there are more matches than are shown.
fn left_out(state: &Search, most: u64, found: u64) -> String {
    let es = |count| if count == 1 { "" } else { "es" };
    match state {
        Search::Goes => String::new(),
        Search::Enough => format!(
            "... more than {most} match{}; take a narrower pattern, path or glob, or a larger limit ...",
            es(most)
        ),
        Search::Full => format!(
            "... {found} match{} shown and more there; take a narrower pattern, path or glob ...",
            es(found)
        ),
    }
}

/// The part of a line around an offset, with the number of bytes before and after it.
fn around(line: &[u8], at: usize) -> String {
    if line.len() <= LINE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let from = at.saturating_sub(LINE_BYTES / 4).min(line.len() - LINE_BYTES);
    // Start at a character boundary.
    let from = (from..at.max(from)).find(|at| line[*at] & 0xc0 != 0x80).unwrap_or(from);
    let piece = &line[from..(from + LINE_BYTES).min(line.len())];
    let piece = crate::background::preview::without_partial_end(piece);
    let after = line.len() - from - piece.len();
    let piece = String::from_utf8_lossy(piece);
    let before = match from {
        0 => String::new(),
        from => format!("... {} bytes before ... ", thousands(from as u64)),
    };
    match after {
        0 => format!("{before}{piece}"),
        after if from == 0 && at == 0 => {
            format!("{piece} ... {} more bytes ...", thousands(after as u64))
        }
        after => format!("{before}{piece} ... {} bytes after ...", thousands(after as u64)),
    }
}

/// The pattern, for matching within one line.
fn line_matcher(grep: &Grep) -> Option<regex::bytes::Regex> {
    regex::bytes::RegexBuilder::new(&grep.pattern)
        .case_insensitive(grep.ignore_case)
        .multi_line(true)
        .size_limit(COMPILED_BYTES)
        .build()
        .ok()
}

fn searcher(grep: &Grep) -> Result<(RegexMatcher, Searcher), String> {
    // Search line by line, unless the pattern can match a line break.
    let spans = grep.pattern.contains(r"\n") || grep.pattern.contains("(?s");
    let mut builder = RegexMatcherBuilder::new();
    builder.case_insensitive(grep.ignore_case).multi_line(true);
    builder.size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES);
    if !spans {
        builder.line_terminator(Some(b'\n'));
    }
    let regex = builder.build(&grep.pattern).map_err(|error| {
        let text = error.to_string();
        // The last line is the reason; the lines before it show the pattern.
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!(
            "`pattern` is not a regular expression: {reason}; escape ( ) [ ] {{ }} . * + ? | with \\"
        )
    })?;
    let lines = |count: u64| usize::try_from(count.min(CONTEXT_MAX)).unwrap_or_default();
    let mut builder = SearcherBuilder::new();
    builder
        .line_number(true)
        .multi_line(spans)
        .before_context(lines(grep.before))
        .after_context(lines(grep.after))
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(HEAP_BYTES));
    Ok((regex, builder.build()))
}

/// The state of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Goes,
    /// The result is full.
    Full,
    /// There are more matches than requested.
    Enough,
}

/// The matches found so far.
struct Hits<'a> {
    text: String,
    room: usize,
    left: u64,
    /// Finds the match in a line that is too long to show.
    matched: Option<regex::bytes::Regex>,
    /// The number of the last line shown of the current file.
    last: Option<u64>,
    file: String,
    gone: &'a Gone,
    state: Search,
}

impl Hits<'_> {
    fn push(&mut self, mark: char, number: u64, bytes: &[u8]) -> bool {
        let before = self.text.len();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        for (number, line) in (number..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let matched = self.matched.as_ref().filter(|_| mark == ':' && line.len() > LINE_BYTES);
            let at = matched.and_then(|regex| regex.find(line)).map(|found| found.start());
            let shown = around(line, at.unwrap_or_default());
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{}{mark}{number}{mark}{shown}", self.file);
            self.last = Some(number);
        }
        if self.text.len() > self.room {
            self.text.truncate(before);
            self.state = Search::Full;
            return false;
        }
        !self.gone.is_set()
    }
}

impl Sink for Hits<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        if self.left == 0 {
            self.state = Search::Enough;
            return Ok(false);
        }
        let goes_on = self.push(':', found.line_number().unwrap_or_default(), found.bytes());
        if self.state == Search::Goes {
            self.left -= 1;
        }
        Ok(goes_on)
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        // Do not show context before the first match beyond the limit.
        if self.left == 0 && *found.kind() == SinkContextKind::Before {
            return Ok(true);
        }
        Ok(self.push('-', found.line_number().unwrap_or_default(), found.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        if self.left > 0 {
            self.text.push_str("--\n");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_begins_in_a_directory() {
        let check = |pattern: &str, prefix: &str, rest: &str| {
            let nowhere = Path::new("/no/such/directory");
            assert_eq!(split(pattern, nowhere), (prefix, rest.to_owned()), "{pattern}");
        };
        check("*.rs", "", "**/*.rs");
        check("a.rs", "", "**/a.rs");
        check("**/*.rs", "", "**/*.rs");
        check("src/**/*.rs", "src", "**/*.rs");
        check("src/a?/*.rs", "src", "a?/*.rs");
        check("src/deep/a.rs", "src/deep", "a.rs");
        check("/etc/*.conf", "/etc", "*.conf");
        check("/*", "/", "*");
        check("../x/{a,b}", "../x", "{a,b}");
        check("src/", "src", "**");
        check("app/[id]/*.tsx", "app", "[id]/*.tsx");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("app/[id]")).unwrap();
        assert_eq!(split("app/[id]/*.tsx", dir.path()), ("app/[id]", "*.tsx".to_owned()));
        assert_eq!(split("app/[id]/**", dir.path()), ("app/[id]", "**".to_owned()));
        let either = matcher("app/[id]/*.tsx").unwrap();
        for path in ["app/[id]/page.tsx", "app/i/page.tsx"] {
            assert!(either.is_match(Path::new(path)), "{path}");
        }
        assert!(!either.is_match(Path::new("app/x/page.tsx")));
    }

    #[test]
    fn a_match_far_along_a_line_is_shown() {
        let line = [vec![b'x'; 5_000], b"needle".to_vec(), vec![b'y'; 5_000]].concat();
        let shown = around(&line, 5_000);
        assert!(shown.contains("needle") && shown.contains("4 900 bytes before"), "{shown}");
        assert!(shown.contains("bytes after") && shown.len() < LINE_BYTES + 80, "{shown}");
        assert_eq!(around(b"short", 0), "short");
        let end = around(&line, line.len() - 1);
        assert!(end.ends_with("yyyy") && end.contains("bytes before"), "{end}");
        let wide = "é".repeat(1_000);
        assert!(!around(wide.as_bytes(), 1_001).contains('\u{fffd}'));
    }
}
