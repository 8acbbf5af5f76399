//! The engine with a folder of its own and without Slurm: its answers are given here.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use meanwhile_shim::node::{self, Beat};
use meanwhile_shim::record::Outcome;
use meanwhile_shim::spec::Spec;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::words::Word;
use super::*;

const ID: &str = "0123abcd";
const TOKEN: &str = "feedfeedfeedfeed-0123abcd";

struct Bench {
    dir: tempfile::TempDir,
    work: Work,
    news: mpsc::UnboundedReceiver<(u64, News)>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (sender, news) = mpsc::unbounded_channel();
        let slurm = Slurm { shared: dir.path().to_owned(), ..Slurm::default() };
        let mut work = Work::new(slurm, 7, sender);
        work.shared = Some(Shared::prepare(dir.path()).expect("the folder can be used"));
        Self { dir, work, news }
    }

    /// One with a task that Slurm took as job 1.
    fn with_job() -> Self {
        let mut bench = Self::new();
        bench.request("task/spawn", json!({"command": "true", "clientToken": TOKEN}));
        bench.work.lane.clear();
        bench.work.handed_in(ID, Ok("1".to_owned()));
        bench.heard();
        bench
    }

    /// As if `sbatch` were at it, so that none is started.
    fn request(&mut self, method: &str, params: Value) {
        self.work.submitting = Some("another".to_owned());
        self.work.request(1, method, &params);
        self.work.submitting = None;
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(node::TASKS).join(ID)
    }

    fn job(&mut self) -> &mut Job {
        self.work.jobs.get_mut(ID).expect("it is known")
    }

    fn row(state: &str, node: &str) -> Row {
        let (number, name) = ("1".to_owned(), job::name(ID));
        let (state, node) = (state.to_owned(), node.to_owned());
        Row { number, name, state, node, ..Row::default() }
    }

    /// What a keeper writes first.
    fn begin(&self) {
        fs::write(self.folder().join(node::CLAIM), "").expect("it is writable");
        let beat = fs::OpenOptions::new().write(true).open(self.folder().join(node::BEAT));
        let sign = Beat { beats: 1, job: "1".to_owned(), host: "n1".to_owned(), ..Beat::default() };
        sign.write(&beat.expect("it is there")).expect("it is writable");
    }

    /// What was sent since the last call: answers, and notifications with their methods.
    fn heard(&mut self) -> Vec<(String, Value)> {
        let mut heard = Vec::new();
        while let Ok((_, news)) = self.news.try_recv() {
            heard.push(match news {
                News::Over(why) => ("over".to_owned(), json!(why)),
                News::Message(Message::Notification { method, params }) => {
                    (method, params.unwrap_or_default())
                }
                News::Message(Message::Response { outcome, .. }) => {
                    ("answer".to_owned(), outcome.unwrap_or_else(|error| error))
                }
                News::Message(Message::Request { .. }) => continue,
            });
        }
        heard
    }

    /// The task of the end that was told.
    fn ended(&mut self) -> Value {
        let heard = self.heard();
        let end = heard.iter().find(|(method, _)| method == "task/exited");
        end.map(|(_, params)| params["notification"]["task"].clone()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_file_server_that_does_not_answer_is_reported_while_the_courier_goes_on() {
    let mut bench = Bench::with_job();
    bench.job().hears(Word::of(Bench::row("CANCELLED", "")));
    // Who reads a FIFO waits for a writer.
    let claim = bench.folder().join(node::CLAIM);
    mkfifo(&claim, Mode::S_IRWXU).expect("it can be made");
    let Bench { dir, work, mut news } = bench;
    let engine = Engine::start(work, Duration::from_millis(100));
    // The courier's own thread, which waits here, is free.
    let Some((7, News::Over(why))) = news.recv().await else { panic!("the engine said more") };
    assert!(why.contains(&dir.path().display().to_string()) && why.contains("has not answered"));
    let writer = loop {
        let mut options = fs::OpenOptions::new();
        match options.write(true).custom_flags(libc::O_NONBLOCK).open(&claim) {
            Ok(writer) => break writer,
            // The thread does not read it yet.
            Err(_) => tokio::task::yield_now().await,
        }
    };
    // It answers again: the thread ends.
    drop((engine, writer));
    while THREADS.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_file_server_that_stays_away_does_not_collect_threads() {
    let threads: Vec<Thread> = std::iter::from_fn(Thread::count).collect();
    assert_eq!(threads.len(), THREADS_MOST);
    drop(threads);
    assert!(Thread::count().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_works_is_not_taken_for_stuck() {
    let alive = Arc::new(AtomicU64::new(0));
    let at_work = alive.clone();
    let works = tokio::spawn(async move {
        for _ in 0..10 * PATIENCE_ROUNDS {
            tokio::time::sleep(PATIENCE / PATIENCE_ROUNDS).await;
            at_work.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(!is_stuck(&alive, PATIENCE).await, "it has ended");
    assert!(works.await.is_ok());
}

#[tokio::test]
async fn a_task_that_was_stopped_before_slurm_had_it_is_never_handed_in() {
    let mut bench = Bench::new();
    // The controller was away, so `sbatch` did not take it.
    bench.request("task/spawn", json!({"command": "true", "clientToken": TOKEN}));
    assert_eq!(bench.heard()[0].1["task"]["state"], "queued", "it is taken at once");
    bench.work.lane.clear();
    bench.work.handed_in(ID, Err(Refusal::NotNow("Unable to contact".to_owned())));
    let told = bench.heard();
    assert_eq!(told[0].1["task"]["queued"]["reason"]["why"], "Unable to contact");
    bench.request("task/stop", json!({"id": ID, "signal": "SIGTERM", "graceMs": 10}));
    assert_eq!(bench.ended()["state"], "stopped");
    assert!(bench.work.again.is_empty() && bench.work.lane.is_empty());
    let claim = fs::read(bench.folder().join(node::CLAIM));
    let stopped = &b"closed\nstopped\nit was stopped before Slurm had it"[..];
    assert_eq!(claim.ok().as_deref(), Some(stopped));
    // `sbatch` had reached it all the same: the job is cancelled once it is seen.
    bench.work.heard(Ok(vec![Bench::row("PENDING", "")]));
    let before = bench.work.under_way.len();
    bench.work.carry_out(ID);
    assert_eq!(bench.work.under_way.len(), before + 1);

    // The courier was started again, and has the order.
    let mut bench = Bench::new();
    let params = json!({"command": "true", "clientToken": TOKEN, "stop": {}});
    bench.request("task/spawn", params);
    assert_eq!(bench.ended()["state"], "stopped");
    assert!(bench.work.lane.is_empty());
}

#[tokio::test]
async fn a_courier_that_follows_another_one_ends_a_refused_task_with_its_words() {
    let mut bench = Bench::new();
    bench.request("task/spawn", json!({"command": "true", "clientToken": TOKEN}));
    bench.heard();
    folder::close(&bench.folder(), Outcome::Exited, "Invalid account").expect("writable");
    bench.work.jobs.clear();
    bench.work.lane.clear();
    bench.request("task/spawn", json!({"command": "true", "clientToken": TOKEN}));
    let ended = bench.heard()[0].1["task"].clone();
    assert_eq!(
        (&ended["state"], &ended["cause"]["message"]),
        (&json!("exited"), &json!("Invalid account"))
    );
    assert!(bench.work.lane.is_empty());
}

#[tokio::test]
async fn a_stop_that_was_ordered_before_the_connection_keeps_its_signal_and_its_grace() {
    let mut bench = Bench::with_job();
    let stop = json!({"signal": "SIGINT", "graceMs": 60_000});
    bench.request("task/check", json!({"id": ID, "stop": stop}));
    let stop = bench.job().stop.as_ref().map(|stop| (stop.signal, stop.grace));
    assert_eq!(stop, Some((libc::SIGINT, Duration::from_secs(60))));
}

#[tokio::test]
async fn a_task_that_is_to_be_stopped_is_not_submitted_although_its_claim_could_not_be_closed() {
    let mut bench = Bench::new();
    bench.request("task/spawn", json!({"command": "true", "clientToken": TOKEN}));
    bench.heard();
    bench.work.submitting = None;
    bench.work.order_stop(ID, &json!({}));
    bench.work.lane.push_back(ID.to_owned());
    bench.work.hand_in();
    assert!(bench.work.submitting.is_none() && bench.work.lane.is_empty());
}

#[tokio::test]
async fn the_words_of_sbatch_are_the_end_of_a_task_that_it_refuses_at_the_second_time() {
    let mut bench = Bench::with_job();
    bench.work.heard(Ok(Vec::new()));
    let (id, number) = (ID.to_owned(), "1".to_owned());
    // The accounting calls a job running that was lost with the controller.
    let rows = vec![Bench::row("RUNNING", "n1")];
    bench.work.submitting = Some("another".to_owned());
    bench.work.remembered(Remembered { jobs: vec![(id, number)], rows });
    assert!(bench.job().spec.is_some(), "it is handed in again");
    bench.work.submitting = None;
    bench.heard();
    let why = "Batch job submission failed: Invalid account".to_owned();
    bench.work.handed_in(ID, Err(Refusal::Never(why.clone())));
    let end = bench.ended();
    assert_eq!((&end["state"], &end["exit"]["code"]), (&json!("exited"), &Value::Null));
    let message = end["cause"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&why) && message.contains("job 1"), "{message}");
}

#[tokio::test]
async fn the_accounting_is_asked_for_all_forgotten_jobs_once_and_an_old_answer_says_nothing() {
    let mut bench = Bench::with_job();
    bench.work.heard(Ok(Vec::new()));
    bench.work.heard(Ok(Vec::new()));
    assert_eq!(bench.work.under_way.len(), 1, "one question at a time");
    // Meanwhile it was handed in as another job.
    bench.job().number = "2".to_owned();
    let rows = vec![Bench::row("CANCELLED", "")];
    let asked = vec![(ID.to_owned(), "1".to_owned())];
    bench.work.remembered(Remembered { jobs: asked, rows });
    assert!(bench.job().end.is_none() && !bench.job().word.is_last());
}

#[tokio::test]
async fn a_stop_goes_by_the_folder_where_slurm_takes_the_job_for_over() {
    let mut bench = Bench::with_job();
    bench.begin();
    bench.work.look_at(ID);
    bench.job().hears(Word::of(Bench::row("NODE_FAIL", "n1")));
    bench.request("task/stop", json!({"id": ID, "signal": "SIGINT", "graceMs": 1_500}));
    let stop = Some((libc::SIGINT, Duration::from_millis(1_500)));
    assert_eq!(folder::note(&bench.folder()).stop, stop);
    assert_eq!(bench.work.under_way.len(), 0, "no command of Slurm is run");
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_read_are_not_silence() {
    let mut bench = Bench::with_job();
    bench.begin();
    bench.work.look_at(ID);
    bench.job().hears(Word::of(Bench::row("NODE_FAIL", "n1")));
    let away = bench.dir.path().join("away");
    fs::rename(bench.folder(), &away).expect("it can be renamed");
    tokio::time::advance(words::SILENCE * 2).await;
    bench.work.look_at(ID);
    fs::rename(&away, bench.folder()).expect("it can be renamed");
    tokio::time::advance(words::SILENCE / 2).await;
    bench.work.look_at(ID);
    assert!(bench.job().end.is_none(), "its keeper may live");
    tokio::time::advance(words::SILENCE).await;
    bench.work.look_at(ID);
    assert_eq!(bench.ended()["state"], "lost");
}

#[tokio::test]
async fn a_job_that_no_shim_can_run_ends_with_the_words_of_its_keeper() {
    let mut bench = Bench::with_job();
    bench.begin();
    fs::write(bench.folder().join(node::OUT), "no shim can run in `x`: No locks available\n")
        .expect("it is writable");
    let file = fs::OpenOptions::new().write(true).open(bench.folder().join(node::BEAT));
    let sign = Beat { beats: 2, failed: true, job: "1".to_owned(), ..Beat::default() };
    sign.write(&file.expect("it is there")).expect("it is writable");
    bench.work.look_at(ID);
    let end = bench.ended();
    assert_eq!(end["state"], "exited");
    let message = end["cause"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("No locks available"), "{message}");
}

#[tokio::test]
async fn what_earlier_couriers_left_is_removed_and_nothing_else() {
    let mut bench = Bench::new();
    let shared = bench.work.shared.clone().expect("it is known");
    let make = |id: &str, installation: &str| {
        let client_token = Some(format!("{installation}-{id}"));
        let spec = Spec { id: id.to_owned(), client_token, ..Spec::default() };
        folder::make(&shared, &spec).expect("it can be made");
        shared.task(id)
    };
    let (left, needed) = (make("00000001", "feed"), make("00000002", "feed"));
    let (others, unfinished) = (make("00000003", "feeder"), shared.task("00000004"));
    fs::create_dir(&unfinished).expect("it can be made");
    let old = shared.shim.with_file_name("meanwhile-shim-00c0ffee");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(30 * 24 * 3_600);
    let put_old = || {
        let file = fs::File::create(&old).expect("it can be made");
        file.set_modified(long_ago).expect("it is this process's own");
    };
    put_old();
    let keep = json!({"installation": "feed", "ids": ["00000002"]});
    bench.request("task/keep", keep.clone());
    assert!(old.exists(), "a folder does not say which shim it needs");
    fs::remove_dir(&unfinished).expect("it was left alone");
    let job = bench.work.jobs.get_mut("00000001").expect("it is taken up");
    // Slurm does not know it any more.
    job.hears(Word::Forgotten);
    bench.work.look();
    assert!(!left.exists() && needed.exists() && others.exists());
    bench.request("task/keep", keep);
    assert!(!old.exists() && shared.shim.exists());
}

#[test]
fn a_folder_that_is_made_again_loses_nothing() {
    let bench = Bench::new();
    let shared = bench.work.shared.clone().expect("it is known");
    let spec = |token: &str| Spec {
        id: ID.to_owned(),
        client_token: Some(token.to_owned()),
        command: "a long command".repeat(9),
        ..Spec::default()
    };
    let kind = |spec: &Spec| folder::make(&shared, spec).map_err(|error| error.kind());
    assert_eq!(kind(&spec("a-0")), Ok(folder::Made::New));
    assert_eq!(kind(&spec("a-0")), Ok(folder::Made::Before));
    assert_eq!(kind(&spec("b-0")), Err(io::ErrorKind::AlreadyExists));
    // A courier was killed while it wrote the spec.
    let path = shared.task(ID).join(meanwhile_shim::layout::SPEC);
    let cut = fs::read(&path).expect("it is there");
    let mut file = fs::OpenOptions::new().write(true).truncate(true).mode(0o600).open(&path);
    let written = file.as_mut().map(|file| file.write_all(&cut[..cut.len() / 2]));
    assert!(matches!(written, Ok(Ok(()))));
    assert_eq!(kind(&Spec { command: String::new(), ..spec("a-0") }), Ok(folder::Made::New));
    assert!(folder::spec(&shared.task(ID)).is_ok_and(|spec| spec.command.is_empty()));
}
