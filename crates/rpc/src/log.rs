//! The log: to standard error, because standard output is the wire. Silent in normal use.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Begins to log as `MEANWHILE_LOG` says (`tracing`'s filter syntax), else errors only.
pub(crate) fn init() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::ERROR.into())
        .with_env_var("MEANWHILE_LOG")
        .from_env_lossy();
    // Fails where a log is set up already, which then stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
