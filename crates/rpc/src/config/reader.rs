//! Parses values of the settings file; an error names their position.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use meanwhile_core::limits;
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::ConfigError;

/// A value with its position in the file.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The file that is being parsed, for the positions in errors.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl File<'_> {
    pub(super) fn bad(&self, offset: usize, message: fmt::Arguments<'_>) -> ConfigError {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        ConfigError::Bad {
            path: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            message: message.to_string(),
        }
    }

    pub(super) fn bad_value(&self, key: &str, value: &Value<'_>, expected: &str) -> ConfigError {
        let span = value.span();
        let found = self.text.get(span.clone()).unwrap_or_default();
        let found: String = found.lines().next().unwrap_or_default().chars().take(60).collect();
        self.bad(span.start, format_args!("`{key}`: expected {expected}, found `{found}`"))
    }

    /// An error that does not show the value, because it may be a secret.
    pub(super) fn bad_secret(&self, key: &str, value: &Value<'_>, expected: &str) -> ConfigError {
        self.bad(value.span().start, format_args!("`{key}`: expected {expected}"))
    }

    pub(super) fn unknown(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        section: &str,
        expected: &str,
    ) -> ConfigError {
        let name = key.get_ref();
        self.bad(
            key.span().start,
            format_args!("unknown key `{section}.{name}`: expected {expected}"),
        )
    }

    /// Parses a number of bytes.
    pub(super) fn size(&self, name: &str, value: &Value<'_>) -> Result<u64, ConfigError> {
        let expected = "a size such as \"2GiB\" or a number of bytes";
        value
            .get_ref()
            .as_str()
            .and_then(|text| parse_size(text).ok())
            .or_else(|| whole_number(value))
            .ok_or_else(|| self.bad_value(name, value, expected))
    }

    pub(super) fn time(&self, name: &str, value: &Value<'_>) -> Result<Duration, ConfigError> {
        let expected = "a time such as \"7d\" or \"12h\"";
        let time = value.get_ref().as_str().and_then(|text| parse_duration(text).ok());
        time.ok_or_else(|| self.bad_value(name, value, expected))
    }

    pub(super) fn count(
        &self,
        name: &str,
        value: &Value<'_>,
        least: u32,
    ) -> Result<u32, ConfigError> {
        whole_number(value)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number >= least)
            .ok_or_else(|| {
                let expected = format!("a whole number from {least} to {}", u32::MAX);
                self.bad_value(name, value, &expected)
            })
    }

    pub(super) fn list<'a>(
        &self,
        name: &str,
        value: &'a Value<'a>,
        expected: &str,
    ) -> Result<&'a DeArray<'a>, ConfigError> {
        value.get_ref().as_array().ok_or_else(|| self.bad_value(name, value, expected))
    }
}

fn whole_number(value: &Value<'_>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Parses a time such as `90s`, `10m`, `1h30m` or `7d`. A number without a unit is refused, because some readers
/// would mean seconds and others milliseconds.
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

/// Parses a size such as `512KiB`, `2GiB`, `10MB` or `4096`. `KB` is 1 000 bytes, and `KiB` (or just `K`) is 1 024.
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
