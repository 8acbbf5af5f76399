//! Tasks at a place that is a Slurm cluster. Scripts stand for Slurm's commands, and run a job as a local process.
//! `tests/places/slurm` tests the same with Slurm itself.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use meanwhile_shim::spec::Spec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Gate, Process, eventually, id_of};
use crate::places::Place;
use crate::places_sources::sh;

/// A cluster called `gpu`.
struct Cluster {
    place: Place,
}

impl Cluster {
    fn new() -> Self {
        let place = Place::new();
        let home = place.lab.home();
        Self::of(place, &home)
    }

    /// A cluster in the settings of this home directory.
    fn of(place: Place, home: &Path) -> Self {
        let cluster = Self { place };
        let (bin, shared) = (cluster.file("bin"), cluster.file("shared"));
        fs::create_dir_all(&bin).expect("the test's directory is writable");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/slurm/slurm.sh");
        for name in ["sbatch", "squeue", "scancel", "srun", "sacct"] {
            symlink(&script, bin.join(name)).expect("the test's directory is writable");
        }
        let section = format!(
            "[places.gpu]\nkind = \"slurm\"\nshared = \"{}\"\noptions = [\"--nice\"]\n",
            shared.display()
        );
        let folder = home.join(".config/meanwhile");
        fs::create_dir_all(&folder).expect("the home is writable");
        fs::write(folder.join("config.toml"), section).expect("the home is writable");
        cluster
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.lab.root().join("cluster").join(name)
    }

    /// A cluster in which jobs wait, and a daemon.
    fn held() -> (Self, Daemon) {
        let cluster = Self::new();
        cluster.behave("held", true);
        let daemon = cluster.daemon();
        (cluster, daemon)
    }

    /// Switches a behaviour of the cluster on or off.
    fn behave(&self, how: &str, is: bool) {
        match is {
            true => fs::write(self.file(how), "").expect("the test's directory is writable"),
            false => fs::remove_file(self.file(how)).expect("it is there"),
        }
    }

    fn daemon(&self) -> Daemon {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.file("bin").display());
        let root = self.file("").display().to_string();
        let start =
            self.place.lab.start().options(json!({"states": ["queued"], "notify": ["state"]}));
        start.env("PATH", &path).env("SLURM_TEST", &root).env("ANTHROPIC_API_KEY", "a key").go()
    }

    fn calls(&self, of: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.file("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.starts_with(of)).map(str::to_owned).collect()
    }

    /// The folder of a task.
    fn folder(&self, id: &str) -> PathBuf {
        self.file("shared/tasks").join(id)
    }

    /// Has Slurm report this state of job 1 from now on.
    fn calls_it(&self, state: &str) {
        let (new, state_file) = (self.file("jobs/1/.said"), self.file("jobs/1/state"));
        fs::write(&new, state).expect("the test's directory is writable");
        fs::rename(new, state_file).expect("the test's directory is writable");
    }

    /// The shim below a keeper, other than this one.
    fn shim_of(&self, keeper: Pid, other: i32) -> i32 {
        let is_one = |it: &Process| {
            it.pid != other && crate::harness::parent(it.pid) == Some(keeper.as_raw())
        };
        eventually("it has a shim", || {
            self.place.lab.processes().into_iter().find(|it| is_one(it)).map(|it| it.pid)
        })
    }

    /// Kills the couriers; the next spawn starts another one.
    fn kill_couriers(&self, signal: Signal) {
        for courier in self.place.couriers() {
            let _gone = kill(Pid::from_raw(courier.pid), signal);
        }
    }

    /// The process that a batch step runs.
    fn keeper(&self) -> Pid {
        let pid = eventually("the job has a process", || {
            fs::read_to_string(self.file("jobs/1/pid")).ok()?.trim().parse().ok()
        });
        Pid::from_raw(pid)
    }
}

fn spawn(daemon: &Daemon, command: &str) -> String {
    id_of(&daemon.spawn(json!({"command": command, "on": "gpu"})))
}

fn cause(told: &Value) -> (Value, String) {
    let cause = &told["task"]["cause"];
    (cause["actor"].clone(), cause["message"].as_str().unwrap_or_default().to_owned())
}

/// Waits until Slurm says that the job waits for nodes.
fn until_it_waits(daemon: &Daemon, id: &str) {
    eventually("it waits", || {
        (daemon.check(id)["queued"]["reason"]["why"] == "Resources").then_some(())
    });
}

