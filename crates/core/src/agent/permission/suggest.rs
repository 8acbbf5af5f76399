//! Which rule a person's "always" makes: enough words that its like is not asked again, and never so
//! few that the rule would cover what nobody meant to allow.

use super::shell::Word;
use super::{Effect, Rule, known, wrap};
use crate::background::quote::quote_argv;

/// Programs that do whatever their arguments or their input say, destroy, tell others, or change
/// rights: to allow one once is to allow nothing in particular.
const RECKLESS: [&str; 80] = [
    "awk",
    "chgrp",
    "chmod",
    "chown",
    "crontab",
    "curl",
    "dd",
    "doas",
    "ed",
    "emacs",
    "fdisk",
    "ftp",
    "gawk",
    "gdb",
    "halt",
    "iptables",
    "kill",
    "killall",
    "ln",
    "mawk",
    "mkfs",
    "mount",
    "nc",
    "ncat",
    "netcat",
    "nvim",
    "openssl",
    "osascript",
    "parted",
    "passwd",
    "pkill",
    "poweroff",
    "reboot",
    "rm",
    "rmdir",
    "rsync",
    "scp",
    "sed",
    "sftp",
    "shred",
    "shutdown",
    "socat",
    "ssh",
    "su",
    "sudo",
    "systemctl",
    "tee",
    "telnet",
    "truncate",
    "umount",
    "unlink",
    "useradd",
    "usermod",
    "vi",
    "vim",
    "visudo",
    "wget",
    "npx",
    "bunx",
    "uvx",
    "pipx",
    "at",
    "batch",
    "screen",
    "tmux",
    "mv",
    "cp",
    "install",
    "declare",
    "typeset",
    "export",
    "readonly",
    "unset",
    "R",
    "ansible",
    "mongosh",
    "mysql",
    "psql",
    "redis-cli",
    "sqlite3",
];
/// Interpreters, without their versions: what they may run is what their first argument names.
const INTERPRETERS: [&str; 32] = [
    "python", "pypy", "ipython", "node", "nodejs", "ruby", "perl", "php", "lua", "luajit", "deno",
    "bun", "Rscript", "julia", "tsx", "ts-node", "elixir", "pwsh", "java", "scala", "groovy",
    "kotlin", "clojure", "runghc", "irb", "iex", "erl", "guile", "racket", "sbcl", "tclsh",
    "octave",
];
/// Python's modules that run what they are given.
const RECKLESS_MODULES: [&str; 9] =
    ["timeit", "pdb", "code", "cProfile", "profile", "trace", "runpy", "IPython", "asyncio"];
/// Shells, where they stand for a command of another program.
const SHELLS: [&str; 4] = ["sh", "bash", "dash", "zsh"];
/// Programs whose first argument says what they do.
const WITH_COMMANDS: [&str; 66] = [
    "apt",
    "apt-get",
    "brew",
    "bundle",
    "cargo",
    "composer",
    "docker",
    "docker-compose",
    "dotnet",
    "gh",
    "git",
    "glab",
    "go",
    "gradle",
    "helm",
    "hg",
    "jj",
    "just",
    "kubectl",
    "lerna",
    "make",
    "meanwhile",
    "mix",
    "mvn",
    "npm",
    "nx",
    "pip",
    "pip3",
    "pnpm",
    "podman",
    "poetry",
    "rails",
    "rake",
    "rustup",
    "svn",
    "task",
    "terraform",
    "turbo",
    "uv",
    "yarn",
    "zig",
    "asdf",
    "aws",
    "az",
    "bazel",
    "cabal",
    "conda",
    "dart",
    "flutter",
    "flyctl",
    "gcloud",
    "hatch",
    "heroku",
    "mamba",
    "mise",
    "nix",
    "opam",
    "pdm",
    "pipenv",
    "pixi",
    "pyenv",
    "rbenv",
    "rye",
    "stack",
    "swift",
    "vagrant",
];
/// Such commands of what runs containers.
const CONTAINERS: &[&str] =
    &["run", "exec", "rm", "rmi", "system", "volume", "cp", "push", "login", "container", "image"];
