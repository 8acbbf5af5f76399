//! The tool calls of one answer: checked against the rules, asked about, run, and answered in order.

use std::future::poll_fn;
use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::work::Work;
use super::{Answer, Ask, SessionId, Update};
use crate::agent::message::{Arguments, Message, ToolCall, ToolResult};
use crate::agent::permission::{Effect, LOOKS_ONLY, Permissions, Rule, Verdict};
use crate::agent::tools::{Access, Builtin, Intent, Kind, Outcome, Progress, ToolName, Toolbox};
use crate::agent::trace::Fact;
use crate::background::Token;
use crate::background::task::TaskId;
use crate::background::words::{one_line, shorten};
use crate::confine::Confine;
use crate::limits;

/// The result for a call of a cancelled turn.
const CANCELLED: &str = "cancelled by the person";

/// The result for a call that does not write a file, although the person's editor replied with a changed text.
const NOT_A_CHANGE: &str = "the person's editor answered with a changed text for a file, but this call does not change \
     a file: it was not run";

/// How a call ended.
enum Ran {
    /// The tool ran, or the call was invalid.
    Answered(Outcome),
    /// The rules do not allow it.
    Denied(String),
    /// The turn was cancelled.
    Cancelled(String),
}

/// The results for the calls of one answer.
#[derive(Default)]
struct Answers {
    /// The results, each with the index of its call, in the order of completion.
    results: Vec<(usize, ToolResult)>,
    /// Whether the turn must end.
    cancelled: bool,
}

/// A call that is allowed to run.
struct Running {
    /// The index of the call in the answer.
    place: usize,
    id: String,
    intent: Intent,
    token: Token,
}

/// A call that is running.
struct Open {
    place: usize,
    id: String,
    in_foreground: bool,
    command: Option<Place>,
}

impl Open {
    /// Whether its task may just be starting. Wait for this even when cancelled: the command would be stopped, but
    /// as an unknown task, and its end would start a turn.
    fn is_spawning(&self) -> bool {
        self.in_foreground && self.command.is_none()
    }
}

/// The token with which a call's command is spawned: it identifies the task after a crash.
pub(super) fn token(id: &SessionId, message: u64, call: usize) -> String {
    format!("{id}:{message}:{call}")
}

impl Work {
    /// The tokens for the calls of the latest answer. Tokens of commands are claimed in the transaction that stores
    /// the answer, so that starting a command needs no further one.
    pub(super) fn claim_tokens(&mut self, calls: &[ToolCall]) -> Vec<Token> {
        let message = self.counts.messages + self.step.messages.len() as u64;
        let mut tokens = Vec::with_capacity(calls.len());
        for (i, call) in calls.iter().enumerate() {
            let token = token(&self.id, message, i);
            tokens.push(if Builtin::named(&call.name).is_some_and(Builtin::runs_commands) {
                let task = TaskId::random();
                self.step.claims.push((token.clone(), task));
                Token::Claimed(token, task)
            } else {
                Token::New(token)
            });
        }
        tokens
    }

