//! How fast the shim captures output.

use std::fs;

use serde_json::json;

use crate::Outcome;
use crate::bare::{Bare, now};
use crate::report::{Report, Row, Samples};
use crate::server::Place;

/// How many bytes a task writes.
const BYTES: u64 = 1_000_000_000;
/// How many rounds of each kind are measured.
const ROUNDS: usize = 5;

/// Measures a gigabyte of output, compared with the same command and `> file`.
pub(crate) fn captured(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let mut server = place.serve()?;
    let file = place.path().join("plain");
    let shown = file.to_str().ok_or("the path of the build is not UTF-8")?;
    let kinds = [
        ("in large writes", format!("head -c {BYTES} /dev/zero")),
        (
            "in lines",
            format!("yes 'a line of output as a compiler writes it' 2>/dev/null | head -c {BYTES}"),
        ),
    ];
    for (how, command) in kinds {
        let plain = Bare::shell(&format!("{{ {command}; }} > '{shown}'"))?;
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            theirs.add(plain.run()?);
            // The kernel must not write back its pages while the next command is measured.
            fs::remove_file(&file)?;
            let from = now();
            let (id, _) = server.spawn(&json!(command))?;
            let end = server.ended()?;
            ours.add(end.at - from);
            let total = &end.body["params"]["notification"]["task"]["output"]["total"];
            if *total != BYTES {
                return Err(format!("captured {total} of {BYTES} bytes").into());
            }
            server.call("task/remove", &json!({ "ids": [id] }))?;
        }
        let ratio = theirs.p50() / ours.p50();
        let rate = |samples: &Samples| format!("{:.2} GB/s", BYTES as f64 / samples.p50());
        report.row(&Row {
            what: format!("1 GB of output {how}"),
            ours: rate(&ours),
            bare: format!("> file {}", rate(&theirs)),
            ratio: Some(ratio),
            target: Some((">= 0.9".to_owned(), ratio >= 0.9)),
            samples: ours.len(),
        })?;
    }
    Ok(())
}
