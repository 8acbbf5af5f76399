//! Keeping the store within its bounds, without being asked.

use std::path::PathBuf;
use std::time::Duration;

use crate::background::home::Home;
use crate::background::ledger::Ledger;
use crate::background::store::Store;
use crate::background::task::{TaskId, Timestamp};
use crate::background::{Remove, Settings};

/// Tasks removed at once while the store is over its quota.
const REMOVED_AT_ONCE: u32 = 64;
/// Age at which a file of an ended task that the ledger does not know is nobody's: whoever made it
/// died between two steps.
const NOBODYS: Duration = Duration::from_secs(24 * 3_600);

/// Prunes what is old, then what is too much. Returns whether the store is over its quota still.
/// With `write_back` the ledger's log is copied into its file.
pub async fn keep_up(
    home: Home,
    store: Store,
    workspace: PathBuf,
    settings: Settings,
    write_back: bool,
) -> bool {
    let (keep_for, keep_count) = (settings.keep_for, settings.keep_count);
    let bells = home.clone();
    let prune = store.write(move |ledger| {
        let is_alive = |bell: &str| bells.is_bell_alive(bell);
        ledger.prune(&workspace, keep_for, keep_count, Timestamp::now(), &is_alive)
    });
    delete(&home, prune.await.unwrap_or_default()).await;
    delete(&home, nobodys(&home, &store).await).await;
    if write_back {
        checkpoint(&home).await;
    }
    loop {
        if usage(&home).await <= settings.quota {
            return false;
        }
        let oldest = store.read(|ledger| ledger.oldest_finished(REMOVED_AT_ONCE)).await;
        let oldest = oldest.unwrap_or_default();
        if oldest.is_empty() {
            return true;
        }
        let mut removed = 0;
        for (workspace, id) in oldest {
            let what = Remove { ids: Some(vec![id]), ended_before: None };
            let ids = store.write(move |ledger| ledger.remove(&workspace, &what)).await;
            let ids = ids.unwrap_or_default();
            removed += ids.len();
            delete(&home, ids).await;
        }
        if removed == 0 {
            return true;
        }
    }
}

/// Through a connection of its own: it waits for the disk, which must keep neither a write nor a
/// question waiting.
async fn checkpoint(home: &Home) {
    let root = home.root().to_owned();
    let written = tokio::task::spawn_blocking(move || Ledger::open(&root, false)?.checkpoint());
    if let Ok(Err(error)) = written.await {
        tracing::debug!("the ledger's log was not written back: {error}");
    }
}

async fn usage(home: &Home) -> u64 {
    let home = home.clone();
    tokio::task::spawn_blocking(move || home.disk_usage()).await.unwrap_or(0)
}

async fn delete(home: &Home, ids: Vec<TaskId>) {
    if ids.is_empty() {
        return;
    }
    let home = home.clone();
    let deleted = tokio::task::spawn_blocking(move || ids.iter().for_each(|id| home.delete(*id)));
    // It cannot panic; if the runtime ends first, the next upkeep finds the files.
    let _ = deleted.await;
}

async fn nobodys(home: &Home, store: &Store) -> Vec<TaskId> {
    let listed = home.clone();
    let old = tokio::task::spawn_blocking(move || listed.done_older_than(NOBODYS)).await;
    let mut nobodys = Vec::new();
    for id in old.unwrap_or_default() {
        if let Ok(None) = store.read(move |ledger| ledger.facts(id)).await {
            nobodys.push(id);
        }
    }
    nobodys
}
