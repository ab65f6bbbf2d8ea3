//! `croci::fuzzing::id_maps` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| croci::fuzzing::id_maps(data));
