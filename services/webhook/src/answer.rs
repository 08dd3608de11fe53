//! What a request is answered with. Who proves nothing learns nothing: an unknown repository, one without a secret, a wrong
//! signature and none are one answer, given after the same work.

use crate::{
    claim::Claims,
    hints::Hints,
    limit::{Limit, origin},
    secrets::Secrets,
    verify::Verifier,
};
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ALLOW, HeaderValue, RETRY_AFTER},
};
use model::names::RepositoryName;
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tracing::warn;

/// The largest body, in bytes.
pub(crate) const LARGEST: u64 = 1 << 20;
/// How long a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(15);
/// Requests of one address that are refused before it has to wait, and how soon another may come.
const OF_ADDRESS: (u32, Duration) = (30, Duration::from_secs(1));
/// The same for one repository, from wherever.
const OF_REPOSITORY: (u32, Duration) = (300, Duration::from_millis(100));
/// Lines about refusals.
const LINES: (u32, Duration) = (5, Duration::from_secs(10));
/// Where forges say what happened. Nothing depends on it but whether a greeting leads to a look.
const EVENTS: [&str; 4] = ["x-github-event", "x-gitea-event", "x-forgejo-event", "x-gogs-event"];

pub(crate) type Answer = Response<Empty<Bytes>>;

/// What requests are held against.
pub(crate) struct Desk {
    secrets: Secrets,
    hints: Hints,
    addresses: Limit<IpAddr>,
    repositories: Limit<RepositoryName>,
    lines: Limit<()>,
}

impl Desk {
    pub(crate) fn new(secrets: Secrets, hints: Hints) -> Self {
        Self {
            secrets,
            hints,
            addresses: Limit::new(OF_ADDRESS.0, OF_ADDRESS.1),
            repositories: Limit::new(OF_REPOSITORY.0, OF_REPOSITORY.1),
            lines: Limit::new(LINES.0, LINES.1),
        }
    }

    /// Answers one request of this peer.
    pub(crate) async fn answer<B: Body<Data = Bytes> + Unpin>(&self, peer: IpAddr, request: Request<B>) -> Answer {
        let (address, now) = (origin(peer), Instant::now());
        let repository: Option<RepositoryName> =
            request.uri().path().strip_prefix('/').and_then(|name| name.parse().ok());
        let of_repository = repository.as_ref().and_then(|repository| self.repositories.wait(repository, now));
        // Who knows the secret is heard, whoever else was refused from there: behind a proxy all have one address.
        match (self.judge(repository.as_ref(), request).await, self.addresses.wait(&address, now).max(of_repository)) {
            (Ok(status), _) => plain(status),
            (Err(_), Some(wait)) => later(wait),
            (Err((status, why)), None) => {
                self.addresses.count(address, now);
                if let Some(repository) = repository.clone() {
                    self.repositories.count(repository, now);
                }
                if self.lines.wait(&(), now).is_none() {
                    self.lines.count((), now);
                    let repository = repository.as_ref().map_or("no repository", RepositoryName::as_str);
                    warn!(%address, repository, "refused: {why}");
                }
                let mut answer = plain(status);
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                }
                answer
            }
        }
    }

    async fn judge<B: Body<Data = Bytes> + Unpin>(
        &self,
        repository: Option<&RepositoryName>,
        request: Request<B>,
    ) -> Result<StatusCode, (StatusCode, &'static str)> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "it is no POST"));
        }
        let claims = Claims::read(|name| head.headers.get(name).map(HeaderValue::as_bytes));
        if claims.are_none() {
            return Err((StatusCode::NOT_FOUND, "it has no signature that is known here"));
        }
        let (key, known) = self.secrets.of(repository);
        let verifier = match timeout(BODY_PATIENCE, digest(body, key.verify(claims))).await {
            Ok(Ok(verifier)) => verifier,
            Ok(Err(refused)) => return Err(refused),
            Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "its body did not come in time")),
        };
        match repository {
            Some(repository) if verifier.holds() & known => {
                if is_ping(&head.headers) {
                    return Ok(StatusCode::OK);
                }
                self.hints.take(repository);
                Ok(StatusCode::ACCEPTED)
            }
            Some(_) if known => Err((StatusCode::NOT_FOUND, "its signature is wrong")),
            Some(_) | None => Err((StatusCode::NOT_FOUND, "there is no secret for it")),
        }
    }
}

async fn digest<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    mut verifier: Verifier,
) -> Result<Verifier, (StatusCode, &'static str)> {
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "its body is too large");
    // The length that it says, if it says one.
    if body.size_hint().lower() > LARGEST {
        return Err(too_large);
    }
    let mut length = 0u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "its body was cut off or is malformed"))?;
        // Trailers say nothing.
        let Ok(part) = frame.into_data() else { continue };
        length = length.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if length > LARGEST {
            return Err(too_large);
        }
        verifier.update(&part);
    }
    Ok(verifier)
}

fn is_ping(headers: &HeaderMap) -> bool {
    EVENTS.iter().any(|name| headers.get(*name).is_some_and(|event| event.as_bytes() == b"ping"))
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = status;
    answer
}

fn later(wait: Duration) -> Answer {
    let mut answer = plain(StatusCode::TOO_MANY_REQUESTS);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    answer
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
