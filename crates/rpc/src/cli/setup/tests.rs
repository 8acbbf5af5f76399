use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::cli::args::SetupHost;

struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn places(&self) -> Places {
        let home = self.0.path().to_owned();
        Places {
            binary: "/opt/b c/meanwhile".into(),
            home,
            claude: None,
            codex: None,
            config: None,
        }
    }

    fn change(&self, host: SetupHost, undo: bool) -> usize {
        let changes = changes(&parts(host, &self.places()), undo).unwrap();
        for change in &changes {
            assert!(change.shown().contains(if undo { "\n- " } else { "\n+ " }), "{change:?}");
            change.make().unwrap();
        }
        changes.len()
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.path().join(path)).ok()
    }
}

const WRITTEN: [SetupHost; 4] =
    [SetupHost::Claude, SetupHost::Codex, SetupHost::Gemini, SetupHost::Opencode];

#[test]
fn what_was_added_is_taken_away_and_nothing_is_left() {
    for (host, files) in WRITTEN.into_iter().zip([3, 2, 1, 2]) {
        let lab = Lab::new();
        assert_eq!(lab.change(host, false), files, "{host:?}");
        assert_eq!(lab.change(host, false), 0, "{host:?}: twice is once");
        assert_eq!(lab.change(host, true), files, "{host:?}");
        assert_eq!(lab.change(host, true), 0, "{host:?}");
        let mut folders = vec![lab.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                assert!(entry.file_type().unwrap().is_dir(), "{host:?}: {entry:?} is left");
                folders.push(entry.path());
            }
        }
    }
}

#[test]
fn what_is_there_stays_as_it_is() {
    let lab = Lab::new();
    let settings = json!({
        "model": "opus",
        "hooks": {
            "Stop": [{"hooks": [{"type": "command", "command": "beep"}]}],
            "Notification": [{"hooks": [{"type": "command", "command": "boop"}]}],
        },
        "zeta": [1, 2],
    });
    let before = format!("{settings:#}\n");
    fs::create_dir(lab.0.path().join(".claude")).unwrap();
    fs::write(lab.0.path().join(".claude/settings.json"), &before).unwrap();
    lab.change(SetupHost::Claude, false);
    let written: Value = serde_json::from_str(&lab.read(".claude/settings.json").unwrap()).unwrap();
    assert_eq!(written["hooks"]["Stop"][0]["hooks"][0]["command"], "beep");
    assert_eq!(
        written["hooks"]["Stop"][1]["hooks"][0]["command"],
        "'/opt/b c/meanwhile' hook claude"
    );
    for event in ["PostToolUse", "Stop"] {
        let groups = written["hooks"][event].to_string();
        assert_eq!(groups.matches("hook claude --rewake").count(), 1, "{event}: {groups}");
    }
    lab.change(SetupHost::Claude, true);
    assert_eq!(lab.read(".claude/settings.json").unwrap(), before);

    let before = "model = \"x\"\n\n[profiles.a]\nb = 1\n";
    fs::create_dir(lab.0.path().join(".codex")).unwrap();
    fs::write(lab.0.path().join(".codex/config.toml"), before).unwrap();
    lab.change(SetupHost::Codex, false);
    let written = lab.read(".codex/config.toml").unwrap();
    assert!(written.starts_with(before) && written.contains("\"/opt/b c/meanwhile\""), "{written}");
    assert!(!written.contains("approv"), "an approval is the user's to give");
    lab.change(SetupHost::Codex, true);
    assert_eq!(lab.read(".codex/config.toml").unwrap(), before);
}

/// Codex stores a person's choices in the same file, after the server's table and inside it.
#[test]
fn what_a_host_writes_beside_a_server_stays() {
    let lab = Lab::new();
    lab.change(SetupHost::Codex, false);
    let path = lab.0.path().join(".codex/config.toml");
    let rest = "\n# mine\n[hooks.state.\"/a:stop:0:0\"]\ntrusted_hash = \"sha256:0\"\n";
    let under = "\n[mcp_servers.meanwhile.tools.background_run]\napproval_mode = \"approve\"\n";
    let written = lab.read(".codex/config.toml").unwrap();
    fs::write(&path, format!("{written}{under}{rest}")).unwrap();
    lab.change(SetupHost::Codex, true);
    assert_eq!(lab.read(".codex/config.toml").unwrap().trim(), rest.trim());
}

#[test]
fn a_server_that_the_user_set_up_is_kept() {
    let lab = Lab::new();
    fs::create_dir(lab.0.path().join(".codex")).unwrap();
    let own = "[mcp_servers.meanwhile]\ncommand = \"own\"\n";
    fs::write(lab.0.path().join(".codex/config.toml"), own).unwrap();
    lab.change(SetupHost::Codex, false);
    assert_eq!(lab.read(".codex/config.toml").unwrap(), own);
}

#[test]
fn a_file_that_cannot_be_read_is_not_written() {
    let lab = Lab::new();
    let path = lab.0.path().join(".claude.json");
    for text in ["{ // comment\n}", "[]", "{\"mcpServers\": 5}"] {
        fs::write(&path, text).unwrap();
        assert!(changes(&parts(SetupHost::Claude, &lab.places()), false).is_err(), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let path = lab.0.path().join(".codex/config.toml");
    fs::create_dir(lab.0.path().join(".codex")).unwrap();
    for text in ["model = ", "mcp_servers = 5\n"] {
        fs::write(&path, text).unwrap();
        let error = changes(&parts(SetupHost::Codex, &lab.places()), false).unwrap_err();
        assert!(format!("{error:?}").contains("config.toml"), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
