//! Tests the connection to a place.

use super::Check;
use crate::cli::failure::Failure;
use crate::cli::places;

pub(super) fn check(name: &str) -> Result<Vec<Check>, Failure> {
    let place = places::find(name)?;
    let found = match places::tried(&place)? {
        Ok(found) => found,
        Err(failed) => {
            let cost = "tasks there wait until it is reached; running tasks there go on";
            return Ok(vec![Check::fail("connection", failed.why, cost, &failed.remedy)]);
        }
    };
    let own = env!("CARGO_PKG_VERSION");
    let version = match found.version == own {
        true => Check::ok("version", found.version),
        false => Check::warn(
            "version",
            format!("{} there, {own} here", found.version),
            "requests that one of them does not know are refused",
            "install the same version on both",
        ),
    };
    Ok(vec![
        Check::ok("connection", format!("it answered in {} ms", found.reached.as_millis())),
        version,
        Check::ok(
            "task",
            format!("its end arrived after {} ms: {}", found.task.as_millis(), found.said),
        ),
    ])
}
