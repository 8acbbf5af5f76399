//! The programs that a line may name: those that only read, and those that run others. These are only names; how a
//! program treats its options is not modelled, because the kernel restricts what it can do.

/// Programs that only read. They run confined, so the kernel also refuses any option that would change something.
const LOOKING: &str = "ls cat head tail wc grep egrep fgrep rg find stat file du df tree sort uniq cut tr nl \
    column fold fmt paste join comm diff cmp md5sum sha1sum sha256sum sha512sum cksum sum basename dirname \
    realpath readlink pwd echo printf true false : test [ date uname hostname whoami id groups which type \
    command seq expr sleep ps free uptime lscpu nproc arch getconf jq od hexdump tac rev expand unexpand \
    tsort factor numfmt locale sed cd exit return break continue wait set read shift cal ripgrep cloc tokei \
    scc hostnamectl lsblk lsof pgrep";
/// Programs with subcommands, and their read-only subcommands. After a slash: also read-only alone or with one of
/// these words next. After a plus: only with one of these words.
const LOOKING_COMMANDS: &[(&str, &str)] = &[
    (
        "git",
        "status diff log show blame annotate grep ls-files ls-tree rev-parse rev-list describe shortlog \
        cat-file name-rev merge-base for-each-ref show-ref show-branch count-objects var version help \
        check-ignore check-attr diff-tree diff-index diff-files whatchanged range-diff cherry \
        branch/-a,-r,-v,-vv,-l,--all,--list,--show-current,--contains,--merged,--no-merged,--sort,--format \
        tag/-l,-n,--list,--contains,--points-at,--merged,--sort remote/-v,--verbose,show,get-url \
        stash+list,show worktree+list reflog/show config+--get,--get-all,--list,-l",
    ),
    (
        "cargo",
        "metadata tree version locate-project pkgid read-manifest verify-project --version -V help",
    ),
    ("rustc", "--version -V -vV"),
    ("rustup", "show --version"),
    ("npm", "ls list --version -v version/ explain root prefix"),
    ("yarn", "list why --version"),
    ("pnpm", "ls list why --version"),
    ("node", "--version -v"),
    ("python", "--version -V"),
    ("python3", "--version -V"),
    ("pip", "list show freeze --version"),
    ("go", "list version env doc"),
    ("make", "-n --dry-run --just-print -v --version"),
    ("docker", "--version"),
    ("meanwhile", "ps logs wait stop drain doctor schema"),
];
/// Words, by prefix, with which a program that otherwise only reads plainly writes. They restrict nothing: the
/// person is asked at once, instead of the command failing in the confinement.
const WRITING: &[(&str, &str)] = &[
    ("sed", "-i --in-place"),
    ("find", "-delete -fprint -fls -ok"),
    ("sort", "-o --output"),
    ("tree", "-o"),
    ("date", "-s --set"),
    ("printf", "-v"),
    ("git", "--output"),
];
/// The read-only programs that a line may use next to commands that a rule allows to run unconfined: they only pass
/// on their input.
const PASSING_ON: &str = "echo printf true false : cat head tail wc grep uniq cut tr ls pwd find test [ cd sleep exit \
    set basename dirname";
/// Those of [`PASSING_ON`] that take words as text, not as file names.
const TEXT: &str = "echo printf tr cd exit sleep";
/// Programs that run the command after their options.
const BEFORE_OTHERS: &str =
    "nohup builtin command nice ionice stdbuf setsid time timeout env xargs";
/// Shells whose `-c` is understood, and programs that run their arguments in ways that are not analysed.
const RUNNING: &str = "sh bash dash eval source . trap alias exec bind enable complete compgen mapfile readarray fc \
    coproc parallel watch ssh script su sudo doas pkexec chroot unshare nsenter zsh fish ksh csh tcsh ash rbash \
    busybox toybox strace expect let flock taskset chrt setpriv prlimit numactl runuser systemd-run unbuffer rlwrap \
    fakeroot ltrace xvfb-run entr hyperfine start-stop-daemon setarch valgrind perf watchexec bwrap caffeinate \
    cgexec chronic concurrently cross-env dbus-run-session direnv dotenv eatmydata firejail gosu linux32 linux64 \
    nodemon proot proxychains proxychains4 su-exec torsocks hash jobs declare typeset readonly export unset local \
    x86_64 i386 ssh-agent ld.so ld-linux-x86-64.so.2 wait getopts logsave capsh catchsegv systemd-inhibit run-parts \
    envdir tini dumb-init trickle torify nocache schedtool uclampset runcon cpulimit dbus-launch podman at batch \
    screen tmux faketime choom sg nix-shell";
