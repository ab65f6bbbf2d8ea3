//! `corm::fuzzing::containerfile` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corm::fuzzing::containerfile(data));
