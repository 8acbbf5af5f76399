//! Scripted models: their turns, what they expect and save, and how they fail.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use meanwhile_core::agent::message::Arguments;
use meanwhile_core::agent::provider::{BadScript, Scripted};
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::{
    Delta, Failure, FailureKind, Message, Provider, Request, StopReason, ToolResult, Turn,
};

fn patience() -> Patience {
    Patience {
        backoff: Duration::from_millis(1),
        stall: Duration::from_millis(20),
        ..Patience::default()
    }
}

fn open(script: &str) -> Provider {
    Provider::Scripted(Scripted::from_text("test.toml", script, patience()).unwrap().into())
}

/// A session with a scripted model: the part of the loop that these tests need.
struct Session {
    provider: Provider,
    history: Vec<Message>,
}

impl Session {
    fn new(script: &str) -> Self {
        Self { provider: open(script), history: Vec::new() }
    }

    async fn ask(&mut self) -> (Vec<Delta>, Result<Turn, Failure>) {
        let request = Request { history: &self.history, ..Request::default() };
        let mut call = self.provider.stream(&request);
        let mut deltas = Vec::new();
        while let Some(delta) = call.next().await {
            deltas.push(delta);
        }
        let turn = call.finish().await;
        if let Ok(turn) = &turn {
            self.history.push(Message::Assistant(turn.answer.clone()));
        }
        (deltas, turn)
    }

    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.history.push(Message::prompt(text));
        self.ask().await.1
    }

    /// Answers the calls of the last turn, with one text each.
    fn results(&mut self, turn: &Turn, contents: &[&str]) {
        let calls = turn.answer.calls();
        assert_eq!(calls.len(), contents.len());
        let results = calls.into_iter().zip(contents).map(|(call, content)| ToolResult {
            call_id: call.id,
            content: (*content).to_owned(),
            is_error: false,
        });
        self.history.push(Message::ToolResults { results: results.collect() });
    }

    fn background(&mut self, text: &str) {
        self.history.push(Message::Background { text: text.into() });
    }

    /// What a store would return after a crash, with a provider that has not seen anything.
    fn resumed(&self, script: &str) -> Self {
        let history = self.history.iter().map(|m| Message::from_json(&m.to_json()).unwrap());
        Self { provider: open(script), history: history.collect() }
    }
}

const BUILD: &str = r#"
model = "demo"
context_window = 8192

[[turn]]
expect = ["build it"]
messages = ["prompt"]
think = "It takes long."
text = "I start the build."
[[turn.call]]
tool = "background_run"
input = { command = "make -j2", label = "build" }
save = { build = "task ([0-9a-f]{8})" }
[[turn.call]]
tool = "background_run"
input = { command = "make test" }
save = { test = "[0-9a-f]{8}" }

[[turn]]
messages = ["tool_results", "background"]
expect = ["<background-results>", "[bg:{{build}}] exited 0", "[bg:{{test}}] exited 1"]
absent = ["{{build}}] exited 1"]
text = "{{build}} is built."
[[turn.call]]
tool = "task_output"
input = { id = "{{test}}", tail = 20 }
"#;

fn arguments(turn: &Turn) -> Vec<String> {
    let text = |input| match input {
        Arguments::Object(raw) => raw.get().to_owned(),
        Arguments::Invalid { text } => format!("invalid: {text}"),
    };
    turn.answer.calls().into_iter().map(|call| text(call.input)).collect()
}

