//! libFuzzer's entry to `fuzz::scram::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram::certificate(data));
