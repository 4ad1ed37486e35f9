//! libFuzzer's entry to `fuzz::passfile::lookup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::passfile::lookup(data));
