//! Replays the fuzzers' corpora, so that tests find old faults again without a fuzzer.

use std::path::Path;

#[path = "../fuzz/checks/exit_record.rs"]
mod exit_record;
#[path = "../fuzz/checks/frame_reader.rs"]
mod frame_reader;
#[path = "../fuzz/checks/router.rs"]
mod router;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut seeds = 0;
    for seed in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let path = seed.expect("the corpus can be listed").path();
        check(&std::fs::read(&path).expect("a seed can be read"));
        seeds += 1;
    }
    assert!(seeds > 0, "{} is empty", corpus.display());
}

#[test]
fn frame_reader_takes_its_corpus() {
    replay("frame_reader", frame_reader::check);
}

#[test]
fn router_takes_its_corpus() {
    replay("router", router::check);
}

#[test]
fn exit_record_takes_its_corpus() {
    replay("exit_record", exit_record::check);
}

#[test]
fn exit_record_s_corpus_reaches_every_part() {
    let parse = |seed: &str| {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/exit_record");
        meanwhile_shim::record::parse(&std::fs::read(corpus.join(seed)).expect("the seed is there"))
    };
    let killed = parse("killed").unwrap().end.expect("it has ended");
    assert_eq!((killed.survivors.len(), killed.cause.is_some()), (1, true));
    assert!(parse("exited").unwrap().end.is_some());
    assert!(parse("stopping").unwrap().stop.is_some());
    assert_eq!(parse("torn"), Err(meanwhile_shim::record::RecordError::Checksum));
}
