//! `meanwhile sessions --watch`: shows a session that another process has open.
//!
//! All output goes to standard output, in order. The command exits when that process has closed the session.

use meanwhile_core::agent::session::{
    Holder, Question, Seen, Session as Agent, Stands, TurnEnd, Update,
};
use meanwhile_core::background::Background;

use crate::cli::agent::{self, told::Lines};
use crate::cli::failure::Failure;
use crate::cli::out::{Out, note, paint, style};
use crate::cli::show;
use crate::convert::update::{Teller, Told};
use crate::convert::watched::watched;
use crate::fronts::lsp::Named;
use crate::wire::Push;

pub(super) async fn run(
    background: &Background,
    out: &mut Out,
    name: &str,
    json: bool,
) -> Result<u8, Failure> {
    let id = agent::named(background, name).await?;
    let mut watch = Agent::watch(background, &id).await.map_err(agent::refused)?;
    let mut show = match json {
        true => {
            let story = Agent::story(background, &id).await.map_err(agent::refused)?;
            Show::Json(Box::new(Teller::new(id.clone(), story)))
        }
        false => Show::Text { lines: Lines::default(), questions: Vec::new() },
    };
    let mut was_open = false;
    while let Some(seen) = watch.next().await {
        let stands = match &seen {
            Seen::Stands(stands) => Some(stands.holder),
            Seen::Said(_) | Seen::Result { .. } => None,
        };
        show.seen(out, &id, seen)?;
        out.flush()?;
        match stands {
            None => {}
            Some(Holder::Open { pid }) => {
                let is_new = !std::mem::replace(&mut was_open, true);
                if is_new && !json {
                    note(format_args!("open in process {pid}; Ctrl-C only stops watching"));
                }
            }
            Some(Holder::Closed) if was_open => return Ok(0),
            Some(Holder::Closed) => {
                note(format_args!("no process has it open; {}", goes_on(&id)));
                return Ok(0);
            }
            Some(Holder::Gone { pid }) => {
                let gone = format!("process {pid} ended without closing the session");
                return Err(Failure::new(gone).hint(goes_on(&id)));
            }
            Some(Holder::Deleted) => return Err(Failure::new("the session was deleted")),
        }
    }
    Ok(0)
}

fn goes_on(id: &str) -> String {
    format!("`meanwhile chat --resume {id}` resumes it")
}

/// How the session is shown.
enum Show {
    /// For a person, with the questions that were printed.
    Text { lines: Lines, questions: Vec<Question> },
    /// For a program: the same messages that a client of the daemon is sent.
    Json(Box<Teller>),
}

impl Show {
    fn seen(&mut self, out: &mut Out, id: &str, seen: Seen) -> Result<(), Failure> {
        match (self, seen) {
            (Self::Json(teller), Seen::Said(update)) => match teller.tell(update) {
                Some(Told::Push(push)) => out.json(&Named::new(&push)),
                Some(Told::Ask(_)) | None => Ok(()),
            },
            (Self::Json(teller), Seen::Result { task, entered }) => {
                teller.knows(task, entered);
                Ok(())
            }
            (Self::Json(_), Seen::Stands(stands)) => {
                out.json(&Named::new(&Push::Watched(watched(id, stands))))
            }
            (Self::Text { lines, .. }, Seen::Said(update)) => said(out, lines, &update),
            // The message with the results shows them.
            (Self::Text { .. }, Seen::Result { .. }) => Ok(()),
            (Self::Text { questions, .. }, Seen::Stands(stands)) => {
                let Stands { questions: open, .. } = stands;
                let before = std::mem::replace(questions, open);
                for Question { question, why, .. } in
                    questions.iter().filter(|it| !before.contains(it))
                {
                    let mark = out.paint(style::ODD, "?");
                    let asked = out.paint(style::BOLD, show::one_line(question));
                    let why = show::one_line(why);
                    out.line(format_args!("{mark} may the agent {asked}?  {why}; asked there"))?;
                }
                Ok(())
            }
        }
    }
}

fn said(out: &mut Out, lines: &mut Lines, update: &Update) -> Result<(), Failure> {
    if let Update::Prompt(text) = update {
        let mark = out.paint(style::LIVE, "›");
        return out.line(format_args!("{mark} {}", show::harmless(text)));
    }
    if let Update::Text(text) = update {
        return out.line(show::harmless(text).trim_end_matches('\n'));
    }
    if let Update::TurnEnded { end, .. } = update {
        let told = match end {
            TurnEnd::EndTurn => return Ok(()),
            TurnEnd::Failed(why) => paint(out.colour, style::BAD, show::one_line(why)),
            TurnEnd::MaxTokens | TurnEnd::MaxCalls | TurnEnd::Refusal | TurnEnd::Cancelled => {
                paint(out.colour, style::DIM, format!("the turn ended: {}", end.word()))
            }
        };
        return out.line(told);
    }
    lines.of(update, out.colour).iter().try_for_each(|line| out.line(line))
}
