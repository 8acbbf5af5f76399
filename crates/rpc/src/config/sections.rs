//! The sections of the settings file, one function each.

use std::borrow::Cow;

use meanwhile_core::agent::permission::{Effect, Rule};
use meanwhile_core::agent::session::Wake;
use meanwhile_core::agent::vendor::{self, Holds, Variable};
use meanwhile_core::background::places::{Check, Place, PlaceKind, Slurm, sbatch};
use meanwhile_core::background::{Slot, slots};
use toml::Spanned;
use toml::de::DeTable;

use super::reader::{File, Value, parse_duration};
use super::{Config, ConfigError};

type Key<'a> = Spanned<Cow<'a, str>>;

/// The smallest limit for a tool's result: an error message has to fit.
const RESULT_MIN: u64 = 1 << 10;
/// The largest one: a result that fills the model's context is useless.
const RESULT_MAX: u64 = 1 << 20;

/// Parses section `[store]`.
pub(super) fn store(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let store = &mut config.store;
    let name = format!("store.{}", key.get_ref());
    match key.get_ref().as_ref() {
        "keep_for" => store.keep_for = file.time(&name, value)?,
        "keep_count" => store.keep_count = file.count(&name, value, 0)?,
        "quota" => store.quota = file.size(&name, value)?,
        "output_head" => store.output_head = file.size(&name, value)?,
        "output_tail" => store.output_tail = file.size(&name, value)?,
        "sync" => {
            let sync = value.get_ref().as_bool();
            store.sync = sync.ok_or_else(|| file.bad_value(&name, value, "true or false"))?;
        }
        _ => {
            let expected =
                "`keep_for`, `keep_count`, `quota`, `output_head`, `output_tail` or `sync`";
            return Err(file.unknown(key, "store", expected));
        }
    }
    Ok(())
}

/// Parses section `[agent]`.
pub(super) fn agent(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let agent = &mut config.agent;
    let name = format!("agent.{}", key.get_ref());
    match key.get_ref().as_ref() {
        "yield_after" => agent.tools.yield_after = file.time(&name, value)?,
        "result_bytes" => {
            let size = file.size(&name, value)?;
            let size =
                usize::try_from(size).ok().filter(|_| (RESULT_MIN..=RESULT_MAX).contains(&size));
            let expected = "a size from \"1KiB\" to \"1MiB\"";
            agent.tools.result_bytes =
                size.ok_or_else(|| file.bad_value(&name, value, expected))?;
        }
        "calls_per_turn" => agent.calls_per_turn = file.count(&name, value, 1)?,
        "answer_tokens" => agent.answer_tokens = Some(file.count(&name, value, 1)?),
        "wakes_per_hour" => agent.wakes_per_hour = file.count(&name, value, 0)?,
        "wake" => {
            agent.wake = match value.get_ref().as_str() {
                Some("on") => Wake::On,
                Some("queue") => Wake::Queue,
                _ => return Err(file.bad_value(&name, value, "\"on\" or \"queue\"")),
            };
        }
        "confine" => {
            agent.confine_allowed = match value.get_ref().as_str() {
                Some("work") => true,
                Some("off") => false,
                _ => return Err(file.bad_value(&name, value, "\"work\" or \"off\"")),
            };
        }
        "network" => {
            let bad = || file.bad_value(&name, value, "`true` or `false`");
            agent.network = value.get_ref().as_bool().ok_or_else(bad)?;
        }
        "images" => {
            let bad = || file.bad_value(&name, value, "`true` or `false`");
            agent.images = Some(value.get_ref().as_bool().ok_or_else(bad)?);
        }
        "linger" => {
            let expected = "a time such as \"1h\", or \"forever\"";
            let text = value.get_ref().as_str();
            agent.linger = match text.map(|text| (text, parse_duration(text))) {
                Some(("forever", _)) => None,
                Some((_, Ok(time))) => Some(time),
                Some((_, Err(_))) | None => return Err(file.bad_value(&name, value, expected)),
            };
        }
        _ => {
            let expected = "`yield_after`, `result_bytes`, `calls_per_turn`, `wakes_per_hour`, \
                            `answer_tokens`, `wake`, `linger`, `confine`, `network` or `images`";
            return Err(file.unknown(key, "agent", expected));
        }
    }
    Ok(())
}

