//! The user's settings.
//!
//! Owns the meaning of `config.toml` (docs/settings.md). It never writes the file, and never reads a file of a
//! workspace: a checked-out repository must not change what this program stores and where, which model it uses or
//! what the model may do. The file is not parsed through `serde`, so that every error can name the file, the line,
//! the key and what was expected, and so that no error shows a secret.

mod reader;
mod sections;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use meanwhile_core::agent::permission::Rule;
use meanwhile_core::agent::{ModelChoice, session};
use meanwhile_core::background;
use meanwhile_core::background::words::reason;
use toml::de::DeTable;

use self::reader::File;
pub(crate) use self::reader::{parse_duration, parse_size};

/// The maximum number of bytes of the file. One with all settings has less than two thousand.
const CONFIG_BYTES: u64 = 1 << 20;

/// All settings of this user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// The section `[store]`: retention and size.
    pub(crate) store: background::Settings,
    /// The section `[agent]`: how sessions behave.
    pub(crate) agent: session::Policy,
    /// The section `[model]`; the environment takes precedence.
    pub(crate) model: ModelChoice,
    /// The section `[permissions]`: the rules for tool calls.
    pub(crate) rules: Vec<Rule>,
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The path of the file is unknown.
    #[error("cannot find the settings: there is no home directory")]
    NoHome,
    /// The file exists and cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The reason from the system.
        reason: String,
    },
    /// The file contains an error.
    #[error("{}:{line}: {message}", path.display())]
    Bad {
        /// The path of the file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The key, what is wrong with its value, and what was expected.
        message: String,
    },
}

/// Loads the settings of this user from `$XDG_CONFIG_HOME/meanwhile/config.toml`; the defaults if the file does not
/// exist.
pub(crate) fn load() -> Result<Config, ConfigError> {
    let path = config_file()?;
    match read(&path) {
        Ok(text) => parse(&path, &text),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Config::default())
        }
        Err(error) => Err(ConfigError::Unreadable { path, reason: reason(&error) }),
    }
}

/// Reads a small regular file. Opening a FIFO would block until it has a writer, and a device may be endless.
fn read(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > CONFIG_BYTES {
        let text = format!("it has {} bytes; the limit is {CONFIG_BYTES}", metadata.len());
        return Err(io::Error::other(text));
    }
    io::read_to_string(file.take(CONFIG_BYTES))
}

/// The path of the settings file, whether the file exists or not.
pub(crate) fn config_file() -> Result<PathBuf, ConfigError> {
    file(&|name| std::env::var_os(name))
}

/// Follows the XDG Base Directory Specification: a relative path in a variable is ignored.
fn file(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("meanwhile").join("config.toml"))
        .ok_or(ConfigError::NoHome)
}

const SECTIONS: &str = "the section `[agent]`, `[model]`, `[permissions]`, `[places.NAME]`, `[slots.NAME]` or `[store]`";

fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file = File { path, text };
    let root = DeTable::parse(text).map_err(|error| {
        let first = error.message().lines().next().unwrap_or("not TOML").to_lowercase();
        file.bad(error.span().map_or(0, |span| span.start), format_args!("{first}"))
    })?;
    let mut config = Config::default();
    for (section, value) in root.get_ref() {
        let name = section.get_ref().as_ref();
        let read = match name {
            "agent" => sections::agent,
            "model" => sections::model,
            "permissions" => sections::permissions,
            "places" => sections::place,
            "slots" => sections::slot,
            "store" => sections::store,
            other => {
                return Err(file.bad(
                    section.span().start,
                    format_args!("unknown key `{other}`: expected {SECTIONS}"),
                ));
            }
        };
        let Some(table) = value.get_ref().as_table() else {
            // The value may be a secret, so the error does not show it.
            return Err(file.bad_secret(name, value, &format!("a section, `[{name}]`")));
        };
        for (key, value) in table {
            read(&file, &mut config, key, value)?;
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_file_sets_everything() {
        let text = "# mine\n[store]\nkeep_for = \"36h\"\nkeep_count = 1_000\nquota = \"3GiB\"\n\
                    output_head = 4096\noutput_tail = \"1MB\"\nsync = true\n";
        let store = parse(Path::new("/c"), text).expect("every key is right").store;
        assert_eq!(
            store,
            background::Settings {
                keep_for: Duration::from_secs(36 * 3_600),
                // TOML allows underscores between digits.
                keep_count: 1_000,
                quota: 3 << 30,
                output_head: 4_096,
                output_tail: 1_000_000,
                sync: true,
                slots: Vec::new(),
                places: Default::default(),
            }
        );
    }

    #[test]
    fn nothing_set_is_the_default() {
        for text in ["", "# nothing\n", "[store]\n", "[agent]\n[model]\n[permissions]\n"] {
            let config = parse(Path::new("/c"), text).expect("it is right");
            assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()), "{text:?}");
        }
    }

    #[test]
    fn a_complaint_names_file_line_key_and_what_was_expected() {
        let check = |text: &str, expected: &str| {
            let error = parse(Path::new("/etc/c.toml"), text).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text:?}");
        };
        check(
            "[store]\nkeep_for = 7\n",
            "/etc/c.toml:2: `store.keep_for`: expected a time such as \"7d\" or \"12h\", found `7`",
        );
        check(
            "[store]\n\nkeep_count = -1\n",
            "/etc/c.toml:3: `store.keep_count`: expected a whole number from 0 to 4294967295, \
             found `-1`",
        );
        check(
            "[store]\nquota = \"2 potatoes\"\n",
            "/etc/c.toml:2: `store.quota`: expected a size such as \"2GiB\" or a number of bytes, \
             found `\"2 potatoes\"`",
        );
        check(
            "[store]\nsync = \"yes\"\n",
            "/etc/c.toml:2: `store.sync`: expected true or false, found `\"yes\"`",
        );
        check(
            "[store]\nsync = true\nkeepfor = \"1d\"\n",
            "/etc/c.toml:3: unknown key `store.keepfor`: expected `keep_for`, `keep_count`, \
             `quota`, `output_head`, `output_tail` or `sync`",
        );
        check(
            "\n[stores]\n",
            "/etc/c.toml:2: unknown key `stores`: expected the section `[agent]`, `[model]`, \
             `[permissions]`, `[places.NAME]`, `[slots.NAME]` or `[store]`",
        );
        check(
            "[slots.build]\nlimit = 0\n",
            "/etc/c.toml:2: `slots.build.limit`: expected a whole number from 1 to 4294967295, \
             found `0`",
        );
        check(
            "[slots.\"a b\"]\n",
            "/etc/c.toml:1: `slots.a b`: not a name for a slot: expected 1 to 64 letters, \
             digits, `-` or `_`",
        );
        check(
            "[slots]\nbuild = 2\n",
            "/etc/c.toml:2: `slots.build`: expected a section, `[slots.build]`, found `2`",
        );
        check(
            "[slots.build]\nmatch = [\"\"]\n",
            "/etc/c.toml:2: `slots.build.match`: expected a command such as \"cargo build\", \
             found `\"\"`",
        );
        check(
            "[slots.build]\nroom = 1\n",
            "/etc/c.toml:2: unknown key `slots.build.room`: expected `limit` or `match`",
        );
        check("store = 1\n", "/etc/c.toml:1: `store`: expected a section, `[store]`");
    }

    #[test]
    fn the_examples_of_the_documentation_can_be_used() {
        let page = include_str!("../../../docs/settings.md");
        let examples: Vec<_> = page
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("```").map(|(example, _)| example))
            .collect();
        assert_eq!(examples.len(), 3, "the page was read");
        for example in examples {
            assert!(parse(Path::new("/c"), example).is_ok(), "{example}");
        }
    }

    #[test]
    fn only_a_small_regular_file_is_read() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let check = |path: &Path, expected: Result<&str, &str>| {
            let found = read(path).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{path:?}");
        };
        let path = dir.path().join("file");
        std::fs::write(&path, "[store]").expect("it is writable");
        check(&path, Ok("[store]"));
        let large = std::fs::File::create(dir.path().join("large")).expect("it can be made");
        large.set_len(CONFIG_BYTES + 1).expect("it is writable");
        check(&dir.path().join("large"), Err("it has 1048577 bytes; the limit is 1048576"));
        check(Path::new("/dev/zero"), Err("it is not a regular file"));
        check(dir.path(), Err("it is not a regular file"));
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
        check(&fifo, Err("it is not a regular file"));
    }

    #[test]
    fn the_documentation_names_every_variable_of_a_vendor() {
        let page = include_str!("../../../docs/settings.md");
        for variable in meanwhile_core::agent::vendor::variables() {
            let key = format!("| `{}` |", variable.name.to_lowercase());
            assert!(page.contains(&key), "{key} has no row");
        }
        for secret in meanwhile_core::agent::vendor::secret_variables() {
            assert!(page.contains(&format!("`{secret}`")), "{secret} is kept from tasks");
        }
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        let error = parse(Path::new("/c"), "[store]\nsync = = true\n").expect_err("not TOML");
        assert!(error.to_string().starts_with("/c:2: "), "{error}");
    }

    #[test]
    fn the_file_is_looked_for_in_order() {
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let variable = |name: &str| {
                set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
            };
            assert_eq!(file(&variable).ok(), expected.map(PathBuf::from), "{set:?}");
        };
        let (xdg, home) = (("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/a"));
        check(&[xdg, home], Some("/xdg/meanwhile/config.toml"));
        check(&[home], Some("/home/a/.config/meanwhile/config.toml"));
        check(&[("XDG_CONFIG_HOME", "x"), home], Some("/home/a/.config/meanwhile/config.toml"));
        check(&[("HOME", "")], None);
        check(&[], None);
    }
}
