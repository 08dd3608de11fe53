//! Whether a claim holds. Every comparison takes as long whatever differs, and the body is digested as it comes, never kept.

use crate::claim::{Claims, Digest, Signed};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// How GitLab marks a signing token, whose key is what follows, in Base64.
const SIGNING_TOKEN: &str = "whsec_";

/// A secret, and what is made of it. It is never shown.
pub(crate) struct Key {
    body: Hmac<Sha256>,
    signed: Hmac<Sha256>,
    token: Digest,
}

impl Key {
    /// The key of this secret.
    pub(crate) fn of(secret: &str) -> Self {
        let signing = secret.strip_prefix(SIGNING_TOKEN).and_then(|rest| STANDARD.decode(rest).ok());
        Self {
            body: keyed(secret.as_bytes()),
            signed: keyed(signing.as_deref().unwrap_or(secret.as_bytes())),
            token: Sha256::digest(secret).into(),
        }
    }

    /// Begins to verify what a request claims.
    pub(crate) fn verify(&self, claims: Claims) -> Verifier {
        let token = claims.token.map_or(Choice::from(0), |claimed| {
            let claimed: Digest = Sha256::digest(claimed).into();
            claimed.ct_eq(&self.token)
        });
        let body = claims.body.map(|claimed| (self.body.clone(), claimed));
        let signed = claims.signed.map(|Signed { before, signatures }| {
            let mut code = self.signed.clone();
            code.update(&before);
            (code, signatures)
        });
        Verifier { token, body, signed }
    }
}

// A key of any length makes an HMAC (RFC 2104).
#[allow(clippy::expect_used)]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A request that is being verified.
pub(crate) struct Verifier {
    token: Choice,
    body: Option<(Hmac<Sha256>, Digest)>,
    signed: Option<(Hmac<Sha256>, Vec<Digest>)>,
}

impl Verifier {
    /// Takes the next part of the body.
    pub(crate) fn update(&mut self, part: &[u8]) {
        if let Some((code, _)) = &mut self.body {
            code.update(part);
        }
        if let Some((code, _)) = &mut self.signed {
            code.update(part);
        }
    }

    /// Whether any of the claims holds.
    pub(crate) fn holds(self) -> bool {
        let digest = |code: Hmac<Sha256>| -> Digest { code.finalize().into_bytes().into() };
        let body = self.body.map_or(Choice::from(0), |(code, claimed)| digest(code).ct_eq(&claimed));
        let signed = self.signed.map_or(Choice::from(0), |(code, claimed)| {
            let made = digest(code);
            claimed.iter().fold(Choice::from(0), |holds, claimed| holds | made.ct_eq(claimed))
        });
        (self.token | body | signed).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(secret: &str, headers: &[(&str, &str)], body: &str) -> bool {
        let claims =
            Claims::read(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()));
        let mut verifier = Key::of(secret).verify(claims);
        body.as_bytes().chunks(5).for_each(|part| verifier.update(part));
        verifier.holds()
    }

    /// docs.github.com, "Validating webhook deliveries".
    #[test]
    fn githubs_example() {
        let code = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (secret, body) = ("It's a Secret to Everybody", "Hello, World!");
        let header = format!("sha256={code}");
        assert!(holds(secret, &[("x-hub-signature-256", &header)], body));
        // Gitea and Forgejo send the same code without a prefix.
        assert!(holds(secret, &[("x-gitea-signature", code)], body));
        assert!(holds(secret, &[("x-forgejo-signature", code)], body));
        assert!(!holds("It's a Secret to Nobody", &[("x-hub-signature-256", &header)], body));
        assert!(!holds(secret, &[("x-hub-signature-256", &header)], "Hello, World?"));
        assert!(!holds(secret, &[("x-gitea-signature", &code.replace('7', "8"))], body));
        assert!(!holds(secret, &[("x-gitea-signature", &code[..62])], body));
        assert!(!holds(secret, &[], body));
    }

    /// standardwebhooks.com, whose way GitLab signs.
    #[test]
    fn the_standards_example() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let id = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let time = ("webhook-timestamp", "1614265330");
        assert!(holds(secret, &[id, time, ("webhook-signature", good)], body));
        let two = format!("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= {good}");
        assert!(holds(secret, &[id, time, ("webhook-signature", &two)], body));
        assert!(!holds(secret, &[id, ("webhook-timestamp", "1614265331"), ("webhook-signature", good)], body));
        assert!(!holds(secret, &[("webhook-id", "x"), time, ("webhook-signature", good)], body));
        assert!(!holds(secret, &[id, time, ("webhook-signature", good)], "{}"));
        assert!(!holds("another secret", &[id, time, ("webhook-signature", good)], body));
    }

    #[test]
    fn gitlabs_secret_token_is_the_secret() {
        assert!(holds("a secret of gitlab", &[("x-gitlab-token", "a secret of gitlab")], "{}"));
        assert!(!holds("a secret of gitlab", &[("x-gitlab-token", "a secret of gitla")], "{}"));
        assert!(!holds("a secret of gitlab", &[("x-gitlab-token", "")], "{}"));
        // Whatever else is claimed and does not hold takes nothing away.
        let headers = [("x-gitlab-token", "a secret of gitlab"), ("x-gitea-signature", &"0".repeat(64))];
        assert!(holds("a secret of gitlab", &headers, "{}"));
    }
}
