//! `meanwhile-shim keeper STATE`: the parent of all shims of one daemon or command; it forks each shim.
//! `meanwhile-shim FOLDER run`: a shim without a keeper, for the task whose spec is in the folder.
//! `meanwhile-shim node FOLDER`: a keeper with one shim, for a task that a batch system starts on one of its nodes.
//! `meanwhile-shim order FOLDER ORDER`: sends an order to that shim.
//! `meanwhile-shim companion PROGRAM [ARG..]`: runs a program until the process that started it exits.
//! `meanwhile-shim confine PROGRAM ARG0 [ARG..]`: restricts itself and executes a task's command, for a
//! shim that starts a confined task.
//!
//! A daemon or the command line starts it; people do not. It has one thread and no async runtime, because
//! a task's supervisor must cost next to nothing, and nothing must be able to stop it.

mod batch;
mod companion;
mod files;
mod held;
mod input;
mod keeper;
mod kin;
mod leader;
mod life;
mod linger;
mod memory;
mod notes;
mod process;
mod stall;
mod supervise;
mod terminal;
mod waiting;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use meanwhile_shim::spec::Spec;
use meanwhile_shim::{confine, keep, node, output};
use nix::sys::prctl;
use nix::unistd::setsid;

use crate::files::Files;
use crate::held::Legacy;
use crate::notes::Notes;
use crate::supervise::Shim;
use crate::waiting::Turn;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == confine::MODE).is_some() {
        let errno = confine::enter::run(args.next().unwrap_or_default(), args.collect());
        return ExitCode::from(u8::try_from(errno).unwrap_or(1));
    }
    if args.next_if(|arg| arg == keep::COMPANION).is_some() {
        let outcome = companion::run(args.next().unwrap_or_default(), args.collect());
        return ExitCode::from(process::code_of(&outcome));
    }
    let (Some(first), Some(second)) = (args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    let outcome = match (first, second) {
        (mode, folder) if mode == node::MODE => {
            return match batch::run(Path::new(&folder)) {
                Ok(code) => ExitCode::from(code),
                Err(error) => {
                    // The batch system writes it into a file of the task's folder.
                    let folder = Path::new(&folder).display();
                    let _ = writeln!(io::stderr(), "meanwhile-shim: `{folder}`: {error}");
                    ExitCode::from(process::code_of(&Err(error)))
                }
            };
        }
        (mode, folder) if mode == node::ORDER => {
            batch::order(Path::new(&folder), &args.next().unwrap_or_default())
        }
        (mode, state) if mode == keep::MODE => keeper::run(Path::new(&state)),
        (folder, mode) if mode == "run" => run(folder.into()),
        _ => return ExitCode::from(2),
    };
    ExitCode::from(process::code_of(&outcome))
}

fn run(dir: PathBuf) -> io::Result<()> {
    process::close_from(libc::STDERR_FILENO + 1);
    prepare(&dir)?;
    begin(Files::create(dir, output::create()?)?, Notes::none())
}

/// A shim whose task is in this folder, with the record that was made for it.
fn run_claimed(dir: PathBuf, pipe: (File, File), notes: Notes) -> io::Result<()> {
    setsid()?;
    prepare(&dir)?;
    begin(Files::claimed(dir, pipe)?, notes)
}

/// Runs a shim that waits in its folder for a task, until `life` closes.
fn idle(dir: PathBuf, pipe: (File, File), notes: Notes, life: OwnedFd) -> io::Result<()> {
    setsid()?;
    prepare(&dir)?;
    match Files::create(dir, pipe)?.idle(life)? {
        Some(files) => begin(files, notes),
        None => Ok(()),
    }
}

/// Runs a shim that takes over from one that was killed, with the descriptors that the keeper held.
fn adopt(dir: PathBuf, mut legacy: Legacy, notes: Notes) -> io::Result<()> {
    setsid()?;
    prepare(&dir)?;
    let mut files = Files::take_over(dir, legacy.pipe.take(), legacy.owner)?;
    let spec = files.spec()?;
    if spec.line.waits() && files.has_waited() {
        files.begin();
        return start(files, spec, notes);
    }
    Shim::adopt(files, spec, legacy, notes)?.supervise()
}

fn begin(mut files: Files, notes: Notes) -> io::Result<()> {
    let spec = files.spec()?;
    start(files, spec, notes)
}

/// Starts a task when its turn has come, and supervises it.
fn start(mut files: Files, spec: Spec, notes: Notes) -> io::Result<()> {
    let line = match spec.line.waits() {
        false => None,
        true => match waiting::wait(&mut files, &spec)? {
            Turn::Come(line) => Some(line),
            Turn::Over => {
                waiting::tell(&files);
                return files.clear();
            }
        },
    };
    let shim = Shim::start(files, spec, notes)?;
    // The leader is recorded, so the tasks further back in the queue watch the leader from here on.
    drop(line);
    shim.supervise()
}

fn prepare(dir: &Path) -> io::Result<()> {
    prctl::set_name(c"meanwhile-shim")?;
    prctl::set_child_subreaper(true)?;
    process::ignore_signals()?;
    std::env::set_current_dir(dir)
}
