//! All messages of one connection, in order, and what must hold for every such log.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Received,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) direction: Direction,
    pub(crate) message: Value,
}

impl Entry {
    /// The parameters, if this is a push of that method.
    pub(crate) fn push(&self, method: &str) -> Option<&Value> {
        let fits = self.direction == Direction::Received
            && self.message.get("id").is_none()
            && self.message["method"] == method;
        fits.then(|| &self.message["params"])
    }

    /// The id of the task that a push is about.
    pub(crate) fn about(&self) -> Option<&str> {
        if self.direction != Direction::Received {
            return None;
        }
        let params = &self.message["params"];
        let id = match self.message["method"].as_str()? {
            "task/started" | "task/began" => &params["task"]["id"],
            "task/output" | "task/progress" => &params["id"],
            "task/notified" | "task/exited" => &params["notification"]["task"]["id"],
            _ => return None,
        };
        id.as_str()
    }
}

/// Asserts what the protocol promises for every session ("Guarantees" and "Lifecycle").
pub(crate) fn audit(log: &[Entry], complete: bool) {
    one_answer_a_request(log, complete);
    reply_before_pushes(log);
    order_of_each_task(log);
    snapshots(log);
    ascending_numbers(log);
}

fn one_answer_a_request(log: &[Entry], complete: bool) {
    let mut open = BTreeMap::new();
    for entry in log {
        let message = &entry.message;
        let (id, is_call) = (&message["id"], message.get("method").is_some());
        match (entry.direction, is_call) {
            (Direction::Sent, true) if !id.is_null() => {
                open.insert(id.to_string(), message["method"].clone());
            }
            // An answer with a null id is for a request whose id could not be read.
            (Direction::Received, false) if !id.is_null() => {
                assert_eq!(message["jsonrpc"], "2.0", "another protocol: {message}");
                let known = open.remove(&id.to_string());
                assert!(known.is_some(), "an answer to nothing, or a second one: {message}");
                let (result, error) = (message.get("result"), message.get("error"));
                assert!(result.is_some() != error.is_some(), "neither or both: {message}");
            }
            (Direction::Sent | Direction::Received, _) => {}
        }
    }
    assert!(!complete || open.is_empty(), "requests without an answer: {open:?}");
}

/// Guarantee 1: the reply to `task/spawn` comes before any push about that task.
fn reply_before_pushes(log: &[Entry]) {
    let spawns: BTreeSet<String> = log
        .iter()
        .filter(|entry| {
            entry.direction == Direction::Sent && entry.message["method"] == "task/spawn"
        })
        .map(|entry| entry.message["id"].to_string())
        .collect();
    let mut spoken_of = BTreeSet::new();
    for entry in log {
        if let Some(id) = entry.about() {
            spoken_of.insert(id.to_owned());
        }
        // A snapshot that names a task is also about that task.
        if let Some(snapshot) = entry.push("tasks/changed") {
            let ids = snapshot["running"].as_array().into_iter().flatten();
            spoken_of.extend(ids.filter_map(|id| id.as_str()).map(str::to_owned));
        }
        let is_reply = entry.direction == Direction::Received
            && entry.message.get("method").is_none()
            && spawns.contains(&entry.message["id"].to_string());
        // A spawn with a reused token is answered with a task that earlier pushes may be about.
        if is_reply
            && let Some(id) = entry.message["result"]["task"]["id"].as_str()
            && !repeats_a_token(log, &entry.message["id"])
        {
            assert!(!spoken_of.contains(id), "a push about {id} overtook the reply that names it");
        }
    }
}

fn repeats_a_token(log: &[Entry], id: &Value) -> bool {
    log.iter().any(|entry| {
        entry.direction == Direction::Sent
            && entry.message["id"] == *id
            && entry.message["params"].get("clientToken").is_some()
    })
}

/// Guarantees 2 and 3: one `task/exited` for each task, and nothing about the task after it, unless the
/// client subscribes to its output then.
fn order_of_each_task(log: &[Entry]) {
    let mut ended = BTreeSet::new();
    for entry in log {
        if entry.direction == Direction::Sent && entry.message["method"] == "task/subscribe" {
            ended.remove(entry.message["params"]["id"].as_str().unwrap_or_default());
        }
        let Some(id) = entry.about() else { continue };
        assert!(!ended.contains(id), "a push about {id} after its task/exited: {}", entry.message);
        if entry.push("task/exited").is_some() {
            ended.insert(id.to_owned());
        }
    }
}

