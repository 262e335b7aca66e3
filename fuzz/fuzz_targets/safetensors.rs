//! libFuzzer's way into `echo_fuzz::safetensors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| echo_fuzz::safetensors::read(input));
