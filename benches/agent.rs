//! How much time the agent adds to a model that answers at once.
//!
//! Owns a scripted model and the sessions in which it is prompted. The text of a prompt selects the answer,
//! so that a measurement can be repeated in one session while its history grows.
//! Everything goes through the daemon; the time of an event is when its push has been read here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::Outcome;
use crate::bare::{Bare, MOMENT};
use crate::memory::Memory;
use crate::report::{Report, Row, Samples, Size, Time};
use crate::server::{Message, Place, Server};

/// The lengths of history, in messages, at which everything is measured.
const HISTORIES: [usize; 2] = [10, 1_000];
/// How many turns without a tool are measured at each length.
const TURNS: usize = 200;
/// How many turns with a command are measured at each length.
const COMMANDS: usize = 50;
/// How long a push may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before each sample with a command or a check, as in the group `spawn`: the next idle shim
/// starts during it.
const PAUSE: Duration = Duration::from_millis(20);
/// The number and the bytes of the pieces that the checked task writes, with a pause after each, so that it
/// lasts long enough for many checks.
const PIECES: u64 = 40;
const PIECE: u64 = 5_000_000;

/// A session with a model whose answer is selected by one word in the prompt.
struct Talk {
    server: Server,
    session: String,
    messages: usize,
    place: Place,
}

impl Talk {
    fn new() -> Outcome<Self> {
        let place = Place::new()?;
        let script = place.path().join("script.toml");
        fs::write(&script, self::script()?)?;
        let settings = format!(
            "[model]\nmodel = {}\n[permissions]\nallow = [\"*\"]\n[agent]\nwakes_per_hour = 100000\n",
            json!(format!("script/{}", script.display()))
        );
        fs::write(place.path().join("config/meanwhile/config.toml"), settings)?;
        let server = place.serve()?;
        let mut talk = Self { server, session: String::new(), messages: 0, place };
        talk.open()?;
        Ok(talk)
    }

    /// Creates a session.
    fn open(&mut self) -> Outcome<()> {
        let here = json!({ "cwd": self.place.path().join("work"), "mcpServers": [] });
        let made = self.server.call("session/new", &here)?.result;
        self.session = made["sessionId"].as_str().ok_or("a session without a name")?.to_owned();
        self.messages = 0;
        Ok(())
    }

    /// Prompts with a word, waits for the end of the turn, and returns how long it took. The pushes of the
    /// turn are left for the caller to read.
    fn say(&mut self, word: &str) -> Outcome<u64> {
        let prompt = json!([{ "type": "text", "text": word }]);
        let params = json!({ "sessionId": self.session, "prompt": prompt });
        let reply = self.server.call("session/prompt", &params)?;
        match reply.result["stopReason"].as_str() {
            Some("end_turn") => Ok(reply.took),
            _ => Err(format!("a turn did not end with `end_turn`: {}", reply.result).into()),
        }
    }

    /// Runs a turn without a tool; reads its pushes and discards them.
    fn turn(&mut self) -> Outcome<u64> {
        let took = self.say("say")?;
        self.heard("said")?;
        self.messages += 2;
        Ok(took)
    }

    /// Reads pushes until one fits; discards the others.
    fn next<T>(&mut self, fits: impl Fn(&Message) -> Option<T>) -> Outcome<T> {
        loop {
            let push = self.server.push(PATIENCE)?.ok_or("no push arrived in time")?;
            if let Some(found) = fits(&push) {
                return Ok(found);
            }
        }
    }

    /// When this text of the model arrived.
    fn heard(&mut self, text: &str) -> Outcome<u64> {
        self.next(|push| {
            let update = &push.body["params"]["update"];
            let is_it = update["sessionUpdate"] == "agent_message_chunk"
                && update["content"]["text"] == text;
            is_it.then_some(push.at)
        })
    }

    /// The time that a task wrote to its output, and when the push of its end arrived.
    fn moment(&mut self) -> Outcome<(u64, u64)> {
        let (text, at) = self.next(|push| {
            let head = &push.body["params"]["notification"]["preview"]["head"];
            (push.body["method"] == "task/exited").then(|| (head.clone(), push.at))
        })?;
        Ok((text.as_str().ok_or("an end without a preview")?.trim().parse()?, at))
    }

