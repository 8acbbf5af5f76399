//! `meanwhile doctor --host`: tests from end to end whether another agent uses meanwhile.
//!
//! If possible, the agent itself is asked: its own report about its settings is more reliable than its files. The
//! real task runs in a temporary store.

mod talk;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use meanwhile_core::background::find_program;
use meanwhile_core::background::words::reason;
use meanwhile_core::hosts;
use serde_json::{Value, json};

use self::talk::Talk;
use super::{Check, Probe};
use crate::cli::args::{Host, SetupHost};
use crate::cli::failure::Failure;
use crate::cli::setup;

/// The timeout for an agent's answer, including its start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The polling interval for the task's end.
const ROUND: Duration = Duration::from_millis(20);
/// The name of the session, and the output of its task.
const SESSION: &str = "meanwhile-doctor";
const SAID: &str = "said-by-a-task";

/// Properties of an agent.
struct Known {
    /// The version that was tested.
    tried: [u32; 3],
    /// The hook's name for the event after a tool call.
    tool_ran: &'static str,
}

fn known(host: Host) -> Known {
    let (tried, tool_ran) = match host {
        Host::Claude => ([2, 1, 332], "PostToolUse"),
        Host::Codex => ([0, 171, 0], "PostToolUse"),
        Host::Gemini => ([0, 61, 0], "AfterTool"),
        Host::Opencode => ([1, 18, 33], "tool.execute.after"),
    };
    Known { tried, tool_ran }
}

/// Checks everything between an agent and its tasks.
pub(super) fn check(host: Host) -> Result<Vec<Check>, Failure> {
    let about = known(host);
    let mut checks = Vec::new();
    // The programs have the same names as the hosts.
    let path = std::env::var_os("PATH");
    let program = path.and_then(|path| find_program(host.name().as_ref(), Some(&path)));
    checks.push(version(host, &about, program.as_deref()));
    let missing = setup::missing(host)?;
    checks.push(settings(host, &missing));
    if let (Some(program), true) = (&program, missing.is_empty()) {
        match host {
            Host::Claude => checks.push(claude(program)),
            Host::Codex => checks.extend(codex(program)),
            // These two report it only through a model.
            Host::Gemini | Host::Opencode => {}
        }
    }
    checks.push(match task(host, &about) {
        Ok(took) => Check::ok(
            "a task",
            format!("started by the server, told by the hook, in {} ms", took.as_millis()),
        ),
        Err(why) => Check::fail(
            "a task",
            why,
            "the agent's model is not told about its tasks",
            "run `meanwhile doctor`; if it finds nothing wrong, report this as a bug of meanwhile",
        ),
    });
    Ok(checks)
}

fn version(host: Host, about: &Known, program: Option<&Path>) -> Check {
    let (name, called, tried) = (SetupHost::from(host).name(), host.name(), &about.tried);
    let absent = |found: String| {
        let remedy = format!("install {name}, or put the directory of `{called}` on the PATH");
        Check::warn("the agent", found, "its settings cannot be checked with it", &remedy)
    };
    let Some(program) = program else { return absent(format!("no `{called}` on the PATH")) };
    let said = match output(Command::new(program).arg("--version")) {
        Ok(said) => said,
        Err(why) => return absent(format!("`{called} --version`: {why}")),
    };
    let found = format!("{}, {}", said.trim(), program.display());
    let cost = "its hooks and tools may have other names than meanwhile expects";
    match numbers(&said) {
        Some(found_numbers) if found_numbers < *tried => {
            let [major, minor, patch] = tried;
            let found = format!("{found}; older than {major}.{minor}.{patch}, which was tested");
            Check::warn("the agent", found, cost, &format!("update {name}"))
        }
        Some(_) | None => Check::ok("the agent", found),
    }
}

