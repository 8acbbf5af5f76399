use std::sync::mpsc;
use std::thread;

use super::*;

/// Publishes a task in `folder` with its id as the record, as a shim would.
fn publish(home: &Home, id: TaskId, folder: &Path) {
    // The record must be a new file: an existing one would be another task's.
    let record = File::create_new(folder.join(layout::RECORD)).unwrap();
    (&record).write_all(id.as_bytes()).unwrap();
    fs::write(folder.join(layout::SPEC), b"spec").unwrap();
    fs::rename(folder, home.live(id)).unwrap();
}

/// The daemon that owns a task reuses its folder for the next one, while another daemon, which has seen the
/// same end, puts the folder away.
#[test]
fn two_daemons_settle_a_task_and_the_next_one_in_its_folder_is_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let stranger = home.clone();
    let (ends, seen) = mpsc::channel::<TaskId>();
    let other = thread::spawn(move || seen.iter().for_each(|id| stranger.settle(id)));
    let (mut id, mut folder) = home.idle_folder("bell").unwrap();
    let mut all = Vec::new();
    for _ in 0..4_000 {
        publish(&home, id, &folder);
        all.push(id);
        ends.send(id).unwrap();
        let spare = home.settle_and_reuse(id, "bell");
        (id, folder) = spare.unwrap_or_else(|_| {
            home.settle(id);
            home.idle_folder("bell").unwrap()
        });
    }
    drop(ends);
    other.join().unwrap();
    for id in all {
        let kept = fs::read(home.done(id)).unwrap_or_default();
        assert_eq!(kept, id.as_bytes(), "the record of {id}");
        assert!(!home.live(id).exists(), "the folder of {id}");
    }
}

#[test]
fn a_record_is_found_at_every_moment_of_its_settling() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    for _ in 0..500 {
        let (id, folder) = home.idle_folder("bell").unwrap();
        publish(&home, id, &folder);
        let looker = home.clone();
        let (settled, until) = mpsc::channel::<()>();
        let look = thread::spawn(move || {
            while let Err(mpsc::TryRecvError::Empty) = until.try_recv() {
                let file = looker.record_file(id).unwrap();
                assert_eq!(io::read_to_string(file).unwrap().as_bytes(), id.as_bytes());
            }
        });
        let _ = home.settle_and_reuse(id, "bell").unwrap();
        drop(settled);
        look.join().unwrap();
    }
}

#[test]
fn a_spec_with_a_key_is_kept_whole_after_a_crash_while_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let (id, folder) = home.idle_folder("bell").unwrap();
    publish(&home, id, &folder);
    fs::write(home.live(id).join(layout::SPEC), b"env=A=b\0env=ANTHROPIC_API_KEY=secret\0")
        .unwrap();
    for written in [home.kept_spec(id), home.live(id).join(layout::NEW_SPEC)] {
        fs::write(written, b"env=A").unwrap();
    }
    home.settle(id);
    assert_eq!(fs::read(home.kept_spec(id)).unwrap(), b"env=A=b\0key=ANTHROPIC_API_KEY\0");
    assert!(!home.live(id).exists());
    let left = fs::read_dir(dir.path().join(layout::LIVE)).unwrap().count();
    assert_eq!(left, 0, "the folder is left behind");
}
