//! The real binary, driven from outside as an editor drives it.
//!
//! Written from the protocol, never from the code: a test here knows the wire, the command line
//! and what the kernel shows of processes and files. Nothing here reaches into the crates, so a
//! test that fails names a promise to users that is broken.

mod agent_clients;
mod agent_kill;
mod agent_timing;
mod anchors;
mod bad_input;
mod confine;
mod confine_projects;
mod crowd;
mod deadline;
mod defaults;
mod disk_full;
mod drain;
mod harness;
mod keeper;
mod kill;
mod kill_shim;
mod lifecycle;
mod limits;
mod linger;
mod ordering;
mod other_users;
mod output;
mod output_bounds;
mod places;
mod places_kill;
mod ports;
mod progress;
mod resize;
mod restart;
mod retention;
mod secrets;
mod session;
mod session_background;
mod session_caps;
mod session_compact;
mod session_ends;
mod session_permission;
mod session_requests;
mod session_settings;
mod session_timeline;
mod session_tools;
mod session_watch;
mod signal;
mod slots;
mod slots_storm;
mod slow_client;
mod spawn;
mod spawn_stdin;
mod stall;
mod stop;
mod store;
mod two_daemons;
mod watch;
mod wire_faults;
