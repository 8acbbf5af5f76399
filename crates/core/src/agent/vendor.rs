//! Vendors of models: the prefix in a setting, the base URL, the variables that hold keys, and the dialect.
//!
//! One row per vendor. Which variables a user can set, which keys are kept from tasks and which an editor must
//! not pass on all follow from [`VENDORS`].

use super::provider::KeyHeader;

/// A vendor of models, or any server that speaks its dialect.
#[derive(Debug, PartialEq, Eq)]
pub struct Vendor {
    /// The prefix of its models' settings: `anthropic` in `anthropic/NAME`.
    pub prefix: &'static str,
    /// The name shown to people.
    pub name: &'static str,
    /// The base URL of its own server.
    pub base_url: &'static str,
    /// The dialect it speaks.
    pub wire: Wire,
    /// The variable that sets another server.
    pub url: &'static Variable,
    /// The variables that hold a key, and how the key is sent. The first one that is set is used; the first of
    /// the list is the one that error messages name.
    pub keys: &'static [(&'static Variable, KeyHeader)],
    /// Variables whose values are sent as headers: the variable, the header, and its value if the variable is
    /// not set.
    pub headers: &'static [(&'static Variable, &'static str, &'static str)],
}

/// Wire formats of model APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// The Anthropic Messages API.
    Messages,
    /// The OpenAI chat completions API.
    Chat,
    /// OpenAI's Responses API.
    Responses,
}

/// An environment variable. The key in `config.toml` is its name in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name: `ANTHROPIC_API_KEY`.
    pub name: &'static str,
    /// Which kind of value it holds.
    pub holds: Holds,
}

/// The kind of value in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A key or token. It is not passed to tasks and never shown.
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

/// All vendors; gateways and local servers use the row whose dialect they speak.
pub static VENDORS: [Vendor; 3] = [
    Vendor {
        prefix: "anthropic",
        name: "Anthropic",
        base_url: "https://api.anthropic.com",
        wire: Wire::Messages,
        url: &ANTHROPIC_BASE_URL,
        keys: &[
            (&ANTHROPIC_API_KEY, KeyHeader::XApiKey),
            // Used by gateways.
            (&ANTHROPIC_AUTH_TOKEN, KeyHeader::Bearer),
        ],
        // The API version that every server of this dialect supports.
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
    // Newer models are available only through this API.
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

/// The variable that names the model.
pub const MODEL: &str = "MEANWHILE_MODEL";

/// The prefix of a scripted model's setting: `script/PATH`.
pub const SCRIPT: &str = "script";

impl Vendor {
    /// The variable to set if no key is set.
    pub fn key_variable(&self) -> &'static str {
        self.keys.first().map_or(self.url.name, |(variable, _)| variable.name)
    }

    /// Every variable of this vendor.
    fn variables(&'static self) -> impl Iterator<Item = &'static Variable> {
        let keys = self.keys.iter().map(|(variable, _)| *variable);
        keys.chain([self.url]).chain(self.headers.iter().map(|(variable, ..)| *variable))
    }
}

/// Every variable of every vendor, each once.
pub fn variables() -> impl Iterator<Item = &'static Variable> {
    let mut seen = Vec::new();
    VENDORS.iter().flat_map(Vendor::variables).filter(move |variable| {
        let is_new = !seen.contains(&variable.name);
        seen.push(variable.name);
        is_new
    })
}

/// The variables that hold a key, which a task receives only if its spawn names them.
pub fn secret_variables() -> impl Iterator<Item = &'static str> {
    variables().filter(|variable| variable.holds == Holds::Secret).map(|variable| variable.name)
}

/// The prefixes that a model setting may have.
pub fn prefixes() -> impl Iterator<Item = &'static str> {
    VENDORS.iter().map(|vendor| vendor.prefix).chain([SCRIPT])
}

/// The forms of a model setting: `anthropic/NAME`, and so on for every vendor and for scripts.
pub fn forms() -> impl Iterator<Item = String> {
    let named = VENDORS.iter().map(|vendor| format!("{}/NAME", vendor.prefix));
    named.chain([format!("{SCRIPT}/PATH")])
}
