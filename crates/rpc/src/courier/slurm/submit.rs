//! Handing tasks in to Slurm, each once.

use std::path::Path;
use std::time::Duration;

use meanwhile_core::background::places::sbatch;
use meanwhile_core::background::quote::quote_argv;
use meanwhile_core::background::words::reason;
use meanwhile_shim::node;
use meanwhile_shim::spec::{Resources, Spec};
use serde_json::Value;

use super::folder::{self, Shared};
use super::{commands, job, words};

/// Why a task was not handed in.
pub(super) enum Refusal {
    /// Slurm refuses it.
    Never(String),
    /// Slurm did not answer.
    NotNow(String),
}

/// Prepares the shared directory, and looks whether Slurm is there.
pub(super) async fn ready(root: &Path) -> Result<(Shared, String), String> {
    sbatch::check_environment()?;
    let version = commands::version().await?;
    let shared = Shared::prepare(root).map_err(|why| {
        format!("`{}`, which `shared` names, cannot be used: {why}", root.display())
    })?;
    Ok((shared, version))
}

/// Hands a task in, once. Its folder is there; `is_new`: it cannot have been handed in before.
pub(super) async fn submit(
    shared: Shared,
    spec: Spec,
    is_new: bool,
    mut options: Vec<String>,
) -> Result<String, Refusal> {
    let dir = shared.task(&spec.id);
    let name = job::name(&spec.id);
    if !is_new {
        let known = commands::jobs(Some(&name)).await.map_err(Refusal::NotNow)?;
        if let Some(row) = words::current(known.iter().filter(|row| row.name == name)) {
            folder::note_job(&dir, &row.number).map_err(|error| Refusal::NotNow(reason(&error)))?;
            return Ok(row.number.clone());
        }
        if folder::is_claimed(&dir) {
            // It ran, and Slurm has forgotten it.
            return Ok(String::new());
        }
    }
    options.extend(words::options(&spec.resources));
    options.extend(["-J".to_owned(), name]);
    // sbatch(1), "FILENAME PATTERN": `%` begins a pattern.
    let out = dir.join(node::OUT).display().to_string().replace('%', "%%");
    options.push(format!("--output={out}"));
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
