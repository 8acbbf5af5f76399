//! A task's stdin: nothing, a pipe, or a terminal.

use serde_json::json;

use crate::harness::{Lab, eventually, id_of};

#[test]
fn stdin_is_null_unless_asked_for() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("readlink /proc/self/fd/0; cat; echo end");
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 0);
    assert_eq!(daemon.output(&id), "/dev/null\nend\n");
    let id = daemon.sh("sleep 600");
    let error = daemon.refused(-32602, "task/write", json!({ "id": id, "data": "x" }));
    assert!(error.message.contains("stdin"), "{error:?}");
    daemon.stop(&id);
}

#[test]
fn a_piped_stdin_takes_text_bytes_and_an_end() {
    let daemon = Lab::new().daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "cat; echo end", "stdin": "pipe" })));
    assert_eq!(daemon.call("task/write", json!({ "id": id, "data": "héllo\n" })), json!({}));
    daemon.wait_output(&id, "héllo\n");
    daemon.call("task/write", json!({ "id": id, "data": "AEFC//4K", "encoding": "base64" }));
    daemon.call("task/write", json!({ "id": id, "data": "last", "eof": true }));
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 0);
    let read = daemon.call("task/read", json!({ "id": id, "offset": 7, "encoding": "base64" }));
    // "\0AB\xff\xfe\nlastend\n"
    assert_eq!(read["data"], "AEFC//4KbGFzdGVuZAo=", "{read}");
    let error = daemon.refused(1004, "task/write", json!({ "id": id, "data": "x" }));
    assert_eq!(error.data["kind"], "notRunning");
}

#[test]
fn an_end_can_come_alone_and_nothing_can_follow_it() {
    let daemon = Lab::new().daemon();
    let spawn = json!({ "command": "cat; read x < /dev/null; sleep 600", "stdin": "pipe" });
    let id = id_of(&daemon.spawn(spawn));
    daemon.call("task/write", json!({ "id": id, "data": "", "eof": true }));
    let error = daemon
        .request("task/write", json!({ "id": id, "data": "more" }))
        .expect_err("a closed stdin takes nothing");
    assert!([-32602, 1004].contains(&error.code), "{error:?}");
    daemon.stop(&id);
}

#[test]
fn much_input_arrives_whole_and_in_order() {
    let daemon = Lab::new().daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "md5sum; echo end", "stdin": "pipe" })));
    let mut expected = String::new();
    for part in 0..8 {
        let text: String = (0..20_000).map(|line| format!("{part}:{line}\n")).collect();
        expected.push_str(&text);
        daemon.call("task/write", json!({ "id": id, "data": text, "eof": part == 7 }));
    }
    daemon.exited(&id);
    std::fs::write(daemon.lab().file("expected"), &expected).expect("the workspace is writable");
    let sum = daemon.sh("md5sum < expected; echo end");
    daemon.exited(&sum);
    assert_eq!(daemon.output(&id), daemon.output(&sum));
}

#[test]
fn a_write_that_is_not_read_delays_no_request_and_can_be_cancelled() {
    let daemon = Lab::new().daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "sleep 600", "stdin": "pipe" })));
    let data = "x".repeat(1 << 20);
    let write = daemon.ask("task/write", json!({ "id": id, "data": data }));
    assert_eq!(daemon.check(&id)["state"], "running", "a check is answered meanwhile");
    let other = id_of(&daemon.spawn(json!({ "command": "cat", "stdin": "pipe" })));
    daemon.call("task/write", json!({ "id": other, "data": "y", "eof": true }));
    daemon.exited(&other);
    daemon.notify("$/cancelRequest", json!({ "id": write }));
    daemon.answer(write).expect_err("the write was cancelled");
    daemon.stop(&id);
}

#[test]
fn a_terminal_is_one_and_has_the_size_asked_for() {
    let daemon = Lab::new().daemon();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size; tty; \
                  ps -o tpgid= -p $$ | tr -d ' '; echo $$";
    let spawn = json!({ "command": script, "pty": { "rows": 33, "cols": 101 } });
    let id = id_of(&daemon.spawn(spawn));
    daemon.exited(&id);
    let output = daemon.output(&id);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["terminal", "33 101"], "{output:?}");
    assert!(lines[2].starts_with("/dev/pts/"), "{output:?}");
    assert_eq!(lines[3], lines[4], "it is the controlling terminal: {output:?}");
}

