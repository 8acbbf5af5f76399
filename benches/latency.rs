//! How long a spawn takes to be answered, and an end to be pushed.

use std::time::Duration;

use serde_json::json;

use crate::Outcome;
use crate::bare::{self, Bare, MOMENT};
use crate::report::{Report, Row, Samples, Time};
use crate::server::Place;

/// The number of samples of each kind.
const SAMPLES: usize = 200;
/// The pause before each sample at an agent's pace. A model call takes far longer, but this is long enough for
/// the processor to become idle and for all work after the reply to be done.
const PAUSE: Duration = Duration::from_millis(20);
/// The number of spawns in a burst, and the number of bursts.
const BURST: usize = 20;
const BURSTS: usize = 10;

/// Measures from the request's first byte to the reply, compared with a call of `posix_spawn`.
pub(crate) fn spawn(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let mut server = place.serve()?;
    let sh = Bare::shell("true")?;
    let command = json!("true");
    for _ in 0..10 {
        server.spawn(&command)?;
        server.ended()?;
        sh.run()?;
    }

    for (pace, pause) in [("with pauses", Some(PAUSE)), ("each after the previous one's end", None)]
    {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..SAMPLES {
            pause.into_iter().for_each(std::thread::sleep);
            let (pid, took) = sh.spawn()?;
            theirs.add(took);
            bare::reap(pid)?;
            pause.into_iter().for_each(std::thread::sleep);
            let (_, took) = server.spawn(&command)?;
            ours.add(took);
            server.ended()?;
        }
        let judged = pause.is_some();
        report.row(&spawn_row(pace, &ours, &theirs, judged))?;
    }

    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..BURSTS {
        let mut pids = Vec::new();
        for _ in 0..BURST {
            let (pid, took) = sh.spawn()?;
            theirs.add(took);
            pids.push(pid);
        }
        pids.into_iter().try_for_each(bare::reap)?;
        std::thread::sleep(PAUSE);
        for _ in 0..BURST {
            ours.add(server.spawn(&command)?.1);
        }
        for _ in 0..BURST {
            server.ended()?;
        }
        std::thread::sleep(PAUSE);
    }
    report.row(&spawn_row("20 back to back", &ours, &theirs, false))
}

fn spawn_row(pace: &str, ours: &Samples, theirs: &Samples, judged: bool) -> Row {
    let ratio = ours.p50() / theirs.p50();
    Row {
        what: format!("spawn to reply, {pace}"),
        ours: ours.times(),
        bare: format!("posix_spawn {}", theirs.times()),
        ratio: Some(ratio),
        target: judged
            .then(|| ("<= 2 and < 300 us".to_owned(), ratio <= 2.0 && ours.p50() < 300_000.0)),
        samples: ours.len(),
    }
}

/// Measures from a task's last instruction until the client has read the push, compared with `waitpid`.
pub(crate) fn end(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let mut server = place.serve()?;
    let this = std::env::current_exe()?;
    let this = this.to_str().ok_or("the path of this program is not UTF-8")?;
    let alone = Bare::new(&[this, MOMENT])?;
    let command = json!([this, MOMENT]);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for sample in 0..SAMPLES + 10 {
        std::thread::sleep(PAUSE);
        let bare = alone.end()?;
        std::thread::sleep(PAUSE);
        server.spawn(&command)?;
        let push = server.ended()?;
        let head = &push.body["params"]["notification"]["preview"]["head"];
        let moment: u64 = head.as_str().ok_or("a push without a preview")?.trim().parse()?;
        // The first samples are for warming up.
        if sample >= 10 {
            theirs.add(bare);
            ours.add(push.at - moment);
        }
    }
    report.row(&Row {
        what: "last instruction to push".to_owned(),
        ours: ours.times(),
        bare: format!("waitpid {}", theirs.times()),
        ratio: Some(ours.p50() / theirs.p50()),
        target: Some((format!("< {}", Time(600_000.0)), ours.p50() < 600_000.0)),
        samples: ours.len(),
    })
}
