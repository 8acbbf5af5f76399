//! Which model is meant, where it is and with which key.
//!
//! Settings come from the environment and from the user's own file, never from a workspace. When
//! nothing is set, the usual ports of local servers are tried, on this machine only. When there is
//! no model the answer is an error that says what to set: tasks and the demo need none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::failure::Failure;
use super::provider::{
    Anthropic, Auth, BadScript, HttpError, Listed, OpenAi, Provider, Scripted, Secret,
};
use super::retry::Patience;

/// What a user sets about models. Field names are those of `config.toml`, section `model`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Settings {
    /// `MEANWHILE_MODEL`: `anthropic/NAME`, `openai/NAME` or `script/PATH`.
    pub model: Option<String>,
    /// `ANTHROPIC_API_KEY`, sent as `x-api-key`.
    pub anthropic_api_key: Option<Secret>,
    /// `ANTHROPIC_AUTH_TOKEN`, sent as `Authorization: Bearer`, which gateways want.
    pub anthropic_auth_token: Option<Secret>,
    /// `ANTHROPIC_BASE_URL`, without `/v1`.
    pub anthropic_base_url: Option<String>,
    /// `ANTHROPIC_VERSION`, the `anthropic-version` header.
    pub anthropic_version: Option<String>,
    /// `OPENAI_API_KEY`.
    pub openai_api_key: Option<Secret>,
    /// `OPENAI_BASE_URL`, with `/v1`.
    pub openai_base_url: Option<String>,
}

/// The environment variables that hold a key, which no task is given unless it is named.
pub const SECRET_VARIABLES: [&str; 3] =
    ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"];

/// Where local servers listen unless told otherwise: Ollama and llama.cpp.
pub const LOCAL_SERVERS: [&str; 2] = ["http://127.0.0.1:11434/v1", "http://127.0.0.1:8080/v1"];

/// How long a port of this machine may take to say what models it has.
const PROBE: Duration = Duration::from_millis(500);

/// Why there is no model to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing is set and nothing was found (1006).
    #[error(
        "no model: {0}; set MEANWHILE_MODEL to `anthropic/NAME` with ANTHROPIC_API_KEY, or to \
        `openai/NAME` with OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own, or start \
        Ollama; `meanwhile demo` and background tasks work without a model"
    )]
    NoModel(String),
    /// `MEANWHILE_MODEL` names no kind of model.
    #[error("MEANWHILE_MODEL is `{0}`: expected `anthropic/NAME`, `openai/NAME` or `script/PATH`")]
    BadModel(String),
    /// The vendor's own server takes nobody without a key.
    #[error("`{model}` needs a key: set {variable}, or {url_variable} for a server without one")]
    NoKey {
        /// The model.
        model: String,
        /// The variable.
        variable: &'static str,
        /// The variable of the base URL.
        url_variable: &'static str,
    },
    /// A base URL or a key cannot be used.
    #[error("{variable}: {error}")]
    Http {
        /// The variable to look at.
        variable: &'static str,
        /// What is wrong.
        error: HttpError,
    },
    /// The script cannot be used.
    #[error(transparent)]
    Script(#[from] BadScript),
}