#[test]
fn a_task_at_a_cluster_is_reported_like_a_local_one() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let params = json!({
        "command": "echo \"$SET, ${ANTHROPIC_API_KEY-no key}\"; read x < gate; echo more; exit 3",
        "env": {"SET": "set"}, "on": "gpu",
        "resources": {"cpus": 2, "memory": 1_u64 << 30, "gpus": 1, "time": 90_000, "extra": ["--qos=high"]},
    });
    let id = id_of(&daemon.spawn(params));
    let started = daemon.push("task/started", |push| push["task"]["id"] == *id);
    let place = json!({"engine": "slurm", "job": "1", "node": "n1"});
    assert_eq!(started["task"]["place"], place, "{started}");
    daemon.wait_output(&id, "set, no key\n");
    daemon.call("task/subscribe", json!({"id": id}));
    gate.open();
    daemon.push("task/output", |push| push["id"] == *id && push["data"] == "more\n");
    let told = daemon.exited(&id);
    assert_eq!((&told["task"]["exit"]["code"], &told["task"]["place"]), (&json!(3), &place));
    assert_eq!(told["preview"]["head"], "set, no key\nmore\n");
    assert_eq!(daemon.output(&id), "set, no key\nmore\n");
    assert_eq!(daemon.drain(), [told]);
    let asked = cluster.calls("sbatch --parsable").concat();
    let options = format!(
        "--no-requeue --nice --cpus-per-task=2 --mem=1024M --gres=gpu:1 --time=0:01:30 --qos=high -J mw-{id}"
    );
    assert!(asked.contains(&options), "{asked}");
    eventually("its folder is taken away", || (!cluster.folder(&id).exists()).then_some(()));
}

#[test]
fn a_job_that_waits_says_why_and_never_runs_once_it_is_stopped() {
    let (cluster, daemon) = Cluster::held();
    let id = spawn(&daemon, "touch ran");
    let of_it = |push: &Value| push["task"]["queued"]["reason"]["why"] == "Resources";
    let task = daemon.push("task/state", of_it)["task"].clone();
    let task = eventually("the reason is stored", || {
        Some(daemon.check(&id)).filter(|it| it["queued"]["reason"] == task["queued"]["reason"])
    });
    assert_eq!((&task["state"], &task["place"]["job"]), (&json!("queued"), &json!("1")));
    assert_eq!(task["shown"]["stands"], "queued, for gpu: Resources");
    daemon.ask("task/stop", json!({"id": id}));
    let told = daemon.exited(&id);
    assert_eq!((&told["task"]["state"], cause(&told).0), (&json!("stopped"), json!("client")));
    assert!(!cluster.place.lab.file("ran").exists());
}

#[test]
fn a_task_that_sbatch_refuses_ends_with_its_error() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let params = json!({"command": "true", "on": "gpu", "resources": {"partition": "nosuch"}});
    let told = daemon.exited(&id_of(&daemon.spawn(params)));
    let (_, message) = cause(&told);
    assert!(message.contains("Invalid partition name specified"), "{message}");
    assert!(!message.contains("sbatch: error"), "{message}");
    let error =
        daemon.refused(-32602, "task/spawn", json!({"command": "true", "resources": {"cpus": 1}}));
    assert!(error.message.contains("`on`"), "{error:?}");
    let params = json!({"command": "true", "on": "gpu", "resources": {"extra": ["--array=1-3"]}});
    let error = daemon.refused(-32602, "task/spawn", params);
    assert!(error.message.contains("`--array=1-3`"), "{error:?}");
}

