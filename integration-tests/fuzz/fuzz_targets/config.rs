//! .gitops/config.yaml of a repository of either kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::config(data));
