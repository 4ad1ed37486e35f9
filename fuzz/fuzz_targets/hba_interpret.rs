//! libFuzzer's entry to `fuzz::hba::interpret`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hba::interpret(data));
