//! Signals by name, as the protocol names them.

use nix::sys::signal::Signal;

pub(crate) use meanwhile_core::background::words::signal as name;

/// The number of the signal with this name, with or without `SIG`.
pub(crate) fn number(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(rest) = bare.strip_prefix("RTMIN") {
        let n = match rest.strip_prefix('+') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            None if rest.is_empty() => 0,
            Some(_) | None => return None,
        };
        return libc::SIGRTMIN().checked_add(n).filter(|number| *number <= libc::SIGRTMAX());
    }
    format!("SIG{bare}").parse::<Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(number(text).map(name).as_deref(), expect, "{text}");
    }

    #[test]
    fn names_and_numbers_agree() {
        for signal in Signal::iterator() {
            check(signal.as_str(), Some(signal.as_str()));
        }
        check("TERM", Some("SIGTERM"));
        check("SIGRTMIN", Some("SIGRTMIN"));
        check("RTMIN+3", Some("SIGRTMIN+3"));
    }

    #[test]
    fn what_is_not_a_signal_has_no_number() {
        for bad in ["", "SIG", "sigterm", "SIGSIGTERM", "SIGFOO", "15", "SIGRTMIN+", "SIGRTMIN+-1"]
        {
            check(bad, None);
        }
        check("SIGRTMIN+1000", None);
        check("SIGRTMIN+99999999999", None);
        assert_eq!(name(999), "signal 999");
    }
}
