//! Sessions on a scripted model: which model call gets which result, and that nothing is lost.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "tests look for one thing among many")]

#[path = "agent_session/kill.rs"]
mod kill;
#[path = "agent_session/lab.rs"]
mod lab;
#[path = "agent_session/looks.rs"]
mod looks;
#[expect(dead_code, reason = "the tests of the wire use what these do not")]
mod model_server;
#[path = "agent_session/refusals.rs"]
mod refusals;
#[path = "agent_session/resume.rs"]
mod resume;
#[path = "agent_session/server.rs"]
mod server;
#[path = "agent_session/timing.rs"]
mod timing;
#[path = "agent_session/turns.rs"]
mod turns;
