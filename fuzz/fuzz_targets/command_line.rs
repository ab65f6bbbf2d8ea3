//! The command lines of both programs for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    croci::fuzzing::command_line(data);
    corm::fuzzing::command_line(data);
});
