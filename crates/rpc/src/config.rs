//! The settings a person wrote down.
//!
//! Owns the meaning of `config.toml` (contract, section 8). It never writes it, and never reads a file of a workspace: a checked-out repository must not
//! change what this program keeps or where. The file is read by hand rather than through `serde`,
//! so that every complaint can name the file, the line, the key and what was expected.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_core::background::Settings;
use meanwhile_core::limits;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Everything that is set for this user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    /// Section `[store]`.
    pub(crate) store: Settings,
}

/// Why the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Nobody knows where the file would be.
    #[error("cannot tell where the settings are: no home directory")]
    NoHome,
    /// The file is there and cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The file says something that has no meaning here.
    #[error("{}:{line}: {message}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, what is wrong with it, and what was expected.
        message: String,
    },
}

/// The settings of this user: `$XDG_CONFIG_HOME/meanwhile/config.toml`, or the defaults where
/// there is no such file.
pub(crate) fn load() -> Result<Config, ConfigError> {
    let path = config_file()?;
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Config::default())
        }
        Err(error) => Err(ConfigError::Unreadable { path, reason: crate::cli::reason(&error) }),
    }
}

/// The settings file, whether it exists or not.
pub(crate) fn config_file() -> Result<PathBuf, ConfigError> {
    file(&|name| std::env::var_os(name))
}

/// As the XDG Base Directory Specification has it: a relative path in a variable is ignored.
fn file(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("meanwhile").join("config.toml"))
        .ok_or(ConfigError::NoHome)
}

const STORE_KEYS: &str =
    "`keep_for`, `keep_count`, `quota`, `output_head`, `output_tail` or `sync`";

fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file = File { path, text };
    let root = DeTable::parse(text).map_err(|error| {
        let first = error.message().lines().next().unwrap_or("not TOML").to_lowercase();
        file.bad(error.span().map_or(0, |span| span.start), format_args!("{first}"))
    })?;
    let mut config = Config::default();
    for (section, value) in root.get_ref() {
        let table = match (section.get_ref().as_ref(), value.get_ref().as_table()) {
            ("store", Some(table)) => table,
            ("store", None) => {
                return Err(file.bad_value("store", value, "a section, `[store]`"));
            }
            (other, _) => {
                return Err(file.bad(
                    section.span().start,
                    format_args!("unknown key `{other}`: expected the section `[store]`"),
                ));
            }
        };
        for (key, value) in table {
            store_key(&file, &mut config.store, key, value)?;
        }
    }
    Ok(config)
}

fn store_key(
    file: &File<'_>,
    store: &mut Settings,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(), ConfigError> {
    let name = format!("store.{}", key.get_ref());
    match key.get_ref().as_ref() {
        "keep_for" => {
            let expected = "a time such as \"7d\" or \"12h\"";
            store.keep_for = value
                .get_ref()
                .as_str()
                .and_then(|text| parse_duration(text).ok())
                .ok_or_else(|| file.bad_value(&name, value, expected))?;
        }
        "keep_count" => {
            let expected = "a whole number from 0 to 4294967295";
            store.keep_count = whole_number(value)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| file.bad_value(&name, value, expected))?;
        }
        "quota" => store.quota = size(file, &name, value)?,
        "output_head" => store.output_head = size(file, &name, value)?,
        "output_tail" => store.output_tail = size(file, &name, value)?,
        "sync" => {
            store.sync = value
                .get_ref()
                .as_bool()
                .ok_or_else(|| file.bad_value(&name, value, "true or false"))?;
        }
        other => {
            return Err(file.bad(
                key.span().start,
                format_args!("unknown key `store.{other}`: expected {STORE_KEYS}"),
            ));
        }
    }
    Ok(())
}

