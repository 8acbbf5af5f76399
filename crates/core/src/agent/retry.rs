//! When a failed call is retried, and after which delay.
//!
//! The rules are those of the vendors' own clients: `x-should-retry` is obeyed; without it, 408, 409, 425, 429
//! and every 5xx are retried. `retry-after-ms` and `retry-after` are honoured; without them, the delay starts
//! at half a second and doubles up to eight, with jitter. There are few attempts, because some servers answer
//! 500 to a request that will never succeed. A failed call has had no effect yet (tools run only once the
//! answer is complete), so it can be retried from any point of its stream.

use std::future::Future;
use std::time::{Duration, SystemTime};

use super::failure::{Again, Failure, named_wait, span};
use super::provider::{Delta, Sink, Turn};

/// How many retries, and how long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// How many times a failed call is retried. Default 2.
    pub retries: u32,
    /// The first delay; it doubles with each retry. Default 0.5 s.
    pub backoff: Duration,
    /// The longest delay that the doubling reaches. Default 8 s.
    pub backoff_max: Duration,
    /// The longest delay that a server may ask for. If it asks for more, the call fails at once with an error
    /// that says so, instead of an hour without progress. Default 60 s.
    pub retry_after_max: Duration,
    /// Timeout for connecting. Default 10 s.
    pub connect: Duration,
    /// Timeout for the first byte of an answer. Default 10 min: a local server loads the model and reads the
    /// whole prompt before it sends anything.
    pub first_byte: Duration,
    /// How long the server may send nothing during an answer; pings and comments count as data. Default 2 min.
    pub stall: Duration,
    /// Timeout for one whole attempt. Default 1 h.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 2,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(8),
            retry_after_max: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(600),
            stall: Duration::from_secs(120),
            whole: Duration::from_secs(3_600),
        }
    }
}

/// A call that can be made any number of times.
pub(crate) trait Attempt: Send {
    /// Makes the call once.
    fn attempt(&mut self, sink: &Sink) -> impl Future<Output = Result<Turn, Failure>> + Send;
}

/// Makes a call, and retries it where that makes sense.
pub(crate) async fn persist(
    mut call: impl Attempt,
    patience: &Patience,
    sink: &Sink,
) -> Result<Turn, Failure> {
    let mut attempts = 1;
    loop {
        let mut failure = match call.attempt(sink).await {
            Ok(turn) => return Ok(turn),
            Err(failure) => failure,
        };
        failure.attempts = attempts;
        if attempts > patience.retries {
            return Err(failure);
        }
        let delay = match failure.again {
            Again::Never | Again::Plainer => return Err(failure),
            Again::Later => backoff(patience, attempts, random()),
            Again::After(delay) if delay > patience.retry_after_max => {
                let seconds = delay.as_secs();
                return Err(failure.hint(format!("the server asks to wait {seconds} s")));
            }
            Again::After(delay) => delay,
        };
        tracing::warn!(attempt = attempts, ?delay, "model call failed: {}", failure.message);
        let why = failure.message;
        sink.send(Delta::Retrying { attempt: attempts + 1, delay, why }).await;
        tokio::time::sleep(delay).await;
        attempts += 1;
    }
}

/// Whether a status is worth a retry, as the server says or by the rule.
pub(crate) fn judge<'h>(
    status: u16,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &str,
    now: SystemTime,
) -> Again {
    let again = match header("x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => matches!(status, 408 | 409 | 425 | 429 | 500..=599),
    };
    let seconds = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    };
    let after = || {
        let millis = header("retry-after-ms").and_then(|text| seconds(text).map(|s| s / 1_000));
        millis.or_else(|| {
            let text = header("retry-after")?;
            seconds(text).or_else(|| {
                let date = httpdate::parse_http_date(text.trim()).ok()?;
                Some(date.duration_since(now).unwrap_or_default())
            })
        })
    };
    let after = || {
        let limits = || matches!(status, 429 | 503).then(|| reset(&header, now)).flatten();
        after().or_else(|| named_wait(body)).or_else(limits)
    };
    match (again, after()) {
        (false, _) => Again::Never,
        (true, None) => Again::Later,
        (true, Some(delay)) => Again::After(delay),
    }
}

