//! `meanwhile demo`.

use super::args;
use super::failure::Failure;
use super::session::Session;

pub(crate) async fn run(_session: &mut Session, args: args::Demo) -> Result<u8, Failure> {
    let _ = args.script;
    Ok(0)
}
