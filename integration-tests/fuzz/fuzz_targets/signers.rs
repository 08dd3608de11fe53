//! Keys of those who sign commits, as the system repository holds them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::signers(data));
