//! The commands of git that only look.
//!
//! A repository's own settings name programs that git runs, so what looks is safe only in a
//! repository whose settings a person made: [`is_disguised`] finds those that a checkout may have
//! brought along.

use std::path::Path;

use super::known::literals;
use super::shell::Word;

/// Options of `diff`, `log`, `show` and their like that neither write a file (`--output`) nor run a
/// program (`--ext-diff`) nor look outside of the repository (`--no-index`).
const LOOKING: [&str; 61] = [
    "abbrev",
    "abbrev-commit",
    "after",
    "all",
    "author",
    "before",
    "branches",
    "cached",
    "cc",
    "check",
    "color",
    "committer",
    "compact-summary",
    "count",
    "date",
    "decorate",
    "diff-filter",
    "dirstat",
    "find-renames",
    "first-parent",
    "follow",
    "format",
    "full-history",
    "graph",
    "grep",
    "histogram",
    "ignore-all-space",
    "ignore-blank-lines",
    "ignore-case",
    "ignore-space-change",
    "left-right",
    "max-count",
    "merge-base",
    "merges",
    "minimal",
    "name-only",
    "name-status",
    "no-color",
    "no-decorate",
    "no-ext-diff",
    "no-merges",
    "no-patch",
    "no-renames",
    "no-textconv",
    "numstat",
    "oneline",
    "patch",
    "patience",
    "pretty",
    "remotes",
    "reverse",
    "shortstat",
    "since",
    "skip",
    "staged",
    "stat",
    "summary",
    "tags",
    "topo-order",
    "unified",
    "until",
];
const WORDS: [&str; 4] = ["word-diff", "word-diff-regex", "color-words", "quiet"];

/// What a command of git that only looks reads; `None`: it may do more.
pub(super) fn reads(args: &[Word]) -> Option<Vec<Word>> {
    let args = literals(args)?;
    let mut args = args.iter().map(String::as_str).peekable();
    while args.next_if(|it| *it == "--no-pager" || *it == "-P").is_some() {}
    let name = args.next()?;
    let args: Vec<&str> = args.collect();
    let is_only = |options: &[&str]| args.iter().all(|it| options.contains(it));
    let nothing = Some(Vec::new());
    match name {
        "--version" | "version" => is_only(&[]).then(Vec::new),
        "diff" | "log" | "show" | "shortlog" | "rev-list" => {
            let long = |it: &str| LOOKING.contains(&it) || WORDS.contains(&it);
            operands(&args, "pnUusSGLwbMCDzRaimctrgBWe", "nUSGLMCB", &long)
        }
        "status" => {
            let long = [
                "short",
                "branch",
                "porcelain",
                "long",
                "ignored",
                "untracked-files",
                "show-stash",
                "ahead-behind",
                "no-renames",
                "verbose",
                "null",
            ];
            operands(&args, "sbuzv", "u", &|it| long.contains(&it))
        }
        "blame" => operands(&args, "LwefnslCMtp", "LCM", &|it| it == "porcelain"),
        "ls-files" => {
            let long = [
                "cached",
                "deleted",
                "modified",
                "others",
                "ignored",
                "stage",
                "exclude-standard",
                "error-unmatch",
                "full-name",
                "unmerged",
            ];
            operands(&args, "cdmoistuzv", "", &|it| long.contains(&it))
        }
        "ls-tree" => {
            let long = ["name-only", "name-status", "full-tree", "full-name", "long"];
            operands(&args, "rtdlz", "", &|it| long.contains(&it))
        }
        "cat-file" => operands(&args, "pte s", "", &|_| false),
        "grep" => {
            let long = [
                "line-number",
                "ignore-case",
                "files-with-matches",
                "count",
                "word-regexp",
                "fixed-strings",
                "extended-regexp",
                "cached",
                "name-only",
                "show-function",
            ];
            operands(&args, "nilLcwFEPIhHveABCpW", "eABC", &|it| long.contains(&it))
        }
        "rev-parse" => {
            let long = [
                "abbrev-ref",
                "short",
                "show-toplevel",
                "verify",
                "quiet",
                "is-inside-work-tree",
                "show-prefix",
                "git-dir",
                "symbolic-full-name",
            ];
            operands(&args, "q", "", &|it| long.contains(&it))
        }
        "describe" => {
            let long = ["tags", "always", "dirty", "all", "long", "abbrev", "exact-match"];
            operands(&args, "", "", &|it| long.contains(&it))
        }
        "merge-base" => operands(&args, "a", "", &|it| it == "all" || it == "is-ancestor"),
        "branch" => {
            let looks = [
                "-a",
                "-r",
                "-v",
                "-vv",
                "-av",
                "-avv",
                "-l",
                "--all",
                "--list",
                "--remotes",
                "--verbose",
                "--show-current",
                "--no-color",
            ];
            if is_only(&looks) { nothing } else { None }
        }
        "tag" => {
            if is_only(&["-l", "--list"]) {
                nothing
            } else {
                None
            }
        }
        "remote" => {
            if is_only(&["-v", "--verbose"]) {
                nothing
            } else {
                None
            }
        }
        "stash" | "worktree" => {
            if args == ["list"] {
                nothing
            } else {
                None
            }
        }
        "reflog" => {
            if args.is_empty() || args == ["show"] {
                nothing
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Checks options; the rest are revisions or files, and either is judged as a file: a path outside
/// of the repository makes of `git diff` a plain `diff`.
fn operands(
    args: &[&str],
    short: &str,
    valued: &str,
    long: &dyn Fn(&str) -> bool,
) -> Option<Vec<Word>> {
    let (mut files, mut ended) = (Vec::new(), false);
    for arg in args {
        if *arg == "--" && !ended {
            ended = true;
        } else if let Some(name) = arg.strip_prefix("--").filter(|_| !ended) {
            if !long(name.split('=').next().unwrap_or_default()) {
                return None;
            }
        } else if let Some(letters) = arg.strip_prefix('-').filter(|_| !ended) {
            for c in letters.chars() {
                if !short.contains(c) && !c.is_ascii_digit() {
                    return None;
                }
                if valued.contains(c) {
                    break;
                }
            }
        } else {
            files.push(Word::plain(arg));
            // `HEAD:.env`
            if let Some((_, file)) = arg.split_once(':').filter(|(_, file)| !file.is_empty()) {
                files.push(Word::plain(file));
            }
        }
    }
    Some(files)
}

/// Whether git would take a directory for a repository without a `.git` that a person made: a
/// checkout can contain a bare repository, with settings of its own, under any name.
pub(super) fn is_disguised(from: &Path, workspace: &Path) -> bool {
    for directory in from.ancestors() {
        if directory.join(".git").exists() {
            return false;
        }
        let has = |name: &str| directory.join(name).exists();
        if has("HEAD") && has("objects") && has("refs") {
            return true;
        }
        if directory == workspace {
            return false;
        }
    }
    false
}