    /// Runs a turn that checks the newest task; returns how long it took, and whether a task ended meanwhile.
    fn look(&mut self) -> Outcome<(u64, bool)> {
        let took = self.say("look")?;
        let mut ended = false;
        while let Some(push) = self.server.push(Duration::ZERO)? {
            ended |= push.body["method"] == "task/exited";
        }
        Ok((took, ended))
    }

    /// Brings the history to this many messages, or a few more.
    fn at(&mut self, messages: usize) -> Outcome<()> {
        if self.messages > messages + messages.max(30) {
            self.server.call("session/close", &json!({ "sessionId": self.session }))?;
            self.open()?;
        }
        while self.messages < messages {
            self.turn()?;
        }
        Ok(())
    }
}

/// The model's script: an answer for each prompt.
fn script() -> Outcome<String> {
    let moment = moment()?;
    let later = format!("sleep 0.05; {moment}");
    let floods = format!(
        "i=0; while [ $i -lt {PIECES} ]; do yes \"$i: a line of output\" | head -c {PIECE}; \
         sleep 0.05; i=$((i+1)); done"
    );
    let call = |when: &str, tool: &str, command: &str| {
        format!(
            "[[turn]]\nwhen = \"{when}\"\ntext = \"asked\"\n[[turn.call]]\ntool = \"{tool}\"\n\
             input = {{ command = {} }}\nsave = {{ task = \"task ([0-9a-f]{{8}})\" }}\n",
            json!(command)
        )
    };
    let say = |when: &str, text: &str| format!("[[turn]]\nwhen = \"{when}\"\ntext = \"{text}\"\n");
    Ok([
        // Turns with `when` are tried in this order.
        say("<background-results>", "woken"),
        say("started in the background", "control"),
        say("exited 0", "done"),
        say("running for", "looked"),
        say("say", "said"),
        call("fore", "bash", &moment),
        call("back", "background_run", &later),
        call("flood", "background_run", &floods),
        call("idle", "background_run", "sleep 600"),
        "[[turn]]\nwhen = \"look\"\ntext = \"asked\"\n[[turn.call]]\n\
         tool = \"check_background\"\ninput = { task_id = \"{{task}}\" }\n"
            .to_owned(),
    ]
    .concat())
}

/// The shell that the agent's commands run in.
fn shell() -> Outcome<String> {
    let path = std::env::var("PATH")?;
    let bash = path.split(':').map(|folder| format!("{folder}/bash"));
    Ok(bash.into_iter().find(|bash| Path::new(bash).is_file()).unwrap_or("/bin/sh".to_owned()))
}

/// The command line that writes the time to its output.
fn moment() -> Outcome<String> {
    let this = std::env::current_exe()?;
    let this = this.to_str().ok_or("the path of this program is not UTF-8")?;
    Ok(format!("exec '{this}' {MOMENT}"))
}

/// Measures whole turns, the time from a tool call to its command, until the model continues, and from a task's
/// end to the model's call that reports it.
pub(crate) fn overhead(report: &mut Report) -> Outcome<()> {
    let mut talk = Talk::new()?;
    for history in HISTORIES {
        turns(report, &mut talk, history)?;
        foreground(report, &mut talk, history)?;
        background(report, &mut talk, history)?;
    }
    Ok(())
}

fn turns(report: &mut Report, talk: &mut Talk, history: usize) -> Outcome<()> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..TURNS {
        talk.at(history)?;
        theirs.add(talk.server.call("task/drain", &json!({}))?.took);
        ours.add(talk.turn()?);
    }
    report.row(&Row {
        what: format!("a turn without a tool, {history} messages of history"),
        ours: ours.times(),
        bare: format!("a drain of an empty queue {}", theirs.times()),
        ratio: Some(ours.p50() / theirs.p50()),
        target: Some((format!("<= {}", Time(2e6)), ours.p50() <= 2e6)),
        samples: ours.len(),
    })
}

