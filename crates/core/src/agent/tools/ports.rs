//! The TCP ports that tasks listen on, from `/proc` (proc(5)).
//!
//! A task is a session of its own, so its processes are those of that session; one that left it is
//! not found. What cannot be read is left out: this is a hint, for a model that would start a second
//! server.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use meanwhile_shim::clock;

/// Connections in state `TCP_LISTEN`, as `/proc/net/tcp` writes it.
const LISTEN: &str = "0A";

/// The ports of each session of these leaders that has any.
pub(super) fn listening(leaders: &[u32]) -> HashMap<u32, Vec<u16>> {
    let mut found: HashMap<u32, BTreeSet<u16>> = HashMap::new();
    if leaders.is_empty() {
        return HashMap::new();
    }
    let mut sockets = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        sockets.extend(parse(&fs::read_to_string(table).unwrap_or_default()));
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let session = pid.and_then(clock::stat_fields).map(|process| process.session);
        let Some(leader) = session.filter(|session| leaders.contains(session)) else { continue };
        for descriptor in fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(port) = inode.and_then(|inode| sockets.get(inode)) {
                found.entry(leader).or_default().insert(*port);
            }
        }
    }
    found.into_iter().map(|(leader, ports)| (leader, ports.into_iter().collect())).collect()
}

/// The port of each listening socket, by its inode.
fn parse(table: &str) -> HashMap<String, u16> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (state == LISTEN).then(|| (inode.to_owned(), port))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
            1: 0100007F:0BB9 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n";
        assert_eq!(parse(table), HashMap::from([("4711".to_owned(), 3_000)]));
    }

    #[test]
    fn our_own_socket_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let own = clock::stat_fields(std::process::id()).unwrap().session;
        assert!(listening(&[own]).get(&own).is_some_and(|ports| ports.contains(&port)));
        assert!(listening(&[]).is_empty());
    }

    #[test]
    fn a_program_may_have_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join(OsStr::from_bytes(b"\xff) S"));
        std::os::unix::fs::symlink("/bin/sh", &name).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        // It waits for a line, and it alone has the socket.
        let mut child = Command::new(&name)
            .arg0("sh")
            .args(["-c", "read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::from(OwnedFd::from(socket)))
            .spawn()
            .unwrap();
        let own = clock::stat_fields(std::process::id()).unwrap().session;
        let found = listening(&[own]);
        // Its end of the pipe is closed first.
        child.wait().unwrap();
        assert!(found.get(&own).is_some_and(|ports| ports.contains(&port)), "{found:?}");
    }
}