/// The first three numbers separated by periods.
fn numbers(text: &str) -> Option<[u32; 3]> {
    let of_word = |word: &str| {
        let mut parts = word.split('.').map(|part| {
            let digits = part.trim_start_matches('v');
            digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    text.split_whitespace().find_map(of_word)
}

fn settings(host: Host, missing: &[PathBuf]) -> Check {
    if missing.is_empty() {
        return Check::ok(
            "settings",
            "the MCP server and the hooks of this program are in its settings",
        );
    }
    let files: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
    let found = format!("missing or different in {}", files.join(", "));
    let remedy = format!("`meanwhile setup {}` shows what it writes, and asks", host.name());
    Check::fail("settings", found, "the agent does not know about meanwhile", &remedy)
}

/// Asks Claude Code about the server.
fn claude(program: &Path) -> Check {
    let cost = "the model has no tools for tasks";
    let said = output(Command::new(program).args(["mcp", "get", "meanwhile"]).current_dir("/"));
    match said {
        Ok(said) => {
            let status = said.lines().find(|line| line.contains("Status")).unwrap_or("no status");
            match status.trim().ends_with("Connected") {
                true => Check::ok("the server", "Claude Code has started it and is connected"),
                false => Check::fail(
                    "the server",
                    status.trim(),
                    cost,
                    "`/mcp` in Claude Code says what is wrong",
                ),
            }
        }
        Err(why) => {
            let found = format!("`claude mcp get meanwhile`: {why}");
            Check::fail("the server", found, cost, "`/mcp` in Claude Code says what is wrong")
        }
    }
}

/// Asks Codex about the hooks, which it skips silently until they are trusted, and about the server.
fn codex(program: &Path) -> Vec<Check> {
    let asked = || -> Result<(Value, Value), String> {
        let mut codex = Talk::start(Command::new(program).arg("app-server").current_dir("/"))?;
        let client = json!({ "name": "meanwhile", "version": env!("CARGO_PKG_VERSION") });
        codex.ask("initialize", json!({ "clientInfo": client }))?;
        codex.tell("initialized")?;
        let hooks = codex.ask("hooks/list", json!({ "cwds": ["/"] }))?;
        Ok((hooks, codex.ask("mcpServerStatus/list", json!({}))?))
    };
    match asked() {
        Ok((hooks, servers)) => vec![trust(&hooks), server(&servers)],
        Err(why) => vec![Check::warn(
            "the hooks",
            format!("`codex app-server` was asked about them: {why}"),
            "if they are not trusted, Codex skips them silently",
            "`/hooks` in Codex shows and trusts them",
        )],
    }
}

fn trust(hooks: &Value) -> Check {
    let lists = hooks["data"].as_array().into_iter().flatten();
    let hooks = lists.flat_map(|list| list["hooks"].as_array().into_iter().flatten());
    let own = |hook: &&Value| setup::is_own(hook, "codex");
    let (mut trusted, mut left) = (0, Vec::new());
    for hook in hooks.filter(own) {
        let event = hook["eventName"].as_str().unwrap_or("?");
        match (hook["enabled"] == true, hook["trustStatus"].as_str().unwrap_or("?")) {
            (true, "trusted" | "managed") => trusted += 1,
            (true, status) => left.push(format!("{event} ({status})")),
            (false, _) => left.push(format!("{event} (disabled)")),
        }
    }
    let cost = "Codex skips them silently, and results are not reported automatically";
    match (trusted, left.is_empty()) {
        (0, true) => Check::fail("the hooks", "Codex lists none", cost, "`meanwhile setup codex`"),
        (trusted, true) => Check::ok("the hooks", format!("Codex runs {trusted} of them")),
        (_, false) => {
            let found = format!("not run: {}", left.join(", "));
            Check::fail("the hooks", found, cost, "start Codex and trust them once with `/hooks`")
        }
    }
}

fn server(servers: &Value) -> Check {
    let mut all = servers["data"].as_array().into_iter().flatten();
    let tools = all
        .find(|server| server["name"] == "meanwhile")
        .and_then(|server| server["tools"].as_object())
        .map_or(0, serde_json::Map::len);
    match tools {
        0 => Check::fail(
            "the server",
            "Codex has none of its tools",
            "the model has no tools for tasks",
            "`codex mcp list` says what is wrong",
        ),
        tools => Check::ok("the server", format!("Codex has started it and has its {tools} tools")),
    }
}

/// Tests a real task: the server starts it as the agent would, and the hook reports its end.
fn task(host: Host, about: &Known) -> Result<Duration, String> {
    let said = |error: std::io::Error| reason(&error);
    let probe = Probe::new(&std::env::temp_dir()).map_err(said)?;
    let (state, project) = (probe.path("state"), probe.path("project"));
    std::fs::create_dir(&project).map_err(said)?;
    let binary = std::env::current_exe().map_err(said)?;
    let command = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).current_dir(&project).env("MEANWHILE_STATE_DIR", &state);
        // This program may itself run in the shell of an agent.
        for variable in hosts::HOSTS.into_iter().chain([hosts::QUEUE_VARIABLE]) {
            command.env_remove(variable);
        }
        command
    };
    let began = Instant::now();
    let mut server = command(&["mcp"]);
    let mut meta = json!({});
    let mut arguments = json!({ "command": format!("echo {SAID}") });
    match host {
        Host::Claude => drop(server.env("CLAUDE_CODE_SESSION_ID", SESSION)),
        Host::Codex => {
            let sandbox = json!({ "sandboxPolicy": { "type": "danger-full-access" } });
            meta = json!({ "threadId": SESSION, "codex/sandbox-state-meta": sandbox });
        }
        Host::Gemini => drop(server.env(hosts::QUEUE_VARIABLE, SESSION)),
        // As the opencode plugin does.
        Host::Opencode => arguments["_session"] = json!(SESSION),
    }
    let mut server = Talk::start(&mut server)?;
    let client = json!({ "name": host.name(), "version": env!("CARGO_PKG_VERSION") });
    server.ask(
        "initialize",
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client }),
    )?;
    server.tell("notifications/initialized")?;
    let call = json!({ "name": "background_run", "arguments": arguments, "_meta": meta });
    let started = server.ask("tools/call", call)?;
    if started["isError"] == true {
        return Err(format!("background_run said {}", started["content"][0]["text"]));
    }
    let payload = json!({
        "session_id": SESSION, "hook_event_name": about.tool_ran, "cwd": project,
    })
    .to_string();
    while began.elapsed() < PATIENCE {
        let mut hook = command(&["hook", host.name()]);
        let told = with_input(&mut hook, &payload)?;
        // Match the result, not the command that it quotes.
        if told.contains("exited 0") && told.matches(SAID).count() > 1 {
            return Ok(began.elapsed());
        }
        std::thread::sleep(ROUND);
    }
    Err("the server has started a task, and the hook did not report its end".to_owned())
}

