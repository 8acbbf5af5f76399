//! The settings of agent sessions: behaviour, rules and model of this user.
//!
//! Owns the precedence of the settings file, the environment and the command line. The model is looked up when a
//! session is created, not earlier: a daemon without a model can still run tasks.

use std::time::Duration;

use meanwhile_core::agent::choice::LOCAL_SERVERS;
use meanwhile_core::agent::permission::{Rule, Rules};
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Policy, Terms};
use meanwhile_core::agent::{ModelChoice, NoModel, Provider};

use crate::config::Config;

/// The timeout for servers to list their models.
const MODELS_TIME: Duration = Duration::from_secs(10);
/// The maximum number of models to show. OpenRouter has hundreds.
const MODELS_MAX: usize = 500;

/// The settings of this user's sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// The behaviour of sessions.
    pub(crate) policy: Policy,
    /// The model; the environment takes precedence over the file.
    pub(crate) model: ModelChoice,
    /// The permission rules.
    pub(crate) rules: Vec<Rule>,
}

impl Setup {
    /// The settings from the settings file.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            policy: config.agent.clone(),
            model: config.model.clone(),
            rules: config.rules.clone(),
        }
    }

    /// Adds the environment's settings of a model, which take precedence over those of the file.
    pub(crate) fn with_environment(self) -> Self {
        self.preferring(ModelChoice::from_env(|name| std::env::var(name).ok()))
    }

    /// Adds settings of a model, which take precedence over the present ones.
    pub(crate) fn preferring(mut self, model: ModelChoice) -> Self {
        self.model = model.or(self.model);
        self
    }

    /// The chosen model. May ask a server for its models.
    ///
    /// # Errors
    ///
    /// No model is set and none was found, or the one that is set cannot be used; the text says what to set.
    pub(crate) async fn provider(&self) -> Result<Provider, NoModel> {
        self.model.provider(Patience::default(), &LOCAL_SERVERS).await
    }

    /// Whether a client may offer images: the chosen model accepts them.
    pub(crate) fn takes_images(&self) -> bool {
        self.policy.images.or_else(|| self.model.takes_images()).unwrap_or(false)
    }

    /// The model that this setting names, such as `anthropic/NAME`.
    ///
    /// # Errors
    ///
    /// The setting is not a model's name, or the vendor is not configured; the text says what was expected.
    pub(crate) async fn provider_named(&self, setting: &str) -> Result<Provider, NoModel> {
        let mut model = self.model.clone();
        model.model = Some(setting.to_owned());
        model.provider(Patience::default(), &[]).await
    }

    /// The models that can be chosen, from all servers that answer in time.
    pub(crate) async fn models(&self) -> Vec<String> {
        let patience = Patience { retries: 0, ..Patience::default() };
        let mut models = self.model.models(patience, MODELS_TIME).await;
        models.truncate(MODELS_MAX);
        models
    }

    /// The terms for a session with this model.
    pub(crate) fn terms(&self, provider: Provider, can_ask: bool) -> Terms {
        let rules = Rules::new(self.rules.clone())
            .confining(self.policy.confine_allowed)
            .with_network(self.policy.network);
        let (policy, servers) = (self.policy.clone(), Vec::new());
        Terms { provider, rules, can_ask, policy, editor: None, servers }
    }
}
