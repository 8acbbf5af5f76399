//! The programs a line may name: those that look, and those that run others. Names, and nothing about
//! how a program reads its options: what it can do is the kernel's to hold.

/// Programs that look. What they could do besides, they cannot where they run unasked.
const LOOKING: &str = "ls cat head tail wc grep egrep fgrep rg find stat file du df tree sort uniq cut tr nl \
    column fold fmt paste join comm diff cmp md5sum sha1sum sha256sum sha512sum cksum sum basename dirname \
    realpath readlink pwd echo printf true false : test [ date uname hostname whoami id groups which type \
    command seq expr sleep ps free uptime lscpu nproc arch getconf jq od hexdump tac rev expand unexpand \
    tsort factor numfmt locale sed cd exit return break continue wait set read shift cal ripgrep cloc tokei \
    scc hostnamectl lsblk lsof pgrep";
/// Programs of several commands, and those of them that look. After a plus: only with one of these words.
/// After a slash: also with no more words but options.
const LOOKING_COMMANDS: &[(&str, &str)] = &[
    (
        "git",
        "status diff log show blame annotate grep ls-files ls-tree rev-parse rev-list describe shortlog \
        cat-file name-rev merge-base for-each-ref show-ref show-branch count-objects var version help \
        check-ignore check-attr diff-tree diff-index diff-files whatchanged range-diff cherry \
        branch/ tag/ remote/show,get-url stash+list,show worktree+list reflog/show config+--get,--list,-l",
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
/// What makes a program that looks write, or run another, from its options' beginnings. Not what holds it
/// back: who means to write is asked at once, and need not try in vain.
const WRITING: &[(&str, &str)] = &[
    ("git", "-O --open-files-in-pager --output --ext-diff -c --exec-path --git-dir --work-tree"),
    ("rg", "--pre --hostname-bin"),
    ("find", "-delete -fprint -fls -ok"),
    ("sort", "-o --output --compress-program"),
    ("tree", "-o"),
    ("sed", "-i --in-place"),
    ("date", "-s --set"),
    ("hostname", "-F -b"),
    ("file", "-C"),
    ("go", "-toolexec -exec -mod=mod -u -w"),
    ("printf", "-v"),
];
/// Of the programs that look, those that a line may use beside commands that a rule lets run as they are:
/// they do nothing but pass on what they are given.
const PASSING_ON: &str = "echo printf true false : cat head tail wc grep uniq cut tr ls pwd find test [ cd sleep exit \
    set basename dirname";
/// Programs that run what comes after their options.
const BEFORE_OTHERS: &str =
    "nohup builtin command nice ionice stdbuf setsid time timeout env xargs";
/// Shells of which `-c` is understood.
const SHELLS: &str = "sh bash dash";
/// Programs that run what they are given in ways that are not looked into.
const RUNNING: &str = "eval source . trap alias exec bind enable complete compgen mapfile readarray fc coproc \
    parallel watch ssh script su sudo doas pkexec chroot unshare nsenter zsh fish ksh csh tcsh ash rbash busybox \
    toybox strace expect let flock taskset chrt setpriv prlimit numactl runuser systemd-run unbuffer rlwrap \
    fakeroot ltrace xvfb-run entr hyperfine start-stop-daemon setarch valgrind perf watchexec bwrap caffeinate \
    cgexec chronic concurrently cross-env dbus-run-session direnv dotenv eatmydata firejail gosu linux32 linux64 \
    nodemon proot proxychains proxychains4 su-exec torsocks hash jobs declare typeset readonly export unset local \
    x86_64 i386 ssh-agent ld.so ld-linux-x86-64.so.2 wait getopts logsave capsh catchsegv systemd-inhibit run-parts \
    envdir tini dumb-init trickle torify nocache schedtool uclampset runcon cpulimit dbus-launch podman at batch \
    screen tmux faketime choom sg nix-shell";
/// Programs and commands whose like a person's "always" may mean: they build and test what is in the
/// workspace. With a dot: the word after it belongs to the rule too.
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
    ("git", "add commit switch"),
    ("pytest", ""),
    ("tsc", ""),
    ("mypy", ""),
    ("mkdir", ""),
];

fn has(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|it| it == name)
}

fn of<'a>(table: &'a [(&str, &str)], name: &str) -> Option<&'a str> {
    table.iter().find(|(it, _)| *it == name).map(|(_, names)| *names)
}

/// What a program is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// It runs what comes after its options.
    BeforeOthers,
    /// A shell.
    Shell,
    /// It runs what it is given.
    Running,
    /// Anything else.
    Other,
}

/// What a program of this name is, wherever it lies.
pub(super) fn program(name: &str) -> Program {
    let name = name.rsplit('/').next().unwrap_or_default();
    match name {
        _ if has(BEFORE_OTHERS, name) => Program::BeforeOthers,
        _ if has(SHELLS, name) => Program::Shell,
        _ if has(RUNNING, name) => Program::Running,
        _ => Program::Other,
    }
}

