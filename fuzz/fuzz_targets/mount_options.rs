//! `croci::fuzzing::mount_options` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| croci::fuzzing::mount_options(data));
