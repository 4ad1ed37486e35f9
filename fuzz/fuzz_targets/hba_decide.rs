//! libFuzzer's entry to `fuzz::hba::decide`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hba::decide(data));
