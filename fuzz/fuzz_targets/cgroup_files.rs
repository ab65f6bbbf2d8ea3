//! `croci::fuzzing::cgroup_files` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| croci::fuzzing::cgroup_files(data));
