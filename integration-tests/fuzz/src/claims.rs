//! Webhooks' headers, compiled from the receiver's own source: what else the receiver needs is not.

#[path = "../../../services/webhook/src/claim.rs"]
mod source;

use source::Claims;

/// The headers that are read, in the order in which their values come.
const HEADERS: [&str; 7] = [
    "x-hub-signature-256",
    "x-gitea-signature",
    "x-forgejo-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-gitlab-token",
];

/// The values of headers, each behind a NUL but the first. An empty one is not there.
pub fn claims(data: &[u8]) {
    let values: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let value = |name: &str| {
        let index = HEADERS.iter().position(|known| *known == name).expect("no other header is read");
        values.get(index).copied().filter(|value| !value.is_empty())
    };
    let claims = Claims::read(value);
    assert_eq!(claims.are_none(), claims.body.is_none() && claims.signed.is_none() && claims.token.is_none());
    if let Some(digest) = claims.body {
        // It is what one of the headers says, in digits.
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let said = HEADERS[..3]
            .iter()
            .filter_map(|name| value(name))
            .any(|said| said.strip_prefix(b"sha256=").unwrap_or(said).eq_ignore_ascii_case(digits.as_bytes()));
        assert!(said, "{digits}");
    }
    if let Some(signed) = claims.signed {
        let (id, time) = (value("webhook-id").expect("read"), value("webhook-timestamp").expect("read"));
        assert_eq!(signed.before, [id, b".", time, b"."].concat());
        // No time can be taken for a part of another identifier's: it has digits alone.
        assert!(time.iter().all(u8::is_ascii_digit) && signed.before.len() < 600);
        assert!((1..=8).contains(&signed.signatures.len()));
    }
    if let Some(token) = claims.token {
        assert_eq!(Some(token.as_slice()), value("x-gitlab-token"));
        assert!(token.len() <= 512);
    }
}
