//! SIGKILL of the daemon at each step of spawn, finish, drain and ack: nothing is lost, nothing is
//! reported twice, nothing runs twice.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Entry, Lab, all, id_of};

/// The number of rounds of the longest test; each ends with a SIGKILL.
const ROUNDS: usize = 112;
/// How many tasks each round spawns.
const TASKS: usize = 4;

/// Pseudo-random numbers that are the same in each run (xorshift64, Marsaglia 2003), so that runs differ only
/// in timing.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Sleeps for a random time. This does not wait for a condition: the kill must come at a random point of
    /// the daemon's work.
    fn pause(&mut self, most: Duration) {
        let most = u64::try_from(most.as_micros()).expect("a short time");
        thread::sleep(Duration::from_micros(self.below(most)));
    }
}

/// A client that stores notifications and then acknowledges them, as an agent does.
#[derive(Default)]
struct Client {
    /// The task id of each notification, by its number.
    told: BTreeMap<u64, String>,
    /// The daemon has confirmed acknowledgements up to this number.
    acked: u64,
    /// The task of each token, once known.
    tokens: BTreeMap<String, String>,
}

impl Client {
    /// Handles all messages of a session.
    fn take_in(&mut self, log: &[Entry]) {
        let mut asked: BTreeMap<String, &Value> = BTreeMap::new();
        for entry in log {
            let message = &entry.message;
            let key = message["id"].to_string();
            if message.get("method").is_some() {
                if message.get("id").is_some() {
                    asked.insert(key, message);
                }
                // A push is durable before it is sent, so its number is final.
                if let Some(params) = entry.push("task/exited") {
                    self.tell(&params["notification"]);
                }
                continue;
            }
            let Some(request) = asked.get(&key) else { continue };
            assert!(message.get("error").is_none(), "{request} failed: {message}");
            let (params, result) = (&request["params"], &message["result"]);
            match request["method"].as_str().expect("a method") {
                "task/spawn" => {
                    let token = params["clientToken"].as_str().expect("a token").to_owned();
                    let id = id_of(&result["task"]);
                    let before = self.tokens.insert(token.clone(), id.clone());
                    assert!(before.is_none_or(|b| b == id), "{token} made a second task, {id}");
                }
                "task/drain" => {
                    for notification in result["notifications"].as_array().expect("a list") {
                        let seq = notification["seq"].as_u64().expect("a number");
                        assert!(seq > self.acked, "{seq} was drained after it was acked");
                        self.tell(notification);
                    }
                }
                "task/ack" => {
                    let through = params["through"].as_u64().expect("a number");
                    self.acked = self.acked.max(through);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, notification: &Value) {
        let seq = notification["seq"].as_u64().expect("a number");
        let task = &notification["task"];
        let id = id_of(task);
        assert_eq!(task["state"], "exited", "{task}");
        assert_eq!(task["exit"]["code"], 3, "{task}");
        let before = self.told.insert(seq, id.clone());
        assert!(
            before.is_none_or(|b| b == id),
            "number {seq} belongs to two tasks, the second is {id}"
        );
    }

    /// Asserts that each token's task has one number, and ran once.
    fn judge(&self, lab: &Lab, tokens: usize) {
        assert_eq!(self.tokens.len(), tokens);
        let numbers: Vec<u64> = self.told.keys().copied().collect();
        assert_eq!(numbers, (1..=tokens as u64).collect::<Vec<u64>>(), "gapless, one a task");
        let mut told: Vec<&String> = self.told.values().collect();
        let mut ids: Vec<&String> = self.tokens.values().collect();
        told.sort();
        ids.sort();
        assert_eq!(told, ids, "each task is reported exactly once");
        let text = lab.text("ran");
        let mut ran: Vec<&str> = text.lines().collect();
        ran.sort_unstable();
        let wanted: Vec<&str> = self.tokens.keys().map(String::as_str).collect();
        assert_eq!(ran, wanted, "each task ran exactly once");
    }
}

fn wish(token: &str) -> Value {
    // The output varies the time that an end takes.
    json!({ "command": format!("echo {token} >> ran; echo {token}; exit 3"), "clientToken": token })
}

fn exited(daemon: &Daemon, asked: &[i64]) {
    for &ask in asked {
        let id = id_of(&daemon.answer(ask).expect("it is accepted")["task"]);
        daemon.exited(&id);
    }
}

#[test]
fn a_hundred_kills_at_every_step_lose_nothing_and_repeat_nothing() {
    kills_at_every_step(ROUNDS, Daemon::kill9);
}

/// vscode-languageclient kills the tree of a server that exits slowly, and JetBrains that of every server.
#[test]
fn kills_of_the_daemons_whole_tree_at_every_step_lose_nothing_and_repeat_nothing() {
    kills_at_every_step(ROUNDS / 2, |daemon| {
        let mut tree = vec![daemon.pid()];
        let mut at = 0;
        while let Some(&parent) = tree.get(at) {
            tree.extend(all().iter().filter(|child| child.parent == parent).map(|child| child.pid));
            at += 1;
        }
        for pid in tree.into_iter().skip(1) {
            // It may have exited meanwhile.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        daemon.kill9()
    });
}

fn kills_at_every_step(rounds: usize, kill: impl Fn(Daemon) -> Vec<Entry>) {
    let lab = Lab::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut client = Client::default();
    let mut all: Vec<String> = Vec::new();
    for round in 0..rounds {
        let daemon = lab.daemon();
        // Requests without an answer are repeated with the same token.
        let open: Vec<&String> =
            all.iter().filter(|token| !client.tokens.contains_key(*token)).collect();
        let again: Vec<i64> = open.iter().map(|t| daemon.ask("task/spawn", wish(t))).collect();
        for ask in again {
            daemon.answer(ask).expect("it is accepted");
        }
        let fresh: Vec<String> = (0..TASKS).map(|n| format!("r{round:03}-{n}")).collect();
        let asked: Vec<i64> = fresh.iter().map(|t| daemon.ask("task/spawn", wish(t))).collect();
        all.extend(fresh);
        match round % 4 {
            0 => dice.pause(Duration::from_millis(10)),
            1 => {
                for &ask in &asked {
                    daemon.answer(ask).expect("it is accepted");
                }
                dice.pause(Duration::from_millis(10));
            }
            2 => {
                exited(&daemon, &asked);
                daemon.ask("task/drain", json!({ "ack": "manual", "max": 1000 }));
                dice.pause(Duration::from_millis(3));
            }
            _ => {
                exited(&daemon, &asked);
                let drained = daemon.call("task/drain", json!({ "ack": "manual", "max": 1000 }));
                let last =
                    drained["notifications"].as_array().and_then(|list| list.last().cloned());
                let through = last.expect("the round's own ends are there")["seq"].clone();
                daemon.ask("task/ack", json!({ "through": through }));
                dice.pause(Duration::from_millis(3));
            }
        }
        client.take_in(&kill(daemon));
    }
    let daemon = lab.daemon();
    for token in &all {
        daemon.call("task/spawn", wish(token));
    }
    let ids: Vec<String> = client.tokens.values().cloned().collect();
    let waited =
        daemon.call("task/wait", json!({ "ids": ids, "mode": "all", "timeoutMs": 20_000 }));
    assert_eq!(waited["timedOut"], false);
    loop {
        let drained = daemon.call("task/drain", json!({ "ack": "manual", "max": 1000 }));
        let list = drained["notifications"].as_array().expect("a list");
        let Some(last) = list.last() else { break };
        daemon.call("task/ack", json!({ "through": last["seq"] }));
    }
    assert_eq!(daemon.drain(), Vec::<Value>::new());
    let log = daemon.entries();
    drop(daemon);
    client.take_in(&log);
    client.judge(&lab, all.len());
}

#[test]
fn kills_during_drains_that_ack_by_themselves_lose_nothing() {
    let lab = Lab::new();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut client = Client::default();
    for round in 0..24 {
        let daemon = lab.daemon();
        let tokens: Vec<String> = (0..TASKS).map(|n| format!("r{round:03}-{n}")).collect();
        let asked: Vec<i64> = tokens.iter().map(|t| daemon.ask("task/spawn", wish(t))).collect();
        exited(&daemon, &asked);
        daemon.ask("task/drain", json!({ "max": 3 }));
        dice.pause(Duration::from_millis(3));
        // Pushes are ignored: the queue alone must be sufficient.
        let log: Vec<Entry> = daemon
            .kill9()
            .into_iter()
            .filter(|entry| entry.push("task/exited").is_none())
            .collect();
        client.take_in(&log);
    }
    let daemon = lab.daemon();
    while !daemon.drain().is_empty() {}
    let log: Vec<Entry> =
        daemon.entries().into_iter().filter(|entry| entry.push("task/exited").is_none()).collect();
    drop(daemon);
    client.take_in(&log);
    client.judge(&lab, 24 * TASKS);
}

#[test]
fn the_kill_of_one_of_two_daemons_leaves_the_other_with_every_end() {
    let lab = Lab::new();
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let stays = lab.daemon();
    let mut client = Client::default();
    let mut all = Vec::new();
    for round in 0..24 {
        let goes = lab.daemon();
        let tokens: Vec<String> = (0..TASKS).map(|n| format!("r{round:03}-{n}")).collect();
        for token in &tokens {
            goes.ask("task/spawn", wish(token));
        }
        all.extend(tokens);
        dice.pause(Duration::from_millis(15));
        client.take_in(&goes.kill9());
    }
    for token in &all {
        let id = id_of(&stays.spawn(wish(token)));
        stays.exited(&id);
    }
    stays.drain();
    let log = stays.entries();
    drop(stays);
    client.take_in(&log);
    client.judge(&lab, all.len());
}

#[test]
fn a_killed_daemon_leaves_no_process_of_its_own() {
    let lab = Lab::new();
    for _ in 0..5 {
        let daemon = lab.daemon();
        daemon.run("true");
        drop(daemon.kill9());
        lab.expect_no_process();
    }
    // The next daemon cleans up what the killed one left in files; the harness checks that.
    assert_eq!(lab.daemon().drain().len(), 5);
}

#[test]
fn a_kill_before_initialize_or_in_the_middle_of_it_harms_no_store() {
    let lab = Lab::new();
    let mut dice = Dice(0xdead_beef_cafe_f00d);
    for _ in 0..20 {
        let daemon = lab.start().silent().go();
        let params = json!({ "processId": null, "capabilities": {} });
        daemon.ask_perhaps("initialize", params);
        dice.pause(Duration::from_millis(8));
        drop(daemon.kill9());
    }
    lab.daemon().run("true");
}
