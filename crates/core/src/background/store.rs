//! The ledger from asynchronous code: two threads, one that writes and one that reads.
//!
//! Owns the threads and the order of what they do. Knows nothing of what is stored. SQLite blocks,
//! for up to ten seconds when another process holds the store, and must not do so on the runtime's
//! threads. One writer is enough, as SQLite has one for all processes; a reader of its own keeps a
//! `task/check` from waiting for a write that waits for a lock.
//!
//! The channels are unbounded on purpose. A write is sent whole when it is asked for, so that a
//! caller who goes away half-way leaves it done, never half done; a bounded channel would make the
//! caller wait before it is sent. What is queued is bounded by who asks: each request in flight, of
//! which there is a limit, waits for one job.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::background::ledger::{Ledger, LedgerError};
use crate::error::{Error, Limit, StoreFaultKind};

/// Stack of each thread. The default, 2 MiB, is address space that a limit of it counts; SQLite
/// needs some 20 KiB of it.
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
        // One after the other: the writer makes the file.
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

    /// Has the writer run `job`, after every write asked for before. It is sent at once, not when
    /// the future is polled, and dropping the future does not take it back. `job` must not block on
    /// anything but the ledger.
    pub fn write<T, F>(&self, job: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    {
        self.writer.run(job)
    }

    /// Has the reader run `job`. It sees every write whose future has returned.
    pub fn read<T, F>(&self, job: F) -> impl Future<Output = Result<T, Error>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    {
        self.reader.run(|ledger| job(ledger))
    }

    /// Copies the ledger's log into its file. Through a connection of its own: it waits for the disk,
    /// which must keep neither a write nor a question waiting.
    pub async fn write_back(&self) {
        let state_dir = self.state_dir.clone();
        let written = apart(move || Ledger::open(&state_dir, false)?.checkpoint()).await;
        if let Some(Err(error)) = written {
            tracing::debug!("the ledger's log was not written back: {error}");
        }
    }

    /// Ends the threads, once they have done what was asked before, and closes the file. A later
    /// call of any clone is refused. Threads of a store that is dropped unclosed end the same way,
    /// unwaited for.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

/// Runs `job` on a thread of its own; `None` where none can be started. For what waits for the disk and
/// can be left for later: the runtime's own pool panics where it is short of threads.
pub async fn apart<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = thread::Builder::new().name("apart".to_owned()).stack_size(STACK_BYTES);
    let run = move || {
        // An error means that the program ends.
        let _ = done.send(job());
    };
    thread.spawn(run).ok()?;
    result.await.ok()
}

/// What a thread is asked.
enum Job {
    Run(Box<dyn FnOnce(&mut Ledger) + Send>),
    /// End; what is asked after this is dropped, which its caller sees.
    Close(oneshot::Sender<()>),
}

/// One thread and the way to it.
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
                    // An error means that the opening was dropped; then the queue is closed.
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
            // Unwinding rolls the transaction back, and the ledger keeps nothing else.
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
            // The caller may be gone. The work was done all the same.
            let _ = reply.send(result);
        }));
        // Where the thread has ended, the job and with it `reply` is dropped.
        let _ = self.jobs.send(run);
        async { outcome.await.unwrap_or_else(|_| Err(ended())) }
    }

    async fn close(&self) {
        let (done, wait) = oneshot::channel();
        let _ = self.jobs.send(Job::Close(done));
        // Either answer means that the thread has let go of the file.
        let _ = wait.await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    }
}

/// Runs jobs until told to end or until no sender is left.
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

    /// Writes that leave a trace: tokens.
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
