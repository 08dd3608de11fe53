//! The kernel holds each tenant to its limits, and nobody beside it pays for what it tries.

use std::time::Instant;

use anyhow::{Result, ensure};
use integration_tests::Need;
use machine_tests::Neighbours;
use serde_json::json;
use test_host::Bytes;

/// How far a measured share may be from the one that was set.
const TOLERANCE: f64 = 0.1;

fn close(measured: f64, set: f64, tolerance: f64, what: &str) -> Result<()> {
    println!("{what}: {measured:.3}, set is {set:.3}");
    ensure!((measured / set - 1.0).abs() <= tolerance, "{what} is {measured:.3} and not {set:.3}");
    Ok(())
}

#[test]
fn who_takes_too_much_memory_or_too_many_tasks_is_stopped_alone() -> Result<()> {
    let needs = [Need::MemoryController, Need::TasksController, Need::MemoryPressure, Need::Disk(Bytes(512 << 20))];
    let prepare = "mkswap --quiet /dev/disk/by-id/virtio-disk0 && swapon /dev/disk/by-id/virtio-disk0
        mkdir -p /etc/systemd/oomd.conf.d
        printf '[OOM]\\nDefaultMemoryPressureDurationSec=2s\\n' >/etc/systemd/oomd.conf.d/test.conf
        systemctl restart systemd-oomd";
    let noisy = json!({ "memory": { "limit": "192M", "swap": "0" }, "tasks": 128 });
    let Some(two) = Neighbours::boot(&needs, prepare, &noisy, &json!({ "tasks": 200 }))? else { return Ok(()) };
    let before = two.leaders()?;

    let greedy = two.inside("noisy", "exec dd if=/dev/zero of=/dev/null bs=300M count=1")?;
    ensure!(greedy.code == 137, "who took 300M of 192M was not killed: {greedy:?}");
    let count = "for group in $noisy $web; do sed -n 's/^oom_kill //p' $group/memory.events; done; sed -n 's/^oom_kill //p' /proc/vmstat; cat $noisy/memory.peak";
    let killed = two.numbers(count)?;
    ensure!(killed[..3] == [1, 0, 1], "killed in noisy, in web and on the host: {killed:?}");
    ensure!(killed[3] <= 192 << 20, "noisy had {} bytes", killed[3]);

    let forks = "for each in $(seq 300); do sleep 1000 & done; echo all of them";
    let bomb = two.inside("noisy", forks)?;
    ensure!(!bomb.success() && bomb.stderr.contains("fork"), "300 tasks of 128 were started: {bomb:?}");
    let tasks = two.numbers("cat $noisy/pids.peak; sed -n 's/^max //p' $noisy/pids.events $web/pids.events")?;
    ensure!(tasks[0] <= 128 && tasks[1] > 0 && tasks[2] == 0, "tasks at most, and refused in noisy and web: {tasks:?}");
    let beside = two.inside("web", "for each in $(seq 100); do sleep 0 & done; wait; echo all of them")?;
    ensure!(beside.stdout == "all of them\n", "web could not start its own: {beside:?}");
    two.inside("noisy", "pkill sleep || busybox killall sleep")?;
    ensure!(two.leaders()? == before, "a tenant was started anew");

    // Memory that is always on its way to the disk and back: nobody is killed by the kernel, and nothing gets done.
    let presses =
        json!({ "memory": { "limit": "128M", "swap": "400M", "managedOomMemoryPressure": "kill" }, "tasks": 128 });
    two.ask(&presses, &json!({ "tasks": 200 }))?;
    let pressing = two.inside("noisy", "exec dd if=/dev/zero of=/dev/null bs=300M")?;
    ensure!(!pressing.success(), "nobody ended what pressed: {pressing:?}");
    let said = two.must("journalctl --output=cat --unit=systemd-oomd --no-pager")?;
    let acted = |tenant: &str| {
        said.contains(&format!(
            "memory pressure for /bitbuilder.slice/bitbuilder-tenants.slice/bitbuilder-container@{tenant}"
        ))
    };
    ensure!(acted("noisy") && !acted("web"), "systemd-oomd says: {said}");
    ensure!(two.numbers(count)?[..3] == [1, 0, 1], "the kernel had to kill");
    ensure!(two.must("curl --silent --show-error --fail --max-time 20 http://127.0.0.1:8080/")? == "here\n");
    Ok(())
}

