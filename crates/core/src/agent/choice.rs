//! Which model to use, on which server and with which key.
//!
//! The choice comes from the environment and from the user's own file, never from a workspace. When nothing is
//! set, the usual ports of local servers are tried, on this machine only. If none answers, the result is an
//! error: tasks and the demo work without a model. [`vendor`] has the table of settings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::provider::{
    Account, Anthropic, BadScript, HttpError, Listed, OpenAi, Provider, Responses, Scripted, Secret,
};
use super::retry::Patience;
use super::vendor::{self, MODEL, SCRIPT, VENDORS, Variable, Vendor, Wire};

/// The user's settings for models.
#[derive(Debug, Clone, Default)]
pub struct ModelChoice {
    /// `MEANWHILE_MODEL`: `anthropic/NAME`, `openai/NAME`, `openai-responses/NAME` or `script/PATH`.
    pub model: Option<String>,
    /// The variables that are set, by name. Every value is hidden, not only keys: a URL may contain a password.
    values: BTreeMap<&'static str, Secret>,
}

/// The default addresses of local servers: Ollama and llama.cpp.
pub const LOCAL_SERVERS: [&str; 2] = ["http://127.0.0.1:11434/v1", "http://127.0.0.1:8080/v1"];

/// How long a local server may take to list its models.
const PROBE: Duration = Duration::from_millis(500);

/// Why no model can be used.
#[derive(Debug, thiserror::Error)]
pub enum NoModel {
    /// Nothing is set and no local server was found (error 1006).
    #[error("no model: {0}")]
    NotChosen(String),
    /// The prefix of `MEANWHILE_MODEL` is not one of the known ones.
    #[error("{MODEL} is `{0}`: expected {forms}", forms = expected())]
    BadSetting(String),
    /// No key is set for the vendor's own server, which requires one.
    #[error("`{model}` needs a key")]
    NoKey {
        /// The setting: `anthropic/NAME`.
        model: String,
        /// The vendor that the setting names.
        vendor: &'static Vendor,
    },
    /// A base URL or a key cannot be used.
    #[error("{variable}: {error}")]
    Http {
        /// The variable whose value is wrong.
        variable: &'static str,
        /// Why the value cannot be used.
        error: HttpError,
    },
    /// The script cannot be used.
    #[error(transparent)]
    Script(#[from] BadScript),
}

/// The allowed forms of a setting, as a phrase: `` `anthropic/NAME`, ... or `script/PATH` ``.
pub fn expected() -> String {
    let forms: Vec<_> = vendor::forms().map(|form| format!("`{form}`")).collect();
    let (last, others) = forms.split_last().expect("there is a form for scripts");
    format!("{} or {last}", others.join(", "))
}

impl ModelChoice {
    /// Reads the environment through `get`. An empty variable counts as not set.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| get(name).filter(|value| !value.trim().is_empty());
        let mut choice = Self { model: text(MODEL), values: BTreeMap::new() };
        for variable in vendor::variables() {
            if let Some(value) = text(variable.name) {
                choice.set(variable, &value);
            }
        }
        choice
    }

    /// Sets the value of a variable.
    pub fn set(&mut self, variable: &'static Variable, value: &str) {
        self.values.insert(variable.name, Secret::new(value));
    }

    /// The value of a variable.
    pub fn value(&self, variable: &str) -> Option<&Secret> {
        self.values.get(variable)
    }

    /// This choice, completed by a `weaker` one (the file's) where this one sets nothing.
    #[must_use]
    pub fn or(self, weaker: Self) -> Self {
        let mut values = weaker.values;
        values.extend(self.values);
        Self { model: self.model.or(weaker.model), values }
    }

    /// Whether the named model accepts images; `None` if no model is named or it is not known.
    pub fn takes_images(&self) -> Option<bool> {
        let model = self.model.as_ref()?;
        self.named(model.trim(), Patience::default()).ok()?.takes_images()
    }

