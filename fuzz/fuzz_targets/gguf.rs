//! libFuzzer's way into `echo_fuzz::gguf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| echo_fuzz::gguf::read(input));
