//! Told once, in order, by whoever comes after a kill; with a server that says what each test wants.

use super::*;
use crate::{
    credentials::Credentials,
    message::tests::{event, target, told},
};
use model::{notification::Kind, progress::EventKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// A server that answers each request with the next of these, the last one for ever, and hands over what it was asked.
async fn server(answers: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers.iter().chain(std::iter::repeat(answers.last().unwrap())) {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !is_whole(&request) {
                let read = stream.read(&mut buffer).await.unwrap();
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..read]);
            }
            send.send(String::from_utf8(request).unwrap()).unwrap();
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

struct Scene {
    directory: tempfile::TempDir,
    target: Target,
}

impl Scene {
    fn new(kind: Kind, address: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for what in ["token", "secret"] {
            fs::write(directory.path().join(format!("bitbuilder.notification-{what}")), "canary").unwrap();
        }
        let project = (kind != Kind::Webhook).then(|| "owner/web".parse().unwrap());
        Self { directory, target: Target { address: address.parse().unwrap(), project, ..target(kind) } }
    }

    fn open(&self) -> Post {
        let courier = Courier::new("h1", Credentials::in_directory(self.directory.path()));
        Post::open(&self.directory.path().join("state"), courier).unwrap()
    }

    fn story(&self, kinds: &[EventKind]) -> Notify {
        let events = kinds.iter().zip(1..).map(|(kind, at)| event(*kind, at, 'a', None)).collect();
        told(vec![self.target.clone()], events)
    }
}

/// As when the process ends.
fn kill(post: &Post) {
    post.state().workers.values().for_each(|worker| worker.task.abort());
}

async fn rested(post: &Post) {
    post.busy().wait_for(|busy| !*busy).await.unwrap();
}

#[tokio::test]
async fn what_was_taken_in_is_told_once_in_order_after_any_kill() {
    let (address, mut requests) = server(&["204 No Content"]).await;
    // Nobody listens there yet.
    let scene = Scene::new(Kind::Webhook, "http://127.0.0.1:1/hook");
    let story = scene.story(&[EventKind::Admitted, EventKind::Verified]);
    let post = scene.open();
    assert!(post.take(&story).unwrap() && !post.take(&story).unwrap());
    kill(&post);
    let scene =
        Scene { target: Target { address: format!("{address}/hook").parse().unwrap(), ..scene.target }, ..scene };
    let post = scene.open();
    assert!(*post.busy().borrow());
    assert!(post.take(&scene.story(&[EventKind::Admitted, EventKind::Verified, EventKind::Failed])).unwrap());
    rested(&post).await;
    for event in ["admitted", "verified", "failed"] {
        let request = requests.recv().await.unwrap();
        assert!(request.contains(&format!("x-bitbuilder-event: {event}\r\n")), "{request}");
        assert!(request.contains("x-bitbuilder-signature-256: sha256="), "{request}");
    }
    kill(&post);
    let post = scene.open();
    assert!(!post.take(&scene.story(&[EventKind::Admitted, EventKind::Verified, EventKind::Failed])).unwrap());
    assert!(requests.try_recv().is_err(), "it was told twice");
    let shown = post.progress(None);
    assert!(!shown[0].failing && shown[0].last_success_u_sec.is_some() && shown[0].waiting == 0, "{shown:?}");
}

#[tokio::test]
async fn what_is_not_taken_is_told_again_and_what_is_refused_is_not() {
    let (address, mut requests) = server(&["503 Busy", "500 Broken", "401 Unauthorized", "201 Created"]).await;
    let scene = Scene::new(Kind::Gitea, &format!("{address}/api/v1"));
    let post = scene.open();
    post.take(&scene.story(&[EventKind::Admitted])).unwrap();
    for _ in 0..3 {
        let request = requests.recv().await.unwrap();
        assert!(
            request.starts_with(&format!("POST /api/v1/repos/owner/web/statuses/{} ", "a".repeat(40))),
            "{request}"
        );
        assert!(request.contains("authorization: token canary\r\n") && request.contains("\"pending\""), "{request}");
    }
    rested(&post).await;
    let shown = &post.progress(None)[0];
    assert_eq!(
        (shown.failing, shown.last_error.as_deref(), shown.lost),
        (true, Some("it answers 401 Unauthorized"), 1)
    );
    post.take(&scene.story(&[EventKind::Admitted, EventKind::Verified])).unwrap();
    assert!(requests.recv().await.unwrap().contains("\"success\""));
    rested(&post).await;
    assert!(!post.progress(None)[0].failing);
}

#[tokio::test]
async fn a_token_goes_to_no_other_server() {
    let (other, mut elsewhere) = server(&["201 Created"]).await;
    let away = Box::leak(format!("307 Away\r\nLocation: {other}/stolen").into_boxed_str());
    let answers: &[&str] = Box::leak(Box::new([&*away, "308 Own\r\nLocation: /renamed", "201 Created"]));
    let (address, mut requests) = server(answers).await;
    let scene = Scene::new(Kind::Github, &address);
    let post = scene.open();
    post.take(&scene.story(&[EventKind::Admitted])).unwrap();
    rested(&post).await;
    assert!(post.progress(None)[0].last_error.as_ref().unwrap().starts_with("it answers 307"));
    // The same server may.
    post.take(&scene.story(&[EventKind::Admitted, EventKind::Verified])).unwrap();
    rested(&post).await;
    for path in ["/repos/", "/repos/", "/renamed "] {
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with(&format!("POST {path}")) && request.contains("Bearer canary"), "{request}");
    }
    assert!(elsewhere.try_recv().is_err());
}

#[tokio::test]
async fn who_is_not_named_any_more_is_told_nothing() {
    let scene = Scene::new(Kind::Webhook, "http://127.0.0.1:1/hook");
    let post = scene.open();
    post.take(&scene.story(&[EventKind::Failed])).unwrap();
    assert!(*post.busy().borrow());
    assert!(post.take(&Notify { targets: Vec::new(), ..scene.story(&[EventKind::Failed]) }).unwrap());
    assert!(!*post.busy().borrow() && post.progress(None).is_empty());
    assert!(scene.open().progress(None).is_empty());
    // What a forge cannot be shown waits for who brings it.
    let scene = Scene::new(Kind::Gitlab, "http://127.0.0.1:1/api/v4");
    fs::remove_file(scene.directory.path().join("bitbuilder.notification-token")).unwrap();
    let post = scene.open();
    post.take(&scene.story(&[EventKind::Failed])).unwrap();
    while post.progress(None)[0].last_error.is_none() {
        tokio::task::yield_now().await;
    }
    let shown = &post.progress(None)[0];
    assert!(shown.waiting == 1 && shown.last_error.as_ref().unwrap().contains("/etc/credstore/"), "{shown:?}");
}
