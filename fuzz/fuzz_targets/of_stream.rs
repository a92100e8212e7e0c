//! See `of_stream` in the targets' module.
#![no_main]

#[allow(dead_code, reason = "one target of several")]
#[path = "../../openflow/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::of_stream(data));
