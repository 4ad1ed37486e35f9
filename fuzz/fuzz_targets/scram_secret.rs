//! libFuzzer's entry to `fuzz::scram::secret`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram::secret(data));