    /// The chosen provider. Asks a server for its models only when no model is named; `local` are the base URLs
    /// to try when nothing is set at all ([`LOCAL_SERVERS`]).
    pub async fn provider(&self, patience: Patience, local: &[&str]) -> Result<Provider, NoModel> {
        if let Some(model) = &self.model {
            return self.named(model.trim(), patience);
        }
        // A server of the user's own usually speaks chat completions.
        for vendor in std::iter::once(own_server()).chain(&VENDORS) {
            let Some(url) = self.value(vendor.url.name) else { continue };
            let models = self.connect(vendor, "", patience.clone())?.models().await;
            return match only(models, vendor, url.expose()) {
                Ok(model) => self.connect(vendor, &model, patience),
                Err(why) => Err(NoModel::NotChosen(why)),
            };
        }
        if let Some(vendor) = VENDORS.iter().find(|vendor| self.account(vendor).key.is_some()) {
            let why = format!("there is a key for {}, but {MODEL} is not set", vendor.name);
            return Err(NoModel::NotChosen(why));
        }
        for url in local {
            if let Some(model) = first_model(url, &patience).await {
                tracing::info!("using the local model `{model}` at {url}");
                let account = Account { base: Some(url), ..self.account(own_server()) };
                return connect(&account, &model, patience);
            }
        }
        let tried = if local.is_empty() {
            "nothing is set".to_owned()
        } else {
            format!("nothing is set, and no model server answers at {}", local.join(" or "))
        };
        Err(NoModel::NotChosen(tried))
    }

    /// The models of every server that is set, as settings: `openai/NAME`. A server that does not answer within
    /// `time` is left out.
    pub async fn models(&self, patience: Patience, time: Duration) -> Vec<String> {
        let of = |vendor: &'static Vendor| {
            let patience = patience.clone();
            async move {
                let account = self.account(vendor);
                if account.base.is_none() && account.key.is_none() {
                    return Vec::new();
                }
                let Ok(server) = self.connect(vendor, "", patience) else { return Vec::new() };
                let listed = tokio::time::timeout(time, server.models()).await;
                let listed = listed.ok().and_then(Result::ok).unwrap_or_default();
                listed.into_iter().map(|model| format!("{}/{}", vendor.prefix, model.id)).collect()
            }
        };
        futures_util::future::join_all(VENDORS.iter().map(of)).await.concat()
    }

    fn named(&self, setting: &str, patience: Patience) -> Result<Provider, NoModel> {
        let bad = || NoModel::BadSetting(setting.to_owned());
        let (prefix, name) = setting.split_once('/').ok_or_else(bad)?;
        if name.is_empty() {
            return Err(bad());
        }
        if prefix == SCRIPT {
            let script = Scripted::open(Path::new(name), patience)?;
            return Ok(Provider::Scripted(Arc::new(script)));
        }
        let vendor = VENDORS.iter().find(|vendor| vendor.prefix == prefix).ok_or_else(bad)?;
        let account = self.account(vendor);
        if account.base.is_none() && account.key.is_none() {
            return Err(NoModel::NoKey { model: setting.to_owned(), vendor });
        }
        connect(&account, name, patience)
    }

    fn connect(
        &self,
        vendor: &'static Vendor,
        model: &str,
        patience: Patience,
    ) -> Result<Provider, NoModel> {
        connect(&self.account(vendor), model, patience)
    }

    /// The settings of a vendor.
    fn account(&self, vendor: &'static Vendor) -> Account<'_> {
        Account {
            vendor,
            base: self.value(vendor.url.name).map(Secret::expose),
            key: vendor
                .keys
                .iter()
                .find_map(|(variable, header)| Some((*header, self.value(variable.name)?))),
            headers: vendor
                .headers
                .iter()
                .map(|(variable, header, otherwise)| {
                    (*header, self.value(variable.name).map_or(*otherwise, Secret::expose))
                })
                .collect(),
        }
    }
}

