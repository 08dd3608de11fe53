//! secrets/sealed-secrets.yaml of a tenant's repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::secrets(data));
