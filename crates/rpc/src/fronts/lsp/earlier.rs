//! Ends a server that is left over from an earlier connection of the same client, which happens when a connection
//! breaks without being closed (when a laptop's lid is closed).

use std::fs;
use std::path::Path;

use meanwhile_shim::clock;
use meanwhile_shim::identity::Process;

/// The directory with a file for each named client.
const CLIENTS: &str = "clients";

/// Ends the earlier server, and records this process in the client's file.
pub(super) fn end(state: &Path, name: &str) {
    let path = state.join(CLIENTS).join(name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut numbers = text.split_whitespace();
    let pid = numbers.next().and_then(|it| it.parse().ok());
    let start = numbers.next().and_then(|it| it.parse().ok());
    let own = std::process::id();
    if let (Some(pid), Some(start)) = (pid, start)
        && pid != own
    {
        Process::noted(pid, start).signal(libc::SIGTERM);
    }
    let noted = fs::create_dir_all(state.join(CLIENTS))
        .and_then(|()| fs::write(path, format!("{own} {}\n", clock::start_time(own).unwrap_or(0))));
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot record the client `{name}`");
    }
}
