//! The TCP ports that a task's processes listen on. The listening sockets come from sock_diag(7), or from
//! `/proc/net` if that is refused; their holders from proc_pid_fd(5).
//!
//! What cannot be read is left out: processes of other users, and the task's own network namespace.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;

use meanwhile_shim::identity::Process;
use meanwhile_shim::record::Record;
use meanwhile_shim::tree;

use crate::background::task::{Port, TaskId};

/// `TCP_LISTEN`, `linux/tcp_states.h`; `0A` in `/proc/net/tcp`.
const LISTEN: u32 = 10;
/// The message type `SOCK_DIAG_BY_FAMILY`, `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// Bytes of `struct nlmsghdr`, `struct inet_diag_req_v2`, `struct inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;
/// Offsets of the port and the inode in an answer.
const AT_PORT: usize = 4;
const AT_INODE: usize = 68;
/// Bytes of answers read at a time: the most that the kernel sends in one datagram.
const BUFFER_BYTES: usize = 32 << 10;

/// The port of each listening socket, by the socket's inode.
pub type Sockets = HashMap<u64, u16>;

/// The known sockets of each task, so that a check costs one kernel query if there are no new sockets.
#[derive(Debug, Default)]
pub struct Ports {
    tasks: HashMap<TaskId, Known>,
}

/// The listening sockets at the last check.
#[derive(Debug, Default)]
struct Known {
    own: HashSet<u64>,
    others: HashSet<u64>,
}

impl Ports {
    /// The ports of each of these tasks. Forgets tasks for which `lives` returns false.
    pub fn look(
        &mut self,
        tasks: &[TaskId],
        record: impl Fn(TaskId) -> Option<Record>,
        lives: impl Fn(TaskId) -> bool,
    ) -> Vec<(TaskId, Vec<Port>)> {
        self.tasks.retain(|id, _| lives(*id));
        let sockets = listening();
        let free = ephemeral();
        let ports_of = |own: &HashSet<u64>| {
            let ports: BTreeSet<u16> = own.iter().filter_map(|i| sockets.get(i)).copied().collect();
            let is_chosen = |port: &u16| !free.contains(port);
            ports.iter().map(|port| Port { number: *port, chosen: is_chosen(port) }).collect()
        };
        let look = |id: &TaskId| {
            let known = self.tasks.entry(*id).or_default();
            let is_known = |inode: &u64| known.own.contains(inode) || known.others.contains(inode);
            if !sockets.keys().all(is_known)
                && let Some(record) = record(*id)
            {
                let held = held(&processes(*id, &record));
                let (own, others) = sockets.keys().partition(|inode| held.contains(*inode));
                *known = Known { own, others };
            }
            (*id, ports_of(&known.own))
        };
        tasks.iter().map(look).collect()
    }
}

/// The processes of a task.
fn processes(id: TaskId, record: &Record) -> Vec<Process> {
    if record.elsewhere.is_some() {
        return Vec::new();
    }
    let all = tree::descendants(record.shim_pid);
    // An adopting shim is not the parent of the task's processes.
    if record.leader_pid == 0 || all.iter().any(|process| process.pid == record.leader_pid) {
        return all;
    }
    tree::marked(id.as_str(), record.leader()).members
}

/// The inodes of the sockets that these processes have open.
fn held(processes: &[Process]) -> HashSet<u64> {
    let listed = |process: &Process| fs::read_dir(format!("/proc/{}/fd", process.pid)).ok();
    let fds = processes.iter().filter_map(listed);
    let links = fds.flatten().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    links.filter_map(inode).collect()
}

/// The ports that the kernel assigns when a program requests none, ip(7).
pub(super) fn ephemeral() -> std::ops::RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|word| word.parse().ok());
    // The kernel's own default.
    ends.next().unwrap_or(32_768)..=ends.next().unwrap_or(60_999)
}

/// The listening sockets of this network namespace.
fn listening() -> Sockets {
    let asked = [libc::AF_INET, libc::AF_INET6].map(ask);
    match asked {
        [Ok(four), Ok(six)] => four.into_iter().chain(six).collect(),
        [_, Err(_)] | [Err(_), _] => {
            let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
            tables.iter().flatten().flat_map(|table| parse_table(table)).collect()
        }
    }
}

