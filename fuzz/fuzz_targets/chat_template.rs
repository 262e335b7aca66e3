//! libFuzzer's way into `echo_fuzz::chat_template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| echo_fuzz::chat_template::read(input));
