//! A thousand hooks while two commits are pushed: the server is asked a few times, and what runs in the end is the last.

use anyhow::Result;
use integration_tests::Scene;
use test_host::Host;

/// Connections to the Git server so far.
const FETCHES: &str = "systemctl show -p NAccepted --value git-daemon.socket";

#[test]
fn a_thousand_hooks_are_a_few_looks() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.follow_seldom(&["web"])?;
    let web = scene.open("web");
    scene.host.write("/etc/credstore/bitbuilder.webhook-secret.web", "the secret of web")?;
    scene.must("chmod 700 /etc/credstore && systemctl start bitbuilder-webhook.socket")?;

    let fetches = || -> Result<u64> { Ok(scene.must(FETCHES)?.trim().parse()?) };
    let before = fetches()?;
    web.commit("Alone", &[])?;
    assert_eq!(scene.sync("web")?.code, 0);
    let of_one_look = fetches()? - before;
    assert!(of_one_look > 0);

    let storm = |count: u32| {
        scene.must(&format!(
            "curl --silent --show-error --parallel --parallel-max 50 --output /dev/null --write-out '%{{http_code}}%{{errormsg}}\\n' --data x \
               -H 'X-Gitlab-Token: the secret of web' 'http://127.0.0.1:9419/web?[1-{count}]' | sort | uniq -c | awk '{{print $2, $1}}'"
        ))
    };
    let (before, began) = (fetches()?, std::time::Instant::now());
    web.commit("In the storm", &[])?;
    assert_eq!(storm(500)?, "202 500\n");
    let last = web.commit("At its end", &[])?;
    assert_eq!(storm(500)?, "202 500\n");
    let took = began.elapsed();
    scene.await_status(&format!("\"verified\":\"{last}\""))?;
    // One when the first comes; then after one second, two, four and eight if they keep coming.
    let looks = (fetches()? - before) / of_one_look;
    println!("1000 hooks and two pushes took {took:?} and were {looks} looks");
    let seconds = took.as_secs();
    let most = 2 + (0..5u32).filter(|doubled| (1 << doubled) - 1 <= seconds).count();
    assert!((1..=u64::try_from(most)?).contains(&looks), "{looks} looks in {took:?}");
    // What was under way when the receiver is told to stop is asked for all the same.
    let last = web.commit("And stopped", &[])?;
    assert_eq!(storm(2)?, "202 2\n");
    scene.must("systemctl stop bitbuilder-webhook.service")?;
    scene.await_status(&format!("\"verified\":\"{last}\""))?;
    Ok(())
}
