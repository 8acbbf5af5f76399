//! How calls are parsed, and which are refused.

use meanwhile_core::agent::ToolCall;
use meanwhile_core::agent::message::Arguments;
use meanwhile_core::agent::tools::{Access, Builtin, Kind, PlanEntry, PlanStatus, ToolName};
use serde_json::{Value, json};

use crate::lab::lab;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_call_says_what_it_is_about_to_touch() {
    lab(async |lab| {
        let outside = lab.workspace.parent().unwrap().to_owned();
        std::fs::create_dir_all(lab.workspace.join("src")).unwrap();
        std::os::unix::fs::symlink(&outside, lab.workspace.join("up")).unwrap();
        let work = |path: &str| lab.workspace.join(path);
        let command =
            |line: &str, cwd| vec![Access::Command { line: line.to_owned(), cwd, level: None }];
        let id = "b3f9c2a1".parse().unwrap();
        let check = |name: &str, input: Value, title: &str, kind, access: Vec<Access>| {
            let intent = lab.read(name, input);
            assert_eq!(intent.tool.to_string(), name);
            assert_eq!((intent.title.as_str(), intent.kind), (title, kind));
            assert_eq!(intent.access, access);
        };
        use Kind::{Edit, Execute, Read, Search, Think};
        let here = lab.workspace.clone();
        check(
            "bash",
            json!({"command": "ls\n -l"}),
            "ls -l",
            Execute,
            command("ls\n -l", here.clone()),
        );
        check(
            "background_run",
            json!({"command": "make", "cwd": "src"}),
            "make",
            Execute,
            command("make", work("src")),
        );
        check(
            "bash",
            json!({"command": "ls", "workdir": "up"}),
            "ls",
            Execute,
            command("ls", outside.clone()),
        );
        check("check_background", json!({}), "list the background tasks", Read, vec![]);
        check(
            "check_background",
            json!({"task_id": id_text()}),
            "check task b3f9c2a1",
            Read,
            vec![],
        );
        check(
            "task_output",
            json!({"task_id": id_text()}),
            "output of task b3f9c2a1",
            Read,
            vec![],
        );
        check(
            "stop_background",
            json!({"task_id": id_text()}),
            "stop task b3f9c2a1",
            Execute,
            vec![Access::Task(id)],
        );
        check(
            "write_background",
            json!({"task_id": id_text(), "text": "y\n"}),
            "write to task b3f9c2a1: y",
            Execute,
            vec![Access::Task(id)],
        );
        check(
            "read_file",
            json!({"path": "src/a"}),
            "src/a",
            Read,
            vec![Access::Read(work("src/a"))],
        );
        check(
            "read_file",
            json!({"path": "up/secret"}),
            &outside.join("secret").display().to_string(),
            Read,
            vec![Access::Read(outside.join("secret"))],
        );
        check(
            "write_file",
            json!({"path": "./src/../b", "content": ""}),
            "b",
            Edit,
            vec![Access::Write(work("b"))],
        );
        check(
            "edit_file",
            json!({"path": "b", "old_string": "a", "new_string": "b"}),
            "b",
            Edit,
            vec![Access::Write(work("b"))],
        );
        check("glob", json!({"pattern": "*.rs"}), "*.rs", Search, vec![Access::Read(here.clone())]);
        check(
            "glob",
            json!({"pattern": "src/*"}),
            "src/*",
            Search,
            vec![Access::Read(work("src"))],
        );
        check(
            "glob",
            json!({"pattern": "/etc/*"}),
            "/etc/*",
            Search,
            vec![Access::Read("/etc".into())],
        );
        check(
            "glob",
            json!({"pattern": "../*"}),
            "../*",
            Search,
            vec![Access::Read(outside.clone())],
        );
        check("grep", json!({"pattern": "x"}), "x", Search, vec![Access::Read(here)]);
        check(
            "grep",
            json!({"pattern": "x", "path": "up"}),
            "x",
            Search,
            vec![Access::Read(outside)],
        );
        check("update_plan", json!({"plan": []}), "plan of 0 steps", Think, vec![]);
    });
}

