//! What webhooks' headers claim.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::claims(data));
