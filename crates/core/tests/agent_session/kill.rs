//! SIGKILL at random times of a session: nothing is lost, nothing is delivered twice.
//!
//! This test program starts itself as the agent, kills it, and checks the ledger.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meanwhile_core::Background;
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Policy, Session, Terms, TurnEnd, Update, Updates};
use meanwhile_core::agent::{Message, Provider, pairing};
use meanwhile_core::background::ledger::Ledger;
use meanwhile_core::background::task::DeliveredBy;
use meanwhile_core::background::{self, Role};

use super::lab::{anything, eventually};

/// The variable with the directory in which the child works.
const DIR: &str = "MEANWHILE_TEST_KILL_DIR";
/// How often the session is killed.
const DEATHS: u64 = 200;
/// The longest life of a child before it is killed, from its start or from when it works.
const LIFE: Duration = Duration::from_millis(80);
/// The file by which a child shows that it has started to work: one of its commands creates the file.
const WORKS: &str = "works";

/// A model that continues as long as its commands tell it to, with results in every way: in the foreground, in
/// the background at once, and in the background later.
const SCRIPT: &str = "
[[turn]]
when = 'STOP'
text = 'END'
[[turn]]
when = 'RUN'
text = 'on'
[[turn.call]]
tool = 'background_run'
input = { command = 'cat mode' }
[[turn.call]]
tool = 'bash'
input = { command = 'sleep 0.02; cat mode' }
[[turn.call]]
tool = 'background_run'
input = { command = 'sleep 0.03; cat mode' }
[[turn]]
text = 'never reached'
";

#[test]
fn as_child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work(Path::new(&dir)));
}

/// The agent: opens its session, and works until it is told to stop and everything has been delivered.
async fn work(dir: &Path) {
    let options = background::Options {
        state_dir: dir.join("state"),
        workspace: dir.to_owned(),
        role: Role::Daemon,
        settings: background::Settings::default(),
    };
    let (background, _events) = Background::open(options).await.unwrap();
    let scripted = Scripted::from_text("kill.toml", SCRIPT, Patience::default()).unwrap();
    let policy = Policy { calls_per_turn: 100_000, wakes_per_hour: 100_000, ..Policy::default() };
    let options = Terms {
        provider: Provider::Scripted(scripted.into()),
        rules: anything(),
        can_ask: false,
        policy,
        editor: None,
        servers: Vec::new(),
    };
    let known = std::fs::read_to_string(dir.join("session"));
    let (session, updates) = match known {
        Ok(id) => Session::load(background.clone(), options, &id).await.unwrap(),
        Err(_) => {
            let made = Session::create(background.clone(), options).await.unwrap();
            std::fs::write(dir.join("new"), made.0.id().as_str()).unwrap();
            std::fs::rename(dir.join("new"), dir.join("session")).unwrap();
            made
        }
    };
    let works = dir.join(WORKS);
    let reader = tokio::spawn(async move {
        let mut updates: Updates = updates;
        while let Some(update) = updates.next().await {
            if let Update::ToolTask { .. } = update {
                std::fs::write(&works, "").unwrap();
            }
        }
    });
    let end = session.prompt("RUN".to_owned()).await.unwrap();
    assert_eq!(end, TurnEnd::EndTurn);
    eventually(async || {
        session.idle().await.unwrap();
        let (running, waiting) = session.unfinished().await.unwrap();
        running.is_empty() && waiting == 0
    })
    .await;
    session.close().await;
    reader.await.unwrap();
    background.close().await;
}

fn child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::as_child", "--nocapture"])
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("errors")).unwrap())
        .spawn()
        .unwrap()
}

/// The result of `probe` once there is one; `None` after a minute.
fn within<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = probe();
        if found.is_some() || Instant::now() > until {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The current transcript; empty if there is none.
fn transcript(dir: &Path) -> Vec<String> {
    let Ok(id) = std::fs::read_to_string(dir.join("session")) else { return Vec::new() };
    let ledger = Ledger::open(&dir.join("state"), false).unwrap();
    let messages = ledger.messages(&id).unwrap();
    for (n, message) in (1..).zip(&messages) {
        assert_eq!(message.n, n, "numbered through");
    }
    messages.into_iter().map(|message| message.body).collect()
}

#[test]
fn a_killed_agent_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("mode"), "RUN\n").unwrap();
    let mut before: Vec<String> = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for death in 0..DEATHS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = std::fs::remove_file(dir.join(WORKS));
        let mut child = child(dir);
        // Alternately at any time, and while it works.
        if death % 2 == 1 {
            within(|| dir.join(WORKS).exists().then_some(())).expect("it should have begun");
        }
        // Not a wait for anything: the time of the kill is what varies.
        std::thread::sleep(LIFE.mul_f64((random >> 40) as f64 / f64::from(1 << 24)));
        if let Some(status) = child.try_wait().unwrap() {
            let errors = std::fs::read_to_string(dir.join("errors")).unwrap();
            panic!("death {death}: it ended by itself, {status}: {errors}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = transcript(dir);
        assert!(now.starts_with(&before), "death {death}: what was said was changed");
        before = now;
    }
    std::fs::write(dir.join("mode"), "STOP\n").unwrap();
    let mut last = child(dir);
    let Some(status) = within(|| last.try_wait().unwrap()) else {
        last.kill().unwrap();
        panic!("it should have come to an end");
    };
    let errors = std::fs::read_to_string(dir.join("errors")).unwrap();
    assert!(status.success(), "{errors}");

    let now = transcript(dir);
    assert!(now.starts_with(&before));
    let history: Vec<Message> = now.iter().map(|body| Message::from_json(body).unwrap()).collect();
    assert_eq!(pairing::check(&history), Ok(()));
    // Every end once: in a message with results, or in the result of the call that ran it.
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for message in &history {
        if let Message::Background { text } = message {
            for line in text.lines().filter_map(|line| line.strip_prefix("[bg:")) {
                *told.entry(line[..8].to_owned()).or_default() += 1;
            }
        }
    }
    let id = std::fs::read_to_string(dir.join("session")).unwrap();
    let ledger = Ledger::open(&dir.join("state"), false).unwrap();
    let tasks = ledger.tasks(dir, None, 100_000, true).unwrap();
    assert!(tasks.len() as u64 >= DEATHS / 2, "{} tasks: it hardly did anything", tasks.len());
    for task in tasks {
        assert_eq!(task.queue, id);
        let delivered = task.delivered.as_ref().unwrap_or_else(|| panic!("not told: {task:?}"));
        let by_drain = u32::from(delivered.by == DeliveredBy::Drain);
        let times = told.remove(task.id.as_str()).unwrap_or(0);
        assert_eq!(times, by_drain, "{task:?}");
        assert!(task.end().is_some());
    }
    // Retention may have removed the oldest tasks; they were delivered once too.
    assert!(told.values().all(|times| *times == 1), "{told:?}");
}
