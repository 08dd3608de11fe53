//! tenants/registry.json and a policy of the system repository.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::registry(data));