#[test]
fn a_cluster_whose_controller_is_away_is_not_added() {
    let cluster = Cluster::new();
    let path = format!("{}:/usr/bin:/bin", cluster.file("bin").display());
    let shared = cluster.file("shared").display().to_string();
    let add = |more: &[&str]| {
        let line =
            [&["place", "add", "big", "--slurm", "--shared", shared.as_str()], more].concat();
        let mut command = cluster.place.lab.command(&line);
        command.env("PATH", &path).env("SLURM_TEST", cluster.file(""));
        let done = command.output().expect("it starts");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    cluster.behave("down", true);
    let (is_added, said) = add(&[]);
    assert!(!is_added && said.contains("Unable to contact slurm controller"), "{said}");
    cluster.behave("down", false);
    let (is_added, said) = add(&["--option=-M", "--option=other"]);
    assert!(!is_added && said.contains("the cluster of its own host"), "{said}");
    assert!(add(&["--option=--nice"]).0);
}

#[test]
fn a_stop_a_signal_and_an_end_by_the_cluster_reach_the_task() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let script = "trap 'echo got it' USR1; echo ready; while :; do sleep 0.05; done";
    let id = spawn(&daemon, script);
    daemon.wait_output(&id, "ready\n");
    daemon.call("task/signal", json!({"id": id, "signal": "USR1", "to": "leader"}));
    daemon.wait_output(&id, "got it\n");
    let task = daemon.call("task/stop", json!({"id": id}))["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("client")));
    let orders = cluster.calls("scancel");
    assert_eq!(orders.first().map(String::as_str), Some("scancel --batch --signal=TERM 1"));
    // Another person or the cluster cancels the job.
    let id = spawn(&daemon, "echo ready; sleep 1000");
    daemon.wait_output(&id, "ready\n");
    let scancel = cluster.file("bin/scancel");
    let root = cluster.file("");
    let done = std::process::Command::new(scancel).arg("2").env("SLURM_TEST", root).status();
    assert!(done.is_ok_and(|status| status.success()));
    let told = daemon.exited(&id);
    assert_eq!(told["task"]["state"], "stopped");
    assert_eq!(cause(&told), (json!("engine"), "Slurm: CANCELLED".to_owned()));
}

#[test]
fn a_cluster_that_does_not_answer_changes_nothing() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let runs = spawn(&daemon, "echo ready; read x < gate; exit 5");
    daemon.wait_output(&runs, "ready\n");
    cluster.behave("down", true);
    let waits = spawn(&daemon, "echo once >> ran");
    eventually("the reason is known", || {
        let task = daemon.check(&waits);
        let why = task["queued"]["reason"]["why"].as_str()?.contains("Unable to contact");
        why.then_some(())
    });
    // A running job ends as usual, and its end is reported.
    gate.open();
    assert_eq!(daemon.exited(&runs)["task"]["exit"]["code"], 5);
    cluster.behave("down", false);
    assert_eq!(daemon.exited(&waits)["task"]["exit"]["code"], 0);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
}

#[test]
fn a_job_whose_id_was_not_recorded_is_found_by_its_name() {
    let cluster = Cluster::new();
    cluster.behave("slow", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "echo once >> ran; exit 4");
    cluster.keeper();
    cluster.kill_couriers(Signal::SIGKILL);
    cluster.behave("slow", false);
    // The next spawn starts another courier.
    let next = spawn(&daemon, "true");
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 4);
    daemon.exited(&next);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
    assert_eq!(cluster.calls("sbatch --parsable").len(), 2);
}

#[test]
fn a_job_that_a_controller_has_lost_is_submitted_again() {
    let (cluster, daemon) = Cluster::held();
    let id = spawn(&daemon, "echo once >> ran");
    until_it_waits(&daemon, &id);
    // The controller was killed before it stored the job. The accounting lists such a job as running for ever.
    let row = format!("1|RUNNING|n1|mw-{id}\n");
    fs::write(cluster.file("accounting"), row).expect("the test's directory is writable");
    fs::remove_dir_all(cluster.file("jobs/1")).expect("it is there");
    cluster.behave("held", false);
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 0);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
    assert_eq!(cluster.calls("sbatch --parsable").len(), 2);
}

#[test]
fn a_shim_that_is_killed_on_the_node_loses_nothing() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let id = spawn(&daemon, "echo ready; read x < gate; exit 6");
    daemon.wait_output(&id, "ready\n");
    let keeper = cluster.keeper();
    let first = cluster.shim_of(keeper, 0);
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it lives");
    cluster.shim_of(keeper, first);
    gate.open();
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 6);
    // Without its keeper a task is stopped, because the cluster then gives the node to other jobs.
    let id = spawn(&daemon, "echo ready; sleep 1000");
    daemon.wait_output(&id, "ready\n");
    let pid = fs::read_to_string(cluster.file("jobs/2/pid")).expect("it runs");
    kill(Pid::from_raw(pid.trim().parse().expect("a number")), Signal::SIGKILL).expect("it lives");
    let told = daemon.exited(&id);
    assert_eq!(told["task"]["state"], "stopped", "{told}");
}

