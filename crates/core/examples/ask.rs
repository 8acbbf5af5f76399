//! Asks the model that is set (`MEANWHILE_MODEL` and the rest) a short dialogue with tools, and
//! prints what comes: to try a server by hand, and what `tests/llm` runs against the graders.
//!
//! ```text
//! ask [--worked-example] [PROMPT]
//! ```
//!
//! The tools are pretended and nothing is run. The default prompt asks for a background build; a
//! worked example in the history before it shows a small model how that goes.
//!
//! Exit code 0 when the model ended its turn, 1 when a call failed.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use meanwhile_core::agent::choice::LOCAL_SERVERS;
use meanwhile_core::agent::message::{Arguments, Assistant, Block, Dialect};
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::{
    Delta, Message, ModelChoice, Request, StopReason, Tool, ToolCall, ToolResult, Usage, pairing,
};
use serde_json::value::RawValue;

const SYSTEM: &str = "You are a coding agent. Use background_run for long commands. When the \
    results of background tasks are there, say in one sentence how they ended.";
const PROMPT: &str = "Run `cargo build` in the background.";
/// Model calls of one run: a small model calls a tool for ever.
const CALLS: usize = 6;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    match run(&mut out).await {
        Ok(code) => code,
        Err(error) => {
            writeln!(out, "failed: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(out: &mut impl std::io::Write) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let choice = ModelChoice::from_env(|name| std::env::var(name).ok());
    let mut patience = Patience::default();
    if let Ok(millis) = std::env::var("ASK_STALL_MS") {
        patience.stall = Duration::from_millis(millis.parse()?);
    }
    let provider = choice.provider(patience, &LOCAL_SERVERS).await?;
    writeln!(out, "model: {}", provider.setting())?;
    let tools = tools()?;
    let mut words: Vec<_> = std::env::args().skip(1).collect();
    let mut history = Vec::new();
    if words.first().is_some_and(|word| word == "--worked-example") {
        words.remove(0);
        history = worked_example()?;
    }
    history.push(Message::prompt(words.pop().unwrap_or_else(|| PROMPT.to_owned())));
    let mut total = Usage::default();
    let mut reported = false;
    for _ in 0..CALLS {
        pairing::check(&history)?;
        let start = Instant::now();
        let request = Request {
            system: SYSTEM,
            tools: &tools,
            history: &history,
            max_tokens: Some(512),
            answer_tokens: None,
            images: false,
        };
        let mut call = provider.stream(&request);
        let mut first = None;
        while let Some(delta) = call.next().await {
            first.get_or_insert_with(|| start.elapsed());
            match delta {
                Delta::Text(text) => write!(out, "{text}")?,
                Delta::Thinking(text) => write!(out, "[{text}]")?,
                Delta::CallStarted { name, .. } => write!(out, "\n-> {name} ")?,
                Delta::CallInput { json, .. } => write!(out, "{json}")?,
                Delta::Retrying { attempt, delay, why } => {
                    writeln!(out, "\n(attempt {attempt} in {delay:?}: {why})")?;
                }
            }
        }
        let turn = call.finish().await?;
        total += turn.usage;
        writeln!(
            out,
            "\n== {:?}, first delta after {:?}, whole after {:?}, {:?}",
            turn.stop,
            first.unwrap_or_default(),
            start.elapsed(),
            turn.usage
        )?;
        let calls = turn.answer.calls();
        if !turn.answer.blocks.is_empty() {
            history.push(Message::Assistant(turn.answer));
        }
        if !calls.is_empty() {
            history.push(results(calls));
            if !reported {
                let text = "<background-results>\n[bg:b3f9c2a1] exited 0 after 2.4s: cargo build\n\
                    Finished `dev` profile in 2.31s\n</background-results>";
                history.push(Message::Background { text: text.to_owned() });
                reported = true;
            }
        } else if turn.stop != StopReason::PauseTurn {
            writeln!(out, "done: {total:?}")?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    writeln!(out, "stopped after {CALLS} model calls: {total:?}")?;
    Ok(ExitCode::SUCCESS)
}

/// A dialogue that went well.
fn worked_example() -> Result<Vec<Message>, serde_json::Error> {
    let answer = |block: &str| {
        Ok(Message::Assistant(Assistant {
            dialect: Dialect::Anthropic,
            model: "example".to_owned(),
            from: None,
            blocks: vec![Block::new(RawValue::from_string(block.to_owned())?)],
        }))
    };
    Ok(vec![
        Message::prompt("Run `make test` in the background."),
        answer(
            r#"{"type":"tool_use","id":"call_1","name":"background_run","input":{"command":"make test"}}"#,
        )?,
        Message::ToolResults {
            results: vec![ToolResult {
                call_id: "call_1".to_owned(),
                content: "started in the background as 77e01c44".to_owned(),
                is_error: false,
            }],
        },
        Message::Background {
            text:
                "<background-results>\n[bg:77e01c44] exited 0 after 1.2s: make test\nall passed\n\
                </background-results>"
                    .to_owned(),
        },
        answer(r#"{"type":"text","text":"`make test` (77e01c44) ended well: all passed."}"#)?,
    ])
}

fn results(calls: Vec<ToolCall>) -> Message {
    let results = calls.into_iter().map(|call| {
        let (content, is_error) = match (call.name.as_str(), call.input) {
            (_, Arguments::Invalid { .. }) => {
                ("the arguments are not a JSON object".to_owned(), true)
            }
            ("background_run", _) => ("started in the background as b3f9c2a1".to_owned(), false),
            (name, _) => (format!("no tool `{name}`: there is background_run"), true),
        };
        ToolResult { call_id: call.id, content, is_error }
    });
    Message::ToolResults { results: results.collect() }
}

fn tools() -> Result<Vec<Tool>, serde_json::Error> {
    let schema = r#"{"type":"object","properties":{"command":{"type":"string","description":"shell command"}},"required":["command"]}"#;
    let tool = |name: &str, description: &str| {
        Ok(Tool {
            name: name.to_owned(),
            description: description.to_owned(),
            input_schema: RawValue::from_string(schema.to_owned())?,
        })
    };
    Ok(vec![
        tool("bash", "Run a shell command and return its output.")?,
        tool(
            "background_run",
            "Run a shell command in the background. Returns a task id at once; the output arrives \
             later in a <background-results> message.",
        )?,
    ])
}