/// Guarantee 4: a task leaves the snapshot only after its `task/exited`, and does leave it.
fn snapshots(log: &[Entry]) {
    let mut running: BTreeSet<String> = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for entry in log {
        if let (Some(_), Some(id)) = (entry.push("task/exited"), entry.about()) {
            ended.insert(id.to_owned());
        }
        let Some(snapshot) = entry.push("tasks/changed") else { continue };
        let ids = snapshot["running"].as_array().expect("`running` is a list");
        let now: BTreeSet<String> =
            ids.iter().map(|id| id.as_str().expect("an id is a string").to_owned()).collect();
        for gone in running.difference(&now) {
            assert!(ended.contains(gone), "tasks/changed dropped {gone} before its task/exited");
        }
        let dead: Vec<&String> = now.intersection(&ended).collect();
        assert!(dead.is_empty(), "tasks/changed names {dead:?} after their task/exited");
        assert!(snapshot["undelivered"].is_object(), "`undelivered` is a map: {snapshot}");
        running = now;
    }
}

/// Guarantee 5, as far as pushes show it: numbers ascend within a queue.
fn ascending_numbers(log: &[Entry]) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for entry in log {
        let params = entry.push("task/exited").or_else(|| entry.push("task/notified"));
        let Some(notification) = params.map(|params| &params["notification"]) else { continue };
        let queue = notification["queue"].as_str().expect("a notification names its queue");
        let seq = notification["seq"].as_u64().expect("a notification has a number");
        let before = last.insert(queue.to_owned(), seq).unwrap_or(0);
        assert!(seq > before, "queue {queue}: push {seq} came after {before}");
    }
}

/// Tests of the audit, with one log that breaks each rule.
mod tests {
    use std::panic::catch_unwind;

    use serde_json::{Value, json};

    use super::{Direction, Entry, audit};

    fn sent(message: Value) -> Entry {
        Entry { direction: Direction::Sent, message }
    }

    fn heard(message: Value) -> Entry {
        Entry { direction: Direction::Received, message }
    }

    fn push(method: &str, params: Value) -> Entry {
        heard(json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    }

    fn ask(id: i64) -> Entry {
        sent(json!({ "jsonrpc": "2.0", "id": id, "method": "task/spawn", "params": {} }))
    }

    fn reply(id: i64, task: &str) -> Entry {
        heard(json!({ "jsonrpc": "2.0", "id": id, "result": { "task": { "id": task } } }))
    }

    fn started(task: &str) -> Entry {
        push("task/started", json!({ "task": { "id": task } }))
    }

    fn exited(task: &str, seq: u64) -> Entry {
        let notification = json!({ "seq": seq, "queue": "q", "task": { "id": task } });
        push("task/exited", json!({ "notification": notification }))
    }

    fn changed(running: &[&str]) -> Entry {
        push("tasks/changed", json!({ "running": running, "undelivered": {} }))
    }

    fn broken(log: &[Entry]) -> bool {
        catch_unwind(|| audit(log, true)).is_err()
    }

    #[test]
    fn an_orderly_session_passes() {
        let log = [
            ask(1),
            reply(1, "a"),
            started("a"),
            changed(&["a"]),
            exited("a", 1),
            changed(&[]),
            exited("b", 2),
        ];
        assert!(!broken(&log));
    }

    #[test]
    fn each_rule_can_be_broken() {
        let output = || push("task/output", json!({ "id": "a", "offset": 0, "data": "" }));
        for (rule, log) in [
            ("every request is answered", vec![ask(1)]),
            ("once", vec![ask(1), reply(1, "a"), reply(1, "a")]),
            ("and asked", vec![reply(1, "a")]),
            ("the reply comes first", vec![ask(1), started("a"), reply(1, "a")]),
            ("also before a snapshot", vec![ask(1), changed(&["a"]), reply(1, "a")]),
            ("output comes before the end", vec![exited("a", 1), output()]),
            ("one end a task", vec![exited("a", 1), exited("a", 2)]),
            ("the end comes before the snapshot", vec![changed(&["a"]), changed(&[])]),
            ("a snapshot drops the dead", vec![exited("a", 1), changed(&["a"])]),
            ("numbers ascend", vec![exited("a", 2), exited("b", 1)]),
        ] {
            assert!(broken(&log), "{rule}");
        }
    }
}
