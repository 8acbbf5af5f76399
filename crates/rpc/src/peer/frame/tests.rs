use proptest::prelude::*;

use super::*;

type Item = Result<Vec<u8>, Fault>;

/// The frames that a decoder returns when the input is split at `cuts`.
fn decode(input: &[u8], cuts: &[usize]) -> Vec<Item> {
    decode_as(Framing::ContentLength, input, cuts)
}

fn decode_as(framing: Framing, input: &[u8], cuts: &[usize]) -> Vec<Item> {
    let mut decoder = Decoder::new(framing);
    let mut items = Vec::new();
    let mut from = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    for to in ends {
        decoder.push(&input[from..to]);
        while let Some(item) = decoder.next() {
            items.push(item.map(<[u8]>::to_vec));
        }
        from = to;
    }
    items
}

#[track_caller]
fn check(input: &str, expect: &[Result<&str, Fault>]) {
    check_as(Framing::ContentLength, input, expect);
}

#[track_caller]
fn check_as(framing: Framing, input: &str, expect: &[Result<&str, Fault>]) {
    let expect: Vec<Item> =
        expect.iter().map(|item| item.clone().map(|body| body.as_bytes().to_vec())).collect();
    assert_eq!(decode_as(framing, input.as_bytes(), &[]), expect, "{input:?} in one piece");
    let every: Vec<usize> = (0..input.len()).collect();
    assert_eq!(decode_as(framing, input.as_bytes(), &every), expect, "{input:?} byte by byte");
}

#[test]
fn frames_are_cut_out() {
    check("", &[]);
    check("Content-Length: 2\r\n\r\n{}", &[Ok("{}")]);
    check("Content-Length: 2\r\n\r\n{}Content-Length: 2\r\n\r\n[]", &[Ok("{}"), Ok("[]")]);
    check("Content-Length: 0\r\n\r\n", &[Ok("")]);
    check("Content-Length: 3\r\n\r\n{}", &[]);
    check("Content-Length: 3\r\n\r\né.", &[Ok("é.")]);
}

#[test]
fn headers_may_be_written_in_any_case_and_number() {
    check("content-length: 2\r\n\r\n{}", &[Ok("{}")]);
    check("CONTENT-LENGTH:2\r\n\r\n{}", &[Ok("{}")]);
    check("Content-Length: 2 \r\nX-Other: a: b\r\n\r\n{}", &[Ok("{}")]);
    check("Content-Length: 0002\n\n{}", &[Ok("{}")]);
    check("Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", &[Ok("{}")]);
    let kind = "application/vscode-jsonrpc";
    check(&format!("Content-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"), &[Ok("{}")]);
    let kind = "application/vscode-jsonrpc; charset=utf-8";
    check(&format!("Content-Length: 2\r\nContent-Type: {kind}\r\n\r\n{{}}"), &[Ok("{}")]);
}

#[test]
fn lost_framing_is_told_once_and_ends() {
    let more = "Content-Length: 2\r\n\r\n{}";
    check(&format!("\r\n{more}"), &[Err(Fault::NoLength)]);
    check(&format!("X: y\r\n\r\n{{}}{more}"), &[Err(Fault::NoLength)]);
    check(&format!("{{\"a\"}}\n{more}"), &[Err(Fault::NoHeader("{\"a\"}".to_owned()))]);
    for bad in ["x", "", "-2", "+2", "2.0", "0x2", "2 2", "٢"] {
        let expect = [Err(Fault::BadLength(bad.to_owned()))];
        check(&format!("Content-Length: {bad}\r\n\r\n{{}}{more}"), &expect);
    }
    let expect = [Err(Fault::BadLength("3".to_owned()))];
    check(&format!("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}{more}"), &expect);
}

#[test]
fn headers_are_bounded() {
    let long = "x".repeat(HEADER_BYTES);
    check(&long, &[]);
    check(&format!("{long}x"), &[Err(Fault::LongHeader)]);
    let many = "X: y\r\n".repeat(HEADER_BYTES / 6 + 1);
    check(&many, &[Err(Fault::LongHeader)]);
}

