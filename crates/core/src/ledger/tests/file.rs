//! The file itself: full, foreign, damaged, and whose it is.

use std::os::unix::fs::MetadataExt;

use super::*;

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
        match ledger.finish(&[finish]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "8 pages hold no thousand tasks");
    };
    assert!(matches!(error, LedgerError::Full), "{error:?}");
    let message = crate::Error::from(error).to_string();
    assert!(message.contains("free some space"), "{message}");
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
    assert!(error.to_string().contains("update meanwhile"), "{error}");

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
