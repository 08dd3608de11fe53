//! Carries one message to its target within a deadline, and says what became of it.

use crate::{
    credentials::Credentials,
    message::Message,
    request::{Request, request},
};
use model::{
    notification::{Kind, Target},
    text::printable,
};
use reqwest::{
    Certificate, Client, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect::{Attempt, Policy},
};
use std::time::{Duration, SystemTime};

/// How long a server may take to connect, and for all of it.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));
/// How long a connection is kept for the next message.
const KEPT: Duration = Duration::from_secs(10);
/// How often in a row a server may send on to another address of its own.
const MOST_REDIRECTS: usize = 3;
/// So much of an answer is read, of the few that are.
const MOST_READ: usize = 16 << 10;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken.
    Told,
    /// It will never be taken.
    Refused(String),
    /// It may be taken another time, which the server may have named.
    Later(String, Option<Duration>),
}

/// Who carries messages.
#[derive(Debug, Clone)]
pub(crate) struct Courier {
    hostname: String,
    credentials: Credentials,
}

impl Courier {
    /// Speaks for the host of this name.
    pub(crate) fn new(hostname: &str, credentials: Credentials) -> Self {
        Self { hostname: hostname.to_owned(), credentials }
    }

    /// Tells a target a message. `client` is made with the first one that needs it.
    pub(crate) async fn deliver(&self, client: &mut Option<Client>, target: &Target, message: &Message) -> Outcome {
        let request = match request(target, message, &self.hostname, &self.credentials) {
            Ok(request) => request,
            Err(reason) => return Outcome::Later(reason, None),
        };
        let client = match client {
            Some(client) => client,
            None => match self.client(target) {
                Ok(made) => client.insert(made),
                Err(reason) => return Outcome::Later(reason, None),
            },
        };
        let Request { url, headers, body } = request;
        match client.post(url).headers(headers).body(body).send().await {
            Ok(response) => judge(target.kind, response).await,
            // The address is shown beside it. What a server calls itself in its certificate is its own words.
            Err(cause) => Outcome::Later(printable(&runtime::chain(&cause.without_url())), None),
        }
    }

    fn client(&self, target: &Target) -> Result<Client, String> {
        let (connect, all) = PATIENCE;
        let mut client = Client::builder()
            .user_agent(concat!("bitbuilder/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(redirect))
            .referer(false)
            .connect_timeout(connect)
            .timeout(all)
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(1);
        if let Some(authorities) = self.credentials.authorities(&target.name)? {
            let certificates = Certificate::from_pem_bundle(&authorities).unwrap_or_default();
            if certificates.is_empty() {
                return Err(
                    "its authorities (bitbuilder.notification-ca, or bitbuilder.ca) hold no certificate in PEM"
                        .to_owned(),
                );
            }
            client = client.tls_certs_only(certificates);
        }
        client.build().map_err(|cause| runtime::chain(&cause))
    }
}

/// A server may send on to another address of its own, with the same request: a project that was renamed. What this host is
/// known by goes to no other server.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let repeats = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let own = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if repeats && own && attempt.previous().len() <= MOST_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

async fn judge(kind: Kind, mut response: Response) -> Outcome {
    let status = response.status();
    let said = retry_after(response.headers(), SystemTime::now());
    let outcome = of_status(status, said);
    if kind == Kind::Gitlab && status == StatusCode::BAD_REQUEST {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await
            && body.len() < MOST_READ
        {
            body.extend_from_slice(&chunk);
        }
        // The commit has this state already.
        if String::from_utf8_lossy(&body).contains("Cannot transition status") {
            return Outcome::Told;
        }
    }
    outcome
}

/// What an answer means. What else it says is not repeated: it may be what it was asked with.
fn of_status(status: StatusCode, said: Option<Duration>) -> Outcome {
    let reason = format!("it answers {status}");
    match status {
        _ if status.is_success() => Outcome::Told,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Later(reason, said)
        }
        // How GitHub says that it was asked too often.
        StatusCode::FORBIDDEN if said.is_some() => Outcome::Later(reason, said),
        _ if status.is_redirection() => {
            Outcome::Refused(format!("{reason}, and another address has to be written where it is configured"))
        }
        _ if status.is_client_error() => Outcome::Refused(reason),
        _ => Outcome::Later(reason, said),
    }
}

/// Retry-After (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;
    use std::time::UNIX_EPOCH;

    #[test]
    fn what_is_wrong_with_the_request_stays_wrong_and_the_rest_passes() {
        let of = |code| of_status(StatusCode::from_u16(code).unwrap(), None);
        for code in 200..300 {
            assert_eq!(of(code), Outcome::Told);
        }
        for code in (300..500).filter(|code| ![408, 425, 429].contains(code)) {
            assert!(matches!(of(code), Outcome::Refused(_)), "{code}");
        }
        for code in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert!(matches!(of(code), Outcome::Later(_, None)), "{code}");
        }
        let minute = Some(Duration::from_secs(60));
        assert_eq!(
            of_status(StatusCode::FORBIDDEN, minute),
            Outcome::Later("it answers 403 Forbidden".to_owned(), minute)
        );
        assert_eq!(
            of_status(StatusCode::UNAUTHORIZED, minute),
            Outcome::Refused("it answers 401 Unauthorized".to_owned())
        );
    }

    #[test]
    fn a_server_says_when_it_wants_to_be_asked_again() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let said = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]), now)
                .map(|said| said.as_secs())
        };
        assert_eq!(said("120"), Some(120));
        assert_eq!(said("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(said("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for nonsense in ["", "-1", "soon", "1e9"] {
            assert_eq!(said(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
