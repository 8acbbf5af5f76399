//! From the folders of tasks to the place: finds tasks, spawns them there and passes orders on.

use std::{fs, io};

use meanwhile_core::background::task::TaskId;
use meanwhile_core::background::words::signal as signal_name;
use meanwhile_shim::bell::Kind;
use meanwhile_shim::ctl::{Order, Recipient};
use meanwhile_shim::record::Outcome;
use meanwhile_shim::spec::{Resources, Spec, Stdin};
use meanwhile_shim::{layout, place, record};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::errand::{Asked, Errand, StopOrder, Writing};
use super::{BACK_OFF, Courier, FOLLOWED, Way, What, ends};

impl Courier {
    /// Looks for tasks of the place that have not ended.
    pub(super) fn find_tasks(&mut self) {
        let Ok(entries) = fs::read_dir(self.state.join(layout::LIVE)) else { return };
        for id in entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()) {
            self.find(id);
        }
    }

    /// Takes over a task if it belongs to the place.
    pub(super) fn find(&mut self, id: TaskId) {
        if self.errands.contains_key(&id) {
            return;
        }
        let folder = self.state.join(layout::LIVE).join(id.as_str());
        let is_of = |place: u64| place == place::bell_hash(&self.name);
        let record =
            layout::open_regular(&folder.join(layout::RECORD)).and_then(|file| record::read(&file));
        let Ok(record) = record else { return };
        let ours = record.elsewhere.is_some_and(|it| is_of(it.place));
        if ours && record.end.is_some() && self.ended.contains(&id) {
            // This end is recorded; the folder waits until a process moves it to the ledger.
            return;
        }
        let spec = layout::read_spec(&folder.join(layout::SPEC)).and_then(|it| Spec::parse(&it));
        let (true, Ok(spec)) = (ours, spec) else { return };
        if self.errands.len() >= self.room {
            // The task waits in its folder until there are descriptors for it.
            return;
        }
        match Errand::take(&folder, id, spec, &self.asked.0) {
            Ok(Some(errand)) => self.take_up(errand),
            Ok(None) => {}
            Err(error) => tracing::warn!("task {id}: {error}"),
        }
    }

    /// Looks for ended tasks of the place whose output is incomplete.
    pub(super) fn find_unfinished(&mut self) {
        let Ok(entries) = fs::read_dir(self.state.join(layout::DONE)) else { return };
        for id in entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()) {
            self.complete(id);
        }
    }

    pub(super) fn complete(&mut self, id: TaskId) {
        let path = self.state.join(layout::DONE).join(id.as_str());
        let found = layout::open_regular(&path).and_then(|file| record::read(&file));
        let is_ours =
            |it: &record::Elsewhere| it.partial && it.place == place::bell_hash(&self.name);
        if self.errands.contains_key(&id)
            || !found.is_ok_and(|record| record.elsewhere.as_ref().is_some_and(is_ours))
        {
            return;
        }
        let spec = Spec { id: id.to_string(), ..Spec::default() };
        if let Ok(Some(errand)) = Errand::complete(&path, id, spec) {
            self.take_up(errand);
        }
    }

    /// The tasks whose folders at the place are needed still, at whichever place they are.
    pub(super) fn needed(&self) -> io::Result<Vec<String>> {
        let names = |folder: &str| -> io::Result<Vec<String>> {
            let entries = fs::read_dir(self.state.join(folder))?.flatten();
            Ok(entries.filter_map(|it| it.file_name().into_string().ok()).collect())
        };
        let is_partial = |id: &String| {
            let record = layout::open_regular(&self.state.join(layout::DONE).join(id));
            // One that cannot be read may be.
            record
                .and_then(|file| record::read(&file))
                .map_or(true, |record| record.elsewhere.is_some_and(|it| it.partial))
        };
        // Of a task that ends meanwhile the record moves from the first to the second.
        let live = names(layout::LIVE)?;
        let done = names(layout::DONE)?.into_iter().filter(is_partial);
        Ok(live.into_iter().chain(done).collect())
    }

    pub(super) fn take_up(&mut self, errand: Errand) {
        let id = errand.id;
        if let Some(remote) = &errand.remote {
            self.there.insert(remote.clone(), id);
        }
        let (started, ended) = (errand.started, errand.ended);
        let is_partial = errand.ended && errand.missing().is_some();
        self.errands.insert(id, errand);
        if ended {
            self.ended.insert(id);
        }
        match (ended, is_partial) {
            (false, _) => self.ring(if started { Kind::Started } else { Kind::Queued }, id),
            (true, true) => {}
            (true, false) => {
                self.ring(Kind::Ended, id);
                return self.whole(id);
            }
        }
        if let Way::Closed { again_at } = &mut self.way {
            // A person may have just started this task, so try to connect soon.
            *again_at = (*again_at).min(Instant::now() + self.back_off.min(BACK_OFF.0));
        }
        self.go_on(id);
    }

    pub(super) fn drop_errand(&mut self, id: TaskId) {
        if let Some(remote) = self.errands.remove(&id).and_then(|errand| errand.remote) {
            self.there.remove(&remote);
        }
    }

    /// Sends the next request for a task: a spawn, a check, or a read of missing output.
    pub(super) fn go_on(&mut self, id: TaskId) {
        // First, so that the task has not changed the sources yet.
        self.compare(id);
        let Way::Open(link) = &self.way else { return };
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let hold = |params: &mut Value| {
            if let Some(stop) = &errand.stop {
                link.hold(params, &how(stop));
            }
        };
        match (&errand.remote, errand.ended) {
            (_, true) => self.fill(id),
            (Some(remote), false) => {
                let mut params = json!({"id": remote, "tailBytes": 0});
                hold(&mut params);
                self.request(What::Check(id), "task/check", &params);
            }
            (None, false) => {
                let mut params = spawn_params(&errand.spec, &format!("{}-{id}", self.installation));
                hold(&mut params);
                errand.note_sent();
                if let Some(on) = &self.on {
                    params["on"] = json!(on);
                }
                self.request(What::Spawn(id), "task/spawn", &params);
            }
        }
    }

    /// Sends the order to stop a task.
    pub(super) fn send_stop(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let (Way::Open(_), Some(remote)) = (&self.way, errand.remote.clone()) else { return };
        let Some(stop) = errand.stop.as_mut().filter(|stop| !stop.sent) else { return };
        stop.sent = true;
        let mut params = how(stop);
        params["id"] = json!(remote);
        self.request(What::Stop(id), "task/stop", &params);
    }

    /// Handles an order or input from the folder of a task.
    pub(super) fn asked(&mut self, id: TaskId, asked: Asked) {
        let Some(errand) = self.errands.get_mut(&id).filter(|errand| !errand.ended) else { return };
        let order = match asked {
            Asked::Order(order) => order,
            Asked::Input(bytes, taken) => {
                errand.hold(Writing { bytes: Some(bytes), _taken: taken });
                return self.send_input(id);
            }
        };
        let remote = errand.remote.clone();
        match order {
            Order::Stop { cause, .. } if !errand.sent => {
                self.finish(id, &ends::unheard(Outcome::Stopped, cause, 0), &[]);
                return;
            }
            Order::Stop { signal, grace, cause } => {
                // Recorded even before the task has started, so that the next courier knows of the order.
                errand.sheet.stopping(&cause);
                errand.stop =
                    Some(StopOrder { signal, grace, cause, sent: false, inherited: false });
                self.send_stop(id);
            }
            Order::Signal { signal, to, .. } => {
                let to = match to {
                    Recipient::Group => "group",
                    Recipient::Leader => "leader",
                };
                let params = json!({"id": remote, "signal": signal_name(signal), "to": to});
                self.request(What::Nothing, "task/signal", &params);
            }
            Order::Resize { rows, cols } => {
                let params = json!({"id": remote, "rows": rows, "cols": cols});
                self.request(What::Nothing, "task/resize", &params);
            }
            Order::EndInput => {
                errand.note_end_input(true);
                self.end_input(id);
            }
            Order::Arm(offset) => {
                if errand.arm(offset) {
                    self.ring(Kind::Output, id);
                }
            }
            Order::Fetch => {
                errand.followed_until = Some(Instant::now() + FOLLOWED);
                self.follow(id);
                self.fetch(id);
            }
            Order::Go | Order::Reaped(_) | Order::Look => {}
        }
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.count_order();
        }
    }
}

