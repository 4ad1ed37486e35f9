//! libFuzzer's entry to `fuzz::hba::roundtrip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hba::roundtrip(data));
