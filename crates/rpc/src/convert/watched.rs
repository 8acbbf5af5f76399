//! The state of a session that another process has open, with its text for people.

use meanwhile_core::agent::session::{Holder, Question, Stands};

use crate::wire::{self, OpenQuestion, Watched};

/// Converts the state of a watched session.
pub(crate) fn watched(session: &str, stands: Stands) -> Watched {
    let asks = stands.questions.into_iter();
    let asks = asks.map(|Question { tool_call_id, question, why }| OpenQuestion {
        tool_call_id,
        question,
        why,
    });
    let asks: Vec<_> = asks.collect();
    let here = "The next prompt continues it here.";
    let (holder, pid, says) = match stands.holder {
        Holder::Open { pid } => (wire::Holder::Open, Some(pid), open(pid, &asks)),
        Holder::Closed => {
            let says = format!("The session was closed in the other process. {here}");
            (wire::Holder::Closed, None, says)
        }
        Holder::Gone { pid } => {
            let says = format!(
                "Process {pid} ended without closing the session, and its turn with it. {here}"
            );
            (wire::Holder::Gone, Some(pid), says)
        }
        Holder::Deleted => {
            let says = "The session was deleted in another process.".to_owned();
            (wire::Holder::Deleted, None, says)
        }
    };
    Watched { session_id: session.to_owned(), holder, pid, asks, says }
}

fn open(pid: u32, asks: &[OpenQuestion]) -> String {
    if asks.is_empty() {
        return format!(
            "Process {pid} has this session open: its updates are shown here. A prompt continues it here once it is \
             closed there."
        );
    }
    let asked = asks.iter().map(|it| format!("may the agent {}? ({})", it.question, it.why));
    let asked: Vec<_> = asked.collect();
    // The question comes first, because a bar of an editor cuts the rest.
    format!("Process {pid} asks: {}. Only that process can take the answer.", asked.join("; "))
}
