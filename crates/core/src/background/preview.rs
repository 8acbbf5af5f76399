//! The beginning and end of an output, for a notification.
//!
//! Pure: the caller reads the bytes. Shows both, because the beginning says what was done and the end says how
//! it failed.

use crate::background::task::Preview;
use crate::limits::PREVIEW_BYTES;

/// Maximum bytes at each end, as text.
const END_BYTES: usize = PREVIEW_BYTES / 2;
/// How far a cut may move to fall between two lines.
const LINE_SLACK: usize = 256;

/// Builds the preview of an output of `total` bytes that begins with `head` and ends with `tail`. Each should
/// have [`PREVIEW_BYTES`] bytes or the whole output; they may overlap. Omitted bytes are counted in the output.
/// In the text, U+FFFD replaces invalid UTF-8, and the limit applies to the text.
pub fn build(head: &[u8], tail: &[u8], total: u64) -> Preview {
    let head = &head[..head.len().min(clamp(total))];
    let tail = &tail[tail.len() - tail.len().min(clamp(total))..];
    let between = total.saturating_sub(head.len() as u64 + tail.len() as u64);
    if between > 0 {
        return joined(head_end(head), tail_end(tail), total);
    }
    // The whole output is available: `tail` continues where `head` ends, or overlaps it.
    let overlap = clamp((head.len() as u64 + tail.len() as u64).saturating_sub(total));
    let whole = [head, &tail[overlap.min(tail.len())..]].concat();
    if whole.len() <= PREVIEW_BYTES {
        let text = String::from_utf8_lossy(&whole);
        if text.len() <= PREVIEW_BYTES {
            return Preview { head: text.into_owned(), tail: String::new(), omitted: 0 };
        }
    }
    let head = head_end(&whole);
    joined(head, tail_end(&whole[head.len()..]), total)
}

fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The text of both ends of an output whose middle is omitted.
fn joined(head: &[u8], tail: &[u8], total: u64) -> Preview {
    Preview {
        head: String::from_utf8_lossy(head).into_owned(),
        tail: String::from_utf8_lossy(tail).into_owned(),
        omitted: total.saturating_sub((head.len() + tail.len()) as u64),
    }
}

/// The longest prefix of `bytes` whose text fits, without splitting a character, cut at the end of a line if
/// one is near.
fn head_end(bytes: &[u8]) -> &[u8] {
    let bytes = without_partial_end(&bytes[..bytes.len().min(END_BYTES)]);
    let mut text = 0;
    let mut end = 0;
    for length in characters(bytes) {
        text += length.text;
        if text > END_BYTES {
            break;
        }
        end += length.bytes;
    }
    let kept = &bytes[..end];
    match kept.iter().rposition(|&byte| byte == b'\n') {
        Some(at) if kept.len() - at <= LINE_SLACK && at >= kept.len() / 2 => &kept[..=at],
        Some(_) | None => kept,
    }
}

/// The longest suffix of `bytes` whose text fits, likewise.
fn tail_end(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[bytes.len() - bytes.len().min(END_BYTES)..];
    // Skip the rest of a character that begins before the cut. In output that is not UTF-8, losing three bytes
    // does not matter.
    let partial = bytes.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    let bytes = &bytes[partial..];
    let lengths: Vec<Length> = characters(bytes).collect();
    let mut text = 0;
    let mut start = bytes.len();
    for length in lengths.iter().rev() {
        text += length.text;
        if text > END_BYTES {
            break;
        }
        start -= length.bytes;
    }
    let kept = &bytes[start..];
    match kept.iter().position(|&byte| byte == b'\n') {
        Some(at) if at < LINE_SLACK && at < kept.len() / 2 => &kept[at + 1..],
        Some(_) | None => kept,
    }
}

/// Cuts off an incomplete character at the end.
pub(crate) fn without_partial_end(bytes: &[u8]) -> &[u8] {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let wanted = match bytes[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return bytes,
        };
        return if wanted > back { &bytes[..at] } else { bytes };
    }
    bytes
}

/// The length of one character, or one invalid sequence, in the output and as text.
struct Length {
    bytes: usize,
    text: usize,
}

