//! During a flood of output, disk usage, memory and the pushes to a client stay bounded, and the task is not slowed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, until};

const MIB: u64 = 1 << 20;

/// The largest size of the store with one flooding task.
const DISK_BOUND: u64 = 100 * MIB;

/// The largest growth of a daemon's memory.
const MEMORY_BOUND: u64 = 8 * MIB;

fn wait_total(daemon: &Daemon, id: &str, bytes: u64) {
    eventually(&format!("{bytes} bytes of output"), || {
        (daemon.check(id)["output"]["total"].as_u64()? >= bytes).then_some(())
    });
}

#[test]
fn a_gigabyte_is_captured_in_bounded_space_with_both_ends_kept() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    daemon.run("true");
    let before = daemon.memory("VmRSS");
    let id = daemon.sh("echo FIRST; head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo LAST");
    let (mut disk, mut memory) = (0, 0);
    let over = until(Duration::from_secs(60), || {
        disk = disk.max(lab.disk_usage());
        memory = memory.max(daemon.memory("VmRSS").saturating_sub(before));
        (daemon.check(&id)["state"] != "running").then_some(())
    });
    assert!(over.is_some(), "a gigabyte takes seconds");
    let notification = daemon.exited(&id);
    assert!(disk <= DISK_BOUND, "{} MiB on the disk", disk / MIB);
    assert!(memory <= MEMORY_BOUND, "the daemon grew by {} kB", memory / 1024);
    let output = &notification["task"]["output"];
    let total = 1_000_000_000 + "FIRST\n\nLAST\n".len() as u64;
    assert_eq!(output["total"], total);
    let dropped = output["dropped"].as_u64().expect("a number");
    assert!(dropped > total / 2, "{output}");
    assert!(notification["preview"]["head"].as_str().is_some_and(|t| t.starts_with("FIRST\nxx")));
    assert!(notification["preview"]["tail"].as_str().is_some_and(|t| t.ends_with("xx\nLAST\n")));

    // When reading on with `nextOffset`, each byte is either read or part of a reported gap.
    let (mut offset, mut missing) = (0, 0);
    let mut ends = (String::new(), String::new());
    loop {
        let part = daemon.call("task/read", json!({ "id": id, "offset": offset, "limit": MIB }));
        if let Some(gap) = part.get("gap") {
            assert_eq!(gap["from"], offset, "a gap begins where the read did: {gap}");
            assert_eq!(gap["to"], part["offset"], "the data begins where the gap ends: {gap}");
            missing += part["offset"].as_u64().expect("a number") - offset;
        } else {
            assert_eq!(part["offset"], offset);
        }
        let data = part["data"].as_str().expect("a string");
        let at = part["offset"].as_u64().expect("a number");
        let next = part["nextOffset"].as_u64().expect("a number");
        assert_eq!(next, at + data.len() as u64);
        if offset == 0 {
            data[..8].clone_into(&mut ends.0);
        }
        if part["eof"] == true {
            data[data.len() - 8..].clone_into(&mut ends.1);
            assert_eq!(next, total);
            break;
        }
        offset = next;
    }
    assert_eq!(missing, dropped, "`dropped` is the number of missing bytes");
    assert_eq!(ends, ("FIRST\nxx".to_owned(), "xx\nLAST\n".to_owned()));
}

#[test]
fn a_flood_reaches_a_subscriber_at_a_bounded_rate_with_jumps() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("yes");
    daemon.call("task/subscribe", json!({ "id": id, "offset": 0 }));
    let count = || daemon.pushes("task/output").len();
    let (start, first) = (Instant::now(), count());
    eventually("60 pushes", || (count() >= first + 60).then_some(()));
    let (took, pushes) = (start.elapsed(), count() - first);
    // 20 a second, one more because of where the window starts, and some slack for a late thread.
    let allowed = 20.0 * took.as_secs_f64() + 6.0;
    assert!(pushes as f64 <= allowed, "{pushes} pushes in {took:?}");
    daemon.stop(&id);
    daemon.exited(&id);
    let mut expected = 0;
    let mut jumps = 0;
    for push in daemon.pushes("task/output") {
        let data = push["data"].as_str().expect("a string");
        assert!(data.len() <= 65_536, "{} bytes in one push", data.len());
        let offset = push["offset"].as_u64().expect("a number");
        assert!(offset >= expected, "pushes overlap at {offset}");
        jumps += usize::from(offset > expected);
        let line_starts_with_y = offset % 2 == 0;
        assert!(
            data.starts_with(if line_starts_with_y { 'y' } else { '\n' }),
            "bytes at their place"
        );
        expected = offset + data.len() as u64;
    }
    assert!(jumps > 0, "`yes` writes more than 20 x 64 KiB a second");
}