/// The signal and the grace period of a stop.
fn how(stop: &StopOrder) -> Value {
    let grace = u64::try_from(stop.grace.as_millis()).unwrap_or(u64::MAX);
    json!({"signal": signal_name(stop.signal), "graceMs": grace})
}

/// The task's directory there. The workspace there is the directory in which the server starts: over ssh, the home
/// directory.
pub(super) fn cwd(spec: &Spec) -> String {
    let cwd = spec.cwd.to_string_lossy();
    match cwd.strip_prefix('~') {
        Some("") => ".".to_owned(),
        Some(rest) => rest.strip_prefix('/').unwrap_or(&cwd).to_owned(),
        None => cwd.into_owned(),
    }
}

fn spawn_params(spec: &Spec, token: &str) -> Value {
    let text = |it: &std::ffi::OsStr| it.to_string_lossy().into_owned();
    let mut params = Map::new();
    let mut put = |name: &str, value: Value| drop(params.insert(name.to_owned(), value));
    match spec.argv.as_slice() {
        [shell, flag, line] if shell == "/bin/sh" && flag == "-c" => {
            put("command", json!(text(line)))
        }
        argv => put("command", argv.iter().map(|it| text(it)).collect()),
    }
    put("cwd", json!(cwd(spec)));
    let env = spec.env.iter();
    put("env", env.map(|(name, value)| (text(name), json!(value.as_deref().map(text)))).collect());
    put("clientToken", json!(token));
    if let Some(label) = &spec.label {
        put("label", json!(label));
    }
    if let Some(deadline) = spec.deadline {
        put("deadlineMs", json!(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)));
    }
    if spec.service {
        put("service", json!(true));
    }
    let Resources { cpus, memory, gpus, time, partition, extra } = &spec.resources;
    let time = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let mut asked = json!({"cpus": cpus, "memory": memory, "gpus": gpus, "time": time,
        "partition": partition});
    if !extra.is_empty() {
        asked["extra"] = json!(extra);
    }
    let asked = asked.as_object_mut().map(std::mem::take).unwrap_or_default();
    let asked: Map<String, Value> = asked.into_iter().filter(|(_, it)| !it.is_null()).collect();
    if !asked.is_empty() {
        // A server without this parameter refuses it.
        put("resources", Value::Object(asked));
    }
    match spec.stdin {
        Stdin::Null => {}
        Stdin::Pipe => put("stdin", json!("pipe")),
        Stdin::Pty { rows, cols } => put("pty", json!({"rows": rows, "cols": cols})),
    }
    Value::Object(params)
}
