//! `croci::fuzzing::users` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| croci::fuzzing::users(data));
