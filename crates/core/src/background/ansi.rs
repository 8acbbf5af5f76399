//! Removes the escape sequences meant for a terminal (ECMA-48) from output.

use std::borrow::Cow;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

/// Removes control sequences (colours, cursor movement), strings for the terminal (titles, links) and other
/// escapes, also a sequence that the end of the text cuts off.
pub(crate) fn strip(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&ESC) {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == ESC) {
        plain.extend_from_slice(&rest[..at]);
        rest = after_escape(&rest[at + 1..]);
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// What follows the escape sequence; `rest` starts after its ESC.
fn after_escape(rest: &[u8]) -> &[u8] {
    let Some((&kind, body)) = rest.split_first() else { return rest };
    match kind {
        // CSI: parameters and intermediates, then one final byte.
        b'[' => {
            let end = body.iter().position(|byte| !(0x20..=0x3f).contains(byte));
            end.map_or(&[][..], |end| match body[end] {
                0x40..=0x7e => &body[end + 1..],
                // Malformed: a terminal gives up here too.
                _ => &body[end..],
            })
        }
        // OSC, DCS, SOS, PM, APC: up to BEL or ST, but never past the end of a line: an unterminated one must
        // not swallow the output.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let end = body.iter().position(|&byte| matches!(byte, BEL | ESC | b'\n'));
            end.map_or(&[][..], |end| match body[end] {
                BEL => &body[end + 1..],
                ESC if body.get(end + 1) == Some(&b'\\') => &body[end + 2..],
                _ => &body[end..],
            })
        }
        // nF: intermediates and a final byte. All other sequences are two bytes long.
        0x20..=0x2f => {
            let end = body.iter().position(|byte| !(0x20..=0x2f).contains(byte));
            end.map_or(&[][..], |end| match body[end] {
                0x30..=0x7e => &body[end + 1..],
                _ => &body[end..],
            })
        }
        0x30..=0x7e => body,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        for (text, expected) in [
            ("plain", "plain"),
            ("\x1b[1;31merror\x1b[0m: no", "error: no"),
            ("a\x1b[2K\r\x1b[1Gb", "a\rb"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b(Bx\x1b=y\x1b7z", "xyz"),
            ("cut \x1b[3", "cut "),
            ("cut \x1b", "cut "),
            ("\x1b]0;open\nnext", "\nnext"),
            ("\x1b[3\nnext", "\nnext"),
            ("\x1b(\nnext", "\nnext"),
            ("\x1b #\rnext", "\rnext"),
            ("é\x1b[mé", "éé"),
        ] {
            assert_eq!(strip(text.as_bytes()).as_ref(), expected.as_bytes(), "{text:?}");
        }
    }

    proptest! {
        /// Output may be split into lines before it is stripped, or after.
        #[test]
        fn no_sequence_takes_the_end_of_a_line_with_it(
            text in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(ESC), 0x20..=0x3f_u8, any::<u8>()],
                0..40,
            ),
        ) {
            let ends = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(ends(&strip(&text)), ends(&text));
        }
    }
}
