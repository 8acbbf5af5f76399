//! The tool calls of one answer: judged, asked about, run in order, and answered one by one.

use tokio::sync::{mpsc, oneshot};

use super::work::Work;
use super::{Answer, Ask, SessionId, Update};
use crate::agent::message::{Arguments, Message, ToolCall, ToolResult};
use crate::agent::permission::{Effect, Rule, Verdict};
use crate::agent::tools::{Access, Builtin, Intent, Kind, Outcome, Progress, ToolName};
use crate::agent::trace::Fact;
use crate::background::Token;
use crate::background::task::TaskId;
use crate::confine::Confine;

/// What a call of a cancelled turn is answered.
const CANCELLED: &str = "cancelled by the person";

/// What became of a call.
enum Ran {
    /// It was answered.
    Answered(Outcome),
    /// Nothing allows it.
    Denied(String),
    /// The turn is to end.
    Cancelled(String),
}

/// The token that the command of a call is spawned with: by it the task is found after a crash.
pub(super) fn token(id: &SessionId, message: u64, call: usize) -> String {
    format!("{id}:{message}:{call}")
}

impl Work {
    /// The tokens of the calls in the answer that was said last. Those of commands are claimed in the
    /// answer's transaction, so that a command needs none of its own before it starts.
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

    /// Runs the calls of the answer just stored; their results go with the next step. Returns
    /// whether the turn was cancelled meanwhile: then calls were answered with that.
    pub(super) async fn run_calls(&mut self, calls: Vec<ToolCall>, tokens: Vec<Token>) -> bool {
        let mut results = Vec::with_capacity(calls.len());
        let mut cancelled = false;
        for (call, token) in calls.into_iter().zip(tokens) {
            let id = call.id.clone();
            let ran = if cancelled || self.is_cancelled() {
                Ran::Cancelled(CANCELLED.to_owned())
            } else {
                self.run_call(call, token).await
            };
            let denied = matches!(ran, Ran::Denied(_));
            let outcome = match ran {
                Ran::Answered(outcome) => outcome,
                Ran::Denied(why) => failed(why),
                Ran::Cancelled(why) => {
                    cancelled = true;
                    failed(why)
                }
            };
            let Outcome { content, is_error, seen, plan, diff } = outcome;
            self.step.seen.extend(seen);
            self.note(Fact::ToolEnded { tool_call_id: id.clone(), is_error });
            let ended = Update::ToolEnded {
                id: id.clone(),
                content: content.clone(),
                is_error,
                denied,
                diff,
            };
            self.out.send(ended).await;
            if let Some(plan) = plan {
                self.out.send(Update::Plan(plan)).await;
            }
            results.push(ToolResult { call_id: id, content, is_error });
        }
        self.say(Message::ToolResults { results });
        cancelled
    }

