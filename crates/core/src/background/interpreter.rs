//! Finds which interpreter is missing when a program exists but cannot be started: execve(2) only returns "no
//! such file".

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use meanwhile_shim::spec::Spec;
use meanwhile_shim::{launch, layout};

/// Bytes at the start of a script in which the kernel looks for `#!` (`BINPRM_BUF_SIZE`).
const LINE_BYTES: usize = 256;
/// How many interpreters of interpreters are followed: more than the kernel follows.
const DEPTH: usize = 5;
/// `PT_INTERP` of elf(5).
const PT_INTERP: u32 = 3;

/// The missing interpreter of a spec's program, if a missing interpreter is the reason.
pub fn missing(spec: &Spec) -> Option<PathBuf> {
    let program = spec.argv.first()?;
    let path = match spec.env.iter().rev().find(|(name, _)| name == "PATH") {
        Some((_, value)) => value.clone(),
        None => std::env::var_os("PATH"),
    };
    let candidates = launch::candidates(program, path.as_deref());
    candidates.into_iter().find_map(|file| missing_of(spec.cwd.join(file), &spec.cwd))
}

fn missing_of(mut file: PathBuf, cwd: &Path) -> Option<PathBuf> {
    for _ in 0..DEPTH {
        launch::probe(&file).ok()?;
        let interpreter = interpreter_of(&file)?;
        // The kernel resolves a relative path from the task's directory.
        file = cwd.join(&interpreter);
        if launch::probe(&file).is_err() {
            return Some(interpreter);
        }
    }
    None
}

/// The interpreter that a file names.
fn interpreter_of(file: &Path) -> Option<PathBuf> {
    let file = layout::open_regular(file).ok()?;
    let mut start = [0; LINE_BYTES];
    let len = file.read_at(&mut start, 0).ok()?;
    match &start[..len] {
        [b'#', b'!', line @ ..] => {
            let line = line.split(|byte| *byte == b'\n').next()?;
            let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
            let word = line.split(is_blank).find(|word| !word.is_empty())?;
            Some(OsStr::from_bytes(word).into())
        }
        [0x7f, b'E', b'L', b'F', ..] => loader_of(&file, &start),
        _ => None,
    }
}

/// The loader of a dynamic program, elf(5). In this machine's byte order, which execve(2) has checked.
fn loader_of(file: &File, header: &[u8; LINE_BYTES]) -> Option<PathBuf> {
    let is_64 = header[4] == 2;
    let half = |bytes: &[u8], at: usize| {
        Some(u64::from(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
    };
    let word =
        |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let address = |bytes: &[u8], at_64: usize, at_32: usize| match is_64 {
        true => Some(u64::from_ne_bytes(bytes.get(at_64..at_64 + 8)?.try_into().ok()?)),
        false => word(bytes, at_32).map(u64::from),
    };
    let table = address(header, 32, 28)?;
    let (size, count) = match is_64 {
        true => (half(header, 54)?, half(header, 56)?),
        false => (half(header, 42)?, half(header, 44)?),
    };
    for i in 0..count {
        let mut entry = [0; 56];
        let len = file.read_at(&mut entry, table.checked_add(i * size)?).ok()?;
        let entry = &entry[..len];
        if word(entry, 0)? == PT_INTERP {
            let (at, len) = (address(entry, 8, 4)?, address(entry, 32, 16)?);
            let mut name = vec![0; usize::try_from(len).ok()?.min(libc::PATH_MAX as usize)];
            file.read_exact_at(&mut name, at).ok()?;
            name.truncate(name.iter().position(|byte| *byte == 0)?);
            return Some(OsString::from_vec(name).into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn executable(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("a temporary directory");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    #[test]
    fn the_interpreter_that_is_missing_is_found() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| dir.path().join(name);
        executable(&file("outer"), format!("#!{}\n", file("inner").display()).as_bytes());
        for (script, expected) in [
            (&b"#!/no/such/shell\n"[..], Some("/no/such/shell")),
            (b"#! \t/no/such/shell -x\n", Some("/no/such/shell")),
            (b"#!/bin/sh\r\n", Some("/bin/sh\r")),
            (b"#!inner", Some("inner")),
            (b"#!", None),
            (b"#!/bin/sh\n", None),
            (b"echo", None),
            (b"", None),
            (b"\x7fELF", None),
        ] {
            executable(&file("script"), script);
            let spec = |program: PathBuf, path: Option<OsString>| Spec {
                argv: vec![program.into()],
                cwd: dir.path().into(),
                env: vec![("PATH".into(), path)],
                ..Spec::default()
            };
            let expected = expected.map(PathBuf::from);
            assert_eq!(missing(&spec(file("script"), None)), expected, "{script:?}");
            assert_eq!(missing(&spec("./script".into(), None)), expected, "{script:?}");
            let path = Some(dir.path().into());
            assert_eq!(missing(&spec("script".into(), path)), expected, "{script:?}");
        }
        let spec = Spec { argv: vec![file("outer").into()], ..Spec::default() };
        assert_eq!(missing(&spec), Some(file("inner")));
        let spec = Spec { argv: vec![file("nowhere").into()], ..Spec::default() };
        assert_eq!(missing(&spec), None);
    }

    #[test]
    fn a_program_s_loader_is_read() {
        let exe = std::env::current_exe().expect("this test runs");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let copy = dir.path().join("copy");
        let mut bytes = fs::read(exe).expect("it is there");
        let spec = || Spec { argv: vec![copy.clone().into()], ..Spec::default() };
        executable(&copy, &bytes);
        assert_eq!(missing(&spec()), None);
        let loader = interpreter_of(&copy).expect("it is dynamic").into_os_string();
        let at = bytes.windows(loader.len()).position(|some| some == loader.as_bytes());
        bytes[at.expect("it is named") + 1] = b'X';
        executable(&copy, &bytes);
        let gone = missing(&spec()).expect("no loader has this name");
        assert!(gone.as_os_str().as_bytes().starts_with(b"/X"), "{gone:?}");
    }
}