/// Parses section `[model]`. No error shows a value, because it may be a key in the wrong place.
pub(super) fn model(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let model = &mut config.model;
    let name = format!("model.{}", key.get_ref());
    let text = |expected: &str| {
        let text = value.get_ref().as_str().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| file.bad_secret(&name, value, expected))
    };
    let url = || {
        let expected = "a base URL, \"http://HOST[:PORT][/PATH]\" or \"https://...\"";
        let url = text(expected)?;
        match url.starts_with("http://") || url.starts_with("https://") {
            true => Ok(url),
            false => Err(file.bad_secret(&name, value, expected)),
        }
    };
    match key.get_ref().as_ref() {
        "model" => {
            let forms: Vec<_> = vendor::forms().map(|form| format!("\"{form}\"")).collect();
            let (last, others) = forms.split_last().expect("there is a form for scripts");
            let expected = &format!("{} or {last}", others.join(", "));
            let it = text(expected)?;
            let is_named = |(vendor, name): (&str, &str)| {
                vendor::prefixes().any(|it| it == vendor) && !name.is_empty()
            };
            if !it.split_once('/').is_some_and(is_named) {
                return Err(file.bad_secret(&name, value, expected));
            }
            model.model = Some(it);
        }
        given => {
            let is_meant = |it: &&Variable| it.name.to_lowercase() == given;
            let Some(variable) = vendor::variables().find(is_meant) else {
                let known = vendor::variables().map(|it| format!("`{}`", it.name.to_lowercase()));
                let known: Vec<_> = ["`model`".to_owned()].into_iter().chain(known).collect();
                let (last, others) = known.split_last().expect("there is `model`");
                let expected = format!("{} or {last}", others.join(", "));
                return Err(file.unknown(key, "model", &expected));
            };
            let value = match variable.holds {
                Holds::Secret => text("the key, in quotes")?,
                Holds::Url => url()?,
                Holds::Version => text("a version such as \"2023-06-01\"")?,
            };
            model.set(variable, &value);
        }
    }
    Ok(())
}

/// Parses section `[permissions]`.
pub(super) fn permissions(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let name = format!("permissions.{}", key.get_ref());
    let effect = match key.get_ref().as_ref() {
        "allow" => Effect::Allow,
        "ask" => Effect::Ask,
        "deny" => Effect::Deny,
        _ => return Err(file.unknown(key, "permissions", "`allow`, `ask` or `deny`")),
    };
    let expected = "a list of rules such as [\"bash git status\", \"write src\"]";
    for rule in file.list(&name, value, expected)? {
        let text = rule.get_ref().as_str();
        let text = text.ok_or_else(|| file.bad_value(&name, rule, "a rule such as \"bash ls\""))?;
        let rule = Rule::with_effect(effect, text)
            .map_err(|error| file.bad(rule.span().start, format_args!("`{name}`: {error}")))?;
        config.rules.push(rule);
    }
    Ok(())
}

/// Parses a section `[KINDs.NAME]`: returns its name in errors, and its keys.
fn named<'a>(
    file: &File<'_>,
    kind: &str,
    key: &Key<'_>,
    value: &'a Value<'a>,
) -> Result<(String, &'a DeTable<'a>), ConfigError> {
    let name = key.get_ref().as_ref();
    let section = format!("{kind}s.{name}");
    if !slots::is_name(name) {
        let expected = format!("1 to {} letters, digits, `-` or `_`", slots::NAME_BYTES);
        let text = format_args!("`{section}`: not a name for a {kind}: expected {expected}");
        return Err(file.bad(key.span().start, text));
    }
    let table = value.get_ref().as_table();
    let wanted = || file.bad_value(&section, value, &format!("a section, `[{section}]`"));
    let table = table.ok_or_else(wanted)?;
    Ok((section, table))
}

/// Parses a section `[slots.NAME]`.
pub(super) fn slot(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let name = key.get_ref().as_ref();
    let (section, table) = named(file, "slot", key, value)?;
    let mut slot = Slot { name: name.to_owned(), limit: 1, rules: Vec::new() };
    for (key, value) in table {
        let name = format!("{section}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "limit" => slot.limit = file.count(&name, value, 1)?,
            "match" => slot.rules = commands(file, &name, value)?,
            _ => return Err(file.unknown(key, &section, "`limit` or `match`")),
        }
    }
    config.store.slots.push(slot);
    Ok(())
}

