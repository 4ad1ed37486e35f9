//! libFuzzer's entry to `fuzz::pgconf::edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pgconf::edit(data));
