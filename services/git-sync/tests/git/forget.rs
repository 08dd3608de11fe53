//! What nobody wants any more goes whole, and comes back with the next fetch.

use crate::scene::{Scene, checkout, fetch, fetched, web};
use interfaces::git_sync::{Changed, Error, Forget, List};
use model::names::RepositoryName;
use std::fs;

#[tokio::test]
async fn all_of_a_repository_goes_and_it_is_fetched_anew() {
    let scene = Scene::new();
    let session = scene.session();
    let forget = || session.forget(Forget { repository: web() });
    assert_eq!(forget().await, Ok(Changed { changed: false }));
    let first = scene.push_file("1");
    session.fetch(fetch(&scene.url())).await.unwrap();
    session.checkout(checkout(&first)).await.unwrap();
    assert_eq!(forget().await, Ok(Changed { changed: true }));
    assert_eq!(fs::read_dir(scene.state()).unwrap().count(), 0);
    assert_eq!(session.list(List { repository: None }).await, Ok(Vec::new()));
    assert_eq!(forget().await, Ok(Changed { changed: false }));

    // A kill in the middle of the removal.
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&first, true)));
    assert!(session.checkout(checkout(&first)).await.unwrap().changed);
    fs::rename(scene.state().join("web"), scene.state().join(".old-web")).unwrap();
    assert_eq!(session.list(List { repository: None }).await, Ok(Vec::new()));
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&first, true)));
    assert_eq!(forget().await, Ok(Changed { changed: true }));
    assert_eq!(fs::read_dir(scene.state()).unwrap().count(), 0);

    let system = session.forget(Forget { repository: RepositoryName::system() }).await;
    assert!(matches!(system, Err(Error::Failed { .. })), "{system:?}");
}
