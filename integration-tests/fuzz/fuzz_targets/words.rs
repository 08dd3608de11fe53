//! Names, references, addresses, sizes and all other checked words.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::words(data));
