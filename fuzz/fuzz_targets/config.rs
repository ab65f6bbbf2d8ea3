//! `croci::fuzzing::config` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| croci::fuzzing::config(data));
