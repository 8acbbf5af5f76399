//! Tests a place: the command, the protocol, the version, a task and its result.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use meanwhile_core::background::places::PlaceKind;
use meanwhile_core::background::words::{one_line, reason};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::courier::link::{Link, News};
use crate::courier::{greeting, needs_a_person, refusal, shown};
use crate::peer::message::{Id, Message};

/// The timeout for the whole test: signing in takes seconds over a slow connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// The queue of the test task.
const QUEUE: &str = "trial";
/// A task that prints where it runs: the directory, the system and the machine.
const TASK: &str = "pwd; uname -sm";

/// What the test found at a place.
#[derive(Debug)]
pub(crate) struct Found {
    /// The version of `meanwhile` there.
    pub(crate) version: String,
    /// How long it took until the place answered.
    pub(crate) reached: Duration,
    /// How long a task took from its spawn to the answer with its end, and what it printed: the directory, the
    /// system and the machine. `None` if a batch system decides when tasks run, so that none was tried.
    pub(crate) task: Option<(Duration, String)>,
}

/// Why a place cannot be used, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: String,
    pub(crate) remedy: String,
}

struct Talk {
    link: Link,
    news: mpsc::UnboundedReceiver<(u64, News)>,
    until: Instant,
}

impl Talk {
    async fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failed> {
        let number = self.link.request(method, params);
        loop {
            let heard = tokio::time::timeout_at(self.until, self.news.recv()).await;
            let Ok(Some((_, news))) = heard else {
                return Err(Failed {
                    why: format!("it has not answered `{method}` within {} s", PATIENCE.as_secs()),
                    remedy: "run the command in a terminal to see what it waits for".to_owned(),
                });
            };
            match news {
                News::Over(why) => return Err(over(why)),
                News::Message(Message::Response { id: Some(Id::Number(id)), outcome })
                    if id == number =>
                {
                    return outcome.map_err(|error| Failed {
                        why: refusal(&error),
                        remedy: "install the same version there".to_owned(),
                    });
                }
                News::Message(_) => {}
            }
        }
    }
}

fn over(why: String) -> Failed {
    let remedy = if why.contains("`sbatch` cannot be started") {
        "run this on a host with Slurm's commands, such as the cluster's login host; from other hosts, use a place \
         with `via` that host"
    } else if why.contains("`squeue --me` fails") {
        "try again once Slurm's controller answers; `scontrol ping` says whether it does"
    } else if why.contains("which `shared` names") {
        "name a directory that you own and that has the same path on this machine and on the nodes"
    } else if needs_a_person(&why) {
        "sign in once in a terminal: `meanwhile place connect NAME`, or `ssh HOST true`; with a key in the \
         ssh agent, or a control master that persists, ssh asks no more questions"
    } else if why.contains("not found") || why.contains("No such file") {
        "install `meanwhile` there, in a directory that is in the PATH of commands without a terminal, or give its \
         full path; `--copy` copies this program, and `--copy=FILE` another build of it"
    } else {
        "run the command in a terminal, and read its output"
    };
    Failed { why, remedy: remedy.to_owned() }
}

/// Tests a place.
///
/// # Errors
///
/// The step that failed.
pub(crate) async fn run(way: &PlaceKind, on: Option<&str>) -> Result<Found, Failed> {
    let (sender, news) = mpsc::unbounded_channel();
    let began = Instant::now();
    let link = Link::open(way, 0, sender).map_err(|error| Failed {
        why: format!("`{}` cannot be started: {}", shown(way), reason(&error)),
        remedy: "name a program that exists".to_owned(),
    })?;
    let mut talk = Talk { link, news, until: began + PATIENCE };
    let hello = talk.call("initialize", &greeting(QUEUE, None)).await?;
    let reached = began.elapsed();
    talk.link.greeted();
    let version = hello["serverInfo"]["version"].as_str().unwrap_or("?").to_owned();
    if let PlaceKind::Slurm(_) = way {
        talk.call("place/try", &json!({})).await?;
        return Ok(Found { version, reached, task: None });
    }
    if let Some(on) = on {
        let places = talk.call("place/list", &json!({})).await?;
        let is_there = |it: &Value| it["name"] == on;
        if !places["places"].as_array().is_some_and(|all| all.iter().any(is_there)) {
            return Err(Failed {
                why: format!("no place `{on}` is set up there"),
                remedy: format!("set it up there with `meanwhile place add {on}`"),
            });
        }
        return Ok(Found { version, reached, task: None });
    }
    let spawned = Instant::now();
    let spawn = json!({"command": TASK, "label": "trial of a place"});
    let task = talk.call("task/spawn", &spawn).await?;
    let id = task["task"]["id"].clone();
    let wait = json!({"ids": [id], "timeoutMs": 20_000});
    talk.call("task/wait", &wait).await?;
    let took = spawned.elapsed();
    let output = talk.call("task/read", &json!({"id": id})).await?;
    talk.call("task/drain", &json!({"queue": QUEUE})).await?;
    talk.call("task/remove", &json!({"ids": [id]})).await?;
    let said = output["data"].as_str().unwrap_or_default().trim().replace('\n', ", ");
    Ok(Found { version, reached, task: Some((took, one_line(&said))) })
}

/// The command without a final `meanwhile serve`, if it ends with that.
pub(crate) fn way(command: &[String]) -> Option<&[String]> {
    match command {
        [way @ .., program, serve] if serve == "serve" && program.ends_with("meanwhile") => {
            Some(way)
        }
        _ => None,
    }
}

/// Copies a build of this program to a place, below the home directory there; returns its path there.
///
/// # Errors
///
/// The machine is of another kind, or the program does not run there; the text includes the place's output.
pub(crate) fn copy(way: &[String], build: &Path) -> Result<String, String> {
    let there = ".local/bin/meanwhile";
    let build = std::fs::File::open(build)
        .map_err(|error| format!("`{}`: {}", build.display(), reason(&error)))?;
    let script = format!(
        "set -e; test \"$(uname -sm)\" = 'Linux {arch}' || {{ echo \"it is $(uname -sm), and this program is for \
         Linux {arch}\" >&2; exit 1; }}; mkdir -p .local/bin; cat > {there}.new; chmod 755 {there}.new; \
         ./{there}.new --version || {{ rm {there}.new; echo 'it does not run there' >&2; exit 1; }}; mv {there}.new \
         {there}",
        arch = std::env::consts::ARCH,
    );
    let [program, arguments @ ..] = way else {
        return Err("the command names no program".to_owned());
    };
    let done = Command::new(program)
        .args(arguments)
        .arg("sh")
        .arg("-c")
        .arg(match Path::new(program).file_name() {
            // ssh joins its arguments, and a shell there parses them.
            Some(name) if name == "ssh" => format!("'{}'", script.replace('\'', "'\\''")),
            Some(_) | None => script,
        })
        .stdin(Stdio::from(build))
        .output()
        .map_err(|error| reason(&error))?;
    match done.status.success() {
        true => Ok(there.to_owned()),
        false => Err(one_line(&String::from_utf8_lossy(&done.stderr))),
    }
}