#[test]
fn a_terminal_takes_input_and_control_characters() {
    let daemon = Lab::new().daemon();
    let script = "stty -echo; echo ready; read name; echo \"hello $name\"; \
                  trap 'echo interrupted; exit 9' INT; echo again; read never";
    let id = id_of(&daemon.spawn(json!({ "command": script, "pty": { "rows": 24, "cols": 80 } })));
    daemon.wait_output(&id, "ready");
    daemon.call("task/write", json!({ "id": id, "data": "world\n" }));
    daemon.wait_output(&id, "again");
    daemon.call("task/write", json!({ "id": id, "data": "\u{3}" }));
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 9);
    let output = daemon.output(&id);
    assert!(output.contains("hello world") && output.contains("interrupted"), "{output:?}");
}

#[test]
fn a_terminal_loses_nothing_at_the_end() {
    let daemon = Lab::new().daemon();
    let script = "seq 1 20000; exit 5";
    let id = id_of(&daemon.spawn(json!({ "command": script, "pty": { "rows": 24, "cols": 80 } })));
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 5);
    let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    assert_eq!(daemon.output(&id), expected);
}

#[test]
fn a_task_that_closes_its_terminal_ends_as_it_ends() {
    let daemon = Lab::new().daemon();
    let gate = daemon.lab().gate("gate");
    let script = "exec 0<&- 1>&- 2>&-; read x < gate; echo back > /dev/tty; exit 3";
    let id = id_of(&daemon.spawn(json!({ "command": script, "pty": { "rows": 24, "cols": 80 } })));
    let leader = eventually("its leader", || daemon.check(&id)["pid"].as_u64());
    eventually("the terminal to be closed by all", || {
        let fds = std::fs::read_dir(format!("/proc/{leader}/fd")).ok()?;
        let links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        let links: Vec<String> = links.map(|link| link.display().to_string()).collect();
        let waits = links.iter().any(|link| link.ends_with("/gate"));
        (waits && !links.iter().any(|link| link.contains("pts"))).then_some(())
    });
    // This makes the shim use the terminal, which must not have hung up.
    daemon.call("task/write", json!({ "id": id, "data": "typed\n" }));
    daemon.wait_output(&id, "typed");
    gate.open();
    let exit = &daemon.exited(&id)["task"]["exit"];
    assert_eq!(exit, &json!({ "code": 3, "signal": null }));
    assert_eq!(daemon.output(&id), "typed\r\nback\r\n");
}

#[test]
fn the_end_of_a_terminal_s_input_is_said_once_and_behind_an_open_line_too() {
    let daemon = Lab::new().daemon();
    for (data, settings, expected) in [
        ("abc", "", "abc."),
        ("abc\n", "", "abc\r\n."),
        ("abc\r", "", "abc\r\n."),
        ("", "", "."),
        ("a\u{4}c", "eof ^E", "a\u{4}c."),
    ] {
        // Print the input that is left after the end of file.
        let left = "stty -icanon min 0; od -An -tx1";
        let script = format!("stty -echo {settings}; echo on; cat; {left}; echo .");
        let pty = json!({ "rows": 24, "cols": 80 });
        let id = id_of(&daemon.spawn(json!({ "command": script, "pty": pty })));
        daemon.wait_output(&id, "on\r\n");
        daemon.call("task/write", json!({ "id": id, "data": data, "eof": true }));
        daemon.exited(&id);
        assert_eq!(daemon.output(&id), format!("on\r\n{expected}\r\n"), "{data:?}");
    }
}

#[test]
fn input_survives_a_restart_of_the_daemon() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "cat; echo end", "stdin": "pipe" })));
    daemon.call("task/write", json!({ "id": id, "data": "one\n" }));
    daemon.wait_output(&id, "one\n");
    drop(daemon.kill9());
    let daemon = lab.daemon();
    daemon.call("task/write", json!({ "id": id, "data": "two\n" }));
    daemon.call("task/write", json!({ "id": id, "data": "", "eof": true }));
    daemon.exited(&id);
    assert_eq!(daemon.output(&id), "one\ntwo\nend\n");
}
