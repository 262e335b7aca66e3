//! libFuzzer's way into `echo_fuzz::tokenizer_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| echo_fuzz::tokenizer_json::read(input));
