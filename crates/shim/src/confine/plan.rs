//! What a confined task may access: the file that the daemon writes and the mode `confine` reads.
//!
//! The format is that of a spec: `key=value` entries, each ended by a NUL, the last one `end=`. It is a
//! separate file, because a plan may name two thousand paths, and a supervising shim needs none of them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How strictly a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It reads what the plan names and changes nothing but its own temporary directory.
    Look,
    /// It may also write what the plan names.
    Work,
    /// It runs unconfined, except that paths are hidden or sealed if the kernel allows mount namespaces.
    Open,
}

impl Mode {
    /// Its name, in specs, plans and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Work => "work",
            Self::Open => "open",
        }
    }

    /// The mode of this name; `None` if the name is unknown.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        [Self::Look, Self::Work, Self::Open].into_iter().find(|mode| mode.name().as_bytes() == name)
    }
}

/// What may be done with a path and everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// List directories; their files cannot be opened.
    List,
    /// Read and execute files, list directories.
    Read,
    /// Write, create, move and remove files.
    Write,
    /// Read and write a device.
    Device,
    /// Nothing. Only with [`Mode::Open`], as is the next one.
    Hide,
    /// Anything but write.
    Seal,
}

const RIGHTS: [(Right, &str); 6] = [
    (Right::List, "list"),
    (Right::Read, "read"),
    (Right::Write, "write"),
    (Right::Device, "device"),
    (Right::Hide, "hide"),
    (Right::Seal, "seal"),
];

/// What a confined task may access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How strictly it is confined.
    pub mode: Mode,
    /// Whether it may use the network. Only with [`Mode::Work`].
    pub network: bool,
    /// Rights and the paths that they apply to. The paths contain no symbolic links; one that no longer
    /// exists, or has become a symbolic link, grants nothing.
    pub rules: Vec<(Right, PathBuf)>,
    /// Use no newer version of the Landlock ABI than this one; for tests of older kernels.
    pub abi_max: Option<u32>,
}

impl Plan {
    /// The bytes of the plan's file, including the right to write to the task's own temporary directory.
    pub fn to_bytes(&self, temporary: &Path) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * (self.rules.len() + 4));
        let mut put = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
        };
        put("plan", b"1");
        put("mode", self.mode.name().as_bytes());
        if self.network {
            put("network", b"1");
        }
        if let Some(abi) = self.abi_max {
            put("abi", abi.to_string().as_bytes());
        }
        let own = [Right::Read, Right::Write].map(|right| (right, temporary));
        for (right, path) in self.rules.iter().map(|(right, path)| (*right, &**path)).chain(own) {
            let name = RIGHTS.iter().find(|(it, _)| *it == right).map_or("", |(_, name)| *name);
            put(name, path.as_os_str().as_bytes());
        }
        put("end", b"");
        out
    }

    /// Reads a plan. Fails on anything unknown, because a partly understood plan might restrict less than was
    /// asked for.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let bad = || io::Error::from_raw_os_error(libc::EINVAL);
        let mut plan = Self { mode: Mode::Look, network: false, rules: Vec::new(), abi_max: None };
        let mut ended = false;
        for entry in bytes.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
            let at = entry.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            let (key, value) = (&entry[..at], &entry[at + 1..]);
            let right = RIGHTS.iter().find(|(_, name)| name.as_bytes() == key);
            match (key, right) {
                (_, Some((right, _))) => {
                    plan.rules.push((*right, OsString::from_vec(value.to_vec()).into()));
                }
                (b"plan", None) if value == b"1" => {}
                (b"mode", None) => plan.mode = Mode::of_name(value).ok_or_else(bad)?,
                (b"network", None) => plan.network = true,
                (b"abi", None) => {
                    let text = std::str::from_utf8(value).map_err(|_| bad())?;
                    plan.abi_max = Some(text.parse().map_err(|_| bad())?);
                }
                (b"end", None) => ended = true,
                _ => return Err(bad()),
            }
        }
        if ended { Ok(plan) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_as_written_and_not_when_cut_off_or_strange() {
        let plan = Plan {
            mode: Mode::Work,
            network: true,
            rules: vec![(Right::List, "/a b=c".into()), (Right::Device, "/dev/null".into())],
            abi_max: Some(2),
        };
        let bytes = plan.to_bytes(Path::new("/t"));
        let mut expected = plan;
        expected.rules.extend([(Right::Read, "/t".into()), (Right::Write, "/t".into())]);
        assert_eq!(Plan::parse(&bytes).unwrap(), expected);
        for len in 0..bytes.len() - "end=\0".len() + 3 {
            assert!(Plan::parse(&bytes[..len]).is_err(), "at {len}");
        }
        for strange in
            [&b"plan=2\0end=\0"[..], b"mode=none\0end=\0", b"grant=/\0end=\0", b"end=\0x\0"]
        {
            assert!(Plan::parse(strange).is_err(), "{strange:?}");
        }
    }
}
