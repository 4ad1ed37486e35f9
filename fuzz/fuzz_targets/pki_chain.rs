//! libFuzzer's entry to `fuzz::pki::chain`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pki::chain(data));