fn id_text() -> &'static str {
    "b3f9c2a1"
}

#[test]
fn what_can_only_mean_one_thing_is_taken_for_it() {
    lab(async |lab| {
        for (name, input) in [
            ("bash", json!({"command": "ls", "timeout": "30", "description": "list", "cwd": null})),
            ("bash", json!({"cmd": "ls", "timeout": 1.5, "timeout_ms": null})),
            ("bash", json!({"command": "ls", "timeout": 0})),
            ("bash", json!({"command": "ls", "stdin": false, "env": {}, "watch": []})),
            ("background_run", json!({"command": "ls", "watch": "ready", "stdin": "true"})),
            ("background_run", json!({"command": "ls", "timeout": 60, "run_in_background": true})),
            ("check_background", json!({"id": "[bg:b3f9c2a1]", "wait_seconds": "5"})),
            ("check_background", json!({"task_id": 12_345_678, "wait_seconds": 0})),
            ("check_background", json!({"task_id": "", "wait_seconds": 1e9})),
            ("task_output", json!({"task_id": "b3f9c2a1", "tail": 20.0, "head": null})),
            ("task_output", json!({"task_id": "b3f9c2a1", "pattern": "x", "offset": "12"})),
            ("write_background", json!({"task_id": "b3f9c2a1", "eof": true})),
            ("stop_background", json!({"task_id": "b3f9c2a1", "signal": "int"})),
            ("stop_background", json!({"task_id": "b3f9c2a1", "signal": "9"})),
            ("read_file", json!({"file_path": "a", "offset": 0, "limit": "10"})),
            (
                "edit_file",
                json!({"path": "a", "old_str": "a", "new_str": "", "replace_all": "false"}),
            ),
            ("grep", json!({"pattern": "a", "-i": true, "-C": 2, "-n": true, "include": "*.rs"})),
            ("update_plan", json!({"todos": [{"content": "a", "status": "done"}, {"step": "b"}]})),
        ] {
            lab.read(name, input);
        }
        let background =
            lab.read("bash", json!({"command": "sleep 60", "run_in_background": true}));
        assert_eq!(background.tool, ToolName::Builtin(Builtin::BackgroundRun));
        let (tell, _) = tokio::sync::mpsc::unbounded_channel();
        let outcome = lab.toolbox.run(background, lab.key(), tell).await;
        assert!(outcome.content.starts_with("started in the background"), "{outcome:?}");
    });
}

