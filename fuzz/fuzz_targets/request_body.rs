//! libFuzzer's way into `echo_fuzz::request_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| echo_fuzz::request_body::read(input));