#[tokio::test]
async fn a_script_expects_saves_and_goes_on_after_a_crash() {
    let mut session = Session::new(BUILD);
    assert_eq!(session.provider.setting(), "script/test.toml");
    assert_eq!((session.provider.model(), session.provider.context_window()), ("demo", Some(8192)));
    let turn = session.prompt("build it").await.unwrap();
    assert_eq!(turn.stop, StopReason::ToolUse);
    assert_eq!(turn.answer.text(), "I start the build.");
    assert_eq!(turn.answer.thinking(), "It takes long.");
    assert_eq!(arguments(&turn)[0], r#"{"command":"make -j2","label":"build"}"#);
    session.results(&turn, &["started 0badcafe: task b3f9c2a1", "77e01c44"]);
    session.background("<background-results>\n[bg:b3f9c2a1] exited 0\n[bg:77e01c44] exited 1\n");
    // The same in the process that started it and in a later one.
    for mut session in [session.resumed(BUILD), session] {
        let turn = session.ask().await.1.unwrap();
        assert_eq!(turn.answer.text(), "b3f9c2a1 is built.");
        assert_eq!(arguments(&turn), [r#"{"id":"77e01c44","tail":20}"#]);
        session.results(&turn, &["FAILED"]);
        let failure = session.ask().await.1.unwrap_err();
        assert_eq!((failure.kind, failure.attempts), (FailureKind::Script, 1));
        let text = failure.to_string();
        assert!(text.contains("ends after 2 answers") && text.contains("FAILED"), "{text}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_as_expected_is_shown() {
    let check = async |messages: &[&str], words: &str| {
        let mut session = Session::new(BUILD);
        let turn = session.prompt("build it").await.unwrap();
        session.results(&turn, &["task b3f9c2a1", "77e01c44"]);
        for text in messages {
            session.background(text);
        }
        let failure = session.ask().await.1.unwrap_err();
        assert_eq!((failure.kind, failure.attempts), (FailureKind::Script, 1));
        assert!(failure.to_string().contains(words), "{failure}");
    };
    check(&[], "messages [ToolResults, Background], got [ToolResults]").await;
    check(&["a", "b"], "got [ToolResults, Background, Background]").await;
    check(&["<background-results> [bg:77e01c44]"], "expects `[bg:b3f9c2a1] exited 0`").await;
    // The order matters.
    let swapped = "<background-results> [bg:77e01c44] exited 1 [bg:b3f9c2a1] exited 0";
    check(&[swapped], "expects `[bg:77e01c44] exited 1`").await;
    let both =
        "<background-results> [bg:b3f9c2a1] exited 0 [bg:77e01c44] exited 1 [bg:b3f9c2a1] exited 1";
    check(&[both], "wants no `b3f9c2a1] exited 1`").await;
    let failure = Session::new(BUILD).prompt("something else").await.unwrap_err();
    assert!(failure.to_string().contains("got `something else`"), "{failure}");
}

#[tokio::test]
async fn faults_pass_and_are_told_and_lasting_ones_end_the_call() {
    for (fault, kind) in [
        ("429", FailureKind::RateLimited),
        ("529", FailureKind::Overloaded),
        ("500", FailureKind::Server),
        ("cut", FailureKind::Cut),
        ("stall", FailureKind::Stalled),
        ("error", FailureKind::Overloaded),
        ("garbage", FailureKind::Garbage),
    ] {
        let script =
            |times| format!("[[turn]]\ntext = 'whole'\nfault = '{fault}'\ntimes = {times}\n");
        let mut session = Session::new(&script(2));
        session.history.push(Message::prompt("x"));
        let (deltas, turn) = session.ask().await;
        assert_eq!(turn.unwrap().answer.text(), "whole");
        let attempts: Vec<_> = deltas
            .iter()
            .filter_map(|delta| match delta {
                Delta::Retrying { attempt, .. } => Some(*attempt),
                Delta::Text(_)
                | Delta::Thinking(_)
                | Delta::CallStarted { .. }
                | Delta::CallInput { .. } => None,
            })
            .collect();
        assert_eq!(attempts, [2, 3], "{fault}");
        let failure = Session::new(&script(3)).prompt("x").await.unwrap_err();
        assert_eq!((failure.kind, failure.attempts), (kind, 3), "{failure}");
    }
    let failure = Session::new("[[turn]]\nfault = '401'\n").prompt("x").await.unwrap_err();
    assert_eq!((failure.kind, failure.attempts), (FailureKind::Unauthorized, 1));
}

#[tokio::test]
async fn a_turn_out_of_the_sequence_answers_whenever_it_is_meant() {
    let script = "[[turn]]\ntext = 'one'\n[[turn]]\nwhen = 'Summarise'\ntext = 'sum'\n[[turn]]\ntext = 'two'\n[[turn]]\ntext = 'three'\n";
    let mut session = Session::new(script);
    for (prompt, want) in [("a", "one"), ("Summarise", "sum"), ("b", "two"), ("Summarise", "sum")] {
        assert_eq!(session.prompt(prompt).await.unwrap().answer.text(), want);
    }
    // After compaction the answers are gone, and with them the position in the script.
    session.history = vec![Message::Notice { text: "a summary".into() }];
    assert_eq!(session.prompt("c").await.unwrap().answer.text(), "three");
}

#[tokio::test]
async fn an_answer_may_be_cut_refused_or_not_json() {
    let call = "[[turn.call]]\ntool = 'bash'\n";
    let turn = |head: &str, input: &str| format!("[[turn]]\n{head}\n{call}input = {input}\n");
    let cut = Session::new(&turn("stop = 'max_tokens'", "'{\"command\": \"rm -r'"))
        .prompt("x")
        .await
        .unwrap();
    assert_eq!(cut.stop, StopReason::MaxTokens);
    assert!(cut.answer.calls().is_empty());
    assert_eq!(cut.cut.unwrap().arguments, r#"{"command": "rm -r"#);
    let refused =
        Session::new(&turn("stop = 'refusal'", "{ command = 'ls' }")).prompt("x").await.unwrap();
    assert_eq!((refused.stop, refused.answer.calls().len()), (StopReason::Refusal, 0));
    let odd = Session::new(&turn("", "'ls -l'")).prompt("x").await.unwrap();
    assert_eq!(
        (odd.stop.clone(), arguments(&odd)),
        (StopReason::ToolUse, vec!["invalid: ls -l".to_owned()])
    );
}

#[tokio::test]
async fn a_held_answer_comes_when_its_file_does() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("go");
    let script = format!("pace_ms = 1\n[[turn]]\nhold = '{}'\ntext = 'a b c'\n", gate.display());
    let mut session = Session::new(&script);
    session.history.push(Message::prompt("x"));
    let (deltas, turn) = {
        let ask = session.ask();
        tokio::pin!(ask);
        let early = tokio::time::timeout(Duration::from_millis(30), &mut ask).await;
        assert!(early.is_err(), "the file is not there yet");
        std::fs::write(&gate, "").unwrap();
        ask.await
    };
    turn.unwrap();
    let words: Vec<_> = ["a ", "b ", "c"].map(|word| Delta::Text(word.into())).into();
    assert_eq!(deltas, words);
}

#[test]
fn a_bad_script_is_refused_with_its_place() {
    for (script, words) in [
        ("", "no `[[turn]]`"),
        ("[[turn]]\ntxet = 'x'", "txet"),
        ("[[turn]]\nfault = '200'", "`200` is not a fault"),
        ("[[turn]]\n[[turn.call]]\ninput = {}", "tool"),
        ("[[turn]]\n[[turn.call]]\ntool = 'x'\nsave = { a = '(' }", "regex"),
        ("[[turn", "line 1"),
    ] {
        let error = Scripted::from_text("bad.toml", script, patience()).unwrap_err();
        assert!(matches!(error, BadScript::Malformed { .. }));
        let text = error.to_string();
        assert!(text.contains("bad.toml") && text.contains(words), "{text}");
    }
}