fn characters(bytes: &[u8]) -> impl Iterator<Item = Length> + '_ {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(char::len_utf8);
        let valid = valid.map(|length| Length { bytes: length, text: length });
        let faulty = Some(chunk.invalid().len()).filter(|&length| length > 0);
        let faulty =
            faulty.map(|bytes| Length { bytes, text: char::REPLACEMENT_CHARACTER.len_utf8() });
        valid.chain(faulty)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The preview of an output as the ledger's caller builds it: from up to `read` bytes at each end.
    fn preview(output: &[u8], read: usize) -> Preview {
        let length = output.len();
        let read = read.min(length);
        build(&output[..read], &output[length - read..], length as u64)
    }

    #[test]
    fn an_incomplete_character_at_the_end_is_cut_off_and_a_whole_one_is_not() {
        for character in ["é", "€", "😀"] {
            let whole = format!("a{character}");
            assert_eq!(without_partial_end(whole.as_bytes()), whole.as_bytes());
            for end in 2..whole.len() {
                assert_eq!(without_partial_end(&whole.as_bytes()[..end]), b"a", "{whole} to {end}");
            }
        }
        for kept in [&b""[..], b"a", b"\xff", b"a\xc1", b"\x80\x80\x80\x80", b"a\xf5\x80"] {
            assert_eq!(without_partial_end(kept), kept);
        }
    }

    #[test]
    fn a_cut_moves_to_a_line_end_only_if_that_is_near_and_keeps_half() {
        let lines = |before: usize, after: usize| {
            [&vec![b'x'; before][..], b"\n", &vec![b'x'; after]].concat()
        };
        for (before, after, kept) in [
            // The line end is 256 bytes from the cut, and then one more.
            (1_792, 255, 1_793),
            (1_791, 256, 2_048),
            // It keeps half of the bytes, and then one byte less.
            (50, 50, 51),
            (49, 51, 101),
        ] {
            assert_eq!(head_end(&lines(before, after)).len(), kept, "{before}, {after}");
        }
        for (before, after, kept) in
            [(255, 1_792, 1_792), (256, 1_791, 2_048), (49, 50, 50), (50, 49, 100)]
        {
            assert_eq!(tail_end(&lines(before, after)).len(), kept, "{before}, {after}");
        }
    }

    #[test]
    fn a_tail_that_begins_inside_a_character_leaves_out_its_rest() {
        for (text, kept) in [("é".repeat(2_000) + "x", 2_047), ("@@€".repeat(900) + "x", 2_046)]
        {
            let tail = tail_end(text.as_bytes());
            assert_eq!(std::str::from_utf8(tail).map(str::len), Ok(kept));
        }
        // A short one may begin there, too, if the output before it was not kept.
        for from in 1..3 {
            assert_eq!(tail_end(&"€@x".as_bytes()[from..]), b"@x");
        }
    }

    #[test]
    fn a_short_output_is_shown_whole() {
        for output in ["", "ok\n", "é", &"x".repeat(4_096)] {
            for read in [2_048, 4_096, 9_999] {
                let expected = Preview { head: output.to_owned(), ..Preview::default() };
                assert_eq!(preview(output.as_bytes(), read), expected);
            }
        }
    }

    #[test]
    fn both_ends_of_a_long_output_are_shown_by_whole_lines() {
        let output: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        let shown = preview(output.as_bytes(), PREVIEW_BYTES);
        assert!(shown.head.starts_with("line 0\n") && shown.head.ends_with('\n'));
        assert!(shown.tail.starts_with("line ") && shown.tail.ends_with("line 999\n"));
        let kept = shown.head.len() + shown.tail.len();
        assert!(kept > PREVIEW_BYTES - 20, "{kept}");
        assert_eq!(shown.omitted, (output.len() - kept) as u64);
    }

    #[test]
    fn a_line_longer_than_the_preview_is_cut_inside() {
        let shown = preview(&[b'x'; 10_000], PREVIEW_BYTES);
        assert_eq!((shown.head.len(), shown.tail.len(), shown.omitted), (2_048, 2_048, 5_904));
    }

    #[test]
    fn a_last_line_is_never_given_up_for_a_near_line_end() {
        let output = format!("{}\n{}", "x".repeat(9_000), "y".repeat(2_000));
        assert_eq!(preview(output.as_bytes(), PREVIEW_BYTES).tail, "y".repeat(2_000));
        let output = format!("{}\n", "x".repeat(9_000));
        assert_eq!(preview(output.as_bytes(), PREVIEW_BYTES).tail.len(), 2_048);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for shift in 0..4 {
            let output = format!("{}{}", "x".repeat(shift), "€😀".repeat(1_000));
            let shown = preview(output.as_bytes(), 2_048);
            assert!(!shown.head.contains('\u{fffd}') && !shown.tail.contains('\u{fffd}'));
            assert!(output.starts_with(&shown.head) && output.ends_with(&shown.tail));
            assert_eq!(shown.omitted as usize, output.len() - shown.head.len() - shown.tail.len());
        }
    }

    #[test]
    fn what_is_not_text_is_not_longer_than_the_limit_as_text() {
        let shown = preview(&[0xff; 4_096], PREVIEW_BYTES);
        assert_eq!((shown.head.chars().count(), shown.tail.chars().count()), (682, 682));
        assert_eq!(shown.omitted, 4_096 - 2 * 682);
    }

    #[test]
    fn ends_of_an_output_with_nothing_kept_between_are_shown() {
        let shown = build(b"begin\n", b"end\n", 1 << 40);
        assert_eq!((shown.head.as_str(), shown.tail.as_str()), ("begin\n", "end\n"));
        assert_eq!(shown.omitted, (1 << 40) - 10);
    }

    proptest! {
        #[test]
        fn nothing_exceeds_the_limit_and_every_byte_is_counted(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just(b"word ".to_vec()), Just(b"\n".to_vec()), Just("€😀".as_bytes().to_vec()),
                    Just(vec![0xff, 0xc3]), Just(vec![0xf0, 0x9f]), Just(vec![b'z'; 300]),
                ],
                0..60,
            ),
            times in 1..20_usize,
            read in 0..6_000_usize,
        ) {
            let output = pieces.concat().repeat(times);
            let shown = preview(&output, read);
            prop_assert!(shown.head.len() + shown.tail.len() <= PREVIEW_BYTES);
            if output.len() <= 2 * read && String::from_utf8_lossy(&output).len() <= PREVIEW_BYTES {
                prop_assert_eq!(shown.omitted, 0);
                prop_assert_eq!(shown.tail, "");
                prop_assert_eq!(shown.head, String::from_utf8_lossy(&output));
            } else {
                // Each character of the text represents at least one byte and at most its own three.
                let most = (shown.head.len() + shown.tail.len()) as u64;
                prop_assert!(shown.omitted > 0 || output.is_empty());
                prop_assert!(shown.omitted + most >= output.len() as u64);
                prop_assert!(shown.omitted <= output.len() as u64);
            }
        }
    }
}
