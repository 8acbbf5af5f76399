//! Handing tasks in to Slurm, each once.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_core::background::quote::quote_argv;
use meanwhile_core::background::words::reason;
use meanwhile_shim::node;
use meanwhile_shim::spec::{Resources, Spec};
use serde_json::Value;

use super::folder::{self, Made, Shared};
use super::{commands, job, words};

/// Why a task was not handed in.
pub(super) enum Refusal {
    /// Its folder is another task's.
    Taken(String),
    /// Slurm does not take it.
    Never(String),
    /// It did not answer.
    NotNow(String),
}

/// Prepares the shared directory, and looks whether Slurm is there.
pub(super) async fn ready(root: PathBuf) -> Result<(Shared, String), String> {
    let version = commands::version().await?;
    let shown = root.display().to_string();
    let prepared = tokio::task::spawn_blocking(move || Shared::prepare(&root)).await;
    let shared = prepared.map_err(|error| error.to_string())?;
    let shared = shared.map_err(|error| {
        format!("`{shown}`, which `shared` names, cannot be used: {}", reason(&error))
    })?;
    Ok((shared, version))
}

/// Hands a task in, once.
pub(super) async fn submit(
    shared: Shared,
    spec: Spec,
    mut options: Vec<String>,
) -> Result<String, Refusal> {
    let dir = shared.task(&spec.id);
    let blocking = |error: tokio::task::JoinError| Refusal::NotNow(error.to_string());
    let (at, made) = (dir.clone(), spec.clone());
    let made = tokio::task::spawn_blocking(move || folder::make(&at, &made)).await;
    let made = made.map_err(blocking)?;
    let made = made.map_err(|error| match error.kind() == io::ErrorKind::AlreadyExists {
        true => Refusal::Taken(format!("`{}` is another task's; spawn it again", dir.display())),
        false => Refusal::NotNow(format!("`{}`: {}", dir.display(), reason(&error))),
    })?;
    let name = job::name(&spec.id);
    if made == Made::Before {
        let number = folder::job(&dir);
        if !number.is_empty() {
            return Ok(number);
        }
        let known = commands::jobs(Some(&name)).await.map_err(Refusal::NotNow)?;
        if let Some(row) = known.into_iter().rev().find(|row| row.name == name) {
            folder::note_job(&dir, &row.number).map_err(|error| Refusal::NotNow(reason(&error)))?;
            return Ok(row.number);
        }
        if folder::look(&dir).is_ok_and(|(beat, _)| beat.beats > 0) {
            // It ran, and Slurm has forgotten it.
            return Ok(String::new());
        }
    }
    options.extend(words::options(&spec.resources));
    options.extend(["-J".to_owned(), name]);
    options.push(format!("--output={}", dir.join(node::OUT).display()));
    options.push("--open-mode=append".to_owned());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let argv = [text(&shared.shim), node::MODE.to_owned(), text(&dir)];
    let script = format!("#!/bin/sh\nexec {}\n", quote_argv(&argv));
    let number =
        commands::submit(&options, &script).await.map_err(|why| match words::is_silence(&why) {
            true => Refusal::NotNow(why),
            false => Refusal::Never(why),
        })?;
    // Where this fails it is found by its name.
    let _ = folder::note_job(&dir, &number);
    Ok(number)
}

/// What a task asks for that a spawn on the wire asks for.
pub(super) fn resources(params: &Value) -> Resources {
    let number = |name: &str| params[name].as_u64();
    let small = |name: &str| number(name).and_then(|it| u32::try_from(it).ok());
    let text = |it: &Value| it.as_str().map(str::to_owned);
    Resources {
        cpus: small("cpus"),
        memory: number("memory"),
        gpus: small("gpus"),
        time: number("time").map(Duration::from_millis),
        partition: text(&params["partition"]),
        extra: params["extra"].as_array().into_iter().flatten().filter_map(text).collect(),
    }
}