/// Whether a command is one that looks, as far as names tell. Words that nobody knows are `None`.
pub(super) fn looks(words: &[Option<String>]) -> bool {
    let Some((Some(name), rest)) = words.split_first() else { return false };
    let writes = of(WRITING, name).unwrap_or_default();
    let writes = |word: &String| writes.split_ascii_whitespace().any(|it| word.starts_with(it));
    let options = rest.iter().take_while(|it| it.as_deref() != Some("--")).flatten();
    if options.into_iter().any(writes) {
        return false;
    }
    let Some(commands) = of(LOOKING_COMMANDS, name) else { return has(LOOKING, name) };
    // What comes before the command: `git -C sub --no-pager log`.
    let mut rest = rest.iter();
    let command = loop {
        match rest.next() {
            Some(Some(word)) if name == "git" && word == "-C" => drop(rest.next()),
            Some(Some(word)) if name == "git" && word.starts_with("--no-") => {}
            Some(Some(word)) => break word,
            Some(None) | None => return false,
        }
    };
    commands.split_ascii_whitespace().any(|it| {
        let Some((group, seconds)) = it.split_once(['/', '+']) else { return it == command };
        let rest = || rest.clone().map(Option::as_deref);
        let is_one =
            |word: Option<&str>| word.is_some_and(|it| seconds.split(',').any(|s| s == it));
        let is_alone = || {
            it.contains('/')
                && rest().all(|it| it.is_some_and(|it| it.starts_with('-') && !is_change(it)))
        };
        group == command && (rest().any(is_one) || is_alone())
    })
}

/// `git branch -d`, `git tag -d`: an option that is an order.
fn is_change(option: &str) -> bool {
    let orders = [
        "-d",
        "-D",
        "-m",
        "-M",
        "-c",
        "-C",
        "-f",
        "-u",
        "--delete",
        "--move",
        "--copy",
        "--edit-description",
        "--set-upstream",
        "--unset",
        "-e",
        "--edit",
    ];
    orders.iter().any(|order| option.starts_with(order))
        && option != "--merged"
        && option != "--contains"
}

/// Commands of git that look and show nothing that a file held.
const CONTENTLESS: &str = "status ls-files ls-tree rev-parse rev-list describe shortlog name-rev merge-base \
    for-each-ref show-ref count-objects var version help check-ignore check-attr cherry branch tag remote \
    worktree config";
/// Options of `git log` that show nothing that a file held, by their beginnings.
const CONTENTLESS_LOG: &str = "--oneline --graph --all --stat --since --until --after --before --author \
    --committer --grep --format --pretty --decorate --name-only --name-status --shortstat --numstat --reverse \
    --first-parent --merges --no-merges --date --abbrev --follow --max-count --branches --tags --skip -n -i \
    -0 -1 -2 -3 -4 -5 -6 -7 -8 -9";

/// Whether a command of git that looks shows what files held, now or once.
pub(super) fn shows_content(words: &[Option<String>]) -> bool {
    let mut words = words.iter().skip(1);
    let Some(Some(command)) = words.find(|it| !it.as_deref().is_some_and(|it| it.starts_with('-')))
    else {
        return true;
    };
    let is_plain = |it: &Option<String>| {
        let Some(it) = it else { return false };
        let known = |beginning: &str| it.starts_with(beginning);
        !it.starts_with('-') || CONTENTLESS_LOG.split_ascii_whitespace().any(known)
    };
    match command.as_str() {
        "log" => !words.take_while(|it| it.as_deref() != Some("--")).all(is_plain),
        // With `-v` it shows what is staged.
        "status" => !words.all(|it| {
            it.as_deref().is_some_and(|it| match it.strip_prefix('-') {
                Some(long) if long.starts_with('-') => !long.starts_with("-v"),
                Some(short) => !short.contains('v'),
                None => true,
            })
        }),
        other => !has(CONTENTLESS, other),
    }
}

/// Whether a program only passes on what it is given.
pub(super) fn passes_on(name: &str) -> bool {
    has(PASSING_ON, name)
}

/// The first words of a command that "always" would allow; `None`: nothing in particular.
pub(super) fn often(words: &[Option<String>]) -> Option<Vec<String>> {
    let word = |at: usize| words.get(at)?.as_ref();
    let name = word(0)?;
    let is_plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._:-/".contains(c));
    let is_name =
        |text: &&String| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_plain(text);
    if name.starts_with("./") && is_plain(name) && !name.contains("..") {
        return Some(vec![name.clone()]);
    }
    let commands = of(OFTEN, name)?;
    let mut prefix = vec![name.clone()];
    if commands == "." {
        match words.get(1) {
            None => {}
            Some(_) => prefix.push(word(1).filter(is_name)?.clone()),
        }
    } else if !commands.is_empty() {
        let command = word(1)?;
        let found =
            commands.split_ascii_whitespace().find(|it| it.trim_end_matches('.') == command)?;
        prefix.push(command.clone());
        if found.ends_with('.') {
            let runs = |it: &&String| !has("node python python3 sh bash ruby perl deno bun", it);
            prefix.push(word(2).filter(is_name).filter(runs)?.clone());
        }
    }
    Some(prefix)
}

/// Whether a variable that is set changes nothing about what a command does but how it looks.
pub(super) fn is_harmless(name: &str) -> bool {
    const HARMLESS: &str = "CARGO_INCREMENTAL CARGO_TERM_COLOR CI CLICOLOR CLICOLOR_FORCE COLUMNS DEBIAN_FRONTEND \
        FORCE_COLOR LANG LANGUAGE LINES MEANWHILE_LOG NODE_ENV NO_COLOR PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED \
        RUST_BACKTRACE RUST_LOG RUST_TEST_THREADS TERM TZ";
    has(HARMLESS, name) || name.starts_with("LC_")
}

/// Whether a variable of a line's own is set, which no program looks at.
pub(super) fn is_local(name: &str) -> bool {
    let local = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(local) && !name.ends_with("_proxy") && !name.starts_with("npm_")
}
