//! Asynchronous access to the ledger, on two threads: one that writes and one that reads.
//!
//! Owns the threads and the order of their jobs. Knows nothing of what is stored. SQLite blocks, for up to ten
//! seconds while another process holds the store, and must not do so on the runtime's threads. One writer is
//! enough, because SQLite allows only one across all processes; with a separate reader, a `task/check` need not
//! wait for a write that waits for a lock.
//!
//! The channels are unbounded on purpose. A write is sent completely when it is requested, so if the caller
//! disconnects, it is still done, and never partly; with a bounded channel, the caller would have to wait
//! before sending. The queue is limited by its callers: each request in flight, of which there is a limit,
//! waits for one job.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::background::ledger::{Ledger, LedgerError};
use crate::error::{Error, Limit, StoreFaultKind};

/// Stack of each thread. The default, 2 MiB, counts towards a limit on address space; SQLite needs some 20 KiB.
const STACK_BYTES: usize = 256 << 10;

/// A handle on the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    state_dir: Arc<Path>,
    writer: Arc<Lane>,
    reader: Arc<Lane>,
}

impl Store {
    /// Opens the store in `state_dir` (see [`Ledger::open`]) and starts its threads.
    pub async fn open(state_dir: &Path, sync: bool) -> Result<Self, Error> {
        // One after the other, because the writer creates the file.
        let writer = Lane::start("store-write", state_dir.to_owned(), sync).await?;
        let reader = match Lane::start("store-read", state_dir.to_owned(), sync).await {
            Ok(reader) => reader,
            Err(error) => {
                writer.close().await;
                return Err(error);
            }
        };
        Ok(Self { state_dir: state_dir.into(), writer: Arc::new(writer), reader: Arc::new(reader) })
    }

    /// Makes the writer run `job`, after all writes requested earlier. It is sent at once, not when the future
    /// is polled, and dropping the future does not cancel it. `job` must not block on anything but the ledger.
    pub fn write<T, F>(&self, job: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    {
        self.writer.run(job)
    }

    /// Makes the reader run `job`. It sees every write whose future has returned.
    pub fn read<T, F>(&self, job: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    {
        self.reader.run(|ledger| job(ledger))
    }

    /// Copies the ledger's write-ahead log into its file, on a separate connection, because it waits for the
    /// disk and must delay neither writes nor reads.
    pub async fn write_back(&self) {
        let state_dir = self.state_dir.clone();
        let written = apart(move || Ledger::open(&state_dir, false)?.checkpoint()).await;
        if let Some(Err(error)) = written {
            tracing::debug!("the ledger's log was not written back: {error}");
        }
    }

    /// Ends the threads after they have done all earlier requests, and closes the file. Later calls of any
    /// clone are refused. The threads of a store that is dropped without closing end in the same way, without
    /// being waited for.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

/// Runs `job` on its own thread; `None` if none can be started. For work that waits for the disk and can be
/// postponed: the runtime's own pool panics if it cannot start threads.
pub async fn apart<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = thread::Builder::new().name("apart".to_owned()).stack_size(STACK_BYTES);
    let run = move || {
        // It fails if the program is exiting.
        let _ = done.send(job());
    };
    thread.spawn(run).ok()?;
    result.await.ok()
}

/// A request to a thread.
enum Job {
    Run(Box<dyn FnOnce(&mut Ledger) + Send>),
    /// Exit; later requests are dropped, which their callers notice.
    Close(oneshot::Sender<()>),
}

/// One thread and the channel to it.
#[derive(Debug)]
struct Lane {
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Lane {
    async fn start(name: &str, state_dir: PathBuf, sync: bool) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel();
        let (opened, outcome) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || match Ledger::open(&state_dir, sync) {
                Ok(ledger) => {
                    // It fails if the opening was dropped; then the queue is closed too.
                    let _ = opened.send(Ok(()));
                    serve(ledger, &queue);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|error| Error::LimitReached {
                limit: Limit::Threads,
                message: format!("cannot start a thread for the store ({error})"),
            })?;
        match outcome.await {
            Ok(opened) => opened?,
            Err(_) => return Err(ended()),
        }
        Ok(Self { jobs, thread: Mutex::new(Some(thread)) })
    }

    fn run<T, F>(&self, job: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let run = Job::Run(Box::new(move |ledger| {
            let job = |ledger: &mut Ledger| ledger.follow().and_then(|()| job(ledger));
            // Unwinding rolls the transaction back, and the ledger has no other state.
            let result = match catch_unwind(AssertUnwindSafe(|| job(ledger))) {
                Ok(result) => result.map_err(Error::from),
                Err(panic) => Err(Error::unavailable(
                    StoreFaultKind::Other,
                    format!(
                        "a fault in this program: {}; nothing was recorded, please report it",
                        text_of(panic.as_ref())
                    ),
                )),
            };
            // It fails if the caller is gone. The work was done anyway.
            let _ = reply.send(result);
        }));
        // If the thread has ended, the job is dropped, and `reply` with it.
        let _ = self.jobs.send(run);
        async { outcome.await.unwrap_or_else(|_| Err(ended())) }
    }

    async fn close(&self) {
        let (done, wait) = oneshot::channel();
        let _ = self.jobs.send(Job::Close(done));
        // With either result, the thread has closed the file.
        let _ = wait.await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    }
}

/// Runs jobs until it is told to exit or all senders are gone.
fn serve(mut ledger: Ledger, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Run(run) => run(&mut ledger),
            Job::Close(done) => {
                drop(ledger);
                let _ = done.send(());
                return;
            }
        }
    }
}

fn ended() -> Error {
    Error::unavailable(StoreFaultKind::Other, "it was closed; this program is ending")
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::background::ledger::tests::new_task;
    use crate::background::task::TaskId;

    async fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(dir.path(), false).await.expect("a new store");
        (dir, store)
    }