/// Asks the kernel for the listening sockets of one family.
#[expect(unsafe_code, reason = "socket(2) is a C interface")]
fn ask(family: i32) -> io::Result<Sockets> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes three numbers and returns a new descriptor, which nothing else owns.
    let mut socket = unsafe {
        match libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) {
            fd @ 0.. => File::from_raw_fd(fd),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    socket.write_all(&question(family))?;
    let mut sockets = Sockets::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let len = socket.read(&mut buffer)?;
        if parse_answers(&buffer[..len], &mut sockets)? {
            return Ok(sockets);
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: all TCP sockets of a family that listen.
fn question(family: i32) -> [u8; HEADER + QUESTION] {
    let mut bytes = [0; HEADER + QUESTION];
    bytes[..4].copy_from_slice(&((HEADER + QUESTION) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    bytes[HEADER] = family as u8;
    bytes[HEADER + 1] = libc::IPPROTO_TCP as u8;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&(1_u32 << LISTEN).to_ne_bytes());
    bytes
}

/// Parses a datagram of answers, netlink(7). Returns whether it was the last one.
fn parse_answers(mut bytes: &[u8], sockets: &mut Sockets) -> io::Result<bool> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER>() {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let body = bytes.get(HEADER..len).ok_or_else(bad)?;
        match i32::from(u16::from_ne_bytes([header[4], header[5]])) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let errno = body.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno));
                return Err(io::Error::from_raw_os_error(-errno));
            }
            kind if kind == i32::from(BY_FAMILY) && body.len() >= ANSWER => {
                let port = u16::from_be_bytes([body[AT_PORT], body[AT_PORT + 1]]);
                let inode = body[AT_INODE..].first_chunk().ok_or_else(bad)?;
                sockets.insert(u64::from(u32::from_ne_bytes(*inode)), port);
            }
            _ => {}
        }
        // Each message is aligned to four bytes.
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The listening sockets of a table of `/proc/net`, proc_net(5).
fn parse_table(table: &str) -> Sockets {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
        let inode = fields.nth(5)?.parse().ok()?;
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (state == LISTEN).then_some((inode, port))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
            1: 0100007F:0BB9 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n\
            2: 00000000000000000000000000000000:0BBA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4713 1\n";
        assert_eq!(parse_table(table), HashMap::from([(4_711, 3_000), (4_713, 3_002)]));
    }

    #[test]
    fn the_kernel_and_its_tables_tell_of_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let port = socket.local_addr().unwrap().port();
            let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
            let inode = held(&[Process::of(std::process::id()).unwrap()]);
            let inode =
                *inode.iter().find(|inode| link.ends_with(format!("socket:[{inode}]"))).unwrap();
            assert_eq!(listening().get(&inode), Some(&port), "{address}");
            let table = if address.starts_with('[') { "/proc/net/tcp6" } else { "/proc/net/tcp" };
            let table = parse_table(&fs::read_to_string(table).unwrap());
            assert_eq!(table.get(&inode), Some(&port), "{address}");
        }
    }

    #[test]
    fn answers_that_are_cut_off_or_refused_are_errors() {
        let mut answer = vec![0; HEADER + ANSWER];
        answer[..4].copy_from_slice(&((HEADER + ANSWER) as u32).to_ne_bytes());
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + AT_PORT..][..2].copy_from_slice(&8_080_u16.to_be_bytes());
        answer[HEADER + AT_INODE..][..4].copy_from_slice(&4_711_u32.to_ne_bytes());
        let mut found = Sockets::new();
        assert!(!parse_answers(&[&answer[..], &answer[..]].concat(), &mut found).unwrap());
        assert_eq!(found, HashMap::from([(4_711, 8_080)]));
        assert!(parse_answers(&answer[..40], &mut found).is_err());
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[HEADER..HEADER + 4].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        let error = parse_answers(&answer, &mut found).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        answer[4..6].copy_from_slice(&(libc::NLMSG_DONE as u16).to_ne_bytes());
        assert!(parse_answers(&answer, &mut found).unwrap());
    }
}
