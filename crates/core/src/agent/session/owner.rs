//! The owner task of a session: which requests it takes, what it does next, and when it wakes by itself.
//!
//! While a turn runs the owner still reads requests, so that a cancel reaches the turn at once and a prompt is
//! queued. A turn is never dropped half-way: it is asked to end, and leaves the history paired.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::manner::Manner;
use super::turn::Begin;
use super::work::{Begun, Outlet, Replay, Work};
use super::{Error, Instruction, SessionId, Terms, TurnEnd, Update, Wake, Wish};
use crate::background::Background;

/// How long results that arrive while the agent is idle wait for further results before they start a turn.
const COALESCE: Duration = Duration::from_millis(20);
/// The period over which turns that the agent started by itself are counted.
const HOUR: Duration = Duration::from_secs(3_600);

pub(super) struct Owner {
    inbox: Inbox,
    work: Work,
    replay: Replay,
}

/// The next thing to do.
enum Job {
    /// A prompt, or a request to compact.
    Prompt(Said),
    /// Results are waiting in the queue.
    Wake,
}

/// What a person wants, for how long the turn retries while the model cannot be reached, and the channel for the
/// turn's end.
type Said = (Wish, Duration, oneshot::Sender<TurnEnd>);

/// The requests to the owner, and the events that it waits for.
struct Inbox {
    background: Background,
    id: SessionId,
    instructions: mpsc::Receiver<Instruction>,
    prompts: VecDeque<Said>,
    idle: Vec<oneshot::Sender<()>>,
    closers: Vec<oneshot::Sender<()>>,
    closing: watch::Sender<bool>,
    cancel: watch::Sender<bool>,
    /// Whether a prompt is queued.
    spoken: watch::Sender<bool>,
    /// Whether to continue the last turn of a loaded session.
    again: bool,
    /// How many results wait, as the supervisor reports it.
    queued: watch::Receiver<u64>,
    manner: watch::Receiver<Manner>,
    /// Whether results may wait that no turn has checked for.
    look: bool,
    /// The last turn that results started could not take them, or found none: those that still wait then start no
    /// other turn.
    stuck: bool,
    wakes: Wakes,
}

/// The turns that the agent started by itself, and their limit per hour.
struct Wakes {
    limit: usize,
    began: VecDeque<Instant>,
    /// Whether the person was notified that the limit is reached.
    told: bool,
}

impl Wakes {
    fn new(limit: u32, past: &[Duration]) -> Self {
        let now = Instant::now();
        let began = past.iter().filter_map(|ago| now.checked_sub(*ago)).collect();
        Self { limit: limit as usize, began, told: false }
    }

    /// When the next one may start; `None` if it may start now.
    fn blocked(&mut self, now: Instant) -> Option<Instant> {
        while self.began.front().is_some_and(|at| now >= *at + HOUR) {
            self.began.pop_front();
        }
        if self.began.len() < self.limit {
            self.told = false;
            return None;
        }
        // With a limit of 0 there is no oldest turn: check again in an hour.
        let oldest = self.began.len().checked_sub(self.limit).and_then(|at| self.began.get(at));
        Some(oldest.map_or(now + HOUR, |at| *at + HOUR))
    }

    fn begin(&mut self) {
        self.began.push_back(Instant::now());
    }
}

