//! What an agent session is made with: the settings, the rules and the model of this user.
//!
//! Owns the choice between what the file says, what the environment says and what the command line
//! says. The model is looked for when a session is made, never earlier: a daemon without one runs
//! tasks all the same.

use std::time::Duration;

use meanwhile_core::agent::choice::LOCAL_SERVERS;
use meanwhile_core::agent::permission::{Rule, Rules};
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Policy, Terms};
use meanwhile_core::agent::{ModelChoice, NoModel, Provider};

use crate::config::Config;

/// How long servers have to say which models they have.
const MODELS_TIME: Duration = Duration::from_secs(10);
/// How many models a person is shown. OpenRouter has hundreds.
const MODELS_MAX: usize = 500;

/// How the sessions of this user are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// How they behave.
    pub(crate) policy: Policy,
    /// Which model they talk to, with the environment's word before the file's.
    pub(crate) model: ModelChoice,
    /// What the agent may do.
    pub(crate) rules: Vec<Rule>,
}

impl Setup {
    /// What the settings file says.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            policy: config.agent.clone(),
            model: config.model.clone(),
            rules: config.rules.clone(),
        }
    }

    /// The environment's settings of a model, over those of the file.
    pub(crate) fn with_environment(self) -> Self {
        self.preferring(ModelChoice::from_env(|name| std::env::var(name).ok()))
    }

    /// What is said about models, over what is set so far.
    pub(crate) fn preferring(mut self, model: ModelChoice) -> Self {
        self.model = model.or(self.model);
        self
    }

    /// The model meant. May ask a server for its models.
    ///
    /// # Errors
    ///
    /// None is set and none was found, or what is set cannot be used; the text says what to set.
    pub(crate) async fn provider(&self) -> Result<Provider, NoModel> {
        self.model.provider(Patience::default(), &LOCAL_SERVERS).await
    }

    /// Whether a client may offer images: the model that is set takes them.
    pub(crate) fn takes_images(&self) -> bool {
        self.policy.images.or_else(|| self.model.takes_images()).unwrap_or(false)
    }

    /// The model of this setting, `anthropic/NAME`.
    ///
    /// # Errors
    ///
    /// It names none, or its vendor is not set up; the text says what was expected.
    pub(crate) async fn provider_named(&self, setting: &str) -> Result<Provider, NoModel> {
        let mut model = self.model.clone();
        model.model = Some(setting.to_owned());
        model.provider(Patience::default(), &[]).await
    }

    /// The models that could be chosen, as far as their servers say so in time.
    pub(crate) async fn models(&self) -> Vec<String> {
        let patience = Patience { retries: 0, ..Patience::default() };
        let mut models = self.model.models(patience, MODELS_TIME).await;
        models.truncate(MODELS_MAX);
        models
    }

    /// What a session needs.
    pub(crate) fn terms(&self, provider: Provider, can_ask: bool) -> Terms {
        let rules = Rules::new(self.rules.clone())
            .confining(self.policy.confine_allowed)
            .with_network(self.policy.network);
        let (policy, servers) = (self.policy.clone(), Vec::new());
        Terms { provider, rules, can_ask, policy, editor: None, servers }
    }
}
