//! libFuzzer's entry to `fuzz::pki::heap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::pki::heap(data));
