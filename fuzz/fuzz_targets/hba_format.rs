//! libFuzzer's entry to `fuzz::hba::format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hba::format(data));