/// Programs and subcommands that a person's "always" may cover: they build and test the workspace. With a dot, the
/// next word belongs to the rule, too.
const OFTEN: &[(&str, &str)] = &[
    ("cargo", "build check clippy test fmt doc bench nextest run"),
    ("npm", "test ci install start run. run-script."),
    ("pnpm", "test install build run."),
    ("yarn", "test install build run."),
    ("go", "build test vet fmt"),
    ("make", "."),
    ("just", "."),
    ("mvn", "test compile package verify"),
    ("gradle", "test build check"),
    ("./gradlew", "test build check"),
    ("dotnet", "build test"),
    ("mix", "test compile"),
    ("bundle", "install"),
    ("composer", "install"),
    ("uv", "sync"),
    ("poetry", "install"),
    ("git", "add"),
    ("pytest", ""),
    ("tsc", ""),
    ("mypy", ""),
    ("mkdir", ""),
];
/// Read-only subcommands of git that do not show the contents of files.
const CONTENTLESS: &str = "status ls-files ls-tree rev-parse rev-list describe shortlog name-rev merge-base \
    for-each-ref show-ref count-objects var version help check-ignore check-attr cherry branch tag remote \
    worktree config";
/// Options of `git log` that do not show the contents of files, by prefix.
const CONTENTLESS_LOG: &str = "--oneline --graph --all --stat --since --until --after --before --author \
    --committer --grep --format --pretty --decorate --name-only --name-status --shortstat --numstat --reverse \
    --first-parent --merges --no-merges --date --abbrev --follow --max-count --branches --tags --skip -n -i \
    -0 -1 -2 -3 -4 -5 -6 -7 -8 -9";
/// Variables that change only how a command's output looks.
const HARMLESS: &str = "CARGO_INCREMENTAL CARGO_TERM_COLOR CI CLICOLOR CLICOLOR_FORCE COLUMNS DEBIAN_FRONTEND \
    FORCE_COLOR LANG LANGUAGE LINES MEANWHILE_LOG NODE_ENV NO_COLOR PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED \
    RUST_BACKTRACE RUST_LOG RUST_TEST_THREADS TERM TZ";

fn has(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|it| it == name)
}

fn begins(names: &str, word: &str) -> bool {
    names.split_ascii_whitespace().any(|it| word.starts_with(it))
}

fn of<'a>(table: &'a [(&str, &str)], name: &str) -> Option<&'a str> {
    table.iter().find(|(it, _)| *it == name).map(|(_, names)| *names)
}

/// The kind of a program, judged by its name in any directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// The program runs the command after its options.
    BeforeOthers,
    /// The program runs other commands in other ways.
    Running,
    /// A program that is not known to run others.
    Other,
}

pub(super) fn program(name: &str) -> Program {
    let name = name.rsplit('/').next().unwrap_or_default();
    match name {
        _ if has(BEFORE_OTHERS, name) => Program::BeforeOthers,
        _ if has(RUNNING, name) => Program::Running,
        _ => Program::Other,
    }
}

/// Whether a command only reads, as far as its words show. A word that only the shell can compute is `None`.
pub(super) fn looks(words: &[Option<&str>]) -> bool {
    let Some((Some(name), rest)) = words.split_first() else { return false };
    let writing = of(WRITING, name).unwrap_or_default();
    let options = rest.iter().take_while(|it| **it != Some("--")).flatten();
    if options.into_iter().any(|it| begins(writing, it)) {
        return false;
    }
    let Some(commands) = of(LOOKING_COMMANDS, name) else { return has(LOOKING, name) };
    let Some((command, rest)) = command_of(name, rest) else { return false };
    let next = rest.first().map(|it| it.and_then(|it| it.split('=').next()));
    commands.split_ascii_whitespace().any(|it| match it.split_once(['/', '+']) {
        None => it == command,
        Some((group, seconds)) => {
            let is_one = next.flatten().is_some_and(|it| seconds.split(',').any(|s| s == it));
            group == command && (is_one || next.is_none() && it.contains('/'))
        }
    })
}

