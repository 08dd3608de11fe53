//! What a request's headers claim: by what it can be seen that its sender knows the secret, in the words of each forge. Read
//! before anything of the sender is known.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// More signatures than a sender has secrets at a time.
const MOST_SIGNATURES: usize = 8;
/// Longer than any identifier or token that a forge sends, in bytes.
const LONGEST: usize = 512;

/// A SHA-256, or a code made with it.
pub(crate) type Digest = [u8; 32];

/// What is claimed. Any one of them is enough.
#[derive(Default)]
pub(crate) struct Claims {
    /// HMAC-SHA256 of the body (GitHub, Gitea, Forgejo).
    pub(crate) body: Option<Digest>,
    /// A signature of the body with an identifier and a time (GitLab's signing token, standardwebhooks.com).
    pub(crate) signed: Option<Signed>,
    /// The secret itself (GitLab's secret token).
    pub(crate) token: Option<Vec<u8>>,
}

/// A signature of more than the body.
pub(crate) struct Signed {
    /// What stands before the body in what is signed.
    pub(crate) before: Vec<u8>,
    /// One for each secret that the sender has.
    pub(crate) signatures: Vec<Digest>,
}

impl Claims {
    /// What these headers claim. What is malformed claims nothing.
    pub(crate) fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let github = header("x-hub-signature-256").and_then(|value| hexadecimal(value.strip_prefix(b"sha256=")?));
        let others = ["x-gitea-signature", "x-forgejo-signature"];
        Self {
            body: github.or_else(|| others.iter().find_map(|name| hexadecimal(header(name)?))),
            signed: Signed::read(&header),
            token: header("x-gitlab-token").filter(|token| (1..=LONGEST).contains(&token.len())).map(<[u8]>::to_vec),
        }
    }

    /// Whether there is nothing to be verified.
    pub(crate) fn are_none(&self) -> bool {
        self.body.is_none() && self.signed.is_none() && self.token.is_none()
    }
}

impl Signed {
    /// How old it is, is not looked at: who sends it again asks for a look, and no more.
    fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
        let is_id = (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        let is_time = (1..=20).contains(&time.len()) && time.iter().all(u8::is_ascii_digit);
        if !is_id || !is_time {
            return None;
        }
        let words = header("webhook-signature")?.split(|byte| *byte == b' ').take(MOST_SIGNATURES);
        let signatures: Vec<Digest> = words.filter_map(|word| base64(word.strip_prefix(b"v1,")?)).collect();
        let before = [id, b".", time, b"."].concat();
        (!signatures.is_empty()).then_some(Self { before, signatures })
    }
}

fn base64(text: &[u8]) -> Option<Digest> {
    // 32 bytes are 44 letters.
    if text.len() != 44 { None } else { STANDARD.decode(text).ok()?.try_into().ok() }
}

fn hexadecimal(text: &[u8]) -> Option<Digest> {
    if text.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Claims {
        Claims::read(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()))
    }

    #[test]
    fn what_is_malformed_claims_nothing() {
        let digits = "0aF9".repeat(16);
        let body = |name: &str, value: &str| read(&[(name, value)]).body;
        let expected: Digest = [0x0a, 0xf9].repeat(16).try_into().unwrap();
        assert_eq!(body("x-hub-signature-256", &format!("sha256={digits}")), Some(expected));
        assert_eq!(body("x-gitea-signature", &digits), Some(expected));
        assert_eq!(body("x-forgejo-signature", &digits), Some(expected));
        let wrong = [
            String::new(),
            digits.clone(),
            format!("sha1={digits}"),
            format!("sha256={}", &digits[1..]),
            format!("sha256={digits}0"),
            format!("sha256= {}", &digits[1..]),
            format!("sha256=+{}", &digits[1..]),
            format!("sha256={}é", &digits[2..]),
        ];
        for value in wrong {
            assert!(read(&[("x-hub-signature-256", &value)]).are_none(), "{value:?}");
        }
        // SHA-1 is no proof any more.
        assert!(read(&[("x-hub-signature", &digits), ("x-gogs-signature", &digits)]).are_none());
    }

    #[test]
    fn a_signature_of_more_than_the_body_needs_all_its_parts() {
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signed = |id: &str, time: &str, signature: &str| {
            let headers = [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
            read(&headers).signed.map(|signed| (signed.before, signed.signatures.len()))
        };
        assert_eq!(signed("a", "1", good), Some((b"a.1.".to_vec(), 1)));
        assert_eq!(signed("a", "1", &format!("v2,x {good} v1,short {good}")), Some((b"a.1.".to_vec(), 2)));
        for (id, time, signature) in [
            ("", "1", good),
            ("a b", "1", good),
            ("a", "", good),
            ("a", "-1", good),
            ("a", "1", ""),
            ("a", "1", &good[3..]),
            ("a", "1", &good[..good.len() - 1]),
        ] {
            assert_eq!(signed(id, time, signature), None, "{id:?} {time:?} {signature:?}");
        }
        assert_eq!(signed("a", "1", &format!("{good} ").repeat(1000)).unwrap().1, MOST_SIGNATURES);
        assert!(read(&[("webhook-signature", good)]).are_none());
    }
}
