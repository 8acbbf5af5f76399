#![no_main]

#[path = "../checks/router.rs"]
mod router;

libfuzzer_sys::fuzz_target!(|data: &[u8]| router::check(data));