impl Owner {
    pub(super) async fn new(
        background: Background,
        terms: Terms,
        id: SessionId,
        (begun, manner): (Begun, watch::Receiver<Manner>),
        instructions: mpsc::Receiver<Instruction>,
        updates: mpsc::Sender<Update>,
    ) -> Result<Self, Error> {
        let (closing, closes) = watch::channel(false);
        let (cancel, cancelled) = watch::channel(false);
        let (spoken, speaks) = watch::channel(false);
        let again = begun.again && terms.policy.wake == Wake::On;
        let wakes = Wakes::new(terms.policy.wakes_per_hour, &begun.wakes);
        let out = Outlet::new(updates, closes);
        let (mut work, replay) = Work::new(
            background.clone(),
            terms,
            id.clone(),
            (begun, manner.clone()),
            out,
            cancelled,
            speaks,
        );
        work.recall_form().await?;
        // `work` is created before anything can fail, because dropping it closes the session.
        let queued = background.queued(id.0.clone()).await?;
        let workspace = background.workspace().to_owned();
        for rule in background.store().read(move |l| l.rules(&workspace)).await? {
            match rule.parse() {
                Ok(rule) => work.terms.rules.add(rule),
                Err(_) => tracing::warn!("the remembered rule `{rule}` is not understood; ignored"),
            }
        }
        let inbox = Inbox {
            background,
            id,
            instructions,
            prompts: VecDeque::new(),
            idle: Vec::new(),
            closers: Vec::new(),
            closing,
            cancel,
            spoken,
            again,
            queued,
            manner,
            look: true,
            stuck: false,
            wakes,
        };
        Ok(Self { inbox, work, replay })
    }

    /// Runs until the session is closed.
    pub(super) async fn run(self) {
        let Self { mut inbox, mut work, replay } = self;
        if work.resumed {
            inbox.during(work.begin_again(replay)).await;
        }
        while let Some(job) = inbox.next(&mut work).await {
            inbox.cancel.send_replace(false);
            inbox.spoken.send_replace(!inbox.prompts.is_empty());
            match job {
                Job::Prompt((wish, patience, done)) => {
                    let begin = match wish {
                        Wish::Say(said) => {
                            inbox.again = false;
                            Begin::Prompt(said, patience)
                        }
                        // Results that a failed turn could not deliver are still due.
                        Wish::Compact => Begin::Compact,
                    };
                    let end = inbox.during(work.turn(begin)).await;
                    // The requester may have exited. A prompt always leads to a turn.
                    let _ = done.send(end.unwrap_or(TurnEnd::Cancelled));
                }
                Job::Wake => {
                    let begin = match std::mem::take(&mut inbox.again) {
                        true => Begin::Again,
                        false => Begin::News,
                    };
                    let end = inbox.during(work.turn(begin)).await;
                    if end.is_some() {
                        inbox.wakes.begin();
                    }
                    inbox.stuck = matches!(end, None | Some(TurnEnd::Failed(_)));
                }
            }
        }
        work.close().await;
        for closer in inbox.closers {
            let _ = closer.send(());
        }
    }
}

