//! libFuzzer's entry to `fuzz::pki::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pki::request(data));