    async fn run_call(&mut self, call: ToolCall, token: Token) -> Ran {
        let read = match &call.input {
            Arguments::Object(_) => self.toolbox.read(&call),
            Arguments::Invalid { text } => {
                let text = crate::background::words::shorten(
                    &crate::background::words::one_line(text),
                    200,
                );
                Err(format!("the arguments are not a JSON object: `{text}`; call again with one"))
            }
        };
        let (title, kind, locations) = match &read {
            Ok(intent) => (intent.title.clone(), intent.kind, locations(intent)),
            Err(_) => (call.name.clone(), Kind::Execute, Vec::new()),
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
                return Ran::Answered(failed(why));
            }
        };
        let confine = match self.permit(&call, &intent).await {
            Ok(confine) => confine,
            Err(refused) => return refused,
        };
        let confined = confine.as_ref().map(|confine| confine.mode);
        let intent = intent.confined(confine);
        let held = self.terms.rules.left_out(&intent, &self.workspace);
        let intent = intent.leaving_out(held);
        self.tell(started).await;
        self.out.send(Update::ToolRunning { id: call.id.clone(), confined }).await;
        self.carry_out(&call.id, intent, token).await
    }

    /// What the rules say of a call, found out where nothing else waits for it.
    async fn judge(&self, intent: &Intent) -> Verdict {
        let (rules, workspace) = (self.terms.rules.clone(), self.workspace.clone());
        let own = intent.clone();
        let judged = tokio::task::spawn_blocking(move || rules.judge(&own, &workspace)).await;
        let unjudged = |_| Verdict::Ask { why: "it cannot be judged".to_owned(), always: vec![] };
        match judged.unwrap_or_else(unjudged) {
            Verdict::Allow(Some(confine)) => {
                // What cannot be held is asked.
                match self.background.can_confine(confine.clone()).await {
                    Ok(()) => Verdict::Allow(Some(confine)),
                    Err(error) => Verdict::Ask { why: error.to_string(), always: Vec::new() },
                }
            }
            verdict @ (Verdict::Allow(None) | Verdict::Ask { .. } | Verdict::Deny { .. }) => {
                verdict
            }
        }
    }

    /// Finds out whether a call may run, and how its command is confined.
    async fn permit(&mut self, call: &ToolCall, intent: &Intent) -> Result<Option<Confine>, Ran> {
        let (why, always) = match self.judge(intent).await {
            Verdict::Allow(confine) => return Ok(confine),
            Verdict::Deny { why } => {
                return Err(Ran::Denied(format!("not allowed: {why}")));
            }
            Verdict::Ask { why, .. } if !self.terms.can_ask => {
                return Err(Ran::Denied(format!(
                    "not allowed: {why}, and nobody is there to be asked. Do without it, and say at \
                     the end what you could not do"
                )));
            }
            Verdict::Ask { why, always } => (why, always),
        };
        let confined = self.confined(intent).await;
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            id: call.id.clone(),
            title: intent.title.clone(),
            kind: intent.kind,
            input: call.input.to_raw(),
            why,
            always: always.clone(),
            can_confine: confined.is_some(),
            reply,
        };
        self.out.send(Update::Ask(ask)).await;
        let answer = tokio::select! {
            biased;
            () = self.cancelled() => return Err(Ran::Cancelled(CANCELLED.to_owned())),
            // A question that was dropped is a no.
            answer = answer => answer.unwrap_or(Answer::Reject),
        };
        match answer {
            Answer::Allow => Ok(None),
            Answer::AllowConfined => match confined {
                Some(confine) => Ok(Some(confine)),
                // It was not offered.
                None => Err(refused()),
            },
            Answer::AllowAlways => {
                self.remember(always, Effect::Allow);
                Ok(None)
            }
            Answer::Reject => Err(refused()),
            Answer::RejectAlways => {
                self.remember(always, Effect::Deny);
                Err(refused())
            }
        }
    }

    /// How a command would run confined, if it is one and this machine can.
    async fn confined(&self, intent: &Intent) -> Option<Confine> {
        if !intent.access.iter().any(|it| matches!(it, Access::Command { .. })) {
            return None;
        }
        let confine = self.terms.rules.confined(&self.workspace)?;
        self.background.can_confine(confine.clone()).await.ok().map(|()| confine)
    }

    /// Takes a person's "always" down, for this session and those to come in the workspace.
    fn remember(&mut self, rules: Vec<Rule>, effect: Effect) {
        let rules: Vec<Rule> = rules.into_iter().map(|rule| Rule { effect, ..rule }).collect();
        let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
        for rule in rules {
            self.terms.rules.add(rule);
        }
        let workspace = self.workspace.clone();
        drop(self.background.store().write(move |l| l.remember_rules(&workspace, &texts)));
    }

    async fn carry_out(&mut self, id: &str, intent: Intent, token: Token) -> Ran {
        let in_foreground = intent.tool == ToolName::Builtin(Builtin::Bash);
        let (sender, mut progress) = mpsc::unbounded_channel();
        let toolbox = self.toolbox.clone();
        let cancelled = self.cancelled();
        let mut command = None;
        let outcome = {
            let run = toolbox.run(intent, token, sender);
            tokio::pin!(run, cancelled);
            loop {
                tokio::select! {
                    biased;
                    Some(step) = progress.recv() => {
                        command = self.show_progress(id, step, in_foreground).await.or(command);
                    }
                    outcome = &mut run => break Some(outcome),
                    () = &mut cancelled => {
                        // A spawn under way comes to its end first: a command that nobody knows of
                        // would be stopped all the same, and its end would start a turn.
                        if in_foreground && command.is_none() {
                            tokio::select! {
                                biased;
                                Some(step) = progress.recv() => {
                                    command = self.show_progress(id, step, in_foreground).await;
                                }
                                outcome = &mut run => break Some(outcome),
                            }
                        }
                        break None;
                    }
                }
            }
        };
        while let Ok(step) = progress.try_recv() {
            command = self.show_progress(id, step, in_foreground).await.or(command);
        }
        match (outcome, command) {
            (Some(outcome), _) => Ran::Answered(outcome),
            (None, None) => Ran::Cancelled(CANCELLED.to_owned()),
            (None, Some(Place::Background(task))) => {
                Ran::Cancelled(format!("{CANCELLED}; it goes on in the background as task {task}"))
            }
            (None, Some(Place::Foreground(task))) => {
                // Its end must not start a turn that the person has just ended.
                self.stopped.push(task);
                Ran::Cancelled(format!("{CANCELLED}; the command was stopped"))
            }
        }
    }

    /// Shows how far a call is; returns where its command runs.
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
                // Ended and removed since.
                Err(_) => return Some(Place::Background(task)),
            },
        };
        let place =
            if background { Place::Background(task.id) } else { Place::Foreground(task.id) };
        self.out.send(Update::ToolTask { id: id.to_owned(), task, background }).await;
        Some(place)
    }
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

/// The files a call touches.
pub(super) fn locations(intent: &Intent) -> Vec<std::path::PathBuf> {
    let path = |access: &Access| match access {
        Access::Read(path) | Access::Write(path) => Some(path.clone()),
        Access::Command { .. } | Access::Task(_) => None,
    };
    intent.access.iter().filter_map(path).collect()
}
