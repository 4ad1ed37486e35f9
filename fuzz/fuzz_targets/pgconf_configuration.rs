//! libFuzzer's entry to `fuzz::pgconf::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pgconf::configuration(data));
