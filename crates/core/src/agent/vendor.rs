//! The vendors of models: how a setting names them, where they are, which variables hold their keys,
//! and which dialect they speak.
//!
//! One row a vendor. What a user can set, which keys are kept from tasks and what an editor must not
//! pass on all follow from [`VENDORS`].

use super::provider::KeyHeader;

/// A vendor of models, and every server that speaks its dialect.
#[derive(Debug, PartialEq, Eq)]
pub struct Vendor {
    /// What its models' settings begin with: `anthropic` in `anthropic/NAME`.
    pub prefix: &'static str,
    /// Its name, for people.
    pub name: &'static str,
    /// Its own server.
    pub base_url: &'static str,
    /// The dialect it speaks.
    pub wire: Wire,
    /// The variable that names another server.
    pub url: &'static Variable,
    /// The variables that hold a key, and how it is sent. The first that is set counts, and is the one
    /// a person is told to set.
    pub keys: &'static [(&'static Variable, KeyHeader)],
    /// Variables whose values are sent as headers, and what is sent where they are not set.
    pub headers: &'static [(&'static Variable, &'static str, &'static str)],
}

/// The dialects that are spoken on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Anthropic Messages.
    Messages,
    /// OpenAI chat completions.
    Chat,
    /// OpenAI's Responses API.
    Responses,
}

/// A variable of the environment. The key in `config.toml` has the same name in small letters.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A key or token. Tasks are not given it, and it is never shown.
    Secret,
    /// A base URL.
    Url,
    /// A version, sent in a header.
    Version,
}

const ANTHROPIC_API_KEY: Variable = Variable { name: "ANTHROPIC_API_KEY", holds: Holds::Secret };
const ANTHROPIC_AUTH_TOKEN: Variable =
    Variable { name: "ANTHROPIC_AUTH_TOKEN", holds: Holds::Secret };
const ANTHROPIC_BASE_URL: Variable = Variable { name: "ANTHROPIC_BASE_URL", holds: Holds::Url };
const ANTHROPIC_VERSION: Variable = Variable { name: "ANTHROPIC_VERSION", holds: Holds::Version };
const OPENAI_API_KEY: Variable = Variable { name: "OPENAI_API_KEY", holds: Holds::Secret };
const OPENAI_BASE_URL: Variable = Variable { name: "OPENAI_BASE_URL", holds: Holds::Url };

/// Every vendor, with the servers that speak its dialect: gateways, and what runs on one's own machine.
pub static VENDORS: [Vendor; 3] = [
    Vendor {
        prefix: "anthropic",
        name: "Anthropic",
        base_url: "https://api.anthropic.com",
        wire: Wire::Messages,
        url: &ANTHROPIC_BASE_URL,
        keys: &[
            (&ANTHROPIC_API_KEY, KeyHeader::XApiKey),
            // Gateways want this one.
            (&ANTHROPIC_AUTH_TOKEN, KeyHeader::Bearer),
        ],
        // The API version that every server of this dialect knows.
        headers: &[(&ANTHROPIC_VERSION, "anthropic-version", "2023-06-01")],
    },
    Vendor {
        prefix: "openai",
        name: "OpenAI",
        base_url: "https://api.openai.com/v1",
        wire: Wire::Chat,
        url: &OPENAI_BASE_URL,
        keys: &[(&OPENAI_API_KEY, KeyHeader::Bearer)],
        headers: &[],
    },
    // Newer models are served by it alone.
    Vendor {
        prefix: "openai-responses",
        name: "OpenAI",
        base_url: "https://api.openai.com/v1",
        wire: Wire::Responses,
        url: &OPENAI_BASE_URL,
        keys: &[(&OPENAI_API_KEY, KeyHeader::Bearer)],
        headers: &[],
    },
];

/// The setting that names the model.
pub const MODEL: &str = "MEANWHILE_MODEL";

/// What the setting of a scripted model begins with: `script/PATH`.
pub const SCRIPT: &str = "script";

impl Vendor {
    /// The variable that a person without a key is told to set.
    pub fn key_variable(&self) -> &'static str {
        self.keys.first().map_or(self.url.name, |(variable, _)| variable.name)
    }

    /// Every variable that is about it.
    fn variables(&'static self) -> impl Iterator<Item = &'static Variable> {
        let keys = self.keys.iter().map(|(variable, _)| *variable);
        keys.chain([self.url]).chain(self.headers.iter().map(|(variable, ..)| *variable))
    }
}

/// Every variable about a vendor, each once.
pub fn variables() -> impl Iterator<Item = &'static Variable> {
    let mut seen = Vec::new();
    VENDORS.iter().flat_map(Vendor::variables).filter(move |variable| {
        let is_new = !seen.contains(&variable.name);
        seen.push(variable.name);
        is_new
    })
}

/// The variables that hold a key, which no task is given unless its spawn names it.
pub fn secret_variables() -> impl Iterator<Item = &'static str> {
    variables().filter(|variable| variable.holds == Holds::Secret).map(|variable| variable.name)
}

/// What a model's setting may begin with.
pub fn prefixes() -> impl Iterator<Item = &'static str> {
    VENDORS.iter().map(|vendor| vendor.prefix).chain([SCRIPT])
}

/// What a model's setting looks like: `anthropic/NAME`, and so on for every vendor and for scripts.
pub fn forms() -> impl Iterator<Item = String> {
    let named = VENDORS.iter().map(|vendor| format!("{}/NAME", vendor.prefix));
    named.chain([format!("{SCRIPT}/PATH")])
}