/// A program's subcommand and the words after it: `git -C sub --no-pager log`.
fn command_of<'w, 'a>(
    name: &str,
    mut words: &'w [Option<&'a str>],
) -> Option<(&'a str, &'w [Option<&'a str>])> {
    loop {
        words = match words {
            [Some("-C"), _, rest @ ..] if name == "git" => rest,
            [Some(it), rest @ ..] if name == "git" && it.starts_with("--no-") => rest,
            [Some(it), rest @ ..] => return Some((it, rest)),
            [None, ..] | [] => return None,
        }
    }
}

/// Whether a read-only git command shows the present or past contents of files.
pub(super) fn shows_content(words: &[Option<&str>]) -> bool {
    let Some((command, rest)) = command_of("git", words.get(1..).unwrap_or_default()) else {
        return true;
    };
    // A long option must match exactly: `--decorate-refs` takes the next word, which may be `--`.
    let is_option = |it: &str| match it.starts_with("--") {
        true => it == "--" || has(CONTENTLESS_LOG, it.split('=').next().unwrap_or_default()),
        false => begins(CONTENTLESS_LOG, it),
    };
    let is_plain = |it: &Option<&str>| it.is_some_and(|it| !it.starts_with('-') || is_option(it));
    // With `-v` it shows what is staged.
    let is_brief = |it: &Option<&str>| {
        it.is_some_and(|it| match it.strip_prefix('-') {
            Some(long) if long.starts_with('-') => !long.starts_with("-v"),
            short => !short.is_some_and(|it| it.contains('v')),
        })
    };
    match command {
        "log" => !rest.iter().all(is_plain),
        // `--blob` reads a file from a commit.
        "config" => !rest.iter().all(|it| it.is_some_and(|it| !it.starts_with("--bl"))),
        "status" => !rest.iter().all(is_brief),
        other => !has(CONTENTLESS, other),
    }
}

/// Whether `sed` only prints lines by number: `sed -n 10,20p FILE`. Other expressions may run programs.
fn prints_lines(words: &[Option<&str>]) -> bool {
    let rest = match words.get(1) {
        Some(Some("-n")) => words.get(2..),
        _ => words.get(1..),
    };
    let Some(Some((Some(script), files))) = rest.map(<[_]>::split_first) else { return false };
    !script.is_empty()
        && script.chars().all(|c| c.is_ascii_digit() || ",$;pdq= ".contains(c))
        && files.iter().all(|it| it.is_some_and(|it| !it.starts_with('-')))
}

/// Whether a command may run git and show the contents of a repository without the line saying so.
pub(super) fn may_run_git(words: &[Option<&str>]) -> bool {
    let runs = |begin: &str| words.iter().any(|it| it.is_none_or(|it| it.starts_with(begin)));
    match words.first().copied().flatten() {
        Some("git") => shows_content(words),
        Some("sort") => runs("--c"),
        Some("rg" | "ripgrep") => runs("--p") || runs("--se"),
        Some("sed") => !prints_lines(words),
        Some("cloc" | "scc" | "tokei" | "command") | None => true,
        Some(name) => !has(LOOKING, name),
    }
}

/// Whether `set` does not change how the line is read: no history expansion, and no assignments after a command.
pub(super) fn sets_plainly(words: &[Option<&str>]) -> bool {
    let Some(words) = words.iter().skip(1).copied().collect::<Option<Vec<&str>>>() else {
        return false;
    };
    words.iter().all(|word| match word.strip_prefix(['-', '+']) {
        Some(flags) => !flags.is_empty() && flags.chars().all(|c| "euxfo".contains(c)),
        None => has("pipefail errexit nounset xtrace", word),
    })
}

/// Whether a command only passes on its input. `file` says whether a word may be read as a file.
pub(super) fn passes_on(words: &[&str], mut file: impl FnMut(&str) -> bool) -> bool {
    let Some((name, words)) = words.split_first() else { return false };
    let is_text = has(TEXT, name);
    let is_plain = |option: &str| match *name {
        // These options read whole directories, or patterns from a file.
        "grep" => option.chars().all(|c| c.is_ascii_alphanumeric() && !"rRdf".contains(c)),
        _ => option.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
    };
    if *name == "set" {
        let all: Vec<Option<&str>> =
            std::iter::once(*name).chain(words.iter().copied()).map(Some).collect();
        return sets_plainly(&all);
    }
    let flags = |c: char| c.is_ascii_digit() || "-+ #.*'hlLjzt".contains(c);
    let is_count = |it: &str| it.trim_start_matches(flags).starts_with('n');
    let mut passes = |word: &&str| match word.strip_prefix('-') {
        // `%n` sets a variable.
        _ if *name == "printf" && word.split('%').skip(1).any(is_count) => false,
        // bash evaluates the subscript of a name.
        _ if word.contains('[') && ["test", "["].contains(name) => false,
        Some(option) if is_plain(option) => true,
        Some(_) | None if is_text => true,
        Some(_) => false,
        // `uniq` writes its second file.
        None => *name != "uniq" && file(word),
    };
    has(PASSING_ON, name) && words.iter().all(&mut passes)
}

/// The first words of a command for a rule that "always" would add; `None` if no such rule makes sense.
pub(super) fn often(words: &[Option<&str>]) -> Option<Vec<String>> {
    let is_plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._:-/".contains(c));
    let name = (*words.first()?)?;
    if name.starts_with("./") && is_plain(name) && !name.contains("..") {
        return Some(vec![name.to_owned()]);
    }
    let word = |at: usize| {
        let begins = |it: &&str| it.starts_with(|c: char| c.is_ascii_alphanumeric());
        words.get(at).copied().flatten().filter(begins).filter(|it| is_plain(it))
    };
    let prefix = match of(OFTEN, name)? {
        "" => vec![name],
        "." if words.len() == 1 => vec![name],
        "." => vec![name, word(1)?],
        commands if has(commands, word(1)?) => vec![name, word(1)?],
        commands if commands.split_ascii_whitespace().any(|it| it.strip_suffix('.') == word(1)) => {
            let runs = |it: &&str| !has("node python python3 sh bash ruby perl deno bun", it);
            vec![name, word(1)?, word(2).filter(runs)?]
        }
        _ => return None,
    };
    Some(prefix.into_iter().map(str::to_owned).collect())
}

/// Whether setting a variable does not change what a command does.
pub(super) fn is_harmless(name: &str) -> bool {
    has(HARMLESS, name) || name.starts_with("LC_")
}

/// Whether a variable is local to the line, because no program uses variables with such names.
pub(super) fn is_local(name: &str) -> bool {
    let local = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(local) && !name.ends_with("_proxy") && !name.starts_with("npm_")
}
