//! `meanwhile place` and `meanwhile places`: other machines on which tasks run.

mod trial;

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use meanwhile_core::background::places::{self, Check, Place, PlaceKind, Places, Slurm, sbatch};
use meanwhile_core::background::slots;
use meanwhile_core::background::task::{Contact, Timestamp};
use meanwhile_core::background::words::{elapsed, reason};
use meanwhile_shim::{layout, place};
use serde_json::json;
use toml_edit::{Array, DocumentMut, Item, Table as TomlTable};

use super::args;
use super::failure::Failure;
use super::files;
use super::out::{Out, note, remark, style};
use super::show;
use super::table::{Cell, Column, Fit, Table};
use crate::config::{self, config_file};
use crate::courier;
use crate::state_dir;

pub(crate) use trial::{Failed, Found};

/// How long to wait until a courier that does not reach its place has exited, and the interval of the checks.
const AWAY: std::time::Duration = std::time::Duration::from_millis(500);
const ROUND: std::time::Duration = std::time::Duration::from_millis(10);

pub(crate) fn run(out: &mut Out, args: args::Place) -> Result<u8, Failure> {
    match args.what {
        args::PlaceCommand::Add(add) => self::add(out, add),
        args::PlaceCommand::Connect { name } => connect(out, &name),
        args::PlaceCommand::Remove { name } => remove(out, &name),
    }
}

/// Tests a place up to a short task, or as far as is possible without waiting for a batch system.
pub(crate) fn tried(name: &str, place: &Place) -> Result<Result<Found, Failed>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(reason(&error)))?;
    let known = config::load()?.store.places;
    let find = |wanted: &str| match wanted == name {
        true => Ok(place.clone()),
        false => places::find(&known, wanted).cloned().map_err(|error| error.to_string()),
    };
    let (way, on) = courier::resolve(name, find).map_err(Failure::new)?;
    Ok(runtime.block_on(trial::run(&way, on.as_deref())))
}

pub(crate) fn find(name: &str) -> Result<Place, Failure> {
    let known = config::load()?.store.places;
    Ok(places::find(&known, name)?.clone())
}

