//! libFuzzer's entry to `fuzz::scram::prepare`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram::prepare(data));
