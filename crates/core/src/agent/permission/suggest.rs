//! Which rule a person's "always" makes: enough words that its like is not asked again, and never so
//! few that the rule would cover what nobody meant to allow.

use super::shell::Word;
use super::{Effect, Rule, known, wrap};
use crate::quote::quote_argv;

/// Programs that do whatever their arguments or their input say, destroy, tell others, or change
/// rights: to allow one once is to allow nothing in particular.
const RECKLESS: [&str; 73] = [
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
];
/// Interpreters: what they may run is what their first argument names.
const INTERPRETERS: [&str; 12] = [
    "python", "python3", "node", "ruby", "perl", "php", "lua", "deno", "bun", "Rscript", "julia",
    "tsx",
];
/// Programs whose first argument says what they do.
const WITH_COMMANDS: [&str; 41] = [
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
];
/// Those of their commands that run anything, publish, or destroy.
const RECKLESS_COMMANDS: [(&str, &[&str]); 15] = [
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
    ("npm", &["exec", "x", "config", "publish", "explore", "token", "login"]),
    ("pnpm", &["exec", "dlx", "config", "publish", "x"]),
    ("yarn", &["exec", "dlx", "config", "publish", "npm"]),
    ("cargo", &["publish", "install", "login", "owner", "yank"]),
    ("docker", &["run", "exec", "rm", "rmi", "system", "volume", "cp", "push", "login"]),
    ("podman", &["run", "exec", "rm", "rmi", "system", "volume", "cp", "push", "login"]),
    ("kubectl", &["apply", "delete", "exec", "edit", "cp", "patch", "config", "run"]),
    ("terraform", &["apply", "destroy"]),
    ("gh", &["api", "auth", "secret", "repo", "release", "gist", "extension", "alias"]),
    ("go", &["install", "env", "generate"]),
    ("uv", &["tool", "publish"]),
    ("bundle", &["exec"]),
    ("poetry", &["publish", "config"]),
    ("helm", &["install", "uninstall", "upgrade"]),
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
    if INTERPRETERS.contains(&program) {
        match word(1)?.as_str() {
            "-m" => prefix.extend(["-m".to_owned(), named(2)?]),
            script if !script.starts_with('-') && !script.is_empty() => {
                prefix.push(script.to_owned());
                if ["run", "task", "x"].contains(&script) {
                    prefix.push(named(2)?);
                }
            }
            _ => return None,
        }
    } else if WITH_COMMANDS.contains(&program) && words.len() > 1 {
        let command = named(1)?;
        let reckless = |(it, commands): &(&str, &[&str])| {
            *it == program && commands.contains(&command.as_str())
        };
        if RECKLESS_COMMANDS.iter().any(reckless) {
            return None;
        }
        let runs = ["run", "run-script", "compose"].contains(&command.as_str());
        prefix.push(command);
        // `npm run build`; `cargo run` and `go run` run what is in the workspace.
        if runs && !["cargo", "go", "dotnet", "zig"].contains(&program) {
            prefix.push(named(2)?);
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

/// `build`, `test:unit`: no option, no path out of here, nothing to be quoted.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-/".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}