#[test]
fn what_would_be_lost_is_refused_by_name() {
    lab(async |lab| {
        for (name, input, says) in [
            ("bash", json!({}), "`command` is missing"),
            ("bash", json!({"script": "ls"}), "also has `script`"),
            ("bash", json!({"command": ["ls"]}), "`command`: expected a string, got a list"),
            ("bash", json!({"command": " "}), "`command` is empty"),
            ("bash", json!({"command": "a\0b"}), "NUL"),
            ("bash", json!({"command": "x".repeat(200_000)}), "at most 131071 are allowed"),
            ("bash", json!({"command": "ls", "timeout": -1}), "`timeout`: expected seconds"),
            ("bash", json!({"command": "ls", "timeout": "30s"}), "`timeout`: expected a number"),
            ("bash", json!({"command": "ls", "timeout": "inf"}), "`timeout`"),
            (
                "bash",
                json!({"command": "ls", "env": {"A": "b"}}),
                "`env` is not a parameter of bash",
            ),
            ("bash", json!({"command": "ls", "stdin": true}), "background_run takes it"),
            ("bash", json!({"command": "ls", "run_in_background": "maybe"}), "true or false"),
            ("background_run", json!({"command": "ls", "watch": [1]}), "`watch[0]`"),
            (
                "background_run",
                json!({"command": "ls", "watch": vec!["a"; 17]}),
                "at most 16 are allowed",
            ),
            ("background_run", json!({"command": "ls", "pty": true}), "`pty`"),
            ("check_background", json!({"task_id": "build"}), "`build` is not a task's id"),
            ("check_background", json!({"task_id": 12}), "8 hex digits"),
            ("check_background", json!({"wait_seconds": -1}), "`wait_seconds`"),
            ("task_output", json!({}), "`task_id` is missing"),
            ("task_output", json!({"task_id": "b3f9c2a1", "head": 1, "tail": 1}), "one of"),
            ("task_output", json!({"task_id": "b3f9c2a1", "offset": 1.5}), "whole number"),
            ("task_output", json!({"task_id": "b3f9c2a1", "offset": -1}), "whole number"),
            ("write_background", json!({"task_id": "b3f9c2a1"}), "`text` is missing"),
            ("stop_background", json!({"task_id": "b3f9c2a1", "signal": "HUPP"}), "`HUPP`"),
            ("read_file", json!({"path": ""}), "`path` is empty"),
            ("read_file", json!({"path": "a", "end_line": 9}), "use limit"),
            ("write_file", json!({"path": "a"}), "`content` is missing"),
            ("write_file", json!({"path": "a", "content": "", "append": true}), "nothing was done"),
            ("edit_file", json!({"path": "a", "old_string": "x"}), "`new_string` is missing"),
            ("grep", json!({"pattern": ""}), "`pattern` is empty"),
            ("grep", json!({"pattern": "x", "type": "rust"}), "`type`"),
            ("update_plan", json!({}), "`plan` is missing"),
            ("update_plan", json!({"plan": "do it"}), "a list of {step, status}"),
            ("update_plan", json!({"plan": [{"status": "pending"}]}), "plan[0]: `step` is missing"),
            (
                "update_plan",
                json!({"plan": [{"step": "a", "status": "maybe"}]}),
                "`plan[0].status`",
            ),
            ("run_shell", json!({}), "there is no tool `run_shell`; the tools are bash, "),
        ] {
            let error = lab.refused(name, input.clone());
            assert!(error.contains(says), "{name} {input}: {error}");
        }
        let invalid = Arguments::Invalid { text: "{\"command\": ".into() };
        let call = ToolCall { id: "1".into(), name: "bash".into(), input: invalid };
        let error = lab.toolbox.read(&call).unwrap_err();
        assert!(error.contains("not a JSON object: `{\"command\": `"), "{error}");
    });
}

#[test]
fn a_plan_is_handed_back() {
    lab(async |lab| {
        let input = json!({"plan": [
            {"step": "look", "status": "completed"},
            {"step": "mend", "status": "in_progress"},
            {"step": "test", "status": "pending"},
        ]});
        let plan = lab.run("update_plan", input).await.plan.unwrap();
        use PlanStatus::{Completed, InProgress, Pending};
        let expected = [("look", Completed), ("mend", InProgress), ("test", Pending)]
            .map(|(content, status)| PlanEntry { content: content.into(), status });
        assert_eq!(plan, expected);
    });
}

#[test]
fn the_tools_are_the_same_in_every_request() {
    lab(async |lab| {
        let shown = |tools: &[meanwhile_core::agent::Tool]| format!("{tools:?}");
        assert_eq!(shown(lab.toolbox.tools()), shown(lab.toolbox.clone().tools()));
        let names: Vec<&str> = lab.toolbox.tools().iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names[..3], ["bash", "background_run", "check_background"]);
        let bytes: usize = lab
            .toolbox
            .tools()
            .iter()
            .map(|tool| tool.description.len() + tool.input_schema.get().len())
            .sum();
        // The descriptions are part of every request.
        assert!(bytes < 6_000, "{bytes}");
    });
}
