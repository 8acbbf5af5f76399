//! Masks keys in everything that comes from a server before anything reads it. A server may repeat the key that it
//! received, in an error or in an answer; this way, no key is shown or stored.

use std::fmt;

/// Replaces a key.
const MASK: &[u8] = b"[key]";
/// A shorter key could occur in unrelated words.
const KEY_MIN: usize = 8;

/// The keys of one account, in the forms in which they can occur in a body.
#[derive(Clone, Default)]
pub(crate) struct Mask(Vec<Vec<u8>>);

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(..)")
    }
}

impl Mask {
    /// Masks these keys, also in the form in which JSON may escape them.
    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let keys = keys.into_iter().map(str::trim).filter(|key| key.len() >= KEY_MIN);
        let mut forms: Vec<Vec<u8>> = keys
            .flat_map(|key| [key.as_bytes().to_vec(), key.replace('/', "\\/").into_bytes()])
            .collect();
        forms.dedup();
        Self(forms)
    }

    /// A complete text with its keys masked.
    pub(crate) fn text(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            match self.0.iter().find(|key| rest.starts_with(key)) {
                Some(key) => {
                    out.extend_from_slice(MASK);
                    rest = rest.get(key.len()..).unwrap_or_default();
                }
                None => {
                    out.push(*first);
                    rest = after;
                }
            }
        }
        out
    }

    /// The next piece of a stream with its keys masked. A possible start of a key stays in `held` until the next
    /// piece decides; whatever is held at the end of the stream is not a key.
    pub(crate) fn piece(&self, held: &mut Vec<u8>, piece: &[u8]) -> Vec<u8> {
        held.extend_from_slice(piece);
        let mut text = self.text(held);
        let begins = |from: &usize| {
            let end = text.get(*from..).unwrap_or_default();
            self.0.iter().any(|key| key.starts_with(end))
        };
        let longest = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let from = (text.len().saturating_sub(longest)..text.len()).find(begins);
        *held = text.split_off(from.unwrap_or(text.len()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_wherever_a_stream_is_cut() {
        let mask = Mask::new(["sk-a/b-0123456789", "short"]);
        let text = br#"{"error":"sk-a\/b-0123456789 or sk-a/b-0123456789, short; sk-a/b"}"#;
        let expected = br#"{"error":"[key] or [key], short; sk-a/b"}"#;
        assert_eq!(mask.text(text), expected);
        for size in 1..text.len() {
            let (mut held, mut out) = (Vec::new(), Vec::new());
            for piece in text.chunks(size) {
                out.extend(mask.piece(&mut held, piece));
            }
            out.extend(held);
            assert_eq!(out, expected, "in pieces of {size}");
        }
        assert_eq!(Mask::default().text(text), text);
        assert_eq!(format!("{mask:?}"), "Mask(..)");
    }
}
