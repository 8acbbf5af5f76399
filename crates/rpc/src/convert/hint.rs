//! Advice for people about errors of the core. It names settings and commands of this program, which the core does
//! not know.
//!
//! The wire appends it to the message; the command line prints it on a separate line.

use meanwhile_core::agent::{NoModel, choice, session, vendor};
use meanwhile_core::{Error, Limit, StoreFaultKind};

/// Advice about an error of the background manager.
pub(crate) fn core(error: &Error) -> Option<&'static str> {
    match error {
        Error::UnknownTask(_) => Some("`task/check` without an id lists them"),
        Error::LimitReached { limit, .. } => Some(match limit {
            Limit::OpenFiles => "raise `ulimit -n` or wait for tasks to end",
            Limit::Processes => "raise `ulimit -u`, free memory, or wait for tasks to end",
            Limit::Threads => "raise `ulimit -u` or end other programs",
            Limit::RunningTasks => "stop some or wait",
            Limit::StoreQuota => "stop some, remove some, or raise `store.quota`",
        }),
        Error::StoreUnavailable(fault) => store(fault.kind),
        Error::CannotConfine(_) => Some("run it without `confine`, or see `meanwhile doctor`"),
        Error::Invalid { .. } | Error::SpawnFailed { .. } | Error::NotRunning { .. } => None,
    }
}

/// Advice about a state directory that cannot be used.
fn store(kind: StoreFaultKind) -> Option<&'static str> {
    Some(match kind {
        StoreFaultKind::LittleSpace => "free some space there",
        StoreFaultKind::LedgerFull => {
            "free some space there: running tasks go on, and are reported afterwards"
        }
        StoreFaultKind::NotWritable => {
            "make it writable, or set MEANWHILE_STATE_DIR to a directory that is"
        }
        StoreFaultKind::Foreign => {
            "run it as that user, or set MEANWHILE_STATE_DIR to a directory of your own"
        }
        StoreFaultKind::ReadOnly => {
            "make the state directory writable, or set MEANWHILE_STATE_DIR to one that is"
        }
        StoreFaultKind::Inaccessible => {
            "make it accessible, or set MEANWHILE_STATE_DIR to another directory"
        }
        StoreFaultKind::Locked => "try again; if it stays locked, end that process",
        StoreFaultKind::Newer => {
            "update meanwhile, or set MEANWHILE_STATE_DIR to another directory"
        }
        StoreFaultKind::Damaged => {
            "move `meanwhile.db` in the state directory away and start again"
        }
        StoreFaultKind::Closed => "start it again",
        StoreFaultKind::System => "check it with `meanwhile doctor`",
        StoreFaultKind::Other => return None,
    })
}

/// Advice for a client about an error of a session.
pub(crate) fn session(error: &session::Error) -> Option<&'static str> {
    match error {
        session::Error::Unknown(_) => Some("`session/list` lists the sessions"),
        session::Error::Busy { .. } => Some("close it there"),
        session::Error::Closed(_) => Some("load it again"),
        session::Error::EmptyPrompt => None,
        session::Error::Core(error) => core(error),
    }
}

/// What the advice about a missing model adds.
pub(crate) const WITHOUT_MODEL: &str = "`meanwhile demo` and background tasks work without a model";

/// Advice for when there is no model to use.
pub(crate) fn model(error: &NoModel) -> Option<String> {
    match error {
        NoModel::NotChosen(_) => {
            let with_key = vendor::VENDORS
                .iter()
                .map(|vendor| format!("`{}/NAME` with {}", vendor.prefix, vendor.key_variable()));
            let with_key: Vec<_> = with_key.collect();
            Some(format!(
                "set {} to {}, or {} for a server of your own, or start Ollama",
                vendor::MODEL,
                with_key.join(", or to "),
                choice::own_server().url.name,
            ))
        }
        NoModel::NoKey { vendor, .. } => Some(format!(
            "set {}, or {} for a server without one",
            vendor.key_variable(),
            vendor.url.name
        )),
        NoModel::BadSetting(_) | NoModel::Http { .. } | NoModel::Script(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use meanwhile_core::agent::ModelChoice;
    use meanwhile_core::agent::retry::Patience;
    use meanwhile_core::{Error, StoreFaultKind};

    use super::super::error;

    #[test]
    fn a_store_that_cannot_be_used_says_what_to_do() {
        for (kind, advice) in [
            (StoreFaultKind::LedgerFull, "free some space"),
            (StoreFaultKind::LittleSpace, "free some space"),
            (StoreFaultKind::Newer, "update meanwhile"),
            (StoreFaultKind::ReadOnly, "MEANWHILE_STATE_DIR"),
            (StoreFaultKind::NotWritable, "MEANWHILE_STATE_DIR"),
            (StoreFaultKind::Foreign, "as that user"),
            (StoreFaultKind::System, "meanwhile doctor"),
        ] {
            let message = error::from_core(&Error::unavailable(kind, "x")).message;
            assert!(message.starts_with("store unavailable: x; "), "{message}");
            assert!(message.contains(advice), "{message}");
        }
    }

    #[tokio::test]
    async fn without_a_model_the_error_says_what_to_set() {
        let check = async |set: &[(&str, &str)], expected: &str| {
            let choice = ModelChoice::from_env(|name| {
                set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned())
            });
            let why = choice.provider(Patience::default(), &[]).await.unwrap_err();
            assert_eq!(error::no_model(&why).message, expected);
        };
        check(
            &[],
            "no model: nothing is set; set MEANWHILE_MODEL to `anthropic/NAME` with \
             ANTHROPIC_API_KEY, or to `openai/NAME` with OPENAI_API_KEY, or to `openai-responses/NAME` \
             with OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own, or start Ollama; \
             `meanwhile demo` and background tasks work without a model",
        )
        .await;
        check(
            &[("MEANWHILE_MODEL", "anthropic/x")],
            "no model: `anthropic/x` needs a key: set ANTHROPIC_API_KEY, or ANTHROPIC_BASE_URL for a \
             server without one; `meanwhile demo` and background tasks work without a model",
        )
        .await;
        check(
            &[("MEANWHILE_MODEL", "openai/x")],
            "no model: `openai/x` needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server \
             without one; `meanwhile demo` and background tasks work without a model",
        )
        .await;
        check(
            &[("MEANWHILE_MODEL", "gpt")],
            "no model: MEANWHILE_MODEL is `gpt`: expected `anthropic/NAME`, `openai/NAME`, \
             `openai-responses/NAME` or `script/PATH`; `meanwhile demo` and background tasks work without a model",
        )
        .await;
    }
}