/// Parses a section `[places.NAME]`.
#[expect(clippy::too_many_lines, reason = "one arm for each key, then what goes together")]
pub(super) fn place(
    file: &File<'_>,
    config: &mut Config,
    key: &Key<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let name = key.get_ref().as_ref();
    let (section, table) = named(file, "place", key, value)?;
    let mut place = Place::default();
    let (mut command, mut via, mut slurm, mut is_slurm) =
        (Vec::new(), None, Slurm::default(), false);
    for (key, value) in table {
        let name = format!("{section}.{}", key.get_ref());
        let text = |value: &Value<'_>, expected: &str| {
            let text = value.get_ref().as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| file.bad_value(&name, value, expected))
        };
        let argv = || -> Result<Vec<String>, ConfigError> {
            let expected = "a program and its arguments such as [\"ssh\", \"build\", \"meanwhile\", \"serve\"]";
            file.list(&name, value, expected)?.iter().map(|word| text(word, "a word")).collect()
        };
        match key.get_ref().as_ref() {
            "kind" => {
                is_slurm = match value.get_ref().as_str() {
                    Some("command") => false,
                    Some("slurm") => true,
                    _ => return Err(file.bad_value(&name, value, "\"command\" or \"slurm\"")),
                };
            }
            "command" => command = argv()?,
            "via" => via = Some(text(value, "the name of another place")?),
            "shared" => {
                let expected =
                    "an absolute directory that the nodes see, too, as \"/scratch/you/meanwhile\"";
                let there = text(value, expected)?;
                if !there.starts_with('/') {
                    return Err(file.bad_value(&name, value, expected));
                }
                slurm.shared = there.into();
            }
            "options" => {
                let expected =
                    "options of sbatch such as [\"--partition=gpu\", \"--time=8:00:00\"]";
                let options = file.list(&name, value, expected)?;
                slurm.options =
                    options.iter().map(|it| text(it, "an option")).collect::<Result<_, _>>()?;
                sbatch::check(&slurm.options)
                    .map_err(|why| file.bad(value.span().start, format_args!("`{name}`: {why}")))?;
            }
            "before" => place.before = argv()?,
            "check" => match value.get_ref().as_str() {
                Some("git") => place.check = Some(Check::Git),
                _ => return Err(file.bad_value(&name, value, "\"git\"")),
            },
            "workspace" => {
                let expected = "a directory there, as \"/srv/app\" or \"~/src/app\"";
                let there = text(value, expected)?;
                if !(there.starts_with('/') || there == "~" || there.starts_with("~/")) {
                    return Err(file.bad_value(&name, value, expected));
                }
                place.workspace = Some(there);
            }
            _ => {
                let expected = "`kind`, `command`, `via`, `shared`, `options`, `workspace`, `before` or `check`";
                return Err(file.unknown(key, &section, expected));
            }
        }
    }
    let bad = |text: &str| Err(file.bad(key.span().start, format_args!("`{section}`: {text}")));
    let is_set = !slurm.shared.as_os_str().is_empty() || !slurm.options.is_empty();
    place.kind = match (is_slurm, command.is_empty(), via) {
        (true, true, None) if slurm.shared.as_os_str().is_empty() => {
            return bad(
                "`shared` is missing: expected a directory that this machine and the nodes see",
            );
        }
        (true, true, None) => PlaceKind::Slurm(slurm),
        (true, ..) => {
            return bad(
                "a place of kind \"slurm\" has no `command` and no `via`; for a place that is reached `via` \
                        another one, leave out `kind`",
            );
        }
        (false, ..) if is_set => {
            return bad("`shared` and `options` belong to a place of kind \"slurm\"");
        }
        (false, false, Some(_)) => {
            return bad("it has `command` and `via`: expected only one of them");
        }
        (false, true, Some(via)) => PlaceKind::Via(via),
        (false, false, None) => PlaceKind::Command(command),
        (false, true, None) => {
            return bad(
                "`command` is missing: expected the program whose standard input and output are a `meanwhile serve` \
                 there",
            );
        }
    };
    config.store.places.insert(name.to_owned(), place);
    Ok(())
}