/// The output of a command, within the timeout.
fn output(command: &mut Command) -> Result<String, String> {
    with_input(command, "")
}

/// The output of a command that reads this input, within the timeout.
fn with_input(command: &mut Command, input: &str) -> Result<String, String> {
    let said = |error: std::io::Error| reason(&error);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().map_err(said)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if the command has ended without reading.
        let _ = stdin.write_all(input.as_bytes());
    }
    let mut stdout = child.stdout.take().expect("it is piped");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.read_to_end(&mut text);
        let _ = send.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });
    let text = receive.recv_timeout(PATIENCE);
    let ended = loop {
        match child.try_wait().map_err(said)? {
            Some(status) => break Some(status),
            None if text.is_ok() && began.elapsed() < PATIENCE => std::thread::sleep(ROUND),
            None => break None,
        }
    };
    let Some(status) = ended else {
        // The timeout has passed.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("no answer within {} s", PATIENCE.as_secs()));
    };
    match text {
        Ok(text) if status.success() => text.map_err(said),
        Ok(_) => Err(format!("it ended with {status}")),
        Err(_) => Err("its output was not closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Status;

    #[test]
    fn versions_are_found_in_what_agents_say() {
        for (text, version) in [
            ("2.1.332 (Claude Code)", Some([2, 1, 332])),
            ("codex-cli 0.171.0", Some([0, 171, 0])),
            ("v1.2.3-beta", Some([1, 2, 3])),
            ("1.2", None),
            ("", None),
        ] {
            assert_eq!(numbers(text), version, "{text}");
        }
    }

    #[test]
    fn hooks_count_where_codex_runs_them() {
        let hook = |event: &str, enabled: bool, status: &str| {
            json!({ "eventName": event, "enabled": enabled, "trustStatus": status,
                "command": "/bin/meanwhile hook codex" })
        };
        let other = json!({ "eventName": "stop", "enabled": true, "trustStatus": "untrusted",
            "command": "other" });
        let both = [hook("stop", true, "trusted"), hook("sessionStart", true, "trusted")];
        for (hooks, status, found) in [
            (vec![], Status::Fail, "Codex lists none"),
            (
                vec![other.clone(), both[0].clone(), both[1].clone()],
                Status::Ok,
                "Codex runs 2 of them",
            ),
            (
                vec![both[0].clone(), hook("a", true, "modified")],
                Status::Fail,
                "not run: a (modified)",
            ),
            (vec![hook("a", false, "trusted")], Status::Fail, "not run: a (disabled)"),
        ] {
            let check = trust(&json!({ "data": [{ "cwd": "/", "hooks": hooks }] }));
            assert_eq!((check.status, check.found.as_str()), (status, found));
        }
    }
}
