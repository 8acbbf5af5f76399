#![no_main]

#[path = "../checks/exit_record.rs"]
mod exit_record;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exit_record::check(data));