/// Parses a list of starts of commands, each as after `bash` in a rule.
fn commands(file: &File<'_>, name: &str, value: &Value<'_>) -> Result<Vec<Rule>, ConfigError> {
    let expected = "a list of commands such as [\"cargo build\", \"npm test\"]";
    let mut rules = Vec::new();
    for command in file.list(name, value, expected)? {
        let text = command.get_ref().as_str().filter(|text| !text.trim().is_empty());
        let text =
            text.ok_or_else(|| file.bad_value(name, command, "a command such as \"cargo build\""))?;
        let rule = Rule::with_effect(Effect::Deny, &format!("bash {text}"))
            .map_err(|error| file.bad(command.span().start, format_args!("`{name}`: {error}")))?;
        rules.push(rule);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use meanwhile_core::agent::provider::Secret;

    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Config {
        parse(Path::new("/c"), text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_full_file_sets_everything_about_the_agent() {
        let config = read(
            "[agent]\nyield_after = \"30s\"\nresult_bytes = \"32KiB\"\ncalls_per_turn = 7\n\
             wakes_per_hour = 0\nwake = \"queue\"\nlinger = \"2h\"\nanswer_tokens = 8_000\n\
             [model]\nmodel = \"anthropic/m\"\nanthropic_api_key = \" k1 \"\n\
             anthropic_auth_token = \"k2\"\nanthropic_base_url = \"http://h\"\n\
             anthropic_version = \"v\"\nopenai_api_key = \"k3\"\n\
             openai_base_url = \"https://h/v1\"\n\
             [permissions]\nallow = [\"bash npm test\", \"write src\"]\n\
             ask = [\"bash git push\"]\ndeny = [\n  \"read ~/.ssh\",\n  \"*\",\n]\n",
        );
        let agent = &config.agent;
        assert_eq!(agent.tools.yield_after, Duration::from_secs(30));
        assert_eq!(agent.tools.result_bytes, 32 << 10);
        assert_eq!((agent.calls_per_turn, agent.wakes_per_hour), (7, 0));
        assert_eq!(agent.wake, Wake::Queue);
        assert_eq!(agent.linger, Some(Duration::from_secs(7_200)));
        assert_eq!(agent.answer_tokens, Some(8_000));
        let model = &config.model;
        assert_eq!(model.model.as_deref(), Some("anthropic/m"));
        for (variable, value) in [
            ("ANTHROPIC_API_KEY", "k1"),
            ("ANTHROPIC_AUTH_TOKEN", "k2"),
            ("ANTHROPIC_BASE_URL", "http://h"),
            ("ANTHROPIC_VERSION", "v"),
            ("OPENAI_API_KEY", "k3"),
            ("OPENAI_BASE_URL", "https://h/v1"),
        ] {
            assert_eq!(model.value(variable), Some(&Secret::new(value)), "{variable}");
        }
        let rules: Vec<String> = config.rules.iter().map(Rule::to_string).collect();
        assert_eq!(
            rules,
            [
                "allow bash npm test",
                "allow write src",
                "ask bash git push",
                "deny read ~/.ssh",
                "deny *"
            ]
        );
        let text = "[agent]\nlinger = \"forever\"\nwake = \"on\"\nyield_after = \"0s\"\n";
        assert_eq!(read(text).agent.linger, None);
    }

    #[test]
    fn a_place_is_a_command_a_cluster_or_another_place_s() {
        let text = "[places.gpu]\nkind = \"slurm\"\nshared = \"/scratch\"\noptions = [\"--nice\"]\n\
                    [places.big]\nvia = \"login\"\n[places.login]\ncommand = [\"ssh\", \"login\"]\n";
        let places = read(text).store.places;
        let kind = |name: &str| places[name].kind.clone();
        let slurm = Slurm { shared: "/scratch".into(), options: vec!["--nice".to_owned()] };
        assert_eq!(kind("gpu"), PlaceKind::Slurm(slurm));
        assert_eq!(kind("big"), PlaceKind::Via("login".to_owned()));
        assert_eq!(kind("login"), PlaceKind::Command(vec!["ssh".to_owned(), "login".to_owned()]));
        let refused = |lines: &str, part: &str| {
            let text = format!("[places.gpu]\n{lines}\n");
            let error = parse(Path::new("/c"), &text).expect_err(&text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        };
        refused("", "`command` is missing");
        refused("kind = \"pbs\"", "expected \"command\" or \"slurm\"");
        refused("kind = \"slurm\"", "`shared` is missing");
        refused("kind = \"slurm\"\nshared = \"scratch\"", "expected an absolute directory");
        refused("kind = \"slurm\"\nshared = \"/s\"\nvia = \"login\"", "no `via`");
        refused(
            "kind = \"slurm\"\noptions = [\"--array=1-3\"]",
            "`places.gpu.options`: `--array=1-3`",
        );
        refused("command = [\"ssh\"]\nvia = \"login\"", "expected only one of them");
        refused("command = [\"ssh\"]\nshared = \"/s\"", "belong to a place of kind \"slurm\"");
    }

    #[test]
    fn a_complaint_names_its_place() {
        let check = |text: &str, expected: &str| {
            let error = parse(Path::new("/c"), text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        };
        check(
            "[agent]\nyield_after = 10\n",
            "/c:2: `agent.yield_after`: expected a time such as \"7d\" or \"12h\", found `10`",
        );
        check(
            "[agent]\nresult_bytes = 100\n",
            "/c:2: `agent.result_bytes`: expected a size from \"1KiB\" to \"1MiB\", found `100`",
        );
        check("[agent]\nresult_bytes = \"2MiB\"\n", "/c:2: `agent.result_bytes`: expected a size");
        check(
            "[agent]\ncalls_per_turn = 0\n",
            "/c:2: `agent.calls_per_turn`: expected a whole number from 1 to 4294967295, found `0`",
        );
        check(
            "[agent]\nwakes_per_hour = 1.5\n",
            "/c:2: `agent.wakes_per_hour`: expected a whole number from 0",
        );
        check(
            "[agent]\nwake = true\n",
            "/c:2: `agent.wake`: expected \"on\" or \"queue\", found `true`",
        );
        check(
            "[agent]\nlinger = \"never\"\n",
            "/c:2: `agent.linger`: expected a time such as \"1h\", or \"forever\", found `\"never\"`",
        );
        check("[agent]\nyield = 1\n", "/c:2: unknown key `agent.yield`: expected `yield_after`");
        check(
            "[permissions]\nallow = \"bash ls\"\n",
            "/c:2: `permissions.allow`: expected a list of rules such as [\"bash git status\", \
             \"write src\"], found `\"bash ls\"`",
        );
        check(
            "[permissions]\nallow = [\n  \"bash ls\",\n  5,\n]\n",
            "/c:4: `permissions.allow`: expected a rule such as \"bash ls\", found `5`",
        );
        check(
            "[permissions]\ndeny = [\n  \"bash ls\",\n  \"git status\",\n]\n",
            "/c:4: `permissions.deny`: unknown tool `git`: expected `*`, `read`",
        );
        check(
            "[permissions]\nallow = [\"allow bash ls\"]\n",
            "/c:2: `permissions.allow`: unknown tool `allow`",
        );
        check(
            "[permissions]\nnever = []\n",
            "/c:2: unknown key `permissions.never`: expected `allow`, `ask` or `deny`",
        );
    }

    #[test]
    fn no_complaint_and_no_debug_text_shows_a_key() {
        for (text, expected) in [
            ("model = \"sk-secret\"", "/c:1: `model`: expected a section, `[model]`"),
            (
                "[model]\nmodel = \"sk-secret\"",
                "/c:2: `model.model`: expected \"anthropic/NAME\", \"openai/NAME\", \
                 \"openai-responses/NAME\" or \"script/PATH\"",
            ),
            (
                "[model]\nanthropic_api_key = [\"sk-secret\"]",
                "/c:2: `model.anthropic_api_key`: expected the key, in quotes",
            ),
            ("[model]\nopenai_api_key = \" \"", "/c:2: `model.openai_api_key`: expected the key"),
            (
                "[model]\nopenai_base_url = \"sk-secret\"",
                "/c:2: `model.openai_base_url`: expected a base URL, \"http://HOST",
            ),
            (
                "[model]\nopenai_key = \"sk-secret\"",
                "/c:2: unknown key `model.openai_key`: expected `model`, `anthropic_api_key`",
            ),
            ("[model]\nopenai_api_key = sk-secret", "/c:2: "),
            ("[model]\nopenai_api_key = 'sk-secret", "/c:2: "),
            ("[model]\nopenai_api_key = 'sk-secret' 'x'", "/c:2: "),
            ("[model]\nopenai_api_key = 'sk-secret'\nopenai_api_key = 'sk-secret'", "/c:3: "),
        ] {
            let error = parse(Path::new("/c"), text).expect_err(text);
            let (shown, debug) = (error.to_string(), format!("{error:?}"));
            assert!(shown.starts_with(expected), "{text:?}: {shown}");
            assert!(
                !shown.contains("sk-secret") && !debug.contains("sk-secret"),
                "{shown} {debug}"
            );
        }
        let config = read("[model]\nopenai_api_key = \"sk-secret\"\n");
        assert!(!format!("{config:?}").contains("sk-secret"));
    }
}