#[test]
fn processor_time_is_bounded_and_shared_as_set() -> Result<()> {
    let (one, plain) = (json!({ "cpu": { "cores": 1 } }), json!({}));
    let Some(two) = Neighbours::boot(&[Need::ProcessorControllers], "true", &one, &plain)? else { return Ok(()) };
    let page = || -> Result<Vec<u64>> {
        let each = "curl --silent --show-error --fail --max-time 20 --output /dev/null --write-out '%{time_total}\\n' http://127.0.0.1:8080/";
        let mut took =
            two.numbers(&format!("for each in $(seq 40); do {each}; done | awk '{{ print int($1 * 1000000) }}'"))?;
        took.sort_unstable();
        Ok(took)
    };
    // The first one is slower.
    page()?;
    let quiet = page()?;

    // As many as would fill the host twice.
    let busy = "for each in 1 2 3 4; do while :; do :; done & done; sleep 1000";
    let used = |group: &str| format!("sed -n 's/^usage_usec //p' ${group}/cpu.stat");
    let clock = "awk '{ print int($1 * 1000000) }' /proc/uptime";
    // For so long that a period of a quota, which is 0.1 s, makes no difference.
    let measure = |seconds: u32| -> Result<Vec<f64>> {
        let (noisy, web) = (used("noisy"), used("web"));
        let all = two.numbers(&format!("{clock}; {noisy}; {web}; sleep {seconds}; {clock}; {noisy}; {web}"))?;
        let share = |index: usize| (all[index + 3] - all[index]) as f64 / (all[3] - all[0]) as f64;
        Ok(vec![share(1), share(2)])
    };
    let run = |tenant: &str| {
        two.must(&format!("systemd-run --quiet --unit=busy-{tenant} bitbuilder exec {tenant} -- sh -c '{busy}'"))
    };
    run("noisy")?;
    // Until the quota has held them back for the first time, of which the kernel tells nobody.
    two.measure("timeout 60 sh -c 'until grep --quiet \"nr_throttled [1-9]\" $0/cpu.stat; do sleep 0.2; done' $noisy")?;
    close(measure(8)?[0], 1.0, TOLERANCE, "cores that noisy has of one")?;

    let beside = page()?;
    let at = |sorted: &[u64], part: usize| sorted[sorted.len() * part / 100] as f64 / 1000.0;
    println!(
        "a page of web takes {:.1} ms (median) and {:.1} ms (p95); beside a noisy tenant {:.1} ms and {:.1} ms",
        at(&quiet, 50),
        at(&quiet, 95),
        at(&beside, 50),
        at(&beside, 95)
    );
    ensure!(at(&beside, 95) <= 10.0 * at(&quiet, 95), "the neighbour pays for it");

    // On one processor, two to one.
    let on = |shares: u32| json!({ "cpu": { "shares": shares, "allowedCpus": "1" } });
    two.ask(&on(512), &on(1024))?;
    run("web")?;
    let started = Instant::now();
    let shares = loop {
        let shares = measure(6)?;
        // Until web is at it as well.
        if shares[1] > 0.3 || started.elapsed().as_secs() > 60 {
            break shares;
        }
    };
    close(shares[1] / shares[0], 2.0, TOLERANCE, "processor time of web to that of noisy")?;
    ensure!(shares[0] + shares[1] < 1.1, "both together have more than one processor: {shares:?}");
    Ok(())
}

#[test]
fn input_and_output_are_bounded_and_shared_as_set() -> Result<()> {
    let narrow = json!({ "io": { "readBandwidthMax": "4M", "writeBandwidthMax": "4M" } });
    let prepare =
        "modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler && echo 0 >/sys/block/vda/queue/iosched/low_latency";
    let Some(two) = Neighbours::boot(&[Need::IoController], prepare, &narrow, &json!({}))? else { return Ok(()) };
    // Past the page cache, so that each byte is the device's at that moment.
    let rate = |tenant: &str, what: &str| -> Result<f64> {
        let said = two.inside(tenant, &format!("LC_ALL=C dd bs=1M {what}"))?;
        ensure!(said.success(), "{said:?}");
        let seconds =
            said.stderr.rsplit_once(" s, ").and_then(|(left, _)| left.rsplit_once(' ')?.1.parse::<f64>().ok());
        let bytes = said.stderr.lines().last().and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
        match (bytes, seconds) {
            (Some(bytes), Some(seconds)) => Ok(bytes / seconds / f64::from(1 << 20)),
            _ => anyhow::bail!("dd says {}", said.stderr),
        }
    };
    for tenant in ["web", "noisy"] {
        let made = two.inside(tenant, "dd if=/dev/urandom of=/srv/data/file bs=1M count=32 conv=fsync")?;
        ensure!(made.success(), "{made:?}");
    }
    let (reads, writes) =
        ("if=/srv/data/file of=/dev/null iflag=direct", "if=/dev/zero of=/srv/data/new oflag=direct count=32");
    for what in [reads, writes] {
        let free = rate("web", what)?;
        ensure!(free > 8.0, "web, which has no limit, does {free:.1} MiB/s: the limit of noisy could not be seen");
        close(rate("noisy", what)?, 4.0, TOLERANCE, "MiB/s of noisy")?;
    }

    two.ask(&json!({ "io": { "weight": 50 } }), &json!({ "io": { "weight": 100 } }))?;
    // The kernel shares what it believes that the device can do, and is told that this is 16 MiB/s: then the device is what is scarce.
    two.measure(
        "device=$(cat /sys/block/vda/dev)
        operations='rseqiops=4096 rrandiops=4096 wseqiops=4096 wrandiops=4096'
        echo \"$device ctrl=user model=linear rbps=16777216 wbps=16777216 $operations\" >/sys/fs/cgroup/io.cost.model
        echo \"$device enable=1 ctrl=user min=100 max=100\" >/sys/fs/cgroup/io.cost.qos",
    )?;
    for tenant in ["web", "noisy"] {
        let read = "while :; do dd if=/srv/data/file of=/dev/null bs=128K iflag=direct 2>/dev/null; done";
        let busy = format!("for each in 1 2 3; do {read} & done; wait");
        two.must(&format!("systemd-run --quiet --unit=busy-{tenant} bitbuilder exec {tenant} -- sh -c '{busy}'"))?;
    }
    let read = "sed -n 's/.* rbytes=\\([0-9]*\\).*/\\1/p'";
    let all = two
        .numbers(&format!("sleep 3; for times in 1 2; do {read} $noisy/io.stat; {read} $web/io.stat; sleep 8; done"))?;
    close((all[3] - all[1]) as f64 / (all[2] - all[0]) as f64, 2.0, 0.25, "what web reads to what noisy reads")
}
