//! libFuzzer's entry to `fuzz::hba::edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hba::edit(data));