    /// Runs the calls of the answer just stored; their results go into the next step, in the order of the calls.
    /// Adjacent calls that only read run in parallel; every other call runs alone, so that changes happen in order.
    /// Returns whether the turn was cancelled meanwhile; the remaining calls then get a result that says so.
    pub(super) async fn run_calls(&mut self, calls: Vec<ToolCall>, tokens: Vec<Token>) -> bool {
        let mut answers = Answers::default();
        let mut looking = Vec::new();
        for (place, (call, token)) in calls.into_iter().zip(tokens).enumerate() {
            let read = self.read(&call);
            // Read-only calls change nothing, so the verdict stays valid while those before it run.
            let mut verdict = match &read {
                Ok(intent) if intent.may_look() => Some(self.judge(intent).await),
                Ok(_) | Err(_) => None,
            };
            let looks = match (&read, &verdict) {
                (Ok(intent), Some(Verdict::Allow(confine))) => intent.looks(confine.as_ref()),
                (Ok(_) | Err(_), _) => false,
            };
            if !looks || looking.len() == limits::LOOKS_AT_ONCE {
                if !looks && !looking.is_empty() {
                    // While those before it run, a person may change the session's permissions.
                    verdict = None;
                }
                self.carry_out(std::mem::take(&mut looking), &mut answers).await;
            }
            let id = call.id.clone();
            let prepared = if answers.cancelled || self.is_cancelled() {
                Err(Ran::Cancelled(CANCELLED.to_owned()))
            } else {
                self.prepare(&call, read, verdict).await
            };
            match prepared {
                Ok(intent) => looking.push(Running { place, id, intent, token }),
                Err(ran) => self.answer(&mut answers, place, id, ran).await,
            }
            if !looks {
                self.carry_out(std::mem::take(&mut looking), &mut answers).await;
            }
        }
        self.carry_out(looking, &mut answers).await;
        let Answers { mut results, cancelled } = answers;
        results.sort_by_key(|(place, _)| *place);
        let results = results.into_iter().map(|(_, result)| result).collect();
        self.say(Message::ToolResults { results });
        cancelled
    }

    /// Parses a call. The error is the text for the model.
    fn read(&self, call: &ToolCall) -> Result<Intent, String> {
        match &call.input {
            Arguments::Object(_) => self.toolbox.read(call),
            Arguments::Invalid { text } => {
                let text = shorten(&one_line(text), 200);
                Err(format!("the arguments are not a JSON object: `{text}`; call again with one"))
            }
        }
    }

