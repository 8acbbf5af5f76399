//! The ledger file itself: full, damaged, owned by another user, and its permissions.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::{Error, StoreFaultKind};

/// The kind of fault, by which `crates/rpc` chooses its advice.
fn kind_of(error: LedgerError) -> StoreFaultKind {
    let Error::StoreUnavailable(fault) = Error::from(error) else { panic!("it is the store") };
    fault.kind
}

#[test]
fn a_full_disk_is_told_as_such_and_passes() {
    let (_dir, mut ledger) = open();
    end(&mut ledger, 1, "q");
    let pages: i64 = ledger
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .expect("a number");
    let limit = |ledger: &Ledger, pages: i64| {
        ledger
            .connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .expect("limited");
    };
    limit(&ledger, pages + 8);
    let mut stored = 1;
    let error = loop {
        let finish = finish_of(new_task(stored + 1, "q"), Outcome::Exited);
        match ledger.record(&[], &[], &[], &[finish]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "8 pages hold no thousand tasks");
    };
    assert!(matches!(error, LedgerError::Full), "{error:?}");
    assert_eq!(kind_of(error), StoreFaultKind::LedgerFull);
    assert_eq!(
        ledger.undelivered(Path::new(HERE)).expect("read"),
        counts(&[("q", u64::from(stored))]),
        "what was told still is"
    );

    limit(&ledger, 1 << 20);
    assert_eq!(end(&mut ledger, stored + 1, "q").seq, u64::from(stored) + 1, "no number was lost");
}

#[test]
fn stores_that_cannot_be_used_say_why() {
    let refused = |dir: &Path| Ledger::open(dir, false).expect_err("refused");

    let (dir, ledger) = open();
    ledger.connection.pragma_update(None, "user_version", 99).expect("set");
    drop(ledger);
    let error = refused(dir.path());
    assert!(matches!(error, LedgerError::NewerVersion { found: 99 }), "{error:?}");
    assert_eq!(kind_of(error), StoreFaultKind::Newer);

    let missing = refused(&dir.path().join("missing"));
    assert!(matches!(missing, LedgerError::CannotOpen { .. }), "{missing:?}");

    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join(FILE), [b'x'; 8_192]).expect("written");
    let error = refused(dir.path());
    assert!(matches!(error, LedgerError::Damaged(_)), "{error:?}");
}

#[test]
fn the_file_is_the_owners_alone() {
    let (dir, mut ledger) = open();
    end(&mut ledger, 1, "q");
    let mode = |name: &str| {
        let metadata = fs::metadata(dir.path().join(name)).expect("the file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(
        (mode(FILE), mode("meanwhile.db-wal"), mode("meanwhile.db-shm")),
        (0o600, 0o600, 0o600)
    );
    fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o644)).expect("set");
    Ledger::open(dir.path(), false).expect("opened");
    assert_eq!(mode(FILE), 0o600);
}

#[test]
fn opening_it_again_leaves_the_locks_of_the_first_in_place() {
    let (dir, mut first) = open();
    end(&mut first, 1, "q");
    let inode = fs::metadata(dir.path().join(FILE)).expect("the file").ino();
    let locks = || {
        let locks = fs::read_to_string("/proc/locks").expect("the kernel's list of locks");
        locks.lines().filter(|line| line.contains(&format!(":{inode} "))).count()
    };
    assert!(locks() > 0, "a connection holds a lock for as long as it is open");
    let second = make_private(&dir.path().join(FILE));
    assert!(second.is_ok() && locks() > 0);
    drop(Ledger::open(dir.path(), false).expect("opened"));
    assert!(locks() > 0);
}

fn size(dir: &TempDir, name: &str) -> u64 {
    fs::metadata(dir.path().join(name)).map_or(0, |file| file.len())
}

#[test]
fn the_last_to_close_leaves_the_log_to_the_next() {
    let (dir, mut ledger) = open();
    ledger.checkpoint().expect("no other process");
    let (file, log) = (size(&dir, FILE), size(&dir, "meanwhile.db-wal"));
    end(&mut ledger, 1, "q");
    drop(ledger);
    assert!(size(&dir, "meanwhile.db-wal") >= log && log > 0);
    assert_eq!(size(&dir, FILE), file, "nothing was copied");
    let mut ledger = Ledger::open(dir.path(), false).expect("opened");
    assert_eq!(seqs(&drain(&mut ledger, "q")), [1]);
}

#[test]
fn a_checkpoint_cuts_a_long_log_and_waits_for_no_reader() {
    let (dir, mut ledger) = open();
    ledger.connection.pragma_update(None, "wal_autocheckpoint", 0).expect("set");
    for n in 1.. {
        end(&mut ledger, n, "q");
        if size(&dir, "meanwhile.db-wal") > WAL_BYTES as u64 {
            break;
        }
    }
    let reader = Ledger::open(dir.path(), false).expect("opened");
    let reading = reader.connection.unchecked_transaction().expect("begun");
    reading.query_row("SELECT count(*) FROM tasks", [], |_| Ok(())).expect("read");
    end(&mut ledger, 1_000_000, "q");
    let started = Instant::now();
    ledger.checkpoint().expect("a reader is not an error");
    assert!(started.elapsed() < BUSY_TIMEOUT / 2);
    assert!(size(&dir, "meanwhile.db-wal") > WAL_BYTES as u64, "the reader needs it");

    drop(reading);
    ledger.checkpoint().expect("no other process");
    assert_eq!(size(&dir, "meanwhile.db-wal"), 0);
    let last = ledger.exited(id(1_000_000)).expect("read");
    assert!(last.is_some(), "it is in the file now");
}
