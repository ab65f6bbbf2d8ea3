//! `corm::fuzzing::layer` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corm::fuzzing::layer(data));