    /// Writes that can be verified: tokens.
    fn claim(ledger: &mut Ledger, token: &str) -> Result<TaskId, LedgerError> {
        ledger.claim_token(Path::new("/w"), token, TaskId::random())
    }

    #[tokio::test]
    async fn a_read_sees_every_write_that_returned() {
        let (_dir, store) = open().await;
        let here = Path::new("/w");
        for n in 0..20 {
            let task = new_task(n, "q");
            store.write(move |ledger| ledger.insert(&[task])).await.expect("written");
            let ids = store.read(|ledger| ledger.running_ids(Some(here))).await.expect("read");
            assert_eq!(ids.len(), n as usize + 1);
        }
        store.close().await;
    }

    #[tokio::test]
    async fn a_write_goes_on_without_a_waiter() {
        let (_dir, store) = open().await;
        drop(store.write(|ledger| claim(ledger, "t")));
        let other = TaskId::random();
        let holder = store
            .write(move |ledger| ledger.claim_token(Path::new("/w"), "t", other))
            .await
            .expect("claimed");
        assert_ne!(holder, other, "the dropped write came first and was done");
    }

    #[tokio::test]
    async fn a_panic_is_its_callers_error_only() {
        let (_dir, store) = open().await;
        let error = store
            .write(|ledger| -> Result<(), LedgerError> {
                claim(ledger, "before")?;
                panic!("a fault on purpose")
            })
            .await
            .expect_err("it panicked");
        assert!(error.to_string().contains("a fault on purpose"), "{error}");
        store.write(|ledger| claim(ledger, "after")).await.expect("the thread lives");
    }

    #[tokio::test]
    async fn a_read_does_not_wait_for_a_write() {
        let (_dir, store) = open().await;
        let (go, blocked) = sync_channel::<()>(0);
        let write = store.write(move |ledger| {
            blocked.recv().expect("the sender lives until it has sent");
            claim(ledger, "t")
        });
        store.read(|ledger| ledger.running_ids(None)).await.expect("read meanwhile");
        go.send(()).expect("the writer waits");
        write.await.expect("written");
    }

    #[tokio::test]
    async fn closing_does_what_was_asked_before_and_refuses_the_rest() {
        let (dir, store) = open().await;
        let clone = store.clone();
        let before: Vec<_> =
            (0..50).map(|n| store.write(move |ledger| claim(ledger, &n.to_string()))).collect();
        store.close().await;
        for write in before {
            write.await.expect("asked before the end");
        }
        let refused = clone.write(|ledger| claim(ledger, "late")).await;
        assert!(matches!(refused, Err(Error::StoreUnavailable(_))), "{refused:?}");
        clone.close().await;
        let held: Vec<_> = std::fs::read_dir("/proc/self/fd")
            .expect("our descriptors")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|file| file.starts_with(dir.path()))
            .collect();
        assert!(held.is_empty(), "the file was let go of: {held:?}");
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_opened_says_so() {
        let refused = Store::open(Path::new("/nonexistent/state"), false).await;
        let error = refused.expect_err("there is no such directory");
        assert!(matches!(error, Error::StoreUnavailable(_)), "{error:?}");
    }
}