fn size(file: &File<'_>, name: &str, value: &Spanned<DeValue<'_>>) -> Result<u64, ConfigError> {
    value
        .get_ref()
        .as_str()
        .and_then(|text| parse_size(text).ok())
        .or_else(|| whole_number(value))
        .ok_or_else(|| file.bad_value(name, value, "a size such as \"2GiB\" or a number of bytes"))
}

fn whole_number(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A file that is being read, so that a complaint can name its place.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn bad(&self, offset: usize, message: fmt::Arguments<'_>) -> ConfigError {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        ConfigError::Bad {
            path: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            message: message.to_string(),
        }
    }

    fn bad_value(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> ConfigError {
        let span = value.span();
        let found = self.text.get(span.clone()).unwrap_or_default();
        let found: String = found.lines().next().unwrap_or_default().chars().take(60).collect();
        self.bad(span.start, format_args!("`{key}`: expected {expected}, found `{found}`"))
    }
}

/// Reads a time such as `90s`, `10m`, `1h30m` or `7d`. A bare number is refused: seconds to one
/// reader are milliseconds to the next.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a time such as `90s`, `10m`, `1h30m` or `7d`";
    let time = humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}`: {}; {expected}", first_lower(&error.to_string())))?;
    if time > limits::TIME_MAX {
        return Err(format!(
            "`{text}` is too long: expected at most {} days",
            limits::TIME_MAX.as_secs() / 86_400
        ));
    }
    Ok(time)
}

fn first_lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Reads a size such as `512KiB`, `2GiB`, `10MB` or `4096`. As everywhere but in marketing, `KB`
/// is 1 000 and `KiB` (or a lone `K`) is 1 024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let expected = "expected a size such as `4096`, `512KiB` or `2GiB`";
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a size: {expected}"))?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        unit => return Err(format!("`{text}`: unknown unit `{unit}`; {expected}")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more than a file can hold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_sets_everything() {
        let text = "# mine\n[store]\nkeep_for = \"36h\"\nkeep_count = 1_000\nquota = \"3GiB\"\n\
                    output_head = 4096\noutput_tail = \"1MB\"\nsync = true\n";
        let store = parse(Path::new("/c"), text).expect("every key is right").store;
        assert_eq!(
            store,
            Settings {
                keep_for: Duration::from_secs(36 * 3_600),
                // Underscores are digits' company in TOML.
                keep_count: 1_000,
                quota: 3 << 30,
                output_head: 4_096,
                output_tail: 1_000_000,
                sync: true,
            }
        );
    }

    #[test]
    fn nothing_set_is_the_default() {
        for text in ["", "# nothing\n", "[store]\n"] {
            assert_eq!(parse(Path::new("/c"), text), Ok(Config::default()), "{text:?}");
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
            "/etc/c.toml:2: unknown key `stores`: expected the section `[store]`",
        );
        check("store = 1\n", "/etc/c.toml:1: `store`: expected a section, `[store]`, found `1`");
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

    #[test]
    fn times_need_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            let millis = parse_duration(text).ok().map(|time| time.as_millis() as u64);
            assert_eq!(millis, expected, "{text:?}");
        };
        check("500ms", Some(500));
        check("90s", Some(90_000));
        check(" 10m ", Some(600_000));
        check("1h30m", Some(5_400_000));
        check("1h 30m", Some(5_400_000));
        check("7d", Some(7 * 86_400_000));
        check("0s", Some(0));
        for bad in ["", "10", "-1s", "1.5x", "ten minutes", "9999y", "99999999999999999999s"] {
            check(bad, None);
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal_by_their_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        };
        check("0", Some(0));
        check("4096", Some(4_096));
        check("512KiB", Some(512 << 10));
        check("512k", Some(512 << 10));
        check("2 GiB", Some(2 << 30));
        check("10MB", Some(10_000_000));
        check("1t", Some(1 << 40));
        for bad in ["", "GiB", "-1", "1.5GiB", "2 potatoes", "99999999999999999999", "99999999999t"]
        {
            check(bad, None);
        }
    }
}