/// When the exhausted limit resets, from `x-ratelimit-reset-requests` and similar headers: `6m0s`, seconds, or
/// seconds since 1970. Limits with nothing remaining take precedence.
fn reset<'h>(header: &impl Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Duration> {
    const LIMITS: [&str; 6] =
        ["requests", "tokens", "input-tokens", "output-tokens", "requests-day", "tokens-minute"];
    let wait = |text: &str| {
        if let Ok(date) = httpdate::parse_http_date(text.trim()) {
            return Some(date.duration_since(now).unwrap_or_default());
        }
        let span = span(text)?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        // Some servers count milliseconds.
        let span = if span / 100 > since { span / 1_000 } else { span };
        // A number this large is a point in time, not a duration.
        Some(if span > since / 2 { span.saturating_sub(since) } else { span })
    };
    let plain = header("x-ratelimit-reset").and_then(wait);
    let waits = LIMITS.iter().filter_map(|limit| {
        let wait = wait(header(&format!("x-ratelimit-reset-{limit}"))?)?;
        let remaining = header(&format!("x-ratelimit-remaining-{limit}"));
        Some((remaining.is_some_and(|left| left.trim() == "0"), wait))
    });
    let waits: Vec<_> = waits.collect();
    let spent = waits.iter().filter(|(is_spent, _)| *is_spent).map(|(_, wait)| *wait).max();
    spent.or_else(|| waits.iter().map(|(_, wait)| *wait).max()).or(plain)
}

/// The delay after failed attempt number `attempt` (from 1); `random` = 1 shortens it by a quarter.
fn backoff(patience: &Patience, attempt: u32, random: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(20));
    let full = patience.backoff.saturating_mul(doubled).min(patience.backoff_max);
    full.mul_f64(1.0 - 0.25 * random)
}

/// A number from 0 to 1, so that clients that failed together do not retry together. A random id supplies the
/// bits: a generator would be a dependency for one number.
fn random() -> f64 {
    let (bits, ..) = uuid::Uuid::new_v4().as_fields();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_its_headers_say_whether_and_when() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 08:00:00 GMT").unwrap();
        let check = |status, headers: &[(&str, &str)], want| {
            let header = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1);
            assert_eq!(judge(status, header, "", now), want, "{status} {headers:?}");
        };
        let after = |millis| Again::After(Duration::from_millis(millis));
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
            check(status, &[], Again::Later);
        }
        for status in [400, 401, 403, 404, 413, 422] {
            check(status, &[], Again::Never);
        }
        check(400, &[("x-should-retry", "true")], Again::Later);
        check(529, &[("x-should-retry", "false"), ("retry-after", "1")], Again::Never);
        check(529, &[("x-should-retry", "maybe")], Again::Later);
        check(429, &[("retry-after", "7")], after(7_000));
        check(429, &[("retry-after", " 0.5 ")], after(500));
        check(429, &[("retry-after", "7"), ("retry-after-ms", "20")], after(20));
        check(429, &[("retry-after", "7"), ("retry-after-ms", "x")], after(7_000));
        check(429, &[("retry-after", "Sun, 22 Nov 2026 08:00:09 GMT")], after(9_000));
        check(429, &[("retry-after", "Sun, 22 Nov 2026 07:00:00 GMT")], after(0));
        let resets = |requests: &'static str, tokens: &'static str| {
            [("x-ratelimit-reset-requests", requests), ("x-ratelimit-reset-tokens", tokens)]
        };
        check(429, &resets("1s", "6m0s"), after(360_000));
        let spent = [("x-ratelimit-remaining-requests", "0")];
        check(429, &[&resets("12ms", "9s")[..], &spent].concat(), after(12));
        check(429, &[("x-ratelimit-reset", "1795334405")], after(5_000));
        check(500, &resets("1s", "1s"), Again::Later);
        check(429, &[("retry-after", "7"), ("x-ratelimit-reset-tokens", "1s")], after(7_000));
        let body = |body| judge(429, |_| None, body, now);
        assert_eq!(body(r#"{"retryDelay": "4s"}"#), after(4_000));
        for nonsense in ["-1", "NaN", "inf", "1e300", "soon", ""] {
            check(429, &[("retry-after", nonsense)], Again::Later);
        }
    }

    #[test]
    fn delays_double_up_to_eight_seconds_and_jitter_only_shortens() {
        let patience = Patience::default();
        let millis = |attempt, random| backoff(&patience, attempt, random).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6].map(|n| millis(n, 0.0)), [500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!([1, 5, 4_000_000_000].map(|n| millis(n, 1.0)), [375, 6000, 6000]);
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&random()));
        }
    }
}
