//! What only a host with a kernel of its own can show. The tests have this crate to themselves, so that they run one at a time.