#[test]
fn a_flood_leaves_checks_answered_and_the_daemon_small() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    daemon.run("true");
    let before = daemon.memory("VmRSS");
    let id = daemon.sh("yes");
    wait_total(&daemon, &id, 500 * MIB);
    // The benchmark `yes` measures how fast this is.
    for _ in 0..51 {
        daemon.check(&id);
    }
    let grown = daemon.memory("VmRSS").saturating_sub(before);
    assert!(grown <= MEMORY_BOUND, "the daemon grew by {} kB", grown / 1024);
    assert!(lab.disk_usage() <= DISK_BOUND, "{} MiB on the disk", lab.disk_usage() / MIB);
    daemon.stop(&id);
    let kept = lab.disk_usage();
    assert!(kept <= 20 * MIB, "{} MiB are kept of it", kept / MIB);
}

#[test]
fn a_flood_through_a_terminal_is_bounded_too() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    daemon.run("true");
    let before = daemon.memory("VmRSS");
    let spawn = json!({ "command": "echo FIRST; yes", "pty": { "rows": 24, "cols": 80 } });
    let id = crate::harness::id_of(&daemon.spawn(spawn));
    wait_total(&daemon, &id, 24 * MIB);
    assert!(lab.disk_usage() <= DISK_BOUND);
    daemon.stop(&id);
    let notification = daemon.exited(&id);
    assert!(daemon.memory("VmRSS").saturating_sub(before) <= MEMORY_BOUND);
    assert!(lab.disk_usage() <= 20 * MIB);
    let head = notification["preview"]["head"].as_str().expect("a string");
    assert!(head.starts_with("FIRST\r\n"), "{head}");
}

#[test]
fn a_flood_goes_on_being_bounded_while_no_daemon_runs() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("yes");
    wait_total(&daemon, &id, MIB);
    drop(daemon.kill9());
    let pids: Vec<i32> = lab.processes().iter().map(|process| process.pid).collect();
    let written = || -> u64 {
        let of = |pid: &i32| {
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            let line = io.lines().find(|line| line.starts_with("wchar"))?;
            line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
        };
        pids.iter().filter_map(of).max().unwrap_or(0)
    };
    let goal = written() + 400 * MIB;
    let mut disk = 0;
    eventually("400 MiB to be written with no daemon there", || {
        disk = disk.max(lab.disk_usage());
        (written() >= goal).then_some(())
    });
    assert!(disk <= DISK_BOUND, "{} MiB on the disk", disk / MIB);
    lab.daemon().stop(&id);
}

#[test]
fn long_lines_and_no_lines_do_no_harm() {
    let daemon = Lab::new().daemon();
    let script = "head -c 30000000 /dev/zero | tr '\\0' z; printf end";
    let task = json!({ "command": script, "watch": [{ "pattern": "end$" }] });
    let id = crate::harness::id_of(&daemon.spawn(task));
    daemon.exited(&id);
    // Without a newline or a carriage return this is one line, longer than watches match in full.
    assert_eq!(daemon.pushes("task/notified"), Vec::<Value>::new());
    let task = json!({ "command": script, "watch": [{ "pattern": "^zz" }] });
    let id = crate::harness::id_of(&daemon.spawn(task));
    daemon.exited(&id);
    let matched = daemon.pushes("task/notified");
    assert_eq!(matched.len(), 1, "the beginning of the line is matched: {matched:?}");
    let line = matched[0]["notification"]["match"]["line"].as_str().expect("a line");
    assert!(line.len() <= 1_024, "the line is cut: {}", line.len());
}