    /// Shows a call to the front, and determines whether it may run.
    async fn prepare(
        &mut self,
        call: &ToolCall,
        read: Result<Intent, String>,
        verdict: Option<Verdict>,
    ) -> Result<Intent, Ran> {
        let (title, kind, locations) = match &read {
            Ok(intent) => (intent.title.clone(), intent.kind, locations(intent)),
            Err(_) => (call.name.clone(), Kind::Other, Vec::new()),
        };
        let shown = Update::ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            title: title.clone(),
            kind,
            input: call.input.to_raw(),
            locations,
        };
        self.out.send(shown).await;
        let started = Fact::ToolStarted {
            call: self.counts.calls,
            tool_call_id: call.id.clone(),
            name: call.name.clone(),
            title,
        };
        let intent = match read {
            Ok(intent) => intent,
            Err(why) => {
                self.tell(started).await;
                return Err(Ran::Answered(failed(why)));
            }
        };
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => self.judge(&intent).await,
        };
        let intent = self.permit(call, intent, verdict).await?;
        let confined = intent.confinement().and_then(Confine::manner).map(|manner| manner.mode);
        let held = self.terms.rules.left_out(&intent, &self.workspace);
        self.tell(started).await;
        self.out.send(Update::ToolRunning { id: call.id.clone(), confined }).await;
        Ok(intent.leaving_out(held))
    }

    /// Records the result of a call, and shows that the call has ended.
    async fn answer(&mut self, answers: &mut Answers, place: usize, id: String, ran: Ran) {
        let denied = matches!(ran, Ran::Denied(_));
        let outcome = match ran {
            Ran::Answered(outcome) => outcome,
            Ran::Denied(why) => failed(why),
            Ran::Cancelled(why) => {
                answers.cancelled = true;
                failed(why)
            }
        };
        let Outcome { content, is_error, seen, plan, diff } = outcome;
        self.step.seen.extend(seen);
        self.note(Fact::ToolEnded { tool_call_id: id.clone(), is_error });
        let shown = content.clone();
        let (id_told, task) = (id.clone(), None);
        let ended = Update::ToolEnded { id: id_told, content: shown, is_error, denied, diff, task };
        self.out.send(ended).await;
        if let Some(plan) = plan {
            self.out.send(Update::Plan(plan)).await;
        }
        answers.results.push((place, ToolResult { call_id: id, content, is_error }));
    }

    /// The verdict of the rules on a call, computed on a thread where it blocks nothing else.
    async fn judge(&self, intent: &Intent) -> Verdict {
        let (rules, workspace) = (self.rules(), self.workspace.clone());
        let own = intent.clone();
        let judged = tokio::task::spawn_blocking(move || rules.judge(&own, &workspace)).await;
        let unjudged = |_| Verdict::Ask {
            why: "the rules could not be applied to it".to_owned(),
            always: vec![],
        };
        match judged.unwrap_or_else(unjudged) {
            Verdict::Allow(Some(confine)) => {
                // Ask the person about a command that cannot be confined.
                match self.background.can_confine(confine.clone()).await {
                    Ok(()) => Verdict::Allow(Some(confine)),
                    // A person's permission could not make it run either.
                    Err(error) if self.only_looks() => {
                        Verdict::Deny { why: format!("{LOOKS_ONLY}, and {error}") }
                    }
                    Err(error) => Verdict::Ask { why: error.to_string(), always: Vec::new() },
                }
            }
            verdict @ (Verdict::Allow(None) | Verdict::Ask { .. } | Verdict::Deny { .. }) => {
                verdict
            }
        }
    }

    /// Determines whether a call may run, and in which form: how its command is confined, and what a person has
    /// left of its change.
    async fn permit(
        &mut self,
        call: &ToolCall,
        intent: Intent,
        verdict: Verdict,
    ) -> Result<Intent, Ran> {
        let (why, always) = match verdict {
            Verdict::Allow(confine) => return Ok(intent.confined(confine)),
            Verdict::Deny { why } => {
                return Err(Ran::Denied(format!("not allowed: {why}")));
            }
            Verdict::Ask { why, .. } if !self.terms.can_ask => {
                return Err(Ran::Denied(format!(
                    "not allowed: {why}, and there is no person to ask. Do without it, and say at \
                     the end what you could not do"
                )));
            }
            Verdict::Ask { why, always } => (why, always),
        };
        let confined = self.confined(&intent).await;
        let change = tokio::select! {
            biased;
            () = self.cancelled() => return Err(Ran::Cancelled(CANCELLED.to_owned())),
            change = self.toolbox.proposed(&intent) => change,
        };
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            id: call.id.clone(),
            title: intent.title.clone(),
            question: intent.question(),
            kind: intent.kind,
            input: call.input.to_raw(),
            change: change.clone(),
            why,
            always: always.clone(),
            can_confine: confined.is_some() && !self.only_looks(),
            reply,
        };
        let tool_call_id = ask.id.clone();
        let (call, question, why) = (self.counts.calls, ask.question.clone(), ask.why.clone());
        self.tell(Fact::Asked { call, tool_call_id: tool_call_id.clone(), question, why }).await;
        self.out.send(Update::Ask(ask)).await;
        let answer = tokio::select! {
            biased;
            () = self.cancelled() => Err(Ran::Cancelled(CANCELLED.to_owned())),
            // A dropped question counts as a rejection.
            answer = answer => Ok(answer.unwrap_or(Answer::Reject)),
        };
        self.tell(Fact::Answered { tool_call_id }).await;
        let answer = answer?;
        let mut left = None;
        let confine = match answer {
            Answer::Allow => self.open(&intent),
            Answer::AllowInstead { text, always: is_always } => {
                if change.is_none() {
                    return Err(Ran::Answered(failed(NOT_A_CHANGE.to_owned())));
                }
                if is_always {
                    self.remember(always, Effect::Allow);
                }
                left = Some(text);
                self.open(&intent)
            }
            // The option was offered only if the confinement is available.
            Answer::AllowConfined => Some(confined.ok_or_else(refused)?),
            Answer::AllowAlways => {
                self.remember(always, Effect::Allow);
                self.open(&intent)
            }
            Answer::Reject => return Err(refused()),
            Answer::RejectAlways => {
                self.remember(always, Effect::Deny);
                return Err(refused());
            }
        };
        // The session may have become look-only since the question was asked, or earlier.
        let confine = if self.only_looks() { self.looking(&intent).await? } else { confine };
        let intent = match (&change, left) {
            (Some(change), Some(text)) => {
                let reading = Intent::reading(change.path.clone());
                let may_read = matches!(self.judge(&reading).await, Verdict::Allow(_));
                intent.reviewed(change, text, may_read)
            }
            (Some(_) | None, _) => intent.confined(confine),
        };
        Ok(intent.shown(change))
    }

    /// Whether the session is look-only at this moment.
    fn only_looks(&self) -> bool {
        self.rules().permissions() == Permissions::Look
    }

    /// How a command that a person allowed is confined in a look-only session.
    async fn looking(&self, intent: &Intent) -> Result<Option<Confine>, Ran> {
        let denied = |why: String| Ran::Denied(format!("not allowed: {why}"));
        let (rules, workspace, own) = (self.rules(), self.workspace.clone(), intent.clone());
        let held = tokio::task::spawn_blocking(move || rules.only_looking(&own, &workspace));
        let held = held.await.unwrap_or(Err(LOOKS_ONLY));
        let Some(confine) = held.map_err(|why| denied(why.to_owned()))? else { return Ok(None) };
        match self.background.can_confine(confine.clone()).await {
            Ok(()) => Ok(Some(confine)),
            Err(error) => Err(denied(format!("{LOOKS_ONLY}, and {error}"))),
        }
    }

    /// The confinement that rules demand even for a command that a person allowed.
    fn open(&self, intent: &Intent) -> Option<Confine> {
        let is_command = intent.access.iter().any(|it| matches!(it, Access::Command { .. }));
        self.terms.rules.open(&self.workspace).filter(|_| is_command)
    }

    /// How a command could be confined; `None` if the call is not a command or this machine cannot confine it.
    async fn confined(&self, intent: &Intent) -> Option<Confine> {
        if !intent.access.iter().any(|it| matches!(it, Access::Command { .. })) {
            return None;
        }
        let confine = self.terms.rules.confined(&self.workspace)?;
        self.background.can_confine(confine.clone()).await.ok().map(|()| confine)
    }

    /// Stores a person's "always" for this session and for later ones in the workspace.
    fn remember(&mut self, rules: Vec<Rule>, effect: Effect) {
        let rules: Vec<Rule> = rules.into_iter().map(|rule| Rule { effect, ..rule }).collect();
        let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
        for rule in rules {
            self.terms.rules.add(rule);
        }
        let workspace = self.workspace.clone();
        drop(self.background.store().write(move |l| l.remember_rules(&workspace, &texts)));
    }

    /// Runs calls in parallel, and answers each one when it ends.
    async fn carry_out(&mut self, calls: Vec<Running>, answers: &mut Answers) {
        let (sender, mut progress) = mpsc::unbounded_channel();
        let mut runs = FuturesUnordered::new();
        let mut open = Vec::with_capacity(calls.len());
        for (n, Running { place, id, intent, token }) in calls.into_iter().enumerate() {
            let in_foreground = intent.tool == ToolName::Builtin(Builtin::Bash);
            open.push(Some(Open { place, id, in_foreground, command: None }));
            runs.push(follow(self.toolbox.clone(), intent, token, n, sender.clone()));
        }
        let cancelled = self.cancelled();
        tokio::pin!(cancelled);
        let mut is_cancelled = false;
        while open.iter().flatten().any(|call| !is_cancelled || call.is_spawning()) {
            tokio::select! {
                biased;
                Some((n, step)) = progress.recv() => self.progressed(&mut open, n, step).await,
                Some((n, outcome)) = runs.next() => {
                    while let Ok((n, step)) = progress.try_recv() {
                        self.progressed(&mut open, n, step).await;
                    }
                    if let Some(Open { place, id, .. }) = open[n].take() {
                        self.answer(answers, place, id, Ran::Answered(outcome)).await;
                    }
                }
                () = &mut cancelled, if !is_cancelled => is_cancelled = true,
            }
        }
        // Dropping a run stops its command if it is in the foreground.
        drop(runs);
        while let Ok((n, step)) = progress.try_recv() {
            self.progressed(&mut open, n, step).await;
        }
        for Open { place, id, command, .. } in open.into_iter().flatten() {
            let why = match command {
                None => CANCELLED.to_owned(),
                Some(Place::Background(task)) => {
                    format!("{CANCELLED}; it goes on in the background as task {task}")
                }
                Some(Place::Foreground(task)) => {
                    // The end of this command must not start a turn: the person has just ended one.
                    self.stopped.push(task);
                    format!("{CANCELLED}; the command was stopped")
                }
            };
            self.answer(answers, place, id, Ran::Cancelled(why)).await;
        }
    }

    /// Handles progress of a call.
    async fn progressed(&mut self, open: &mut [Option<Open>], n: usize, step: Progress) {
        if let Some(call) = &mut open[n]
            && let Some(place) = self.show_progress(&call.id, step, call.in_foreground).await
        {
            call.command = Some(place);
        }
    }

    /// Shows the progress of a call; returns where its command runs.
    async fn show_progress(
        &mut self,
        id: &str,
        progress: Progress,
        in_foreground: bool,
    ) -> Option<Place> {
        let (task, background) = match progress {
            Progress::Spawned(task) => {
                self.tell(Fact::TaskSpawned {
                    call: self.counts.calls,
                    tool_call_id: id.to_owned(),
                    task_id: task.id.to_string(),
                    command: task.command.clone(),
                    moved: in_foreground,
                })
                .await;
                (task, !in_foreground)
            }
            Progress::Moved(task) => match self.background.get(task).await {
                Ok(task) => (task, true),
                // The task has ended and was removed since.
                Err(_) => return Some(Place::Background(task)),
            },
        };
        let place =
            if background { Place::Background(task.id) } else { Place::Foreground(task.id) };
        self.out.send(Update::ToolTask { id: id.to_owned(), task, background }).await;
        Some(place)
    }
}

