//! A stress test of slots: spawns from two daemons and three command lines, while daemons, command lines, shims
//! and keepers are killed. The tasks themselves check that no more of them run at once than the slot permits.
//! No task is forgotten, none runs twice, their order is kept, and each end is reported once.
//!
//! `MEANWHILE_STORM=200` makes it larger than a normal run of the tests has time for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, id_of, until};

/// The name and the limit of each slot.
const SLOTS: [(&str, usize); 3] = [("one", 1), ("two", 2), ("three", 3)];
/// The number of daemons and command lines that spawn.
const CLIENTS: usize = 5;
/// How long the whole test may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(200);

/// The script of a task: it creates a file, counts the files of running tasks, and removes its file.
const TASK: &str = r#"
slot=$1 room=$2 name=$3 nap=$4
see() {
    in=$(ls "in/$slot" | wc -l)
    [ "$in" -le "$room" ] || echo "$name saw $in in $slot: $(ls "in/$slot" | tr '\n' ' ')" >> crowded
}
: > "in/$slot/$name"
echo "$slot $name" >> started
see
sleep "$nap"
see
rm "in/$slot/$name"
"#;

/// Pseudo-random numbers (xorshift64*); a failure prints the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }
}

/// A task that was certainly spawned: its id, its name, and the index of its slot.
type Task = (String, String, usize);

/// The spawned tasks of each client, in order.
#[derive(Default)]
struct Spawned(Mutex<BTreeMap<usize, Vec<Task>>>);

impl Spawned {
    fn note(&self, client: usize, id: String, name: String, slot: usize) {
        let mut all = self.0.lock().expect("no client panics here");
        all.entry(client).or_default().push((id, name, slot));
    }
}

struct Storm {
    lab: Lab,
    spawned: Spawned,
    over: AtomicBool,
    kills: AtomicU64,
}

impl Storm {
    fn wish(&self, client: usize, n: usize, dice: &mut Dice) -> (Vec<String>, String, usize) {
        let slot = dice.below(SLOTS.len() as u64) as usize;
        let name = format!("{client}-{n:03}");
        let (slot_name, room) = SLOTS[slot];
        let nap = format!("0.{:03}", 10 + dice.below(60));
        let script = self.lab.file("task.sh").display().to_string();
        let command = ["sh", &script, slot_name, &room.to_string(), &name, &nap];
        (command.map(str::to_owned).to_vec(), name, slot)
    }

    /// The client of a daemon: it kills its daemon during a spawn, and repeats the spawn with the next one.
    fn with_daemons(&self, client: usize, count: usize, mut dice: Dice) {
        let mut daemon = self.daemon();
        for n in 0..count {
            let (command, name, slot) = self.wish(client, n, &mut dice);
            let wish = json!({ "command": command, "slot": SLOTS[slot].0, "clientToken": name });
            if dice.below(8) == 0 {
                daemon.ask_perhaps("task/spawn", wish.clone());
                thread::sleep(Duration::from_micros(dice.below(4_000)));
                daemon.kill9();
                self.kills.fetch_add(1, Ordering::Relaxed);
                daemon = self.daemon();
            }
            let task = until(PATIENCE, || match daemon.request("task/spawn", wish.clone()) {
                Ok(result) => Some(result["task"].clone()),
                // The keeper was killed each time that it was started. Because of the token, no task is spawned twice.
                Err(error) if error.data["retryable"] == true => None,
                Err(error) => panic!("seed of client {client}: {error:?}"),
            });
            let task = task.expect("a daemon whose keepers are not killed all the time spawns");
            self.spawned.note(client, id_of(&task), name, slot);
        }
        until(PATIENCE, || self.over.load(Ordering::Acquire).then_some(()));
    }

    fn daemon(&self) -> Daemon {
        self.lab.start().options(json!({ "states": ["queued"], "lingerMs": null })).go()
    }

    fn with_commands(&self, client: usize, count: usize, mut dice: Dice) {
        for n in 0..count {
            let (command, name, slot) = self.wish(client, n, &mut dice);
            let words: Vec<&str> = ["spawn", "--slot", SLOTS[slot].0, "--"]
                .into_iter()
                .chain(command.iter().map(String::as_str))
                .collect();
            let mut spawn = self.lab.command(&words);
            let mut spawn = spawn
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            if dice.below(8) == 0 {
                thread::sleep(Duration::from_micros(dice.below(60_000)));
                let _ended = spawn.kill();
                self.kills.fetch_add(1, Ordering::Relaxed);
            }
            let said = spawn.wait_with_output().expect("the test is its parent");
            let id = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            if said.status.success() {
                self.spawned.note(client, id, name, slot);
            }
        }
    }

