//! Token usage of a call, and its cost.
//!
//! Token counts are the provider's own. A cost is computed only where the price is known: on the two vendors'
//! own servers for a model in the table, or when a server reports what it charged. A guess would be worse than
//! nothing, and the cost of a local model is of no interest.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Tokens of one call, or the sum over several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request that were not in the cache.
    pub input: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Tokens of the request that were read from the provider's cache.
    pub cache_read: u64,
    /// Tokens of the request that were written to the provider's cache.
    pub cache_write: u64,
}

impl Usage {
    /// All tokens of the request: how full the context is.
    pub fn context(&self) -> u64 {
        self.input + self.cache_read + self.cache_write
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}

/// An amount of money, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// Converts dollars, as a server reports them; `None` if out of range.
    pub(crate) fn from_dollars(dollars: f64) -> Option<Self> {
        // Negative, NaN, or more than a call can cost.
        (0.0..1e6).contains(&dollars).then(|| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be in range just above"
            )]
            let nano = (dollars * 1e9).round() as u64;
            Self(nano)
        })
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl std::fmt::Display for Cost {
    /// Dollars with four decimals, rounded up so that a small cost is never shown as zero.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths_of_a_cent = self.0.div_ceil(100_000);
        write!(f, "${}.{:04}", tenths_of_a_cent / 10_000, tenths_of_a_cent % 10_000)
    }
}

/// Price in billionths of a dollar per token, which is thousandths of a dollar per million tokens.
struct Price {
    model: &'static str,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

/// The vendors' list prices. Sources: the pricing pages of Anthropic (cache writes for 5 minutes)
/// and of OpenAI.
const PRICES: [Price; 20] = [
    anthropic("claude-opus-4", 15_000, 75_000),
    anthropic("claude-opus-4-0", 15_000, 75_000),
    anthropic("claude-opus-4-1", 15_000, 75_000),
    anthropic("claude-opus-4-5", 5_000, 25_000),
    anthropic("claude-sonnet-4", 3_000, 15_000),
    anthropic("claude-sonnet-4-0", 3_000, 15_000),
    anthropic("claude-sonnet-4-5", 3_000, 15_000),
    anthropic("claude-3-7-sonnet", 3_000, 15_000),
    anthropic("claude-3-5-sonnet", 3_000, 15_000),
    anthropic("claude-haiku-4-5", 1_000, 5_000),
    anthropic("claude-3-5-haiku", 800, 4_000),
    openai("gpt-5", 1_250, 125, 10_000),
    openai("gpt-5-mini", 250, 25, 2_000),
    openai("gpt-5-nano", 50, 5, 400),
    openai("gpt-4.1", 2_000, 500, 8_000),
    openai("gpt-4.1-mini", 400, 100, 1_600),
    openai("gpt-4.1-nano", 100, 25, 400),
    openai("gpt-4o", 2_500, 1_250, 10_000),
    openai("gpt-4o-mini", 150, 75, 600),
    openai("o4-mini", 1_100, 275, 4_400),
];

const fn anthropic(model: &'static str, input: u64, output: u64) -> Price {
    Price { model, input, output, cache_read: input / 10, cache_write: input * 5 / 4 }
}

const fn openai(model: &'static str, input: u64, cache_read: u64, output: u64) -> Price {
    Price { model, input, output, cache_read, cache_write: input }
}

/// The cost of `usage` at the vendor's list price; `None` for a model not in the table. A date or `-latest` at
/// the end of the name is ignored; any other difference means another model.
pub fn list_price(model: &str, usage: Usage) -> Option<Cost> {
    let price = PRICES.iter().find(|price| {
        model.strip_prefix(price.model).is_some_and(|rest| {
            rest.is_empty()
                || rest == "-latest"
                || (rest.starts_with("-20") && rest.chars().all(|c| c == '-' || c.is_ascii_digit()))
        })
    })?;
    Some(Cost(
        usage.input * price.input
            + usage.output * price.output
            + usage.cache_read * price.cache_read
            + usage.cache_write * price.cache_write,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_what_its_tokens_cost() {
        let usage = Usage { input: 1_000, output: 200, cache_read: 10_000, cache_write: 400 };
        // 1000*3 + 200*15 + 10000*0.3 + 400*3.75 = 10500 dollars per million.
        let cost = list_price("claude-sonnet-4-5-20250929", usage).unwrap();
        assert_eq!((cost, cost.to_string().as_str()), (Cost(10_500_000), "$0.0105"));
        assert_eq!(usage.context(), 11_400);
    }

    #[test]
    fn only_a_date_may_follow_a_known_name() {
        let usage = Usage { input: 1, ..Usage::default() };
        let check = |model, want| {
            assert_eq!(list_price(model, usage).map(|cost| cost.0), want, "{model}");
        };
        check("gpt-5", Some(1_250));
        check("gpt-5-2025-08-07", Some(1_250));
        check("gpt-5-mini-2025-08-07", Some(250));
        check("claude-opus-4-20250514", Some(15_000));
        check("claude-3-7-sonnet-latest", Some(3_000));
        for unknown in
            ["gpt-9", "gpt-5.1", "gpt-5-pro", "gpt-5-2025-mini", "qwen2.5-coder-0.5b", ""]
        {
            check(unknown, None);
        }
    }

    #[test]
    fn money_is_shown_rounded_up() {
        let shown = |nano| Cost(nano).to_string();
        assert_eq!([0, 1, 1_234_500_000].map(shown), ["$0.0000", "$0.0001", "$1.2345"]);
        assert_eq!(Cost::from_dollars(0.0012), Some(Cost(1_200_000)));
        assert_eq!([-1.0, f64::NAN, 1e9].map(Cost::from_dollars), [None; 3]);
    }
}