#[test]
fn a_deadline_counts_from_the_start_on_the_node_whatever_happens_to_its_shim() {
    let (cluster, daemon) = Cluster::held();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let hour = 3_600_000;
    let command = "echo ready; read x < gate; exit 6";
    let params = json!({"command": command, "on": "gpu", "deadlineMs": hour});
    let id = id_of(&daemon.spawn(params));
    let spec = cluster.folder(&id).join("spec");
    until_it_waits(&daemon, &id);
    // It has waited for five hours.
    let mut waited = Spec::parse(&fs::read(&spec).expect("it is there")).expect("it is a spec");
    waited.created_ms -= 5 * hour;
    fs::write(&spec, waited.to_bytes()).expect("the test's directory is writable");
    cluster.behave("held", false);
    daemon.wait_output(&id, "ready\n");
    let keeper = cluster.keeper();
    let first = cluster.shim_of(keeper, 0);
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it lives");
    cluster.shim_of(keeper, first);
    gate.open();
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(6)), "{task}");
    assert!(task["durationMs"].as_i64().is_some_and(|ms| ms < hour), "{task}");
}

#[test]
fn a_stop_reaches_a_task_whose_job_the_cluster_takes_for_over() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done");
    daemon.wait_output(&id, "ready\n");
    // Its slurmstepd was killed, and the keeper lives.
    cluster.calls_it("NODE_FAIL");
    let asked = cluster.calls("squeue").len();
    let answered = || cluster.calls("answered squeue").len();
    eventually("a later call was answered", || (answered() > asked).then_some(()));
    assert_eq!(daemon.check(&id)["state"], "running");
    daemon.ask("task/stop", json!({"id": id, "signal": "INT"}));
    let told = daemon.exited(&id);
    assert_eq!((&told["task"]["state"], cause(&told).0), (&json!("stopped"), json!("client")));
    assert_eq!(told["task"]["exit"]["code"], 9, "{told}");
}

#[test]
fn a_job_that_is_stopped_on_its_way_to_a_node_is_stopped_and_never_runs() {
    let cluster = Cluster::new();
    cluster.behave("waking", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "touch ran");
    eventually("it has a node", || (daemon.check(&id)["place"]["node"] == "n1").then_some(()));
    daemon.ask("task/stop", json!({"id": id}));
    let told = daemon.exited(&id);
    assert_eq!((&told["task"]["state"], cause(&told).0), (&json!("stopped"), json!("client")));
    // The node wakes up.
    let late = std::process::Command::new("sh").arg(cluster.file("jobs/1/script")).status();
    assert_eq!(late.ok().and_then(|status| status.code()), Some(98));
    assert!(!cluster.place.lab.file("ran").exists());
}

#[test]
fn a_task_that_is_stopped_while_the_cluster_is_away_never_runs() {
    let cluster = Cluster::new();
    cluster.behave("down", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "touch ran");
    eventually("the reason is known", || {
        let task = daemon.check(&id);
        task["queued"]["reason"]["why"].as_str()?.contains("Unable to contact").then_some(())
    });
    let task = daemon.stop(&id);
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("client")));
    cluster.behave("down", false);
    let next = spawn(&daemon, "true");
    assert_eq!(daemon.exited(&next)["task"]["exit"]["code"], 0);
    assert!(!cluster.file("jobs/2").exists() && !cluster.place.lab.file("ran").exists());
}

#[test]
fn a_job_that_no_shim_can_run_ends_with_the_reason() {
    let (cluster, daemon) = Cluster::held();
    let id = spawn(&daemon, "touch ran");
    until_it_waits(&daemon, &id);
    // In the place of a FIFO, which its file system refuses.
    fs::create_dir(cluster.folder(&id).join("ctl")).expect("the test's directory is writable");
    cluster.behave("held", false);
    let (_, message) = cause(&daemon.exited(&id));
    assert!(message.contains("no shim can run") && message.contains("directory"), "{message}");
}