    /// Kills shims and keepers until all have ended.
    fn kill(&self, mut dice: Dice) {
        while !self.over.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10 + dice.below(140)));
            let victims = match dice.below(3) {
                0 => self.lab.keepers(),
                _ => self.lab.shims(),
            };
            if !victims.is_empty() {
                let victim = &victims[dice.below(victims.len() as u64) as usize];
                let _ended = kill(Pid::from_raw(victim.pid), Signal::SIGKILL);
                self.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn under_way(&self) -> usize {
        let live = fs::read_dir(self.lab.state().join("live")).into_iter().flatten().flatten();
        live.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    }
}

#[test]
fn no_kill_lets_too_many_in_or_forgets_one() {
    let size = std::env::var("MEANWHILE_STORM").ok().and_then(|size| size.parse().ok());
    let each = size.unwrap_or(30_usize).div_ceil(CLIENTS);
    let seed = u64::from(std::process::id()) << 8 | 1;
    let storm = Storm {
        lab: Lab::new(),
        spawned: Spawned::default(),
        over: AtomicBool::new(false),
        kills: AtomicU64::new(0),
    };
    set_up(&storm.lab);
    thread::scope(|scope| {
        let storm = &storm;
        let dice = |n: u64| Dice(seed.wrapping_mul(n + 2) | 1);
        scope.spawn(move || storm.kill(dice(9)));
        let daemons: Vec<_> = (0..2)
            .map(|client| {
                scope.spawn(move || storm.with_daemons(client, each, dice(client as u64)))
            })
            .collect();
        let commands: Vec<_> = (2..CLIENTS)
            .map(|client| {
                scope.spawn(move || storm.with_commands(client, each, dice(client as u64)))
            })
            .collect();
        let spawned_by_commands = commands.into_iter().all(|thread| thread.join().is_ok());
        let all_over = until(PATIENCE, || {
            let by_daemons: usize = (0..2)
                .filter_map(|client| Some(storm.spawned.0.lock().ok()?.get(&client)?.len()))
                .sum();
            // A client that waits has spawned all of its tasks; one that failed has not, and ends the test.
            let failed = by_daemons < 2 * each && daemons.iter().any(|thread| thread.is_finished());
            (failed || by_daemons == 2 * each && storm.under_way() == 0).then_some(by_daemons)
        });
        storm.over.store(true, Ordering::Release);
        let all_over = all_over == Some(2 * each);
        assert!(spawned_by_commands && all_over, "seed {seed}: some never ended");
    });
    look_back(&storm, seed);
}

fn set_up(lab: &Lab) {
    let folder = lab.home().join(".config/meanwhile");
    fs::create_dir_all(&folder).expect("the home is writable");
    let sections = SLOTS.map(|(name, room)| format!("[slots.{name}]\nlimit = {room}\n"));
    fs::write(folder.join("config.toml"), sections.concat()).expect("the home is writable");
    fs::write(lab.file("task.sh"), TASK).expect("the workspace is writable");
    for (slot, _) in SLOTS {
        fs::create_dir_all(lab.file("in").join(slot)).expect("the workspace is writable");
    }
}

fn look_back(storm: &Storm, seed: u64) {
    let lab = &storm.lab;
    assert_eq!(lab.text("crowded"), "", "seed {seed}");
    let started = lab.text("started");
    let started: Vec<&str> = started.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let daemon = lab.daemon();
    let told: Vec<Value> = daemon.drain();
    let all = storm.spawned.0.lock().expect("no client panics");
    for (id, name, _) in all.values().flatten() {
        let about = |notification: &&Value| notification["task"]["id"] == id.as_str();
        let told: Vec<&Value> = told.iter().filter(about).collect();
        assert_eq!(told.len(), 1, "seed {seed}: {name}, task {id}: {told:#?}");
        let runs = started.iter().filter(|it| *it == name).count();
        // If its shim is killed during the start, the task is `lost`.
        let most = usize::from(told[0]["task"]["state"] != "lost");
        assert!((most..=1).contains(&runs), "seed {seed}: {name} ran {runs} times: {told:#?}");
    }
    for (client, spawned) in all.iter() {
        for (slot, (slot_name, room)) in SLOTS.iter().enumerate() {
            let mine = spawned
                .iter()
                .filter(|(_, name, of)| *of == slot && started.contains(&name.as_str()));
            let order: Vec<&str> = mine.map(|(_, name, _)| name.as_str()).collect();
            let ran: Vec<&str> =
                started.iter().filter(|name| order.contains(name)).copied().collect();
            for (at, name) in ran.iter().enumerate() {
                let due = order.iter().position(|it| it == name).expect("it is one of them");
                // Tasks that run at the same time may write their names in any order.
                assert!(
                    due.abs_diff(at) < *room,
                    "seed {seed}: client {client}, {slot_name}: {ran:?}"
                );
            }
        }
    }
    for (slot, _) in SLOTS {
        assert!(is_empty(&lab.file("in").join(slot)), "seed {seed}: a task did not end");
    }
    assert!(storm.kills.load(Ordering::Relaxed) > 0, "nothing was killed");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}
