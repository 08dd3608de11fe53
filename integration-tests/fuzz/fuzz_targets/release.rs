//! Release files of images and tenants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::release(data));
