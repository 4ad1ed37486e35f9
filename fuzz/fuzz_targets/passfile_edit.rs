//! libFuzzer's entry to `fuzz::passfile::edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::passfile::edit(data));
