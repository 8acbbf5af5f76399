//! `meanwhile doctor --host`, with fake programs that answer like the agents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Ran, Store};

const CLAUDE: &str = "case $1 in
    --version) echo \"$VERSION (Claude Code)\";;
    mcp) echo '  Status: ✔ Connected';;
esac";

/// A fake app-server of Codex: one reply for each request; the second is about hooks, the third about servers.
const CODEX: &str = r#"case $1 in --version) echo "codex-cli 0.171.0"; exit;; esac
read -r initialize && echo '{"id":1,"result":{}}'
read -r initialized; read -r hooks
echo '{"method":"configWarning","params":{}}'
echo '{"id":2,"result":{"data":[{"hooks":[{"eventName":"stop","enabled":true,"trustStatus":"'$TRUST'",
"command":"/bin/meanwhile hook codex"}]}]}}' | tr -d '\n'; echo
read -r servers && echo '{"id":3,"result":{"data":[{"name":"meanwhile","tools":{"wait":{}}}]}}'
exec sleep 60"#;

/// A command that finds these programs first on the PATH.
fn command(store: &Store, args: &[&str], programs: &[(&str, &str)]) -> Command {
    let bin = store.workspace().join("bin");
    fs::create_dir_all(&bin).unwrap();
    for (name, script) in programs {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = store.command(args);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command
}

fn checks(ran: &Ran) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_slice(&ran.stdout).expect("a report");
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks.map(|it| (text(&it["name"]), text(&it["status"]), text(&it["found"]))).collect()
}

fn doctor(store: &Store, host: &str, program: &str, env: (&str, &str)) -> Ran {
    let mut command = command(store, &["doctor", "--host", host, "--json"], &[(host, program)]);
    Ran::from(command.env(env.0, env.1).output().unwrap())
}

fn set_up(store: &Store, host: &str) {
    let ran = Ran::from(store.command(&["setup", host, "--yes"]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("`meanwhile doctor --host {host}`")), "{}", ran.stderr);
}

#[test]
fn the_whole_way_to_claude_code_is_tried() {
    let store = Store::new();
    let before = doctor(&store, "claude", CLAUDE, ("VERSION", "2.1.332"));
    assert_eq!(before.code, Some(1));
    let settings = &checks(&before)[1];
    assert!(settings.1 == "fail" && settings.2.contains("settings.json"), "{settings:?}");
    set_up(&store, "claude");
    for (version, status) in [("2.1.332", "ok"), ("3.0.0", "ok"), ("2.1.99", "warn")] {
        let ran = doctor(&store, "claude", CLAUDE, ("VERSION", version));
        let found = checks(&ran);
        assert_eq!((ran.code, &*found[0].1), (Some(0), status), "{found:?}");
        assert!(found[1..].iter().all(|it| it.1 == "ok") && found.len() == 4, "{found:?}");
        assert!(found[3].2.contains("told by the hook"), "{found:?}");
    }
    let kept = fs::read_dir(store.state()).map_or(0, |it| it.count());
    assert_eq!(kept, 0, "the task ran in a temporary store");
}

#[test]
fn hooks_that_codex_does_not_trust_are_told() {
    let store = Store::new();
    set_up(&store, "codex");
    for (trust, status, code) in [("untrusted", "fail", 1), ("trusted", "ok", 0)] {
        let ran = doctor(&store, "codex", CODEX, ("TRUST", trust));
        let found = checks(&ran);
        assert_eq!((ran.code, &*found[2].1), (Some(code), status), "{found:?}");
        assert_eq!((&*found[3].1, &*found[4].1), ("ok", "ok"), "{found:?}");
    }
}

#[test]
fn an_agent_that_is_not_there_or_says_nonsense_is_named() {
    let store = Store::new();
    set_up(&store, "codex");
    for program in ["exit 3", "echo; echo 1"] {
        let ran = doctor(&store, "codex", program, ("A", "1"));
        let found = checks(&ran);
        let hooks = found.iter().find(|it| it.0 == "the hooks").unwrap();
        assert_eq!((ran.code, &*hooks.1), (Some(0), "warn"), "{found:?}");
    }
    let mut absent = store.command(&["doctor", "--host", "opencode"]);
    let ran = Ran::from(absent.env("PATH", "/nowhere").output().unwrap());
    let text = ran.text();
    assert!(ran.code == Some(1) && text.contains("no `opencode` on the PATH"), "{text}");
    assert!(text.contains("results do not reach the agent"), "{text}");
    let unknown = Ran::from(store.command(&["doctor", "--host", "emacs"]).output().unwrap());
    assert!(unknown.code == Some(2) && unknown.stderr.contains("claude"), "{}", unknown.stderr);
}