fn foreground(report: &mut Report, talk: &mut Talk, history: usize) -> Outcome<()> {
    let alone = Bare::new(&[&shell()?, "-c", &moment()?])?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..COMMANDS {
        talk.at(history)?;
        std::thread::sleep(PAUSE);
        theirs.add(alone.begin()?);
        std::thread::sleep(PAUSE);
        talk.say("fore")?;
        let asked = talk.heard("asked")?;
        let (moment, _) = talk.moment()?;
        talk.heard("done")?;
        talk.messages += 4;
        ours.add(moment.saturating_sub(asked));
    }
    report.row(&Row {
        what: format!("tool call to command running, {history} messages of history"),
        ours: ours.times(),
        bare: format!("posix_spawn to command running {}", theirs.times()),
        ratio: Some(ours.p50() / theirs.p50()),
        target: Some((format!("<= {}", Time(3e6)), ours.p50() <= 3e6)),
        samples: ours.len(),
    })
}

fn background(report: &mut Report, talk: &mut Talk, history: usize) -> Outcome<()> {
    let (mut back, mut spawned) = (Samples::default(), Samples::default());
    let (mut woken, mut told) = (Samples::default(), Samples::default());
    for _ in 0..COMMANDS {
        talk.at(history)?;
        std::thread::sleep(PAUSE);
        spawned.add(talk.server.spawn(&json!("true"))?.1);
        talk.server.ended()?;
        talk.server.drain()?;
        std::thread::sleep(PAUSE);
        talk.say("back")?;
        let asked = talk.heard("asked")?;
        back.add(talk.heard("control")? - asked);
        let (moment, push) = talk.moment()?;
        told.add(push - moment);
        woken.add(talk.heard("woken")? - moment);
        talk.messages += 6;
    }
    report.row(&Row {
        what: format!("`background_run` to the model's next text, {history} messages of history"),
        ours: back.times(),
        bare: format!("task/spawn to reply {}", spawned.times()),
        ratio: Some(back.p50() / spawned.p50()),
        target: Some((format!("<= {}", Time(5e6)), back.p50() <= 5e6)),
        samples: back.len(),
    })?;
    report.row(&Row {
        what: format!("last instruction to the woken model's text, {history} messages of history"),
        ours: woken.times(),
        bare: format!("to push {}", told.times()),
        ratio: Some(woken.p50() / told.p50()),
        target: Some((format!("<= {}", Time(40e6)), woken.p50() <= 40e6)),
        samples: woken.len(),
    })
}

/// Measures turns that check a task which writes 200 MB, compared with one that writes nothing.
pub(crate) fn flood(report: &mut Report) -> Outcome<()> {
    let mut talk = Talk::new()?;
    talk.say("idle")?;
    let idle = talk.next(|push| {
        let id = push.body["params"]["task"]["id"].as_str();
        id.filter(|_| push.body["method"] == "task/started").map(str::to_owned)
    })?;
    for _ in 0..10 {
        talk.look()?;
    }
    let mut calm = Samples::default();
    for _ in 0..COMMANDS {
        std::thread::sleep(PAUSE);
        calm.add(talk.look()?.0);
    }
    talk.server.stop(&idle)?;
    talk.heard("woken")?;

    let before = Memory::of(talk.server.pid())?;
    let (mut busy, mut resident) = (Samples::default(), Samples::default());
    talk.say("flood")?;
    loop {
        // Without a pause the history would grow to thousands of messages.
        std::thread::sleep(PAUSE);
        let (took, ended) = talk.look()?;
        if ended {
            break;
        }
        busy.add(took);
        resident.add(Memory::of(talk.server.pid())?.resident);
    }
    let after = Memory::of(talk.server.pid())?;
    let growth = |to: f64| to - before.resident as f64;
    let size = Size((PIECES * PIECE) as f64);
    report.row(&Row {
        what: format!("a task of {size}: growth of the daemon's resident memory, peak"),
        ours: Size(growth(resident.at(1.0))).to_string(),
        bare: format!(
            "at its end {}, before {}",
            Size(growth(after.resident as f64)),
            Size(before.resident as f64)
        ),
        target: Some(("< 8 MB".to_owned(), growth(resident.at(1.0)) < 8e6)),
        samples: resident.len(),
        ..Row::default()
    })?;
    report.row(&Row {
        what: format!("a task of {size}: a turn that checks it"),
        ours: format!("{}, worst {}", busy.times(), Time(busy.at(1.0))),
        bare: format!("one that writes nothing {}, worst {}", calm.times(), Time(calm.at(1.0))),
        ratio: Some(busy.p50() / calm.p50()),
        target: Some((format!("worst <= {}", Time(50e6)), busy.at(1.0) <= 50e6)),
        samples: busy.len(),
    })
}