impl Inbox {
    /// Takes requests while `work` runs.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let instruction = tokio::select! {
                biased;
                done = &mut work => return done,
                instruction = self.instructions.recv(), if !self.is_closing() => instruction,
            };
            self.take(instruction);
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Whether results may start a turn.
    fn wakes_up(&self) -> bool {
        self.manner.borrow().wake == Wake::On
    }

    fn take(&mut self, instruction: Option<Instruction>) {
        match instruction {
            Some(Instruction::Prompt(wish, patience, done)) => {
                self.prompts.push_back((wish, patience, done));
                self.spoken.send_replace(true);
            }
            Some(Instruction::Cancel) => {
                self.cancel.send_replace(true);
            }
            Some(Instruction::CancelAll) => {
                for (_, _, done) in self.prompts.drain(..) {
                    // A requester that has exited does not read the answer.
                    let _ = done.send(TurnEnd::Cancelled);
                }
                self.cancel.send_replace(true);
            }
            // Receiving it has woken the loop, which is its only purpose.
            Some(Instruction::Look) => {}
            Some(Instruction::Idle(done)) => self.idle.push(done),
            Some(Instruction::Close(done)) => {
                self.closers.push(done);
                self.closing.send_replace(true);
                self.cancel.send_replace(true);
            }
            // Every handle was dropped.
            None => {
                self.closing.send_replace(true);
                self.cancel.send_replace(true);
            }
        }
    }

    /// The next job; `None` when the session closes.
    async fn next(&mut self, work: &mut Work) -> Option<Job> {
        let mut wake_at = None;
        loop {
            if self.is_closing() {
                return None;
            }
            if let Some(said) = self.prompts.pop_front() {
                return Some(Job::Prompt(said));
            }
            if self.queued.has_changed().unwrap_or(false) {
                self.queued.mark_unchanged();
                self.look = true;
                self.stuck = false;
            }
            let now = Instant::now();
            let has_news = self.look && *self.queued.borrow() > 0;
            let ready = self.wakes_up() && (has_news || self.again);
            let blocked = if ready { self.wakes.blocked(now) } else { None };
            if let Some(until) = blocked {
                self.tell_blocked(work, until - now).await;
            }
            let at = match (ready, blocked) {
                (false, _) => None,
                (true, Some(until)) => Some(until),
                (true, None) => Some(*wake_at.get_or_insert(now + COALESCE)),
            };
            self.tell_idle(ready && blocked.is_none()).await;
            tokio::select! {
                biased;
                instruction = self.instructions.recv() => self.take(instruction),
                changed = self.queued.changed() => match changed {
                    Ok(()) => {
                        self.look = true;
                        self.stuck = false;
                    }
                    // The background manager was closed.
                    Err(_) => self.take(None),
                },
                () = sleep_until(at) => if blocked.is_none() {
                    self.look = false;
                    return Some(Job::Wake);
                },
            }
        }
    }

    /// Answers the requests that wait for the session to be idle.
    async fn tell_idle(&mut self, ready: bool) {
        if ready || self.idle.is_empty() {
            return;
        }
        if self.wakes_up()
            && !self.stuck
            && self.wakes.blocked(Instant::now()).is_none()
            && has_news(&self.background, &self.id).await
        {
            return;
        }
        for waiter in self.idle.drain(..) {
            let _ = waiter.send(());
        }
    }

    /// Notifies the person, once, that results wait which may not start a turn.
    async fn tell_blocked(&mut self, work: &mut Work, left: Duration) {
        if self.wakes.told || !has_news(&self.background, &self.id).await {
            return;
        }
        self.wakes.told = true;
        let minutes = left.as_secs().div_ceil(60);
        let text = format!(
            "Results of background tasks have started {} turns within an hour, which is the limit \
             (`wakes_per_hour`). Further results wait for your next prompt, or for {minutes} min.",
            self.wakes.limit
        );
        work.out.send(Update::Notice(text)).await;
        work.notice(format!(
            "Results of background tasks may start {} turns an hour (`wakes_per_hour`), and that was \
             reached: what came since waited for this turn. No human input in this message.",
            self.wakes.limit
        ));
    }
}

/// Whether results wait for a session, according to the ledger. The supervisor's count comes a moment later and may
/// include results that the last turn has taken.
pub(super) async fn has_news(background: &Background, id: &SessionId) -> bool {
    let (workspace, queue) = (background.workspace().to_owned(), id.0.clone());
    let waiting = background.store().read(move |l| l.waiting(&workspace, &queue)).await;
    waiting.is_ok_and(|waiting| waiting > 0)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_has_so_many_wakes() {
        let mut wakes = Wakes::new(2, &[Duration::from_secs(10)]);
        let start = Instant::now();
        assert_eq!(wakes.blocked(start), None);
        wakes.begin();
        assert_eq!(wakes.blocked(start), Some(start + HOUR - Duration::from_secs(10)));
        tokio::time::advance(HOUR - Duration::from_secs(10)).await;
        assert_eq!(wakes.blocked(Instant::now()), None);
        wakes.begin();
        assert_eq!(wakes.blocked(Instant::now()), Some(start + HOUR));
        let mut never = Wakes::new(0, &[]);
        assert_eq!(never.blocked(start), Some(start + HOUR));
    }
}
