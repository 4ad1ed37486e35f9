//! libFuzzer's entry to `fuzz::scram::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram::client(data));