/// Those of their commands that run anything, publish, or destroy.
const RECKLESS_COMMANDS: [(&str, &[&str]); 39] = [
    (
        "git",
        &[
            "bisect",
            "clean",
            "config",
            "difftool",
            "filter-branch",
            "mergetool",
            "push",
            "rebase",
            "remote",
            "reset",
            "restore",
            "submodule",
            "update-ref",
            "worktree",
            "gc",
            "reflog",
            "checkout",
            "send-email",
            "daemon",
        ],
    ),
    ("npm", &["exec", "x", "config", "publish", "explore", "token", "login", "init", "create"]),
    ("pnpm", &["exec", "dlx", "config", "publish", "x", "init", "create"]),
    ("yarn", &["exec", "dlx", "config", "publish", "npm", "create"]),
    ("cargo", &["publish", "install", "login", "owner", "yank"]),
    ("docker", CONTAINERS),
    ("podman", CONTAINERS),
    ("podman", &["unshare"]),
    (
        "kubectl",
        &["apply", "delete", "exec", "edit", "cp", "patch", "config", "run", "debug", "attach"],
    ),
    ("terraform", &["apply", "destroy"]),
    ("gh", &["api", "auth", "secret", "repo", "release", "gist", "extension", "alias"]),
    ("go", &["install", "env", "generate"]),
    ("uv", &["tool", "publish"]),
    ("bundle", &["exec"]),
    ("poetry", &["publish", "config"]),
    ("helm", &["install", "uninstall", "upgrade"]),
    ("docker-compose", &["run", "exec", "rm", "cp", "push"]),
    ("deno", &["eval", "repl", "x", "install"]),
    ("bun", &["exec", "repl", "x", "create", "publish"]),
    ("rails", &["runner", "r", "console", "c", "dbconsole", "db"]),
    ("mix", &["eval", "rpc", "cmd", "do"]),
    ("dotnet", &["exec", "fsi", "script", "tool", "nuget"]),
    ("rustup", &["run"]),
    ("brew", &["ruby", "irb", "sh", "bundle"]),
    ("composer", &["exec", "global", "config"]),
    ("mvn", &["exec:exec", "exec:java"]),
    ("nx", &["exec"]),
    ("lerna", &["exec"]),
    ("asdf", &["exec"]),
    ("cabal", &["exec", "install"]),
    ("flyctl", &["ssh", "console", "deploy", "secrets"]),
    ("heroku", &["run", "config"]),
    ("mise", &["exec", "x"]),
    ("nix", &["run", "shell", "develop", "profile"]),
    ("opam", &["exec"]),
    ("pyenv", &["exec"]),
    ("rbenv", &["exec"]),
    ("stack", &["exec", "runghc", "eval"]),
    ("vagrant", &["ssh", "destroy"]),
];

/// The rule that "always" makes for a command.
pub(super) fn always(words: &[Word]) -> Option<Rule> {
    let name = words.first()?.literal()?;
    let program = name.rsplit('/').next().unwrap_or_default();
    if program.is_empty()
        || RECKLESS.contains(&program)
        || program.starts_with("mkfs.")
        || wrap::unwrap(program, words).is_some()
        || known::is_known(words)
    {
        return None;
    }
    let word = |at: usize| words.get(at).and_then(Word::literal);
    let named = |at: usize| word(at).filter(|text| is_name(text));
    let mut prefix = vec![name.clone()];
    if is_interpreter(program) {
        match word(1)?.as_str() {
            "-m" if program.starts_with("python") => {
                let module = named(2).filter(|it| !RECKLESS_MODULES.contains(&it.as_str()))?;
                prefix.extend(["-m".to_owned(), module]);
            }
            script if !script.starts_with('-') && !script.is_empty() => {
                if is_reckless(program, script) {
                    return None;
                }
                prefix.push(script.to_owned());
                if ["run", "task"].contains(&script) {
                    prefix.push(named(2).filter(|it| !runs_code(it))?);
                }
            }
            _ => return None,
        }
    } else if WITH_COMMANDS.contains(&program) && words.len() > 1 {
        let command = named(1)?;
        if is_reckless(program, &command) {
            return None;
        }
        prefix.push(command.clone());
        match (program, command.as_str()) {
            // What is in the workspace, whatever it is called.
            ("cargo" | "dotnet" | "zig", "run") => {}
            ("go", "run") => prefix.push(word(2).filter(|text| is_own_package(text))?),
            // What follows is a command like any other.
            (
                "uv" | "poetry" | "pipenv" | "pdm" | "hatch" | "rye" | "pixi" | "conda" | "mamba",
                "run",
            ) => {
                named(2)?;
                prefix.extend(always(words.get(2..)?)?.words()?);
            }
            (_, "compose") => prefix.push(named(2).filter(|it| !is_reckless(program, it))?),
            (_, "run" | "run-script") => prefix.push(named(2).filter(|it| !runs_code(it))?),
            // A service, and what is done with it.
            ("aws" | "az" | "gcloud", _) => prefix.push(named(2)?),
            // These look among the programs of the packages, too.
            ("yarn" | "pnpm", it) if runs_code(it) => return None,
            _ => {}
        }
    } else if WITH_COMMANDS.contains(&program) && program != "make" && program != "just" {
        // By itself it says nothing, and as a prefix it would cover everything.
        return None;
    }
    let text = quote_argv(&prefix);
    // What reads back as another rule is no rule to keep.
    let rule = Rule::with_effect(Effect::Allow, &format!("bash {text}")).ok()?;
    (rule.words()? == prefix).then_some(rule)
}

/// `python3.12` is one as `python` is.
fn is_interpreter(program: &str) -> bool {
    let plain = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&plain)
}

/// Whether a name is one of a program that runs whatever it is given.
fn runs_code(name: &str) -> bool {
    is_interpreter(name) || SHELLS.contains(&name)
}

fn is_reckless(program: &str, command: &str) -> bool {
    RECKLESS_COMMANDS.iter().any(|(it, commands)| *it == program && commands.contains(&command))
}

/// `.`, `./cmd/x`, `main.go`: a package of the workspace, or at the version it has settled on.
fn is_own_package(text: &str) -> bool {
    let rest = text.strip_prefix("./").unwrap_or(text);
    text == "." || (is_name(rest) && !rest.contains(".."))
}

/// `build`, `test:unit`: no option, no path out of here, nothing to be quoted.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-/".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}
