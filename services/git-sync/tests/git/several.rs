//! A repository with mirrors: who is asked, what a dead, hanging, old or forged one changes, and what is told of each.

use crate::scene::{MAIN, Scene, fetch, git};
use git_sync::Errands;
use interfaces::git_sync::{Error, Fetch, Fetched};
use model::{RemoteState, Revision};
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

const NOBODY: &str = "file:///nowhere/web.git";

impl Scene {
    /// Another repository beside the origin, with what that has now.
    fn mirror(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let _none = fs::remove_dir_all(&path);
        let cloned = git().args(["clone", "--quiet", "--bare"]).arg(self.origin()).arg(&path).status();
        assert!(cloned.unwrap().success());
        path
    }

    /// Pushes a commit onto those before it.
    fn goes_on(&self, content: &str) -> Revision {
        let blob = self.blob(content.as_bytes());
        let tree = self.tree(&[("100644", &blob, b"metadata.json")]);
        let before = self.git(&["for-each-ref", "--format=%(objectname)", MAIN]);
        let parent = if before.is_empty() { vec![] } else { vec!["-p", before.as_str()] };
        let commit = self.git(&[&["commit-tree", "-m", "change", tree.as_str()], &parent[..]].concat());
        self.git(&["update-ref", MAIN, &commit]);
        commit.parse().unwrap()
    }

    async fn ask(&self, urls: &[&str], floor: Option<&Revision>) -> Result<Fetched, Error> {
        ask(&self.errands(), urls, floor).await
    }
}

async fn ask(errands: &Errands, urls: &[&str], floor: Option<&Revision>) -> Result<Fetched, Error> {
    let mirrors = urls[1..].iter().map(|url| url.parse().unwrap()).collect::<Vec<_>>();
    let call = Fetch { mirrors: Some(mirrors.try_into().unwrap()), floor: floor.cloned(), ..fetch(urls[0]) };
    git_sync::Session::new(errands.clone()).fetch(call).await
}

fn url(path: &std::path::Path) -> String {
    format!("file://{}", path.display())
}

fn states(fetched: &Fetched) -> Vec<RemoteState> {
    fetched.remotes.iter().map(|remote| remote.state).collect()
}

use RemoteState::{Away, Behind, Refused, Spare, Used};

#[tokio::test]
async fn a_mirror_stands_in_and_one_that_is_behind_changes_nothing() {
    let scene = Scene::new();
    let first = scene.goes_on("1");
    let (origin, old) = (scene.url(), url(&scene.mirror("old.git")));
    let second = scene.goes_on("2");
    let fetched = scene.ask(&[&origin, &old], None).await.unwrap();
    assert_eq!((fetched.revision.clone(), states(&fetched)), (second.clone(), vec![Used, Spare]));

    // The origin is away: the mirror is old, and what is held stays, whatever the floor is.
    for floor in [None, Some(&first), Some(&second)] {
        let fetched = scene.ask(&[NOBODY, &old], floor).await.unwrap();
        assert_eq!((&fetched.revision, fetched.changed), (&second, false), "{floor:?}");
        assert_eq!(states(&fetched), [Away, Behind]);
    }
    let mirror = scene.state().join("web/mirror.git/refs/heads/main");
    assert_eq!(fs::read_to_string(&mirror).unwrap().trim(), second.as_str());
    // A mirror that goes on brings what is new, and the old one is passed over.
    let new = url(&scene.mirror("new.git"));
    let third = scene.goes_on("3");
    let newest = url(&scene.mirror("newest.git"));
    let fetched = scene.ask(&[NOBODY, &old, &newest, &new], Some(&second)).await.unwrap();
    assert_eq!((&fetched.revision, fetched.changed, states(&fetched)), (&third, true, vec![Away, Behind, Used, Spare]));

    // A repository that shows itself older than it was is refused, unless a mirror knows better.
    let floor = Some(&third);
    assert!(matches!(scene.ask(&[&new, &old], floor).await, Err(Error::HistoryRewritten { .. })));
    let fetched = scene.ask(&[&new, &old, &newest], floor).await.unwrap();
    assert_eq!((&fetched.revision, states(&fetched)), (&third, vec![Behind, Behind, Used]));
    // With an accepted history it is the repository that counts.
    assert_eq!(scene.ask(&[&new, &newest], None).await.unwrap().revision, second);
}

#[tokio::test]
async fn a_forged_mirror_is_refused_and_another_one_still_counts() {
    let scene = Scene::new();
    scene.goes_on("1");
    let floor = scene.goes_on("2");
    let good = url(&scene.mirror("good.git"));
    assert_eq!(scene.ask(&[&scene.url(), &good], None).await.unwrap().revision, floor);
    let forged = {
        let other = Scene::new();
        other.push_file("evil");
        let path = scene.directory.path().join("forged.git");
        fs::rename(other.origin(), &path).unwrap();
        url(&path)
    };
    let refused = scene.ask(&[NOBODY, &forged], Some(&floor)).await.unwrap_err();
    assert!(matches!(refused, Error::HistoryRewritten { .. }), "{refused}");
    let fetched = scene.ask(&[NOBODY, &forged, &good], Some(&floor)).await.unwrap();
    assert_eq!((&fetched.revision, states(&fetched)), (&floor, vec![Away, Refused, Used]));
    // The repository's own refusal is final: nobody looks for a friendlier answer.
    let refused = scene.ask(&[&forged, &good], Some(&floor)).await.unwrap_err();
    assert!(matches!(refused, Error::HistoryRewritten { .. }), "{refused}");
    let shown = scene.session().list(interfaces::git_sync::List { repository: None }).await.unwrap();
    assert_eq!(shown[0].remotes.iter().map(|remote| remote.state).collect::<Vec<_>>(), [Refused, Used]);
    assert_eq!(scene.ask(&[&scene.url()], Some(&floor)).await.unwrap().remotes, []);
}

#[tokio::test]
async fn a_server_that_hangs_leaves_time_for_the_others_and_comes_last_for_a_while() {
    let scene = Scene::new();
    let wanted = scene.goes_on("1");
    let good = url(&scene.mirror("good.git"));
    // It accepts connections and never says anything.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("git://{}/web", hanging.local_addr().unwrap());
    let errands = scene.errands().within(Duration::from_secs(6));
    let begun = Instant::now();
    let fetched = ask(&errands, &[&dead, &good], None).await.unwrap();
    assert_eq!((fetched.revision.clone(), states(&fetched)), (wanted, vec![Away, Used]));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let begun = Instant::now();
    ask(&errands, &[&dead, &good], None).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2500), "it was asked again: {:?}", begun.elapsed());
    let refused = ask(&errands, &[&dead, NOBODY], None).await.unwrap_err().to_string();
    assert!(refused.contains(&dead) && refused.contains(NOBODY), "{refused}");
}

#[tokio::test]
async fn what_is_held_outlives_a_mirror_of_ours_that_has_to_be_made_anew() {
    let scene = Scene::new();
    scene.goes_on("1");
    let old = url(&scene.mirror("old.git"));
    let held = scene.goes_on("2");
    scene.ask(&[&scene.url(), &old], None).await.unwrap();
    // So many packs that the next fetch fills another mirror.
    let packs = scene.state().join("web/mirror.git/objects/pack");
    for number in 0..101 {
        fs::write(packs.join(format!("pack-{number:040}.pack")), "").unwrap();
    }
    let fetched = scene.ask(&[NOBODY, &old], Some(&held)).await.unwrap();
    assert_eq!((&fetched.revision, states(&fetched)), (&held, vec![Away, Behind]));
}
