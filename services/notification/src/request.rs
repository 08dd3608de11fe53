//! What a message is on the wire, as each forge's API has it. What is secret is marked, so that no library prints it.

use crate::{
    credentials::Credentials,
    message::{Content, Message},
};
use hmac::{Hmac, Mac};
use model::{
    RepositoryUrl, Revision,
    names::RepositoryName,
    notification::{CommitState, Kind, Occasion, Target},
};
use reqwest::{
    Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use sha2::Sha256;

/// The version that a webhook's body is written in.
const VERSION: &str = "1.0";

/// What GitHub and Gitea are told.
#[derive(Debug, Serialize)]
struct Status<'a> {
    state: &'a str,
    context: &'a str,
    description: &'a str,
}

/// What a webhook is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    version: &'a str,
    id: &'a str,
    host: &'a str,
    tenant: &'a RepositoryName,
    event: Occasion,
    #[serde(rename = "atUSec")]
    at_usec: u64,
    repository: Option<&'a RepositoryUrl>,
    revision: Option<&'a Revision>,
    failed: Option<&'a Revision>,
    generation: u64,
    reason: Option<&'a str>,
    plan: &'a [String],
}

/// A POST.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The request that tells a target a message.
///
/// # Errors
/// What this host lacks for it.
pub(crate) fn request(
    target: &Target,
    message: &Message,
    hostname: &str,
    credentials: &Credentials,
) -> Result<Request, String> {
    let base = target.address.base();
    match &message.content {
        Content::Status { project, revision, state, description } => {
            let token = credentials.token(&target.name)?;
            let context = format!("bitbuilder/{hostname}/{}", message.repository);
            let state = state_at(target.kind, *state);
            let said = [("state", state), ("context", &context), ("description", description)];
            let headers = [token_header(target.kind, &token)?, (ACCEPT, HeaderValue::from_static("application/json"))];
            let mut headers = HeaderMap::from_iter(headers);
            if target.kind == Kind::Gitlab {
                let project = project.as_str().replace('/', "%2F");
                let address = format!("{base}/projects/{project}/statuses/{revision}");
                let url = Url::parse_with_params(&address, said).map_err(|cause| wrong(&cause))?;
                return Ok(Request { url, headers, body: Vec::new() });
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let url = parsed(&format!("{base}/repos/{project}/statuses/{revision}"))?;
            let body = json(&Status { state, context: &context, description })?;
            Ok(Request { url, headers, body })
        }
        Content::Event { url, at_usec, revision, failed, generation, reason, plan } => {
            let body = json(&Posted {
                version: VERSION,
                id: &message.id,
                host: hostname,
                tenant: &message.repository,
                event: message.occasion,
                at_usec: *at_usec,
                repository: url.as_ref(),
                revision: revision.as_ref(),
                failed: failed.as_ref(),
                generation: *generation,
                reason: reason.as_deref(),
                plan,
            })?;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert("x-bitbuilder-event", value(message.occasion.word())?);
            headers.insert("x-bitbuilder-delivery", value(&message.id)?);
            if let Some(secret) = credentials.secret(&target.name)? {
                headers.insert("x-bitbuilder-signature-256", value(&signature(&secret, &body)?)?);
            }
            Ok(Request { url: parsed(target.address.as_str())?, headers, body })
        }
    }
}

/// How a forge calls a state.
fn state_at(kind: Kind, state: CommitState) -> &'static str {
    match (state, kind) {
        (CommitState::Pending, _) => "pending",
        (CommitState::Success, _) => "success",
        (CommitState::Failure, Kind::Gitlab) => "failed",
        (CommitState::Failure, Kind::Github | Kind::Gitea | Kind::Webhook) => "failure",
    }
}

/// How a forge takes a token.
fn token_header(kind: Kind, token: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, text) = match kind {
        Kind::Github => (AUTHORIZATION, format!("Bearer {token}")),
        Kind::Gitlab => (HeaderName::from_static("private-token"), token.to_owned()),
        Kind::Gitea => (AUTHORIZATION, format!("token {token}")),
        Kind::Webhook => return Err("a webhook is shown no token".to_owned()),
    };
    let mut value = value(&text)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// As `openssl dgst -sha256 -hmac` has it.
fn signature(secret: &str, body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|cause| wrong(&cause))?;
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256={digits}"))
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(body).map_err(|cause| wrong(&cause))
}

fn parsed(address: &str) -> Result<Url, String> {
    Url::parse(address).map_err(|cause| wrong(&cause))
}

/// What is wrong with a value may be a secret, and is not said.
fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|cause| wrong(&cause))
}

fn wrong(cause: &dyn std::fmt::Display) -> String {
    format!("it cannot be asked: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        compose,
        tests::{event, target, told},
    };
    use model::progress::EventKind;
    use std::fs;

    /// Everything that goes over the wire, as text.
    fn wire(target: &Target, kind: EventKind, reason: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in [("token.forge", "canary-token"), ("secret.hook", "canary-secret")] {
            fs::write(directory.path().join(format!("bitbuilder.notification-{name}")), content).unwrap();
        }
        let credentials = Credentials::in_directory(directory.path());
        let message = compose(target, &told(Vec::new(), vec![event(kind, 7, 'a', Some(reason))]), 0).unwrap();
        let Request { url, headers, body } = request(target, &message, "h1", &credentials).unwrap();
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
        let headers = headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        format!("POST {url}\n{}\n{}", headers.collect::<String>(), String::from_utf8(body).unwrap())
    }

    #[test]
    fn each_forge_is_told_as_its_interface_has_it() {
        let at = |kind, address: &str| {
            let target = Target { address: address.parse().unwrap(), ..target(kind) };
            wire(&target, EventKind::Refused, "error: \"a&b\" is\n --> web:metadata.json:1:1")
        };
        let all = [
            at(Kind::Github, "https://git.test/"),
            at(Kind::Gitlab, "https://git.test/api/v4"),
            at(Kind::Gitea, "https://git.test/api/v1/"),
            at(Kind::Webhook, "https://hook.test/a/b"),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn a_signature_is_what_rfc_4231_says() {
        let signed = signature("Jefe", b"what do ya want for nothing?").unwrap();
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_a_tenant_says_stays_where_it_belongs() {
        let hostile = "x\r\nX-Evil: 1&state=success&context=other#\"},\"state\":\"success\"\u{202e}/../../";
        for kind in [Kind::Github, Kind::Gitlab, Kind::Gitea, Kind::Webhook] {
            let plain = wire(&target(kind), EventKind::Failed, "x");
            let wire = wire(&target(kind), EventKind::Failed, hostile);
            assert_eq!(wire.lines().count(), plain.lines().count(), "{wire}");
            let (address, body) = (wire.lines().next().unwrap(), wire.lines().last().unwrap());
            let (before, said) = address.split_once('?').unwrap_or((address, ""));
            assert_eq!(before, plain.lines().next().unwrap().split('?').next().unwrap());
            if kind == Kind::Gitlab {
                let names: Vec<_> = said.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
                assert_eq!(names, ["state", "context", "description"], "{wire}");
                assert!(said.starts_with("state=failed&context=bitbuilder%2Fh1%2Fweb&"), "{wire}");
                continue;
            }
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            match kind {
                Kind::Webhook => assert!(body["event"] == "failed" && body["tenant"] == "web", "{body}"),
                Kind::Github | Kind::Gitlab | Kind::Gitea => {
                    assert!(body["state"] == "failure" && body["context"] == "bitbuilder/h1/web", "{body}");
                }
            }
        }
    }
}
