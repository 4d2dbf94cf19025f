#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvolt_fuzz::device_proof(data));
