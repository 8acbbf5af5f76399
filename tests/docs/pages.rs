//! Checks of every page and file: links have a target, and no file is too long.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// The maximum number of lines in a file that people write. The rule in CONTRIBUTING.md is 500.
const LINES_MAX: usize = 600;
/// Extensions of files that people write. Programs write lock files, the schema and corpora.
const WRITTEN: [&str; 9] = ["rs", "md", "py", "js", "ts", "lua", "sh", "toml", ""];
/// Exceptions: the texts of licences, and types that a program generates from the schema.
const OTHERS: [&str; 3] =
    ["LICENSE-APACHE", "LICENSE-MIT", "editors/vscode/src/protocol/generated.ts"];

/// The files of the repository, without those that builds and installations create.
pub(crate) fn files() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries.map(|entry| entry.expect("a readable folder")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("a readable folder"));
            let name = entry.file_name();
            let left = [".git", ".venv", "node_modules", "corpus", "dist", "out", "bin"];
            let made = left.iter().any(|left| name == *left) || path.join("CACHEDIR.TAG").exists();
            if kind.is_dir() && !made {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files
}

pub(crate) fn has_extension(path: &Path, wanted: &[&str]) -> bool {
    wanted.contains(&path.extension().and_then(|e| e.to_str()).unwrap_or_default())
}

#[test]
fn no_file_is_too_long() {
    let mut seen = 0;
    for path in files().into_iter().filter(|path| has_extension(path, &WRITTEN)) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let is_other = OTHERS.iter().any(|other| path.ends_with(other));
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX || is_other, "{} has {lines} lines", path.display());
        seen += 1;
    }
    assert!(seen > 100, "the repository was read: {seen} files");
}

/// A page without its code, because a bracket in code is not a link.
fn prose(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    });
    let lines = lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("CODE"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)` and of `[name]: target`.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let inline =
        prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to);
    let named = prose
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| line.split_once("]: ").map(|(_, target)| target));
    inline.chain(named).map(str::to_owned).collect()
}

/// A heading's anchor, as GitHub and similar sites create it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What is wrong with a link of a page; `None` if it has a target.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (file, to) = link.split_once('#').map_or((link, None), |(file, to)| (file, Some(to)));
    let target = match file {
        "" => page.to_owned(),
        file => page.parent()?.join(file),
    };
    if !target.exists() {
        return Some(format!("{}: `{link}` leads nowhere", page.display()));
    }
    let to = to?;
    let text = fs::read_to_string(&target).unwrap_or_default();
    let found = text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == to);
    (!found).then(|| format!("{}: `{link}` names no heading", page.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    let mut faults = Vec::new();
    for page in files().into_iter().filter(|path| has_extension(path, &["md"])) {
        let text = fs::read_to_string(&page).expect("a page is text");
        let links = links(&text);
        seen += links.len();
        faults.extend(links.iter().filter_map(|link| fault(&page, link)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 10, "the pages were read: {seen} links");
}

#[test]
fn a_dead_link_is_found() {
    let check = |page: &str, faults: usize| {
        let at = root().join("README.md");
        let found = links(page).iter().filter_map(|link| fault(&at, link)).count();
        assert_eq!(found, faults, "{page}");
    };
    check("[a](docs/protocol.md) and [b](https://example.org/x)", 0);
    check("[a](docs/protocol.md#methods), [b](docs/protocol.md#taskstop)", 0);
    check("[a](docs/nothing.md) and\n[b]: nowhere.md", 2);
    check("[a](docs/protocol.md#nothing)", 1);
    check("`[a](code.md)`\n```\n[b](code.md)\n```\n", 0);
}
