//! Keeps the store within its limits, in the background.

use std::path::PathBuf;
use std::time::Duration;

use crate::background::executor::Archive;
use crate::background::store::{Store, apart};
use crate::background::task::{TaskId, Timestamp};
use crate::background::{Remove, Settings};

/// Tasks removed at once while the store is over its quota.
const REMOVED_AT_ONCE: u32 = 64;
/// Age from which a file of an ended task that the ledger does not know counts as unowned: the process that
/// created it died between two steps.
const UNOWNED: Duration = Duration::from_secs(24 * 3_600);

/// Prunes expired tasks, then the oldest ones while the store is over its quota. Returns whether it is still
/// over its quota. With `write_back` the ledger's write-ahead log is copied into its file.
pub async fn keep_up(
    archive: Archive,
    store: Store,
    workspace: PathBuf,
    settings: Settings,
    write_back: bool,
) -> bool {
    let (keep_for, keep_count) = (settings.keep_for, settings.keep_count);
    let holders = archive.clone();
    let prune = store.write(move |ledger| {
        let is_alive = |holder: &str| holders.is_alive(holder);
        ledger.prune(&workspace, keep_for, keep_count, Timestamp::now(), &is_alive)
    });
    delete(&archive, prune.await.unwrap_or_default()).await;
    delete(&archive, unowned(&archive, &store).await).await;
    if write_back {
        store.write_back().await;
    }
    loop {
        if usage(&archive).await <= settings.quota {
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
            delete(&archive, ids).await;
        }
        if removed == 0 {
            return true;
        }
    }
}

async fn usage(archive: &Archive) -> u64 {
    let archive = archive.clone();
    apart(move || archive.usage()).await.unwrap_or(0)
}

async fn delete(archive: &Archive, ids: Vec<TaskId>) {
    if ids.is_empty() {
        return;
    }
    let archive = archive.clone();
    // If it fails now, the next upkeep finds the files.
    let _ = apart(move || ids.iter().for_each(|id| archive.delete(*id))).await;
}

async fn unowned(archive: &Archive, store: &Store) -> Vec<TaskId> {
    let listed = archive.clone();
    let old = apart(move || listed.older_than(UNOWNED)).await;
    let mut unowned = Vec::new();
    for id in old.unwrap_or_default() {
        if let Ok(None) = store.read(move |ledger| ledger.facts(id)).await {
            unowned.push(id);
        }
    }
    unowned
}
