//! Tasks at a place that is a Slurm cluster: scripts that answer as its commands do, and run a job as a process here.
//! `tests/places/slurm` does the same with Slurm itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Gate, eventually, id_of};
use crate::places::Place;

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

    /// One that the settings in this home directory name.
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

    /// Says how the cluster behaves from now on.
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
        let start = self.place.lab.start().options(json!({"states": ["queued"]}));
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

#[test]
fn a_task_at_a_cluster_is_told_like_one_here() {
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
    let cluster = Cluster::new();
    cluster.behave("held", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "touch ran");
    let task = eventually("the reason is known", || {
        Some(daemon.check(&id)).filter(|task| task["queued"]["reason"]["why"] == "Resources")
    });
    assert_eq!((&task["state"], &task["place"]["job"]), (&json!("queued"), &json!("1")));
    assert_eq!(task["shown"]["stands"], "queued, for gpu: Resources");
    daemon.ask("task/stop", json!({"id": id}));
    let told = daemon.exited(&id);
    assert_eq!((&told["task"]["state"], cause(&told).0), (&json!("stopped"), json!("client")));
    assert!(!cluster.place.lab.file("ran").exists());
}

#[test]
fn what_the_cluster_refuses_is_told_in_its_own_words() {
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
    // By another person, or by the cluster.
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
    // What runs ends as it does, and is told.
    gate.open();
    assert_eq!(daemon.exited(&runs)["task"]["exit"]["code"], 5);
    cluster.behave("down", false);
    assert_eq!(daemon.exited(&waits)["task"]["exit"]["code"], 0);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
}

#[test]
fn a_job_whose_number_no_process_noted_is_found_by_its_name() {
    let cluster = Cluster::new();
    cluster.behave("slow", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "echo once >> ran; exit 4");
    cluster.keeper();
    for courier in cluster.place.couriers() {
        let _gone = kill(Pid::from_raw(courier.pid), Signal::SIGKILL);
    }
    cluster.behave("slow", false);
    // The next spawn calls another courier.
    let next = spawn(&daemon, "true");
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 4);
    daemon.exited(&next);
    assert_eq!(cluster.place.lab.text("ran"), "once\n");
    assert_eq!(cluster.calls("sbatch --parsable").len(), 2);
}

#[test]
fn a_job_that_a_controller_has_lost_is_submitted_again() {
    let cluster = Cluster::new();
    cluster.behave("held", true);
    let daemon = cluster.daemon();
    let id = spawn(&daemon, "echo once >> ran");
    eventually("the reason is known", || {
        (daemon.check(&id)["queued"]["reason"]["why"] == "Resources").then_some(())
    });
    // It was killed before it wrote down what it knew.
    cluster.behave("held", false);
    fs::remove_dir_all(cluster.file("jobs/1")).expect("it is there");
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
    let shims = || {
        let all = cluster.place.lab.processes().into_iter();
        all.filter(|it| crate::harness::parent(it.pid) == Some(keeper.as_raw()))
    };
    let first = eventually("it has a shim", || shims().next()).pid;
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it lives");
    eventually("another shim has it", || shims().find(|it| it.pid != first));
    gate.open();
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 6);
    // Without its keeper a task ends, and says so: the machine is others' then.
    let id = spawn(&daemon, "echo ready; sleep 1000");
    daemon.wait_output(&id, "ready\n");
    let pid = fs::read_to_string(cluster.file("jobs/2/pid")).expect("it runs");
    kill(Pid::from_raw(pid.trim().parse().expect("a number")), Signal::SIGKILL).expect("it lives");
    let told = daemon.exited(&id);
    assert_eq!(told["task"]["state"], "stopped", "{told}");
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
