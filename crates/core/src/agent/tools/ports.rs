//! The TCP ports that tasks listen on, from `/proc` (proc(5)).
//!
//! A task is a session of its own, so its processes are those of that session; one that left it is
//! not found. What cannot be read is left out: this is a hint, for a model that would start a second
//! server.

use std::collections::{BTreeSet, HashMap};
use std::fs;

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
        let path = entry.path();
        let session = fs::read_to_string(path.join("stat")).ok().and_then(|stat| session(&stat));
        let Some(leader) = session.filter(|session| leaders.contains(session)) else { continue };
        for descriptor in fs::read_dir(path.join("fd")).into_iter().flatten().flatten() {
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

/// The session of a process. Its name, in parentheses, may hold anything.
fn session(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_a_stat_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
            1: 0100007F:0BB9 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n";
        assert_eq!(parse(table), HashMap::from([("4711".to_owned(), 3_000)]));
        assert_eq!(session("12 (a) b) S 1 12 13 0"), Some(13));
        assert_eq!(session(""), None);
    }

    #[test]
    fn our_own_socket_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let own = session(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(listening(&[own]).get(&own).is_some_and(|ports| ports.contains(&port)));
        assert!(listening(&[]).is_empty());
    }
}