#[test]
fn a_long_message_is_skipped_and_an_absurd_one_ends() {
    let length = MESSAGE_BYTES as u64 + 1;
    let mut input = format!("Content-Length: {length}\r\n\r\n").into_bytes();
    input.resize(input.len() + MESSAGE_BYTES + 1, b' ');
    input.extend_from_slice(b"Content-Length: 2\r\n\r\n{}");
    assert_eq!(
        decode(&input, &[5, 1_000, 5_000_000]),
        [Err(Fault::TooLong(length)), Ok(b"{}".to_vec())]
    );

    check("Content-Length: 1073741824\r\n\r\n{}", &[Err(Fault::Absurd(ABSURD_BYTES))]);
    let huge = "9".repeat(40);
    check(&format!("Content-Length: {huge}\r\n\r\n{{}}"), &[Err(Fault::Absurd(u64::MAX))]);
}

#[test]
fn lines_are_cut_out() {
    let check = |input, expect: &[_]| check_as(Framing::Lines, input, expect);
    check("", &[]);
    check("{}", &[]);
    check("{}\n", &[Ok("{}")]);
    check("{}\n[]\r\n", &[Ok("{}"), Ok("[]\r")]);
    check("\n\r\n  \n{}\n\n", &[Ok("{}")]);
    check("é\n\u{2028}\n", &[Ok("é"), Ok("\u{2028}")]);
    check("Content-Length: 2\r\n\r\n{}\n", &[Ok("Content-Length: 2\r"), Ok("{}")]);
}

#[test]
fn a_line_that_is_too_long_is_skipped() {
    let longest = vec![b' '; MESSAGE_BYTES - 2];
    let mut input = b"{}".to_vec();
    input.extend_from_slice(&longest);
    let body = input.clone();
    input.extend_from_slice(b"\n{}");
    input.extend_from_slice(&longest);
    input.extend_from_slice(b" \n[]\n");
    let expect = [Ok(body), Err(Fault::LongLine), Ok(b"[]".to_vec())];
    assert_eq!(decode_as(Framing::Lines, &input, &[]), expect);
    let cuts = [5, MESSAGE_BYTES, MESSAGE_BYTES + 1, 2 * MESSAGE_BYTES + 2, input.len() - 2];
    assert_eq!(decode_as(Framing::Lines, &input, &cuts), expect);
    // Skipping an endless line needs no memory.
    let mut decoder = Decoder::new(Framing::Lines);
    for _ in 0..40 {
        decoder.push(&longest[..1 << 20]);
        if let Some(item) = decoder.next() {
            assert_eq!(item, Err(Fault::LongLine));
            assert_eq!(decoder.next(), None);
        }
        assert!(decoder.buffered() <= MESSAGE_BYTES);
    }
    assert!(!decoder.is_between_frames(), "the input would end within a message");
}

#[test]
fn memory_of_a_large_message_is_given_back() {
    let body = vec![b' '; MESSAGE_BYTES];
    let mut input = Vec::new();
    Framing::ContentLength.append(&mut input, &body);
    let mut decoder = Decoder::new(Framing::ContentLength);
    decoder.push(&input);
    assert_eq!(decoder.next(), Some(Ok(body.as_slice())));
    assert!(decoder.is_between_frames());
    assert!(decoder.space().capacity() <= KEEP_BYTES);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut input = Vec::new();
        for body in &bodies {
            Framing::ContentLength.append(&mut input, body);
        }
        let expect: Vec<Item> = bodies.into_iter().map(Ok).collect();
        prop_assert_eq!(decode(&input, &cuts), expect);
    }

    #[test]
    fn any_split_gives_the_same_lines(
        texts in prop::collection::vec(".{0,64}", 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut input = Vec::new();
        let mut expect: Vec<Item> = Vec::new();
        for text in &texts {
            let body = serde_json::to_vec(text).expect("a text is JSON");
            Framing::Lines.append(&mut input, &body);
            expect.push(Ok(body));
        }
        prop_assert_eq!(decode_as(Framing::Lines, &input, &cuts), expect);
    }

    #[test]
    fn any_split_of_anything_gives_the_same_items(
        parts in prop::collection::vec(
            prop_oneof![
                Just(b"Content-Length: ".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\n".to_vec()),
                Just(b"2".to_vec()),
                Just(b"{}".to_vec()),
                Just(b"17000000".to_vec()),
                Just(b":".to_vec()),
                prop::collection::vec(any::<u8>(), 0..8),
            ],
            0..24,
        ),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let input = parts.concat();
        for framing in [Framing::ContentLength, Framing::Lines] {
            prop_assert_eq!(decode_as(framing, &input, &cuts), decode_as(framing, &input, &[]));
        }
    }
}
