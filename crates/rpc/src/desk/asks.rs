//! The open questions to the person: may the agent make this tool call?
//!
//! Keeps each unanswered question by the id of its request. If the turn that asked is cancelled, the question is
//! withdrawn, so that no editor keeps showing its dialogue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::agent::session::{Answer, Ask};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::convert::update;
use crate::peer::Client;
use crate::wire::{OwnAnswer, OwnEdit, acp};

/// The prefix of the ids of these requests.
const PREFIX: &str = "meanwhile/permission/";

/// The questions of this connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Asks(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<String, Question>,
}

/// An unanswered question.
#[derive(Debug)]
struct Question {
    asked: acp::RequestPermissionRequest,
    reply: oneshot::Sender<Answer>,
}

impl State {
    /// Adds a question under a new id, which is also put into its `_meta`. Returns the id and the request to send.
    fn take_in(&mut self, mut question: Question) -> (String, acp::RequestPermissionRequest) {
        self.last += 1;
        let id = format!("{PREFIX}{}", self.last);
        let ours = question.asked.meta.as_mut().and_then(|meta| meta.get_mut("meanwhile"));
        if let Some(Value::Object(ours)) = ours {
            ours.insert("request".to_owned(), id.as_str().into());
        }
        let asked = question.asked.clone();
        self.waiting.insert(id.clone(), question);
        (id, asked)
    }
}

impl Asks {
    /// Asks the person.
    pub(super) fn ask(&self, session: &str, ask: Ask, client: &Client) {
        let asked = update::permission(session, &ask);
        // Store the question before it is sent, because the answer may arrive at once.
        let (id, asked) = self.lock().take_in(Question { asked, reply: ask.reply });
        client.ask(&id, &asked);
    }

    /// Withdraws the questions of a session, and asks them again under new ids.
    pub(super) fn again(&self, session: &str, client: &Client) {
        self.withdraw(client);
        let mut state = self.lock();
        let of_session = |_: &String, it: &mut Question| &*it.asked.session_id.0 == session;
        let old: Vec<_> = state.waiting.extract_if(of_session).collect();
        for (old, question) in old {
            let (id, asked) = state.take_in(question);
            client.withdraw(&old);
            client.ask(&id, &asked);
        }
    }

    /// Handles a response of the client. Returns whether it belongs to one of these questions.
    pub(super) fn answered(&self, id: &str, outcome: &Result<Value, Value>) -> bool {
        if !id.starts_with(PREFIX) {
            return false;
        }
        // A client also answers a withdrawn question, as cancelled.
        let Some(Question { reply, .. }) = self.lock().waiting.remove(id) else { return true };
        match outcome.as_ref().map(read) {
            Ok(Ok(Some(answer))) => {
                // The turn may have been cancelled since.
                let _ = reply.send(answer);
            }
            // A dropped reply means no.
            Ok(Ok(None)) => drop(reply),
            Ok(Err(why)) => {
                tracing::warn!(id, why, "cannot read the answer to a permission question");
            }
            Err(error) => tracing::warn!(id, %error, "the client cannot ask for permission"),
        }
        true
    }

