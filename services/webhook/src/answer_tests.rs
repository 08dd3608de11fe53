//! Requests to a desk whose orchestrator is not there: what is answered does not depend on it.

use super::*;
use http_body_util::Full;
use std::{fs, path::Path};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn desk() -> Desk {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bitbuilder.webhook-secret.web"), "the secret of web").unwrap();
    let client = runtime::Client::in_directory(Path::new("/nonexistent"));
    Desk::new(Secrets::read(Some(directory.path())), Hints::new(&client))
}

fn request(method: Method, path: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

async fn post(desk: &Desk, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    desk.answer(PEER, request(Method::POST, path, headers, b"{}".to_vec())).await.status().as_u16()
}

const GOOD: (&str, &str) = ("x-gitlab-token", "the secret of web");

#[tokio::test]
async fn who_proves_nothing_gets_one_answer() {
    let desk = desk();
    assert_eq!(post(&desk, "/web", &[GOOD]).await, 202);
    assert_eq!(post(&desk, "/web?x=y", &[GOOD]).await, 202);
    assert_eq!(post(&desk, "/web", &[GOOD, ("x-github-event", "ping")]).await, 200);
    let wrong = ("x-gitlab-token", "the secret of mail");
    for (path, headers) in [
        ("/web", &[][..]),
        ("/web", &[wrong]),
        ("/web", &[wrong, ("x-github-event", "ping")]),
        ("/mail", &[GOOD]),
        ("/system", &[GOOD]),
        ("/web/", &[GOOD]),
        ("/", &[GOOD]),
        ("//web", &[GOOD]),
        ("/%77eb", &[GOOD]),
    ] {
        let refused = desk.answer(PEER, request(Method::POST, path, headers, b"{}".to_vec())).await;
        assert_eq!((refused.status().as_u16(), refused.headers().len()), (404, 0), "{path} {headers:?}");
    }
    let refused = desk.answer(PEER, request(Method::GET, "/web", &[GOOD], Vec::new())).await;
    assert_eq!((refused.status().as_u16(), refused.headers()[ALLOW].to_str().unwrap()), (405, "POST"));
    let largest = usize::try_from(LARGEST).unwrap();
    for (length, status) in [(largest, 202), (largest + 1, 413)] {
        let answer = desk.answer(PEER, request(Method::POST, "/web", &[GOOD], vec![b'a'; length])).await;
        assert_eq!(answer.status().as_u16(), status);
    }
}

#[tokio::test]
async fn who_is_refused_often_has_to_wait_and_who_knows_the_secret_has_not() {
    let desk = desk();
    let wrong = ("x-gitlab-token", "the secret of mail");
    let mut answers = Vec::new();
    for _ in 0..OF_ADDRESS.0 + 5 {
        answers.push(post(&desk, "/web", &[wrong]).await);
    }
    assert!(answers.starts_with(&[404; 30]) && answers.ends_with(&[429; 3]), "{answers:?}");
    let refused = desk.answer(PEER, request(Method::POST, "/web", &[wrong], Vec::new())).await;
    assert_eq!((refused.status().as_u16(), refused.headers()[RETRY_AFTER].to_str().unwrap()), (429, "1"));
    assert_eq!(post(&desk, "/web", &[GOOD]).await, 202);
    let other = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    let taken = desk.answer(other, request(Method::POST, "/web", &[GOOD], Vec::new())).await;
    assert_eq!(taken.status().as_u16(), 202);
    // From everywhere at once: who guesses that repository's secret has to wait, and nobody else.
    for last in 0..=u8::MAX {
        let from = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, last));
        for _ in 0..2 {
            drop(desk.answer(from, request(Method::POST, "/web", &[wrong], Vec::new())).await);
        }
    }
    let refused = desk.answer(other, request(Method::POST, "/web", &[wrong], Vec::new())).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert_eq!(post(&desk, "/web", &[GOOD]).await, 202);
    let unknown = desk.answer(other, request(Method::POST, "/mail", &[wrong], Vec::new())).await;
    assert_eq!(unknown.status().as_u16(), 404);
}

#[tokio::test]
async fn any_number_of_hints_is_no_refusal() {
    let desk = desk();
    for _ in 0..1000 {
        assert_eq!(post(&desk, "/web", &[GOOD]).await, 202);
    }
}
