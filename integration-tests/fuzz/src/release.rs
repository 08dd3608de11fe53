//! Release files, compiled from the extension service's own source: what else that service needs is not.

#[path = "../../../services/extension/src/release.rs"]
#[allow(dead_code, reason = "its tests and its service use the rest")]
mod source;

use source::{Architecture, LARGEST, Release, Unfit, fits};

/// An extension's release file and, behind a NUL, a tenant's.
pub fn release(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let read = |bytes: &[u8]| match Release::parse(bytes) {
        Ok(release) => Some(release),
        Err(fault) => {
            assert!(!fault.to_string().contains(char::is_control));
            None
        }
    };
    let (extension, system) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (Some(extension), Some(system)) = (read(extension), read(system)) else { return };
    assert!(data.len() <= 2 * LARGEST + 1);
    match fits(&extension, &system, Architecture::native()) {
        // What fits one system fits it again, and what says nothing fits none.
        Ok(()) => assert!(fits(&extension, &system, Architecture::native()).is_ok() && extension != Release::default()),
        Err(Unfit::SaysNothing) => {}
        Err(Unfit::Mismatch(mismatch)) => {
            let message = mismatch.to_string();
            assert!(!message.contains(char::is_control) && message.len() < 20_000, "{message:?}");
        }
    }
}