#[test]
fn a_courier_whose_file_server_does_not_answer_ends_when_it_is_asked_to() {
    let (cluster, daemon) = Cluster::held();
    let id = spawn(&daemon, "true");
    until_it_waits(&daemon, &id);
    // A read of this FIFO waits, like one of a file on such a server.
    let claim = cluster.folder(&id).join("claim");
    nix::unistd::mkfifo(&claim, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
    cluster.calls_it("CANCELLED");
    let writer = eventually("the courier reads it", || {
        let mut options = fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK).open(&claim).ok()
    });
    assert_eq!(daemon.check(&id)["state"], "queued");
    cluster.kill_couriers(Signal::SIGTERM);
    eventually("the courier has ended", || cluster.place.couriers().is_empty().then_some(()));
    // It answers again, and another courier goes on.
    drop(writer);
    cluster.behave("held", false);
    fs::remove_file(&claim).expect("it is there");
    let next = spawn(&daemon, "true");
    assert_eq!(daemon.exited(&id)["task"]["state"], "stopped");
    daemon.exited(&next);
}

#[test]
fn what_a_killed_courier_left_is_taken_away() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let left = spawn(&daemon, "read x < gate");
    let runs = spawn(&daemon, "echo ready; sleep 1000");
    daemon.wait_output(&runs, "ready\n");
    let folder = cluster.folder(&left);
    let copy = cluster.file("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&folder).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()));
    gate.open();
    daemon.exited(&left);
    eventually("its folder is taken away", || (!folder.exists()).then_some(()));
    // As if the courier had been killed before that.
    cluster.kill_couriers(Signal::SIGKILL);
    fs::rename(&copy, &folder).expect("the test's directory is writable");
    let next = spawn(&daemon, "true");
    daemon.exited(&next);
    eventually("its folder is taken away", || (!folder.exists()).then_some(()));
    assert!(cluster.folder(&runs).exists());
    assert_eq!(daemon.stop(&runs)["state"], "stopped");
}

#[test]
fn a_second_start_of_a_job_runs_nothing() {
    let cluster = Cluster::new();
    let daemon = cluster.daemon();
    let gate = Gate::new(&cluster.place.lab.file("gate"));
    let id = spawn(&daemon, "echo once >> ran; read x < gate");
    cluster.keeper();
    eventually("it is claimed", || cluster.folder(&id).join("claim").exists().then_some(()));
    let again = std::process::Command::new("sh").arg(cluster.file("jobs/1/script")).status();
    assert_eq!(again.ok().and_then(|status| status.code()), Some(98));
    gate.open();
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 0);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
}

#[test]
fn a_cluster_is_reached_through_another_place() {
    let place = Place::with("[places.gpu]\nvia = \"build\"");
    let there = place.there();
    let cluster = Cluster::of(place, &there);
    let daemon = cluster.daemon();
    let params = json!({"command": "pwd; exit 3", "on": "gpu", "resources": {"cpus": 2}});
    let told = daemon.exited(&id_of(&daemon.spawn(params)));
    let task = &told["task"];
    assert_eq!((&task["exit"]["code"], &task["on"]), (&json!(3), &json!("gpu")), "{told}");
    assert_eq!(task["place"], json!({"engine": "slurm", "job": "1", "node": "n1"}));
    let expected = format!("{}\n", cluster.place.lab.workspace().display());
    assert_eq!(told["preview"]["head"], expected);
    let asked = cluster.calls("sbatch --parsable").concat();
    assert!(asked.contains("--cpus-per-task=2"), "{asked}");
}

#[test]
fn sources_in_the_directory_of_a_job_are_compared_with_the_workspace() {
    let cluster = Cluster::new();
    let (here, there) = (cluster.place.lab.workspace(), cluster.file("src"));
    fs::create_dir_all(&there).expect("writable");
    for dir in [&here, &there] {
        fs::write(dir.join("a"), "one\n").expect("writable");
        sh(dir, "git init -q && git add a && git commit -q -m first");
    }
    let settings = cluster.place.lab.home().join(".config/meanwhile/config.toml");
    let text = fs::read_to_string(&settings).expect("written above");
    let more = format!("check = \"git\"\nworkspace = \"{}\"\n", there.display());
    fs::write(&settings, text + &more).expect("writable");
    let daemon = cluster.daemon();
    for (content, warning) in [
        ("one\n", Value::Null),
        ("two\n", json!("the sources differ: not the same uncommitted changes")),
    ] {
        fs::write(there.join("a"), content).expect("writable");
        let id = id_of(&daemon.spawn(json!({"command": "cat a", "on": "gpu"})));
        let task = daemon.exited(&id)["task"].clone();
        assert_eq!((&task["warning"], &task["place"]["engine"]), (&warning, &json!("slurm")));
        assert_eq!(daemon.output(&id), content);
    }
}