fn add(out: &mut Out, args: args::AddPlace) -> Result<u8, Failure> {
    let args::AddPlace {
        name,
        directory: workspace,
        check,
        copy,
        slurm,
        shared,
        option,
        via,
        mut command,
    } = args;
    if !slots::is_name(&name) {
        let most = slots::NAME_BYTES;
        return Err(Failure::usage(format!(
            "`{name}` is not a name of a place: expected 1 to {most} letters, digits, `-` or `_`"
        )));
    }
    if let Some(build) = copy {
        let Some(way) = trial::way(&command) else {
            return Err(Failure::usage(
                "`--copy` needs a command that ends with `meanwhile serve`".to_owned(),
            ));
        };
        let there = trial::copy(way, &build).map_err(|why| {
            Failure::new(format!("`meanwhile` was not copied to `{name}`: {why}")).hint(
                "if the C library there is older, copy a static build: `--copy=FILE` (docs/places.md)",
            )
        })?;
        note(format_args!("copied `meanwhile` to `~/{there}` at `{name}`"));
        let at = command.len() - 2;
        command[at] = there;
    }
    let kind = match (shared, via) {
        (Some(shared), _) if slurm => {
            sbatch::check(&option).map_err(|why| Failure::usage(format!("`--option`: {why}")))?;
            let shared = std::path::absolute(&shared)
                .map_err(|error| Failure::new(format!("`{}`: {error}", shared.display())))?;
            PlaceKind::Slurm(Slurm { shared, options: option })
        }
        (_, Some(via)) => PlaceKind::Via(via),
        (_, None) => PlaceKind::Command(command),
    };
    let check = check.map(|args::SourceCheck::Git| Check::Git);
    let place = Place { kind, workspace, check, ..Place::default() };
    let found = tried(&name, &place)?.map_err(|failed| {
        Failure::new(format!("place `{name}` cannot be used: {}", failed.why)).hint(failed.remedy)
    })?;
    tell(out, &name, &found)?;
    save(|document| {
        let places = document.entry("places").or_insert_with(|| {
            let mut table = TomlTable::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let section = &mut places[name.as_str()];
        if section.is_none() {
            *section = Item::Table(TomlTable::new());
        }
        fill(section, &place);
    })?;
    wake(&name);
    remark(format_args!("`meanwhile spawn --on {name} -- CMD` runs a command there"));
    Ok(0)
}

/// Writes the settings of a place into its section. Other settings there stay.
fn fill(section: &mut Item, place: &Place) {
    for key in ["kind", "command", "shared", "options", "via"] {
        if let Some(section) = section.as_table_like_mut() {
            section.remove(key);
        }
    }
    match &place.kind {
        PlaceKind::Command(command) => {
            section["command"] = toml_edit::value(Array::from_iter(command));
        }
        PlaceKind::Slurm(slurm) => {
            section["kind"] = toml_edit::value("slurm");
            section["shared"] = toml_edit::value(slurm.shared.to_string_lossy().as_ref());
            if !slurm.options.is_empty() {
                section["options"] = toml_edit::value(Array::from_iter(&slurm.options));
            }
        }
        PlaceKind::Via(via) => section["via"] = toml_edit::value(via),
    }
    if let Some(Check::Git) = place.check {
        section["check"] = toml_edit::value("git");
    }
    if let Some(workspace) = &place.workspace {
        section["workspace"] = toml_edit::value(workspace);
    }
}

fn tell(out: &mut Out, name: &str, found: &Found) -> Result<(), Failure> {
    let Found { version, reached, task } = found;
    let reached = reached.as_millis();
    let Some((took, said)) = task else {
        return out
            .line(format_args!("{name}: {} answered in {reached} ms", show::harmless(version)));
    };
    out.line(format_args!(
        "{name}: answered in {reached} ms, a task took {} ms ({})",
        took.as_millis(),
        show::harmless(said),
    ))?;
    let own = env!("CARGO_PKG_VERSION");
    if version != own {
        note(format_args!(
            "`meanwhile` is version {} there and {own} here",
            show::harmless(version)
        ));
    }
    Ok(())
}

fn remove(out: &mut Out, name: &str) -> Result<u8, Failure> {
    find(name)?;
    save(|document| {
        if let Some(places) = document.get_mut("places").and_then(Item::as_table_like_mut) {
            places.remove(name);
        }
    })?;
    out.line(format_args!("removed place {name}; its running tasks keep running"))?;
    Ok(0)
}

/// Edits the settings file and keeps the rest of its text.
fn save(change: impl FnOnce(&mut DocumentMut)) -> Result<(), Failure> {
    let path = config_file()?;
    let bad = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::new(format!("`{}` cannot be changed: {error}", path.display()))
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| bad(&path, &reason(&error)))?,
    };
    let mut document: DocumentMut = text.parse().map_err(|error| bad(&path, &error))?;
    change(&mut document);
    // A new file is readable only by its owner, because it may get API keys.
    files::replace(&path, &document.to_string(), 0o600).map_err(|error| bad(&path, &reason(&error)))
}

/// Signs in at a place in this terminal, so that its courier can connect without a question.
fn connect(out: &mut Out, name: &str) -> Result<u8, Failure> {
    let place = find(name)?;
    let known = config::load()?.store.places;
    let settings =
        |name: &str| places::find(&known, name).cloned().map_err(|error| error.to_string());
    let (way, _) = courier::resolve(name, settings).map_err(Failure::new)?;
    let command = match &way {
        PlaceKind::Command(command) => command.as_slice(),
        PlaceKind::Slurm(_) | PlaceKind::Via(_) => &[],
    };
    let Some([program, arguments @ ..]) = trial::way(command) else {
        return Err(Failure::new(format!(
            "cannot sign in at `{name}`: its command does not end with `meanwhile serve`; run the command in a \
             terminal instead"
        )));
    };
    let status = Command::new(program).args(arguments).arg("true").status().map_err(|error| {
        Failure::new(format!("`{program}` cannot be started: {}", reason(&error)))
    })?;
    if !status.success() {
        return Err(Failure::new(format!("`{program}` failed ({status})")));
    }
    wake(name);
    match tried(name, &place)? {
        Ok(found) => tell(out, name, &found).map(|()| 0),
        Err(failed) => {
            let why = format!("signed in, but the next connection failed: {}", failed.why);
            Err(Failure::new(why).hint(
                "let ssh keep a control master: `ControlMaster auto`, `ControlPath ~/.ssh/%C` and \
                 `ControlPersist 8h` for this host in ~/.ssh/config",
            ))
        }
    }
}

