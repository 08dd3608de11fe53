//! Signatures by keys that ssh-keygen and gpg made, and histories that go back.

use crate::scene::{MAIN, Scene, fetch, fetch_reference, git};
use interfaces::git_sync::{Error, Fetch, Fetched};
use model::{
    Revision,
    signer::{Signer, Trust, certificate, ssh_keys},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A key of somebody's, and how Git signs with it.
struct Key {
    configuration: Vec<String>,
    ssh: String,
    openpgp: String,
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn ssh_key(scene: &Scene, name: &str) -> Key {
    let path = scene.directory.path().join(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f"]).arg(&path));
    let public = path.with_extension("pub");
    let configuration = ["gpg.format=ssh".to_owned(), format!("user.signingKey={}", public.display())];
    Key { configuration: configuration.to_vec(), ssh: fs::read_to_string(public).unwrap(), openpgp: String::new() }
}

/// A GnuPG of its own, whose agent ends with it.
struct Gnupg(PathBuf);

impl Gnupg {
    fn new(scene: &Scene) -> Self {
        let home = scene.directory.path().join("gnupg");
        fs::create_dir_all(&home).unwrap();
        run(Command::new("chmod").arg("700").arg(&home));
        Self(home)
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        run(Command::new("gpg")
            .env("GNUPGHOME", &self.0)
            .args(["--batch", "--quiet", "--pinentry-mode=loopback", "--passphrase="])
            .args(arguments))
    }

    fn key(&self, user: &str, expires: &str) -> Key {
        self.gpg(&["--faked-system-time=20200101T000000!", "--quick-generate-key", user, "ed25519", "sign", expires]);
        self.exported(user)
    }

    fn exported(&self, user: &str) -> Key {
        let openpgp = String::from_utf8(self.gpg(&["--armor", "--export", user])).unwrap();
        // Git runs it; the key may have expired since.
        let program = self.0.join("sign");
        let text = format!(
            "#!/bin/sh\nexec gpg --batch --homedir '{}' --faked-system-time '20200102T000000!' \"$@\"\n",
            self.0.display()
        );
        fs::write(&program, text).unwrap();
        run(Command::new("chmod").arg("755").arg(&program));
        let configuration = vec![format!("gpg.program={}", program.display()), format!("user.signingKey={user}")];
        Key { configuration, ssh: String::new(), openpgp }
    }

    fn revoke(&self, user: &str) {
        let listed = String::from_utf8(self.gpg(&["--with-colons", "--list-keys", user])).unwrap();
        let fingerprint =
            listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
        let path = self.0.join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let text = fs::read_to_string(&path).unwrap().replace("\n:-----BEGIN", "\n-----BEGIN");
        fs::write(&path, text).unwrap();
        self.gpg(&["--import", path.to_str().unwrap()]);
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let ended = Command::new("gpgconf").env("GNUPGHOME", &self.0).args(["--kill", "all"]).status();
        assert!(ended.is_ok());
    }
}

impl Scene {
    fn commit_tree(&self, message: &str, parent: Option<&Revision>, key: Option<&Key>) -> Revision {
        let tree = self.tree(&[("100644", &self.blob(message.as_bytes()), b"metadata.json")]);
        let mut commit = git();
        commit.current_dir(self.origin());
        let set = key.iter().flat_map(|key| &key.configuration).flat_map(|set| ["-c", set]);
        commit.args(set).args(["commit-tree", "-m", message, &tree]);
        commit.args(parent.iter().flat_map(|parent| ["-p", parent.as_str()]));
        commit.args(key.map(|_| "-S"));
        String::from_utf8(run(&mut commit)).unwrap().trim().parse().unwrap()
    }

    fn names(&self, revision: &Revision) {
        self.git(&["update-ref", MAIN, revision.as_str()]);
    }

    async fn looks(&self, trust: Option<Trust>, floor: Option<&Revision>) -> Result<Fetched, Error> {
        self.session().fetch(Fetch { trust, floor: floor.cloned(), ..fetch(&self.url()) }).await
    }
}

fn alice(key: &Key) -> Signer {
    let mut signer = Signer::named("alice".parse().unwrap());
    signer.ssh = ssh_keys("system:signers/alice.pub", key.ssh.as_bytes()).unwrap();
    if !key.openpgp.is_empty() {
        signer.openpgp = vec![certificate("system:signers/alice.asc", key.openpgp.as_bytes()).unwrap()];
    }
    signer
}

fn by(signer: Signer) -> Option<Trust> {
    Some(Trust { signers: vec![signer], revoked: Vec::new() })
}

fn reason(looked: Result<Fetched, Error>) -> String {
    let refused = looked.unwrap_err();
    let Error::NotTrusted { reason, .. } = refused else { panic!("{refused}") };
    reason
}

fn signed_by(looked: Result<Fetched, Error>) -> String {
    looked.unwrap().signer.unwrap().to_string()
}

#[tokio::test]
async fn ssh_signatures_count_by_the_hosts_keys_alone() {
    let scene = Scene::new();
    let (key, other) = (ssh_key(&scene, "alice"), ssh_key(&scene, "mallory"));
    let trust = || by(alice(&key));

    scene.names(&scene.commit_tree("unsigned", None, None));
    assert_eq!(reason(scene.looks(trust(), None).await), "it is not signed; allowed signers: alice");
    assert_eq!(scene.looks(None, None).await.unwrap().signer, None, "no signature was wanted");

    scene.names(&scene.commit_tree("other", None, Some(&other)));
    let refused = reason(scene.looks(trust(), None).await);
    assert!(
        refused.starts_with("the key SHA256:")
            && refused.ends_with("belongs to nobody who may; allowed signers: alice"),
        "{refused}"
    );

    let good = scene.commit_tree("good", None, Some(&key));
    scene.names(&good);
    assert_eq!(signed_by(scene.looks(trust(), None).await), "alice");
    assert_eq!(signed_by(scene.looks(trust(), None).await), "alice", "what was judged once is forgotten");

    let expired = ssh_keys("o", format!("valid-before=\"20200101\" {}", key.ssh).as_bytes()).unwrap();
    let refused = reason(scene.looks(by(Signer { ssh: expired, ..alice(&key) }), None).await);
    assert!(refused.ends_with("of alice that signed it is not good now"), "{refused}");

    let revoked = ssh_keys("o", key.ssh.as_bytes()).unwrap();
    let refused = reason(scene.looks(Some(Trust { signers: vec![alice(&key)], revoked }), None).await);
    assert!(refused.ends_with("is revoked"), "{refused}");

    // The signature of one commit on another.
    let text = scene.git(&["cat-file", "commit", good.as_str()]).replace("\n\ngood", "\n\nevil") + "\n";
    let forged = scene.git_with(&["hash-object", "-w", "-t", "commit", "--stdin"], text.as_bytes());
    scene.names(&forged.parse().unwrap());
    assert_eq!(reason(scene.looks(trust(), None).await), "its signature does not fit what it says");
    assert!(!scene.state().join("web/.new-keys").exists());
}

#[tokio::test]
async fn a_signed_tag_vouches_for_its_commit() {
    let scene = Scene::new();
    let key = ssh_key(&scene, "alice");
    let commit = scene.commit_tree("unsigned", None, None);
    let mut tag = git();
    tag.current_dir(scene.origin()).args(key.configuration.iter().flat_map(|set| ["-c", set]));
    run(tag.args(["tag", "-s", "-m", "release", "v1", commit.as_str()]));
    scene.git(&["tag", "-a", "-m", "not signed", "v2", commit.as_str()]);
    let look = |reference: &str| Fetch { trust: by(alice(&key)), ..fetch_reference(&scene.url(), reference) };
    let fetched = scene.session().fetch(look("refs/tags/v1")).await.unwrap();
    assert_eq!((fetched.revision, fetched.signer.unwrap().as_str()), (commit, "alice"));
    assert_eq!(reason(scene.session().fetch(look("refs/tags/v2")).await), "it is not signed; allowed signers: alice");
}

#[tokio::test]
async fn a_signed_tag_vouches_under_its_own_name_alone() {
    let scene = Scene::new();
    let gnupg = Gnupg::new(&scene);
    for (key, kind) in [(ssh_key(&scene, "alice"), "ssh"), (gnupg.key("alice@example.org", "never"), "openpgp")] {
        let old = scene.commit_tree(&format!("old {kind}"), None, None);
        let signed = format!("{kind}-v1");
        let mut tag = git();
        tag.current_dir(scene.origin()).args(key.configuration.iter().flat_map(|set| ["-c", set]));
        run(tag.args(["tag", "-s", "-m", "release", &signed, old.as_str()]));
        let object = scene.git(&["rev-parse", &format!("refs/tags/{signed}")]);
        let session = scene.session();
        let look = |reference: &str| {
            let call = Fetch { trust: by(alice(&key)), ..fetch_reference(&scene.url(), reference) };
            session.fetch(call)
        };
        // It is shown as the next release, alone and within a tag that nobody signed, after it was judged under its own name.
        assert_eq!(signed_by(look(&format!("refs/tags/{signed}")).await), "alice");
        scene.git(&["update-ref", "refs/tags/v2", &object]);
        scene.git(&["tag", "-f", "-a", "-m", "not signed", "v3", &object]);
        for other in ["v2", "v3"] {
            let refused = reason(look(&format!("refs/tags/{other}")).await);
            let why = format!("the tag that is signed was made for refs/tags/{signed}, not for refs/tags/{other}");
            assert_eq!(refused, why);
        }
        // Git itself makes no such branch.
        fs::write(scene.origin().join("refs/heads/tagged"), format!("{object}\n")).unwrap();
        let refused = reason(look("refs/heads/tagged").await);
        assert!(refused.ends_with("not for refs/heads/tagged"), "{refused}");
        // The commit's own signature counts wherever it is.
        let commit = scene.commit_tree(&format!("signed {kind}"), None, Some(&key));
        scene.git(&["tag", "-f", "-a", "-m", "not signed", "v2", commit.as_str()]);
        assert_eq!(signed_by(look("refs/tags/v2").await), "alice");
    }
}

#[tokio::test]
async fn openpgp_signatures_count_while_their_key_does() {
    let scene = Scene::new();
    let gnupg = Gnupg::new(&scene);
    let good = gnupg.key("alice@example.org", "never");
    let expired = gnupg.key("old@example.org", "2020-02-01");
    let other = gnupg.key("mallory@example.org", "never");

    scene.names(&scene.commit_tree("good", None, Some(&good)));
    assert_eq!(signed_by(scene.looks(by(alice(&good)), None).await), "alice");
    let refused = reason(scene.looks(by(alice(&other)), None).await);
    assert!(refused.ends_with("belongs to nobody who may; allowed signers: alice"), "{refused}");
    let ssh = ssh_key(&scene, "key");
    let refused = reason(scene.looks(by(alice(&ssh)), None).await);
    assert_eq!(refused, "its signature is by OpenPGP, and none of alice has such a key");

    scene.names(&scene.commit_tree("expired", None, Some(&expired)));
    let refused = reason(scene.looks(by(alice(&expired)), None).await);
    assert!(refused.ends_with("of alice that signed it has expired"), "{refused}");

    scene.names(&scene.commit_tree("revoked", None, Some(&good)));
    gnupg.revoke("alice@example.org");
    let refused = reason(scene.looks(by(alice(&gnupg.exported("alice@example.org"))), None).await);
    assert!(refused.ends_with("of alice that signed it is revoked"), "{refused}");
}

#[tokio::test]
async fn a_history_that_goes_back_is_refused() {
    let scene = Scene::new();
    let first = scene.commit_tree("first", None, None);
    let second = scene.commit_tree("second", Some(&first), None);
    let third = scene.commit_tree("third", Some(&second), None);
    let rewritten = scene.commit_tree("rewritten", Some(&first), None);
    let refused = |looked: Result<Fetched, Error>| matches!(looked, Err(Error::HistoryRewritten { floor, .. }) if floor == second);

    scene.names(&second);
    assert!(scene.looks(None, Some(&second)).await.is_ok());
    scene.names(&third);
    assert_eq!(scene.looks(None, Some(&second)).await.unwrap().revision, third);
    for back in [&first, &rewritten] {
        scene.names(back);
        assert!(refused(scene.looks(None, Some(&second)).await), "{back} was taken");
    }
    // A mirror that is made anew knows no more than the server shows.
    remove(&scene.state().join("web/mirror.git"));
    assert!(refused(scene.looks(None, Some(&second)).await));
    scene.names(&third);
    assert!(scene.looks(None, Some(&second)).await.is_ok());
}

fn remove(mirror: &Path) {
    run(Command::new("chmod").args(["-R", "u+w"]).arg(mirror));
    fs::remove_dir_all(mirror).unwrap();
}
