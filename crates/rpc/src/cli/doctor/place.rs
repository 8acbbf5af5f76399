//! Tests the connection to a place.

use meanwhile_core::background::places::PlaceKind;

use super::Check;
use crate::cli::failure::Failure;
use crate::cli::places;

pub(super) fn check(name: &str) -> Result<Vec<Check>, Failure> {
    let place = places::find(name)?;
    let found = match places::tried(name, &place)? {
        Ok(found) => found,
        Err(failed) => {
            let cost = "tasks there wait until it is reached; running tasks there go on";
            return Ok(vec![Check::fail("connection", failed.why, cost, &failed.remedy)]);
        }
    };
    let way = Check::ok("connection", format!("it answered in {} ms", found.reached.as_millis()));
    if let PlaceKind::Slurm(_) = place.kind {
        return Ok(vec![way, Check::ok("version", found.version)]);
    }
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
    let task = found.task.map(|(took, said)| {
        Check::ok("task", format!("its end arrived after {} ms: {said}", took.as_millis()))
    });
    Ok([way, version].into_iter().chain(task).collect())
}
