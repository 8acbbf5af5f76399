//! The scenarios of chapter 3: what happens in each, and how it is run on the real engine.
//!
//! A scenario is a script for the model, commands that run until they are released, and a list of cues that say when.
//! Only the cues determine the order of events, at any speed, and the result is read from the session's trace. The
//! right choice is not stored.

use meanwhile_core::agent::trace::Trace;

/// A choice of the player: a key, its text, and for each task the calls that would contain it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) key: char,
    pub(super) says: &'static str,
    pub(super) calls: &'static [&'static [u64]],
}

#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What happens, up to the question.
    pub(super) story: &'static str,
    pub(super) asks: &'static str,
    pub(super) choices: [Choice; 3],
    /// The keys of the choices, for the line of keys.
    pub(super) keys: &'static str,
    /// What it teaches, shown with the answer.
    pub(super) moral: &'static str,
    pub(super) script: &'static str,
    pub(super) steps: &'static [Step],
}

/// A step of the conductor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Wait until this model call has started.
    Call(u64),
    /// Wait until a tool runs that the answer of this call requested.
    Tool(u64),
    /// Wait until the agent is idle.
    Idle,
    /// Release the command that waits for this name, after a delay.
    Let(&'static str),
    /// Release the task with this label, and wait until its end is in the queue.
    End(&'static str),
    /// The person sends this prompt.
    Say(&'static str),
}

use Step::{Call, End, Idle, Let, Say, Tool};

/// One task, which call 1 starts.
pub(super) const START: &str = r#"
[[turn]]
hold = "DIR/1"
text = "I start it in the background."
[[turn.call]]
tool = "background_run"
input = { label = "task", command = "until [ -e HERE/task ]; do sleep 0.02; done; echo done" }
save = { task = "[0-9a-f]{8}" }
"#;
/// Two further calls: one with a small step, and the last one.
pub(super) const REST: &str = r#"
[[turn]]
hold = "DIR/3"
text = "I go on."
[[turn.call]]
tool = "bash"
input = { command = "echo a small step" }
[[turn]]
hold = "DIR/4"
text = "That is all."
"#;

pub(super) static SCENARIOS: [Scenario; 5] = [
    Scenario {
        id: "during-call",
        title: "during a model call",
        story: "Call 1 starts a task in the background. While the model writes its answer to call \
                2, the task ends. The answer runs a small tool; calls 3 and 4 follow.",
        asks: "Which call sees the result?",
        choices: [
            Choice { key: '2', says: "call 2, which is under way", calls: &[&[2]] },
            Choice { key: '3', says: "call 3, the next one", calls: &[&[3]] },
            Choice { key: '4', says: "call 4, the one after that", calls: &[&[4]] },
        ],
        keys: "2 3 4",
        moral: "A request that was sent is not changed any more. What ends after that waits in the \
                queue for the next one.",
        script: "START
[[turn]]
hold = \"DIR/2\"
text = \"A long answer.\"
[[turn.call]]
tool = \"bash\"
input = { command = \"echo a small step\" }
REST",
        steps: &[
            Call(1),
            Let("1"),
            Call(2),
            End("task"),
            Let("2"),
            Call(3),
            Let("3"),
            Call(4),
            Let("4"),
            Idle,
        ],
    },
    Scenario {
        id: "during-tool",
        title: "during a foreground tool",
        story: "Call 1 starts a task in the background, call 2 does a small step. Call 3 runs a \
                command in the foreground, which takes a while. Before it is done, the task ends.",
        asks: "Which call sees the result?",
        choices: [
            Choice { key: '3', says: "call 3, whose command still runs", calls: &[&[3]] },
            Choice { key: '4', says: "call 4, with the command's own result", calls: &[&[4]] },
            Choice { key: '5', says: "call 5, as call 4 is for the command", calls: &[&[5]] },
        ],
        keys: "3 4 5",
        moral: "A tool is not interrupted. Once it is done the next call begins, and carries both: \
                the tool's answer and the queue.",
        script: "START
[[turn]]
hold = \"DIR/2\"
text = \"First a small step.\"
[[turn.call]]
tool = \"bash\"
input = { command = \"echo a small step\" }
[[turn]]
hold = \"DIR/3\"
text = \"A command I wait for.\"
[[turn.call]]
tool = \"bash\"
input = { command = \"until [ -e HERE/tool ]; do sleep 0.02; done; echo checked\" }
[[turn]]
hold = \"DIR/4\"
text = \"I go on.\"
[[turn.call]]
tool = \"bash\"
input = { command = \"echo a small step\" }
[[turn]]
hold = \"DIR/5\"
text = \"That is all.\"
",
        steps: &[
            Call(1),
            Let("1"),
            Call(2),
            Let("2"),
            Call(3),
            Let("3"),
            Tool(3),
            End("task"),
            Let("tool"),
            Call(4),
            Let("4"),
            Call(5),
            Let("5"),
            Idle,
        ],
    },
    Scenario {
        id: "two-at-once",
        title: "two end before one call",
        story: "Call 1 starts two tasks in the background. While a command of call 2 runs in the \
                foreground, first the one ends, then the other.",
        asks: "Which calls see the two results?",
        choices: [
            Choice { key: '1', says: "call 3 the first, call 4 the second", calls: &[&[3], &[4]] },
            Choice { key: '2', says: "call 3 both, in their order", calls: &[&[3], &[3]] },
            Choice { key: '3', says: "call 4 both, once the turn is over", calls: &[&[4], &[4]] },
        ],
        keys: "1 2 3",
        moral: "A call takes all that is queued, oldest first. Two results cost no more calls than \
                one.",
        script: "START
[[turn.call]]
tool = \"background_run\"
input = { label = \"other\", command = \"until [ -e HERE/other ]; do sleep 0.02; done; exit 1\" }
[[turn]]
hold = \"DIR/2\"
text = \"A command I wait for.\"
[[turn.call]]
tool = \"bash\"
input = { command = \"until [ -e HERE/tool ]; do sleep 0.02; done; echo checked\" }
REST",
        steps: &[
            Call(1),
            Let("1"),
            Call(2),
            Let("2"),
            Tool(2),
            End("task"),
            End("other"),
            Let("tool"),
            Call(3),
            Let("3"),
            Call(4),
            Let("4"),
            Idle,
        ],
    },
    Scenario {
        id: "while-idle",
        title: "while the agent is idle",
        story: "Call 1 starts a task in the background. Call 2 has nothing more to do: the turn is \
                over, and the agent idle. Then the task ends. Some time later a person types.",
        asks: "Which call sees the result?",
        choices: [
            Choice { key: '2', says: "call 2: it is made again", calls: &[&[2]] },
            Choice { key: '3', says: "call 3, made at once by the result", calls: &[&[3]] },
            Choice { key: '4', says: "the call of what the person types", calls: &[&[4]] },
        ],
        keys: "2 3 4",
        moral: "A result wakes an idle agent: it starts a turn by itself. Waiting costs nothing, and \
                the agent need not ask.",
        script: "START
[[turn]]
hold = \"DIR/2\"
text = \"Nothing else to do.\"
[[turn]]
hold = \"DIR/3\"
text = \"I hear it is done.\"
[[turn]]
hold = \"DIR/4\"
text = \"Yes, it is done.\"
",
        steps: &[
            Call(1),
            Let("1"),
            Call(2),
            Let("2"),
            Idle,
            End("task"),
            Call(3),
            Let("3"),
            Idle,
            Say("Is it done?"),
            Call(4),
            Let("4"),
            Idle,
        ],
    },
    Scenario {
        id: "checked-first",
        title: "a check shows the result first",
        story: "Call 1 starts a task in the background. It ends during call 2, whose answer calls \
                check_background: the tool shows the result. Calls 3 and 4 follow.",
        asks: "Which calls see the result?",
        choices: [
            Choice {
                key: '1',
                says: "call 3 in the check's answer, and nothing more",
                calls: &[&[3]],
            },
            Choice {
                key: '2',
                says: "call 3 in the answer, call 4 from the queue",
                calls: &[&[3], &[4]],
            },
            Choice { key: '3', says: "call 4, from the queue", calls: &[&[4]] },
        ],
        keys: "1 2 3",
        moral: "What a check has shown is taken out of the queue: each result is told once.",
        script: "START
[[turn]]
hold = \"DIR/2\"
text = \"Let me look.\"
[[turn.call]]
tool = \"check_background\"
input = { task_id = \"{{task}}\" }
REST",
        steps: &[
            Call(1),
            Let("1"),
            Call(2),
            End("task"),
            Let("2"),
            Call(3),
            Let("3"),
            Call(4),
            Let("4"),
            Idle,
        ],
    },
];

/// The result of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) session: String,
    pub(super) trace: Trace,
    /// For each task, in the order in which they were started, the calls that contained its end.
    pub(super) calls: Vec<Vec<u64>>,
}

impl Scenario {
    /// The choice that matches the trace.
    pub(super) fn right(&self, outcome: &Outcome) -> Option<&Choice> {
        self.choices.iter().find(|choice| choice.calls == outcome.calls)
    }
}