/// The vendor whose dialect local servers speak.
pub fn own_server() -> &'static Vendor {
    let speaks = |vendor: &&Vendor| vendor.wire == Wire::Chat;
    VENDORS.iter().find(speaks).expect("the table has OpenAI")
}

fn connect(account: &Account<'_>, model: &str, patience: Patience) -> Result<Provider, NoModel> {
    let vendor = account.vendor;
    let provider = match vendor.wire {
        Wire::Messages => Anthropic::new(model, account, patience)
            .map(|provider| Provider::Anthropic(Arc::new(provider))),
        Wire::Chat => OpenAi::new(model, account, patience)
            .map(|provider| Provider::OpenAi(Arc::new(provider))),
        Wire::Responses => Responses::new(model, account, patience)
            .map(|provider| Provider::Responses(Arc::new(provider))),
    };
    provider.map_err(|error| {
        let variable = match error {
            HttpError::BadKey => vendor.key_variable(),
            HttpError::BadUrl { .. } | HttpError::Client(_) => vendor.url.name,
        };
        NoModel::Http { variable, error }
    })
}

/// The model of a server that offers only one; if it offers several, the person must choose.
fn only(
    models: Result<Vec<Listed>, Failure>,
    vendor: &Vendor,
    url: &str,
) -> Result<String, String> {
    let prefix = vendor.prefix;
    match models {
        Ok(mut models) if models.len() == 1 => Ok(models.remove(0).id),
        Ok(models) if models.is_empty() => {
            Err(format!("{} is {url}, which offers no model", vendor.url.name))
        }
        Ok(models) => {
            let shown: Vec<_> =
                models.iter().take(10).map(|model| format!("`{prefix}/{}`", model.id)).collect();
            let more = if models.len() > 10 { ", ..." } else { "" };
            let list = shown.join(", ");
            Err(format!("{MODEL} is not set, and {url} has {list}{more}"))
        }
        Err(failure) => Err(format!("{MODEL} is not set, and {failure}")),
    }
}

/// The model that a local server lists first; Ollama sorts by the time of the last change.
async fn first_model(url: &str, patience: &Patience) -> Option<String> {
    let patience = Patience { connect: PROBE, first_byte: PROBE, stall: PROBE, ..patience.clone() };
    let nothing = ModelChoice::default();
    let account = Account { base: Some(url), ..nothing.account(own_server()) };
    let server = OpenAi::new("", &account, patience).ok()?;
    let models = tokio::time::timeout(PROBE, server.models()).await.ok()?.ok()?;
    models.into_iter().next().map(|model| model.id)
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Request};
    use super::*;

    #[tokio::test]
    async fn without_a_model_the_error_says_why() {
        let none = ModelChoice::default();
        let dead = "http://127.0.0.1:1/v1";
        let error = none.provider(Patience::default(), &[dead]).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, NoModel::NotChosen(_)) && text.contains(dead), "{text}");
        let settings = |pairs: &'static [(&str, &str)]| {
            ModelChoice::from_env(move |name| {
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
            (settings(&[("MEANWHILE_MODEL", "anthropic/x")]), "`anthropic/x` needs a key"),
            (settings(&[("MEANWHILE_MODEL", "openai/x")]), "`openai/x` needs a key"),
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
        let settings = ModelChoice::from_env(|name| match name {
            MODEL => Some("anthropic/x".to_owned()),
            "ANTHROPIC_API_KEY" => Some("sk-secret".to_owned()),
            "ANTHROPIC_BASE_URL" => Some("http://user:pa55@127.0.0.1:1/?key=sk-secret".to_owned()),
            _ => None,
        });
        let provider =
            settings.provider(Patience { retries: 0, ..Patience::default() }, &[]).await.unwrap();
        let history = [Message::prompt("x")];
        let request = Request { history: &history, ..Request::default() };
        let failure = provider.stream(&request).finish().await.unwrap_err();
        let shown = format!("{provider:?} {failure:?} {failure} {settings:?}");
        assert!(!shown.contains("sk-secret") && !shown.contains("pa55"), "{shown}");
    }
}
