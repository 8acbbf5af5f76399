//! Lines that were written to get past the permission reader, run for their effect: they must change and show
//! nothing that no rule allows. And harmless lines, for which the agent must not ask more often than before.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(clippy::print_stderr, reason = "the counts are for the reader of the test")]
#![expect(unsafe_code, reason = "the environment is set before there is a second thread")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use meanwhile_core::Background;
use meanwhile_core::agent::ToolCall;
use meanwhile_core::agent::message::Arguments;
use meanwhile_core::agent::permission::{Rules, Verdict};
use meanwhile_core::agent::tools::{Access, Budget, Intent, Toolbox};
use meanwhile_core::background::{self, Mode, Options, Role, Spawn, Stdin, Which};
use meanwhile_core::confine::Confine;
use serde_json::value::RawValue;

/// How long a line may run. None of them should wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home directory with keys and a workspace full of traps.
const SCENE: &str = r#"
set -e
mkdir -p .ssh .aws other .config project/src project/sub project/deep/d1/d2/d3 project/secrets project/1 project/nest/evil
echo "CANARY_SSH d" > .ssh/id_rsa; echo "CANARY_AWS d" > .aws/credentials
echo "CANARY_OTHER d" > other/file; echo "CANARY_RC d" > .bashrc
cd project
printf 'alpha -- x\nbeta d\n' > a.txt; echo 'fn main() {}' > src/main.rs
echo "KEY=CANARY_DOTENV d" > .env; echo "CANARY_SECRET d" > secrets/s.txt
printf '#!/bin/sh\ntouch pwned\n' > evil.sh; chmod +x evil.sh
for name in ls git cat; do printf '#!/bin/sh\ntouch pwned\n' > 1/$name; chmod +x 1/$name; done
ln -s ../../other/file src/link.rs; ln -s ../../other/file sub/link; ln -s ../other/file 5
ln -s ../other rl; ln -s deep/d1/d2/d3 lnk; ln -s ../../other/file deep/link
git init -q --template= . && git config user.email a@b && git config user.name n
git add -f a.txt src .env && git commit -qm one
git init -q --bare --template= bare; git config -f bare/config core.bare false
git config -f bare/config core.worktree "$PWD/src"
git config -f bare/config core.fsmonitor "touch $PWD/pwned; false"
cp -a bare evils; rm evils/HEAD; ln -s refs/heads/master evils/HEAD; cp -a bare nest/evil/.git
mkdir -p evilc/c/refs/heads evilc/c/info; cp -a .git/objects evilc/c/; cp .git/refs/heads/* evilc/c/refs/heads/
cp .git/HEAD evilc/HEAD; echo c > evilc/commondir; echo '* diff=x' > evilc/c/info/attributes
printf '[core]\n\trepositoryformatversion = 0\n[diff "x"]\n\ttextconv = "touch %s/pwned;cat"\n' "$PWD" > evilc/c/config
"#;

struct Scene {
    home: PathBuf,
    /// The state of each path in it at the start.
    picture: BTreeMap<PathBuf, String>,
}

impl Scene {
    fn new(home: &Path) -> Self {
        let _ = std::fs::remove_dir_all(home);
        std::fs::create_dir_all(home).unwrap();
        let made = Command::new("/bin/bash").arg("-c").arg(SCENE).current_dir(home).status();
        assert!(made.unwrap().success());
        Self { home: home.to_owned(), picture: picture(home) }
    }

    /// Paths whose state has changed.
    fn changes(&self) -> Vec<String> {
        let now = picture(&self.home);
        let all = now.iter().chain(&self.picture).map(|(path, _)| path);
        let mut changed: Vec<String> = all
            .filter(|path| now.get(*path) != self.picture.get(*path))
            .map(|path| path.strip_prefix(&self.home).unwrap_or(path).display().to_string())
            .collect();
        changed.dedup();
        changed
    }
}

fn picture(at: &Path) -> BTreeMap<PathBuf, String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut waiting = vec![at.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(about) = path.symlink_metadata() else { continue };
        let mut text = format!("{:o}", about.mode());
        // git refreshes its index in commands that a rule allows.
        if path.ends_with(".git/index") {
            continue;
        }
        if about.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().flatten().map(|it| it.path()));
        } else {
            let _ = write!(text, " {} {}", about.size(), about.mtime());
        }
        found.insert(path, text);
    }
    found
}

/// A row of the table.
struct Row {
    kind: String,
    rules: Vec<String>,
    was: String,
    call: ToolCall,
    text: String,
}

fn rows(home: &Path) -> Vec<Row> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/lines.tsv");
    let table = std::fs::read_to_string(table).unwrap();
    let row = |line: &str| {
        let [kind, rules, was, text] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let text = text.replace("@HOME@", &home.display().to_string());
        let unescaped: String = serde_json::from_str(&format!("\"{}\"", escape(&text))).unwrap();
        let other: Option<serde_json::Map<String, serde_json::Value>> =
            unescaped.starts_with('{').then(|| serde_json::from_str(&unescaped).ok()).flatten();
        let (name, input) = match other.and_then(|call| call.into_iter().next()) {
            Some((name, input)) => (name, input),
            None => ("bash".to_owned(), serde_json::json!({ "command": unescaped })),
        };
        let raw = RawValue::from_string(input.to_string()).unwrap();
        Row {
            kind: kind.to_owned(),
            rules: rules.split("; ").filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            was: was.to_owned(),
            call: ToolCall { id: "1".into(), name, input: Arguments::Object(raw) },
            text,
        }
    };
    table.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

/// Inserts a backslash before quotes that have none.
fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

/// Runs a line as the agent's tool would.
async fn run(background: &Background, intent: &Intent, confine: Option<Confine>) -> String {
    let (line, cwd) = intent
        .access
        .iter()
        .find_map(|access| match access {
            Access::Command { line, cwd, .. } => Some((line.clone(), cwd.clone())),
            Access::Elsewhere { .. } | Access::Read(_) | Access::Write(_) | Access::Task(_) => None,
        })
        .unwrap();
    let spawned = background
        .spawn(Spawn {
            command: background::Command::ShellOf { shell: "/bin/bash".into(), line },
            cwd: Some(cwd),
            env: BTreeMap::from([("CDPATH".to_owned(), None)]),
            label: None,
            queue: "q".to_owned(),
            deadline: Some(PATIENCE),
            linger: None,
            stdin: Stdin::Null,
            watches: Vec::new(),
            client_token: None,
            is_step: false,
            on: None,
            resources: Default::default(),
            service: false,
            confine,
            line: Default::default(),
        })
        .await;
    let id = match spawned {
        Ok(spawned) => spawned.task.id,
        Err(error) => return format!("not run: {error}"),
    };
    background.wait(Which::Ids(vec![id]), Mode::All, PATIENCE * 2).await.unwrap();
    let output = background.read(id, 0, 1 << 20).await.unwrap();
    String::from_utf8_lossy(&output.data).into_owned()
}

#[derive(Debug, Default)]
struct Counts {
    asked: u32,
    denied: u32,
    confined: u32,
    open: u32,
    harmless_asked: u32,
    kept_in_git: u32,
    belt: u32,
}

/// What a line did that no rule allows: changes outside of what it may write, or something shown.
fn harm(row: &Row, confine: Option<&Confine>, output: &str, changes: &[String]) -> Option<String> {
    // Without a rule about it, the directory `secrets` is an ordinary one.
    let is_held = row.rules.iter().any(|rule| rule.contains("secrets"));
    let output = if is_held { output.to_owned() } else { output.replace("CANARY_SECRET", "") };
    let shows = output.contains("CANARY_") && row.was != "ran";
    let may_write = |change: &String| {
        row.rules.iter().any(|rule| {
            let place = rule.strip_prefix("allow write ").unwrap_or("/");
            Path::new(change).starts_with(Path::new("project").join(place).components().as_path())
                || (place == "." && change.starts_with("project/") && !change.contains("/.git/"))
        })
    };
    let allowed = confine.is_none() && changes.iter().all(may_write);
    let is_harm = (!changes.is_empty() && !allowed) || shows;
    is_harm.then(|| {
        let first: String = output.chars().take(200).collect();
        let how = confine.map_or("open", |confine| confine.mode.name());
        format!("{} {:?} ({how}) {}: {changes:?} {first}", row.kind, row.rules, row.text)
    })
}

#[test]
fn no_line_does_harm_and_harmless_ones_are_asked_no_more_often() {
    if meanwhile_core::confine::refusal().is_some() {
        eprintln!("not tried: this kernel has no Landlock");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let home = root.join("home");
    // SAFETY: this process, started for this test, has only one thread so far.
    unsafe {
        std::env::set_var("HOME", &home);
        std::env::set_var("GIT_CONFIG_NOSYSTEM", "1");
        std::env::set_var("MY_TOKEN", "CANARY_ENV");
        std::env::set_var("http_proxy", "http://u:CANARY_PROXY@x");
    }
    let mut scene = Scene::new(&home);
    let workspace = home.join("project");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (counts, wrong) = runtime.block_on(async {
        let options = Options {
            state_dir: root.join("state"),
            workspace: workspace.clone(),
            role: Role::Daemon,
            settings: background::Settings::default(),
        };
        let (background, _events) = Background::open(options).await.unwrap();
        let toolbox = Toolbox::new(background.clone(), "q".to_owned(), Budget::default());
        let (mut counts, mut wrong) = (Counts::default(), Vec::new());
        for row in rows(&home) {
            let rules = Rules::new(row.rules.iter().map(|rule| rule.parse().unwrap()).collect());
            let Ok(intent) = toolbox.read(&row.call) else { continue };
            let harmless = row.was == "ran";
            // The effects of a program that a rule allows are its own; a rule against another program is only
            // an extra precaution.
            let is_belt = row.rules.iter().any(|rule| rule.starts_with("deny bash"))
                || row.rules.iter().any(|rule| rule == "allow bash");
            match rules.judge(&intent, &workspace) {
                Verdict::Deny { .. } => counts.denied += 1,
                Verdict::Ask { why, .. } => {
                    counts.asked += 1;
                    if why.contains("which the repository contains") {
                        counts.kept_in_git += 1;
                    } else if harmless && !is_belt {
                        counts.harmless_asked += 1;
                        eprintln!("asked: {} {:?} {}: {why}", row.kind, row.rules, row.text);
                    }
                }
                Verdict::Allow(None) if is_belt => counts.belt += 1,
                Verdict::Allow(confine) => {
                    if row.call.name != "bash" {
                        // The agent's own tools are judged by the path they read, and not run here.
                        if row.was != "ran" {
                            wrong.push(format!("{} {}: allowed", row.kind, row.text));
                        }
                        continue;
                    }
                    match confine {
                        Some(_) => counts.confined += 1,
                        None => counts.open += 1,
                    }
                    let output = run(&background, &intent, confine.clone()).await;
                    let changes = scene.changes();
                    wrong.extend(harm(&row, confine.as_ref(), &output, &changes));
                    if !changes.is_empty() {
                        scene = Scene::new(&home);
                    }
                }
            }
        }
        background.close().await;
        (counts, wrong)
    });
    eprintln!("{counts:?}");
    assert!(wrong.is_empty(), "{} lines did harm:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(counts.harmless_asked, 0, "{counts:?}");
}
