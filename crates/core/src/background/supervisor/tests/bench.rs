//! A supervisor under test, driven step by step.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use meanwhile_shim::record::{self, Exit, Outcome, Record};
use meanwhile_shim::spec::{self, Spec};
use tokio::sync::{mpsc, oneshot};

use crate::background::demand::Demand;
use crate::background::events::Events;
use crate::background::executor::scripted::{Scripted, blank_record};
use crate::background::executor::{Executor, Report, What};
use crate::background::store::Store;
use crate::background::supervisor::{Charge, Event as Woke, Supervisor, job};
use crate::background::task::{Actor, Cause, Task, TaskId};
use crate::background::{self, Role, Settings, Spawned, Stop, words};
use crate::error::Error;

/// The receiver of a spawner's reply.
pub type Answer = oneshot::Receiver<Result<Spawned, Error>>;

/// A supervisor, its executor's script and its client's events.
pub struct Bench {
    pub supervisor: Supervisor,
    pub script: Scripted,
    pub store: Store,
    events: Events,
    _dir: tempfile::TempDir,
}

/// The leader's pid of every task here.
pub const LEADER: u32 = 4_711;

impl Bench {
    pub async fn new() -> Self {
        Self::new_as(Role::Visitor).await
    }

    pub async fn new_as(role: Role) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(dir.path(), false).await.expect("a new store");
        let script = Scripted::default();
        let executor = Executor::Scripted(script.clone());
        let (signals, events) = Events::new(executor.archive());
        let (_, demands) = mpsc::channel(1);
        let mut supervisor = Supervisor::new(Charge {
            workspace: PathBuf::from("/w"),
            role,
            settings: Settings::default(),
            store: store.clone(),
            executor,
            demands,
            signals,
        });
        supervisor.catch_up().await.expect("an empty store");
        Self { supervisor, script, store, events, _dir: dir }
    }

    /// Handles a demand.
    pub fn demand(&mut self, demand: Demand) {
        self.supervisor.handle(Woke::Demand(Some(demand)));
        self.supervisor.go_on();
    }

    /// Makes a demand and returns the reply, which must come at once.
    pub fn ask<T>(&mut self, demand: impl FnOnce(oneshot::Sender<T>) -> Demand) -> T {
        let (reply, answer) = oneshot::channel();
        self.demand(demand(reply));
        answer.now_or_never().expect("answered at once").expect("not dropped")
    }

    /// Handles a report from the executor.
    pub fn report(&mut self, report: Report) {
        self.script.say(report);
        self.supervisor.handle(Woke::Timer);
        self.supervisor.go_on();
    }

    /// Advances the clock.
    pub async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.supervisor.go_on();
    }

    /// Finishes all pending reads and writes of the ledger.
    pub async fn write(&mut self) {
        loop {
            // Rows of new tasks are only written after a delay.
            tokio::time::advance(Duration::from_millis(30)).await;
            self.supervisor.go_on();
            let event = if self.supervisor.write.is_some() {
                Woke::Recorded(job(&mut self.supervisor.write).await)
            } else if let Some(finish) = self.supervisor.scans.join_next().await {
                Woke::Scanned(finish.expect("no scan panics"))
            } else if self.supervisor.picture.is_some() {
                Woke::Picture(job(&mut self.supervisor.picture).await)
            } else {
                return;
            };
            let refused = matches!(event, Woke::Recorded(Err(_)));
            self.supervisor.handle(event);
            self.supervisor.go_on();
            if refused {
                return;
            }
        }
    }

    /// Spawns a task; the executor has not answered yet.
    pub fn start(&mut self, checked: bool) -> (TaskId, Answer) {
        self.start_as(Spec { checked, ..spec() })
    }

    fn start_as(&mut self, spec: Spec) -> (TaskId, Answer) {
        let id = TaskId::random();
        let (reply, answer) = oneshot::channel();
        let spec = Box::new(Spec { id: id.to_string(), ..spec });
        self.demand(Demand::Spawn { spec, reply });
        assert_eq!(self.script.asked(), ["start make"]);
        (id, answer)
    }

    /// Spawns a task and lets it start.
    pub async fn running(&mut self) -> TaskId {
        self.running_as(spec()).await
    }

    /// Spawns a task with this spec and lets it start.
    pub async fn running_as(&mut self, spec: Spec) -> TaskId {
        let (id, answer) = self.start_as(spec);
        self.report(Report::Acknowledged(id, What::Start));
        drop(now(answer).expect("accepted"));
        self.script.shelf().put(id, Record { leader_pid: LEADER, ..blank_record() }, b"");
        self.report(Report::Started(id, LEADER));
        self.write().await;
        assert_eq!(self.told(), [format!("started {LEADER}"), "running 1".to_owned()]);
        self.script.asked();
        id
    }

    /// Sets a task's output so far, and has the executor report it.
    pub fn output(&mut self, id: TaskId, output: &[u8]) {
        self.script.shelf().put(id, Record { leader_pid: LEADER, ..blank_record() }, output);
        self.report(Report::Output(id));
    }

    /// Ends the task, and has the executor report it.
    pub fn end(&mut self, id: TaskId, survivors: &[u32]) {
        self.put_end(id, survivors);
        let reading = self.script.shelf().read(id).expect("put there");
        self.report(Report::Ended(id, Box::new(reading)));
    }

    /// Stores a record with an end for the task.
    pub fn put_end(&self, id: TaskId, survivors: &[u32]) {
        let survivor = |pid: &u32| record::Survivor { pid: *pid, command: "sleep 9".to_owned() };
        let end = record::End {
            outcome: Outcome::Exited,
            exit: Exit::Code(3),
            cause: None,
            at_ms: 1_763_800_000_000,
            duration_ns: 5_000_000,
            total: 0,
            dropped: 0,
            survivors: survivors.iter().map(survivor).collect(),
        };
        let record = Record { leader_pid: LEADER, end: Some(end), ..blank_record() };
        self.script.shelf().put(id, record, b"done\n");
    }

    /// The events that the client got since the last call.
    pub fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(Some(event)) = self.events.next().now_or_never() {
            told.push(match event {
                background::Event::Started(task) => {
                    format!("started {}", task.pid.expect("it runs"))
                }
                background::Event::Began { .. } => "began".to_owned(),
                background::Event::Output { data, .. } => String::from_utf8_lossy(&data).into(),
                background::Event::Progress { .. } => "progress".to_owned(),
                background::Event::Listening { serving, .. } => {
                    let ready = if serving.ready { ", ready" } else { "" };
                    format!("listens on {:?}{ready}", serving.ports)
                }
                background::Event::State(task) => format!("is {}", words::stands(&task)),
                background::Event::Notified(notification) => {
                    format!("notified {:?}", notification.kind)
                }
                background::Event::Exited(notification) => {
                    format!("exited {:?}", notification.task.end().expect("an end").outcome)
                }
                background::Event::Changed { running, .. } => format!("running {}", running.len()),
            });
        }
        told
    }

    /// The task as a client gets it, if it is live.
    pub fn get(&mut self, id: TaskId) -> Option<Task> {
        self.ask(|reply| Demand::Get(id, reply))
    }
}

/// The reply, which must have been sent already.
pub fn now<T>(answer: oneshot::Receiver<T>) -> T {
    answer.now_or_never().expect("answered by now").expect("not dropped")
}

/// A stop with this signal.
pub fn how(signal: i32) -> Stop {
    let cause = Cause { actor: Actor::Client, message: "enough".to_owned() };
    Stop { signal, grace: Duration::from_secs(2), cause }
}

/// The spec that the tests spawn.
pub fn spec() -> Spec {
    Spec {
        workspace: PathBuf::from("/w"),
        queue: "default".to_owned(),
        label: None,
        command: "make".to_owned(),
        argv: vec!["make".into()],
        checked: false,
        cwd: PathBuf::from("/w"),
        env: Vec::new(),
        created_ms: 1_763_800_000_000,
        deadline: None,
        linger: None,
        stdin: spec::Stdin::Null,
        head_cap: 1 << 20,
        tail_cap: 0,
        sync: false,
        watches: Vec::new(),
        client_token: None,
        service: false,
        confine: None,
        plan: None,
        line: spec::Line::default(),
        whole: false,
        is_step: false,
        place: None,
        resources: spec::Resources::default(),
        sources: None,
        id: String::new(),
    }
}
