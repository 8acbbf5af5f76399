use super::*;
use proptest::prelude::*;

fn end(exit: Exit, message: &str, survivors: usize) -> End {
    End {
        outcome: Outcome::Stopped,
        exit,
        cause: Some(Cause { actor: Actor::Client, message: message.to_owned() }),
        at_ms: 1_763_800_000_123,
        duration_ns: 92_400_000_000,
        total: 10,
        dropped: 3,
        survivors: (0..survivors)
            .map(|i| Survivor { pid: i as u32 + 2, command: format!("server {i}") })
            .collect(),
    }
}

fn header(end: &End) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[AT_PHASE] = Phase::Ended as u8;
    bytes[AT_END..AT_END + END_BYTES].copy_from_slice(&end.to_bytes());
    bytes
}

#[test]
fn an_end_reads_back_as_written() {
    for exit in
        [Exit::Code(0), Exit::Code(255), Exit::Signal(9), Exit::NotStarted(2), Exit::Unknown]
    {
        for survivors in [0, 1, SURVIVORS_MAX] {
            let end = end(exit, "asked for by the editor", survivors);
            assert_eq!(parse(&header(&end)).unwrap().end, Some(end));
        }
    }
}

#[test]
fn what_is_too_long_is_cut_at_a_character() {
    let record = parse(&header(&end(Exit::Code(1), &"é".repeat(400), 40))).unwrap();
    let end = record.end.unwrap();
    assert_eq!(end.cause.unwrap().message, "é".repeat(256));
    assert_eq!(end.survivors.len(), SURVIVORS_MAX);
}

#[test]
fn one_flipped_bit_is_not_an_end() {
    let good = header(&end(Exit::Code(0), "x", 2));
    for at in [AT_END, AT_END + 4, AT_END + 8, AT_END + 80, AT_END + END_BYTES - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(parse(&bad), Err(RecordError::Checksum), "byte {at}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES),
        magic: bool,
        phase in 0u8..6,
        sealed: bool,
    ) {
        if magic {
            bytes[..8].copy_from_slice(MAGIC);
            bytes[AT_PHASE..AT_PHASE + 4].copy_from_slice(&[phase, 0, 0, 0]);
            bytes[AT_STOP] %= 8;
            abilities::tests::bring_into_range(&mut bytes);
        }
        if sealed {
            let crc = crc32fast::hash(&bytes[AT_END + 4..AT_END + END_BYTES]);
            bytes[AT_END..AT_END + 4].copy_from_slice(&crc.to_le_bytes());
        }
        let _ = parse(&bytes);
    }
}