impl Settings {
    /// Reads the environment through `get`. An empty variable is one that is not set.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| get(name).filter(|value| !value.trim().is_empty());
        let secret = |name| text(name).map(|value| Secret::new(&value));
        Self {
            model: text("MEANWHILE_MODEL"),
            anthropic_api_key: secret("ANTHROPIC_API_KEY"),
            anthropic_auth_token: secret("ANTHROPIC_AUTH_TOKEN"),
            anthropic_base_url: text("ANTHROPIC_BASE_URL"),
            anthropic_version: text("ANTHROPIC_VERSION"),
            openai_api_key: secret("OPENAI_API_KEY"),
            openai_base_url: text("OPENAI_BASE_URL"),
        }
    }

    /// These settings, and `weaker` ones (the file's) where these say nothing.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        Self {
            model: self.model.or(weaker.model),
            anthropic_api_key: self.anthropic_api_key.or(weaker.anthropic_api_key),
            anthropic_auth_token: self.anthropic_auth_token.or(weaker.anthropic_auth_token),
            anthropic_base_url: self.anthropic_base_url.or(weaker.anthropic_base_url),
            anthropic_version: self.anthropic_version.or(weaker.anthropic_version),
            openai_api_key: self.openai_api_key.or(weaker.openai_api_key),
            openai_base_url: self.openai_base_url.or(weaker.openai_base_url),
        }
    }

    /// The provider meant. Asks a server for its models only when no model is named; `local` are
    /// the base URLs to try when nothing is set at all ([`LOCAL_SERVERS`]).
    pub async fn provider(
        &self,
        patience: Patience,
        local: &[&str],
    ) -> Result<Provider, ConfigError> {
        if let Some(model) = &self.model {
            return self.named(model.trim(), patience);
        }
        if self.openai_base_url.is_some() {
            let url = self.openai_base_url.as_deref().unwrap_or_default();
            let models = self.openai("", patience.clone())?.models().await;
            return match only(models, "OPENAI_BASE_URL", url, "openai") {
                Ok(model) => Ok(Provider::OpenAi(Arc::new(self.openai(&model, patience)?))),
                Err(why) => Err(ConfigError::NoModel(why)),
            };
        }
        if self.anthropic_base_url.is_some() {
            let url = self.anthropic_base_url.as_deref().unwrap_or_default();
            let models = self.anthropic("", patience.clone())?.models().await;
            return match only(models, "ANTHROPIC_BASE_URL", url, "anthropic") {
                Ok(model) => Ok(Provider::Anthropic(Arc::new(self.anthropic(&model, patience)?))),
                Err(why) => Err(ConfigError::NoModel(why)),
            };
        }
        if self.anthropic_api_key.is_some() || self.anthropic_auth_token.is_some() {
            let why = "there is a key for Anthropic, but MEANWHILE_MODEL is not set";
            return Err(ConfigError::NoModel(why.to_owned()));
        }
        if self.openai_api_key.is_some() {
            let why = "there is a key for OpenAI, but MEANWHILE_MODEL is not set";
            return Err(ConfigError::NoModel(why.to_owned()));
        }
        for url in local {
            if let Some(model) = first_model(url, &patience).await {
                tracing::info!("using the local model `{model}` at {url}");
                let provider = OpenAi::new(&model, Some(url), None, patience)
                    .map_err(|error| ConfigError::Http { variable: "OPENAI_BASE_URL", error })?;
                return Ok(Provider::OpenAi(Arc::new(provider)));
            }
        }
        let tried = if local.is_empty() {
            "nothing is set".to_owned()
        } else {
            format!("nothing is set, and no model server answers at {}", local.join(" or "))
        };
        Err(ConfigError::NoModel(tried))
    }

    fn named(&self, setting: &str, patience: Patience) -> Result<Provider, ConfigError> {
        let bad = || ConfigError::BadModel(setting.to_owned());
        let (vendor, name) = setting.split_once('/').ok_or_else(bad)?;
        if name.is_empty() {
            return Err(bad());
        }
        match vendor {
            "anthropic" => {
                let has_key =
                    self.anthropic_api_key.is_some() || self.anthropic_auth_token.is_some();
                if self.anthropic_base_url.is_none() && !has_key {
                    return Err(ConfigError::NoKey {
                        model: setting.to_owned(),
                        variable: "ANTHROPIC_API_KEY",
                        url_variable: "ANTHROPIC_BASE_URL",
                    });
                }
                Ok(Provider::Anthropic(Arc::new(self.anthropic(name, patience)?)))
            }
            "openai" => {
                if self.openai_base_url.is_none() && self.openai_api_key.is_none() {
                    return Err(ConfigError::NoKey {
                        model: setting.to_owned(),
                        variable: "OPENAI_API_KEY",
                        url_variable: "OPENAI_BASE_URL",
                    });
                }
                Ok(Provider::OpenAi(Arc::new(self.openai(name, patience)?)))
            }
            "script" => {
                Ok(Provider::Scripted(Arc::new(Scripted::open(Path::new(name), patience)?)))
            }
            _ => Err(bad()),
        }
    }

    fn anthropic(&self, model: &str, patience: Patience) -> Result<Anthropic, ConfigError> {
        let auth = match (&self.anthropic_api_key, &self.anthropic_auth_token) {
            (Some(key), _) => Auth::Key(key.clone()),
            (None, Some(token)) => Auth::Token(token.clone()),
            (None, None) => Auth::None,
        };
        let base = self.anthropic_base_url.as_deref();
        let version = self.anthropic_version.as_deref();
        Anthropic::new(model, base, &auth, version, patience).map_err(|error| ConfigError::Http {
            variable: variable(&error, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
            error,
        })
    }

    fn openai(&self, model: &str, patience: Patience) -> Result<OpenAi, ConfigError> {
        let key = self.openai_api_key.as_ref();
        OpenAi::new(model, self.openai_base_url.as_deref(), key, patience).map_err(|error| {
            ConfigError::Http {
                variable: variable(&error, "OPENAI_API_KEY", "OPENAI_BASE_URL"),
                error,
            }
        })
    }
}