/// Makes the courier of a place try again now, and accept whichever store answers.
fn wake(name: &str) {
    use meanwhile_shim::bell::{self, Kind, Message};
    if let Ok(state) = state_dir::find() {
        if let Some(contact) = place::Contact::read(&state, name) {
            let contact = place::Contact { store: String::new(), ..contact };
            // If this cannot be written, the courier reports the same problem again.
            let _ = contact.write(&state, name);
        }
        let message = Message { kind: Kind::Ledger, id: [0; 8], workspace: place::bell_hash(name) };
        bell::ring(&state.join(layout::BELLS), message, None);
        // A courier without a connection exits now. The next one inherits this terminal's ssh agent.
        let until = std::time::Instant::now() + AWAY;
        while place::has_courier(&state, name) && std::time::Instant::now() < until {
            std::thread::sleep(ROUND);
        }
        places::start_courier(&state, name);
    }
}

/// Runs `meanwhile places`: lists the places.
pub(crate) fn list(out: &mut Out, as_json: bool) -> Result<u8, Failure> {
    let known: Places = config::load()?.store.places;
    let state = state_dir::find().map_err(Failure::new)?;
    if as_json {
        let shown = known.iter().map(|(name, place)| {
            let contact = places::contact(&state, name);
            let lost = contact.as_ref().and_then(|it| {
                Some(json!({
                    "lostSince": crate::convert::to_wire::time(it.lost_since?),
                    "reason": it.why,
                    "needsYou": it.needs_you,
                }))
            });
            let mut shown = json!({"name": name, "workspace": place.workspace,
                "version": contact.and_then(|it| it.version), "contact": lost});
            match &place.kind {
                PlaceKind::Command(command) => shown["command"] = json!(command),
                PlaceKind::Slurm(slurm) => {
                    shown["kind"] = json!("slurm");
                    shown["shared"] = json!(slurm.shared.to_string_lossy());
                    shown["options"] = json!(slurm.options);
                }
                PlaceKind::Via(via) => shown["via"] = json!(via),
            }
            shown
        });
        out.json(&json!({"places": shown.collect::<Vec<_>>()}))?;
        return Ok(0);
    }
    if known.is_empty() {
        remark(
            "no place is set up; `meanwhile place add NAME -- ssh HOST meanwhile serve` adds one",
        );
        return Ok(0);
    }
    let column = |title, fit| Column { title, fit };
    let columns = vec![
        column("PLACE", Fit::Fixed),
        column("STATUS", Fit::Fixed),
        column("COMMAND", Fit::Stretch),
    ];
    let rows = known.iter().map(|(name, place)| {
        let contact = places::contact(&state, name);
        let (words, look) = stands(contact.as_ref());
        vec![
            Cell::new(name, style::BOLD),
            Cell::new(show::one_line(&words), look),
            Cell::new(show::one_line(&courier::shown(&place.kind)), style::DIM),
        ]
    });
    let table = Table { columns, rows: rows.collect() };
    out.raw(table.render(out.width, out.colour).as_bytes())?;
    Ok(0)
}

fn stands(contact: Option<&Contact>) -> (String, anstyle::Style) {
    match contact {
        None => ("not used yet".to_owned(), style::DIM),
        Some(Contact { lost_since: Some(since), why, needs_you, .. }) => {
            let ago = elapsed(Timestamp::now().since(*since));
            let needs = if *needs_you { "needs you, " } else { "" };
            (format!("{needs}out of reach for {ago}: {why}"), style::BAD)
        }
        Some(Contact { version, .. }) => {
            (format!("reached, version {}", version.as_deref().unwrap_or("?")), style::GOOD)
        }
    }
}
