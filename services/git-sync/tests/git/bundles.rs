//! What one host exports and another starts from: with plain Git in between, and with files that lie.

use crate::scene::{MAIN, Scene, fetch, git, web};
use git_sync::Session;
use interfaces::git_sync::{Checkout, Error, Export, Fetch, Imported};
use model::{
    Mirrors, Revision,
    export::{self, Repository},
    names::RepositoryName,
};
use std::{
    fs::{self, File},
    io::Read,
    os::fd::OwnedFd,
    path::Path,
};

fn one(name: &RepositoryName, url: &str, revision: &Revision) -> Repository {
    Repository {
        name: name.clone(),
        url: url.parse().unwrap(),
        mirrors: Mirrors::default(),
        reference: MAIN.parse().unwrap(),
        revision: revision.clone(),
        floor: Some(revision.clone()),
    }
}

/// A host that holds a system repository and web's, at the same commit, and what it exports.
async fn exported(scene: &Scene, revision: &Revision) -> Vec<u8> {
    let system = RepositoryName::system();
    let session = scene.session();
    for repository in [system.clone(), web()] {
        session.fetch(Fetch { repository, ..fetch(&scene.url()) }).await.unwrap();
    }
    let gone: RepositoryName = "gone".parse().unwrap();
    let repositories = [&system, &web(), &gone].map(|name| one(name, &scene.url(), revision)).to_vec();
    let document = export::Export::of(None, repositories).text().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let call = Export { document, file_descriptor_index: 0 };
    let exported = session.export(call, Some(OwnedFd::from(writer))).await.unwrap();
    assert_eq!(exported.missing, [gone]);
    read.await.unwrap().unwrap()
}

async fn import(session: &Session, path: &Path) -> Result<Imported, Error> {
    session.import(Some(OwnedFd::from(File::open(path).unwrap()))).await
}

#[tokio::test]
async fn another_host_starts_from_a_bundle_until_a_server_answers() {
    let scene = Scene::new();
    let first = scene.push_file("1");
    let bytes = exported(&scene, &first).await;
    let path = scene.directory.path().join("host.bundle");
    fs::write(&path, &bytes).unwrap();
    let listed = git().args(["bundle", "list-heads"]).arg(&path).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in ["refs/bitbuilder/export/web", "refs/bitbuilder/export/system", "refs/heads/export"] {
        assert!(listed.contains(name), "{listed}");
    }
    let clone = scene.directory.path().join("clone");
    let cloned = git().args(["clone", "--quiet"]).arg(&path).arg(&clone).status().unwrap();
    assert!(cloned.success() && fs::read_to_string(clone.join("export.json")).unwrap().contains(first.as_str()));

    // A host that has nothing, and no server answers.
    let other = Scene::new();
    let session = other.session();
    let said = import(&session, &path).await.unwrap().document;
    assert_eq!(export::Export::parse(said.as_bytes()).unwrap().repositories.len(), 2);
    let origin = scene.origin();
    let away = scene.directory.path().join("away");
    fs::rename(&origin, &away).unwrap();
    let call = Fetch { floor: Some(first.clone()), ..fetch(&scene.url()) };
    let fetched = session.fetch(call.clone()).await.unwrap();
    assert_eq!((&fetched.revision, fetched.changed), (&first, true));
    session.checkout(Checkout { repository: web(), revision: first.clone() }).await.unwrap();
    assert_eq!(session.fetch(call.clone()).await.unwrap().remotes[0].state, model::RemoteState::Away);
    // Another address or reference has nothing of it.
    let elsewhere = Fetch { repository: web(), ..fetch("file:///nowhere/else") };
    assert!(matches!(session.fetch(elsewhere).await, Err(Error::RepositoryUnreachable { .. })));

    // The servers are back: they count, and what stood in for them goes when all have answered.
    fs::remove_dir_all(&origin).unwrap();
    fs::rename(&away, &origin).unwrap();
    let seed = other.state().join(".seed");
    for (repository, kept) in [(web(), true), (RepositoryName::system(), false)] {
        session.fetch(Fetch { repository, ..call.clone() }).await.unwrap();
        assert_eq!(seed.exists(), kept);
    }
    assert_eq!(session.fetch(call).await.unwrap().remotes, []);
}

#[tokio::test]
async fn a_bundle_that_lies_or_is_damaged_changes_nothing() {
    let scene = Scene::new();
    let revision = scene.push_file("1");
    let bytes = exported(&scene, &revision).await;
    let other = Scene::new();
    let session = other.session();
    let path = scene.directory.path().join("bundle");
    fs::write(&path, &bytes).unwrap();
    import(&session, &path).await.unwrap();
    let before = fs::read(other.state().join(".seed/waiting/web.json")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let pack = text.find("PACK").unwrap();
    let line = |name: &str| text.lines().find(|line| line.ends_with(name)).unwrap().to_owned() + "\n";
    let head = |change: &dyn Fn(String) -> String| {
        let end = bytes.windows(4).position(|window| window == b"PACK").unwrap();
        [change(text[..pack].to_owned()).as_bytes(), &bytes[end..]].concat()
    };
    let mut flipped = bytes.clone();
    let last = flipped.len() - 40;
    flipped[last] ^= 1;
    let swap = |from: &str, to: &str| head(&|text: String| text.replace(from, to));
    let absent = "b".repeat(40);
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("empty", Vec::new(), "no bundle"),
        ("text", b"hello\n".to_vec(), "no bundle"),
        ("truncated", bytes[..bytes.len() / 2].to_vec(), "damaged"),
        ("without its pack", text.as_bytes()[..pack].to_vec(), "damaged"),
        ("flipped", flipped, "damaged"),
        ("without what it says", swap(&line("refs/heads/export"), ""), "no export.json"),
        ("another name", swap("export/web", "export/mail"), "names web, which is not in it"),
        ("a branch", swap("refs/bitbuilder/export/web", "refs/heads/main"), "no host exports"),
        (
            "a commit that is not there",
            swap(&line("export/web"), &format!("{absent} refs/bitbuilder/export/web\n")),
            "damaged",
        ),
        (
            "the export in web's place",
            swap(&line("export/web"), &line("refs/heads/export").replace("heads/export", "bitbuilder/export/web")),
            "names web, which is not in it",
        ),
    ];
    for (what, bytes, reason) in cases {
        fs::write(&path, bytes).unwrap();
        match import(&session, &path).await {
            Err(Error::RefusedBundle { reason: said }) => assert!(said.contains(reason), "{what}: {said}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // A pipe might never end, and a directory is nothing to read.
    let (reader, _writer) = std::io::pipe().unwrap();
    let refused = session.import(Some(OwnedFd::from(reader))).await.unwrap_err().to_string();
    assert!(refused.contains("no regular file"), "{refused}");
    assert!(matches!(session.import(None).await, Err(Error::Failed { .. })));
    assert_eq!(fs::read(other.state().join(".seed/waiting/web.json")).unwrap(), before);
    assert!(!other.state().join(".new-seed").exists());
}