fn variable(error: &HttpError, key: &'static str, url: &'static str) -> &'static str {
    match error {
        HttpError::BadKey => key,
        HttpError::BadUrl { .. } | HttpError::Client(_) => url,
    }
}

/// The only model of a server somebody pointed at: with several, the choice is not ours.
fn only(
    models: Result<Vec<Listed>, Failure>,
    variable: &str,
    url: &str,
    vendor: &str,
) -> Result<String, String> {
    match models {
        Ok(mut models) if models.len() == 1 => Ok(models.remove(0).id),
        Ok(models) if models.is_empty() => Err(format!("{variable} is {url}, which has none")),
        Ok(models) => {
            let shown: Vec<_> =
                models.iter().take(10).map(|model| format!("`{vendor}/{}`", model.id)).collect();
            let more = if models.len() > 10 { ", ..." } else { "" };
            let list = shown.join(", ");
            Err(format!("MEANWHILE_MODEL is not set, and {url} has {list}{more}"))
        }
        Err(failure) => Err(format!("MEANWHILE_MODEL is not set, and {failure}")),
    }
}

/// The model a local server names first, which with Ollama is the one changed last.
async fn first_model(url: &str, patience: &Patience) -> Option<String> {
    let patience = Patience { connect: PROBE, first_byte: PROBE, stall: PROBE, ..patience.clone() };
    let server = OpenAi::new("", Some(url), None, patience).ok()?;
    let models = tokio::time::timeout(PROBE, server.models()).await.ok()?.ok()?;
    models.into_iter().next().map(|model| model.id)
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Request};
    use super::*;

    #[tokio::test]
    async fn without_a_model_the_error_says_what_to_set() {
        let none = Settings::default();
        let dead = "http://127.0.0.1:1/v1";
        let error = none.provider(Patience::default(), &[dead]).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ConfigError::NoModel(_)));
        for word in
            ["MEANWHILE_MODEL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "demo", "tasks", dead]
        {
            assert!(text.contains(word), "{text}");
        }
        let settings = |pairs: &'static [(&str, &str)]| {
            Settings::from_env(move |name| {
                pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
            })
        };
        for (set, words) in [
            (
                settings(&[("ANTHROPIC_API_KEY", "k"), ("MEANWHILE_MODEL", " ")]),
                "MEANWHILE_MODEL is not set",
            ),
            (settings(&[("OPENAI_API_KEY", "k")]), "MEANWHILE_MODEL is not set"),
            (settings(&[("MEANWHILE_MODEL", "gpt-5")]), "`gpt-5`: expected `anthropic/NAME`"),
            (settings(&[("MEANWHILE_MODEL", "mistral/x")]), "`mistral/x`: expected"),
            (settings(&[("MEANWHILE_MODEL", "openai/")]), "`openai/`: expected"),
            (settings(&[("MEANWHILE_MODEL", "anthropic/x")]), "set ANTHROPIC_API_KEY"),
            (settings(&[("MEANWHILE_MODEL", "openai/x")]), "set OPENAI_API_KEY"),
            (settings(&[("MEANWHILE_MODEL", "script//no/such.toml")]), "/no/such.toml"),
            (
                settings(&[
                    ("MEANWHILE_MODEL", "openai/x"),
                    ("OPENAI_BASE_URL", "localhost:11434"),
                ]),
                "OPENAI_BASE_URL: `localhost:11434` is not a base URL",
            ),
            (
                settings(&[
                    ("MEANWHILE_MODEL", "anthropic/x"),
                    ("ANTHROPIC_API_KEY", "a\nb"),
                    ("ANTHROPIC_BASE_URL", "http://h"),
                ]),
                "ANTHROPIC_API_KEY: the key has a line break",
            ),
        ] {
            let text = set.provider(Patience::default(), &[]).await.unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
    }

    #[tokio::test]
    async fn a_secret_is_shown_nowhere() {
        let settings = Settings {
            model: Some("anthropic/x".into()),
            anthropic_api_key: Some(Secret::new("sk-secret")),
            anthropic_base_url: Some("http://user:pa55@127.0.0.1:1/?key=sk-secret".into()),
            ..Settings::default()
        };
        let provider =
            settings.provider(Patience { retries: 0, ..Patience::default() }, &[]).await.unwrap();
        let history = [Message::Prompt { text: "x".into() }];
        let request = Request { system: "", tools: &[], history: &history, max_tokens: None };
        let failure = provider.stream(&request).finish().await.unwrap_err();
        let shown = format!("{provider:?} {failure:?} {failure} {:?}", settings.anthropic_api_key);
        assert!(!shown.contains("sk-secret") && !shown.contains("pa55"), "{shown}");
    }
}