/// Runs a call, and passes on its progress with the call's index.
async fn follow(
    toolbox: Toolbox,
    intent: Intent,
    token: Token,
    n: usize,
    all: mpsc::UnboundedSender<(usize, Progress)>,
) -> (usize, Outcome) {
    let (sender, mut progress) = mpsc::unbounded_channel();
    let mut run = pin!(toolbox.run(intent, token, sender));
    let run = poll_fn(|context| {
        let outcome = run.as_mut().poll(context);
        // Immediately: a turn that is cancelled next must know whether its command continues.
        while let Ok(step) = progress.try_recv() {
            // The receiver outlives this run.
            let _ = all.send((n, step));
        }
        outcome
    });
    (n, run.await)
}

/// Where a command runs.
enum Place {
    Foreground(TaskId),
    Background(TaskId),
}

fn failed(why: String) -> Outcome {
    Outcome { content: why, is_error: true, ..Outcome::default() }
}

fn refused() -> Ran {
    Ran::Answered(failed(
        "the person refused this call; don't try the same in another way, ask what to do instead"
            .to_owned(),
    ))
}

/// The files that a call reads or writes.
pub(super) fn locations(intent: &Intent) -> Vec<std::path::PathBuf> {
    let path = |access: &Access| match access {
        Access::Read(path) | Access::Write(path) => Some(path.clone()),
        Access::Command { .. } | Access::Elsewhere { .. } | Access::Task(_) => None,
    };
    intent.access.iter().filter_map(path).collect()
}
