//! What the shim's program does if a task cannot be started.

use std::fs::{self, File};
use std::process::Command;

use meanwhile_shim::layout;
use meanwhile_shim::record::{self, Exit};
use meanwhile_shim::spec::{Spec, Stdin};

#[test]
fn a_task_whose_input_cannot_be_opened_does_not_run() {
    let state = tempfile::tempdir().expect("a temporary directory");
    let folder = state.path().join(layout::LIVE).join("0123abcd");
    fs::create_dir_all(&folder).expect("the folder can be made");
    // The program cannot be executed either (EACCES); the reported error is that of the first step.
    let program = state.path().join("program");
    fs::write(&program, "").expect("the program is written");
    let spec = Spec {
        id: "0123abcd".to_owned(),
        argv: vec![program.into()],
        cwd: state.path().to_owned(),
        // Its input comes through a FIFO, which does not exist (ENOENT).
        stdin: Stdin::Pty { rows: 24, cols: 80 },
        ..Spec::default()
    };
    fs::write(folder.join(layout::SPEC), spec.to_bytes()).expect("the spec is written");
    let shim = Command::new(env!("CARGO_BIN_EXE_meanwhile-shim")).arg(&folder).arg("run").status();
    assert!(!shim.expect("the shim runs").success());
    let record = File::open(folder.join(layout::RECORD)).expect("there is a record");
    let end = record::read(&record).expect("a record").end.expect("an end");
    assert_eq!(end.exit, Exit::NotStarted(libc::ENOENT), "the program was executed first");
}