    /// Withdraws the questions whose turn no longer waits for an answer.
    pub(super) fn withdraw(&self, client: &Client) {
        let gone: Vec<_> = self.lock().waiting.extract_if(|_, it| it.reply.is_closed()).collect();
        for (id, _) in gone {
            client.withdraw(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a consistent state: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The person's choice; `None` if the question was cancelled.
fn read(result: &Value) -> Result<Option<Answer>, String> {
    let response = acp::RequestPermissionResponse::deserialize(result)
        .map_err(|error: serde_json::Error| error.to_string())?;
    let acp::RequestPermissionOutcome::Selected(selected) = response.outcome else {
        return Ok(None);
    };
    // An edit that cannot be read is an error: without it, a change that the person did not approve would be made.
    let own = response.meta.as_ref().and_then(|meta| meta.get("meanwhile"));
    let own = own.map_or(Ok(OwnAnswer::default()), OwnAnswer::deserialize);
    let edit = own.map_err(|error| format!("`_meta.meanwhile`: {error}"))?.edit;
    use acp::PermissionOptionKind as Choice;
    let choices = [
        (Choice::AllowOnce, Answer::Allow),
        (Choice::AllowAlways, Answer::AllowAlways),
        (Choice::RejectOnce, Answer::Reject),
        (Choice::RejectAlways, Answer::RejectAlways),
    ];
    let chosen = selected.option_id.0;
    if &*chosen == update::ALLOW_CONFINED {
        return match edit {
            None => Ok(Some(Answer::AllowConfined)),
            Some(_) => Err(format!("`{chosen}` has no text to write: the call is a command")),
        };
    }
    choices
        .into_iter()
        .find(|(kind, _)| update::option_id(*kind) == &*chosen)
        .map(|(_, answer)| {
            Some(match (answer, edit) {
                (Answer::Allow, Some(edit)) => instead(edit, false),
                (Answer::AllowAlways, Some(edit)) => instead(edit, true),
                (answer, _) => answer,
            })
        })
        .ok_or_else(|| format!("`{chosen}` is not one of the options"))
}

fn instead(edit: OwnEdit, always: bool) -> Answer {
    Answer::AllowInstead { text: edit.new_text, always }
}

#[cfg(test)]
mod tests {
    use meanwhile_core::agent::tools::Kind;
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;
    use crate::peer::mute;

    fn ask() -> (Ask, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let input = RawValue::from_string("{}".to_owned()).unwrap();
        let (id, title, why) = ("c1".to_owned(), "npm test".to_owned(), "no rule".to_owned());
        let question = "run npm test".to_owned();
        (
            Ask {
                id,
                title,
                question,
                kind: Kind::Execute,
                input,
                change: None,
                why,
                always: vec![],
                can_confine: true,
                reply,
            },
            answer,
        )
    }

    #[track_caller]
    fn check(outcome: Result<Value, Value>, expect: Option<Answer>) {
        let (asks, client) = (Asks::default(), mute());
        let (question, mut answer) = ask();
        asks.ask("s", question, &client);
        assert!(asks.answered("meanwhile/permission/1", &outcome), "{outcome:?}");
        assert_eq!(answer.try_recv().ok(), expect, "{outcome:?}");
    }

    fn selected(option: &str) -> Result<Value, Value> {
        Ok(json!({"outcome": {"outcome": "selected", "optionId": option}}))
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        check(selected("allow_once"), Some(Answer::Allow));
        check(selected("allow_confined"), Some(Answer::AllowConfined));
        check(selected("allow_always"), Some(Answer::AllowAlways));
        check(selected("reject_once"), Some(Answer::Reject));
        check(selected("reject_always"), Some(Answer::RejectAlways));
        check(selected("yes"), None);
        let with = |option: &str, own: Value| {
            let outcome = json!({"outcome": "selected", "optionId": option});
            Ok(json!({"outcome": outcome, "_meta": {"meanwhile": own}}))
        };
        let edit = json!({"edit": {"newText": "a\n"}});
        let instead = |always| Some(Answer::AllowInstead { text: "a\n".to_owned(), always });
        check(with("allow_once", edit.clone()), instead(false));
        check(with("allow_always", edit.clone()), instead(true));
        check(with("reject_once", edit.clone()), Some(Answer::Reject));
        check(with("allow_confined", edit), None);
        check(with("allow_once", json!({"later": 1})), Some(Answer::Allow));
        check(with("allow_once", json!({"edit": {}})), None);
        check(with("allow_once", json!({"edit": {"newText": 1}})), None);
        check(Ok(json!({"outcome": {"outcome": "cancelled"}})), None);
        check(Ok(json!(null)), None);
        check(Ok(json!({"outcome": "allow_once"})), None);
        check(Err(json!({"code": -32601, "message": "no"})), None);
    }

    #[test]
    fn other_answers_are_left_to_others() {
        let asks = Asks::default();
        assert!(!asks.answered("meanwhile/0123abcd", &Ok(json!(null))));
        assert!(asks.answered("meanwhile/permission/7", &Ok(json!(null))), "late, but ours");
    }

    #[test]
    fn a_question_without_a_waiter_is_withdrawn() {
        let (asks, client) = (Asks::default(), mute());
        let (question, answer) = ask();
        asks.ask("s", question, &client);
        asks.withdraw(&client);
        assert_eq!(asks.lock().waiting.len(), 1, "it is waited for");
        drop(answer);
        asks.withdraw(&client);
        assert_eq!(asks.lock().waiting.len(), 0);
    }
}
