//! What tenant-generator adds to a boot: the units of 1,000 tenants, from exec to exit, beside systemd's own generator for as
//! many lines of fstab.

use anyhow::{Context as _, Result};
use integration_tests::Scene;

use super::{Figure, median};

const RUNS: usize = 40;
const OURS: &str = "/usr/lib/systemd/system-generators/tenant-generator";
const PEER: &str = "/usr/lib/systemd/system-generators/systemd-fstab-generator";
/// Half of the tenants wait for another, a tenth has an extension, and half of the repositories are polled otherwise than usual.
const STATE: &str = r#"
mkdir -p /srv/generator && cd /srv/generator && rm -f -- *
printf '{"system":{"interval":"30s","jitter":"10s"}' >polling
for number in $(seq 1000); do
    waits= extended= interval=30s
    ((number % 2)) || { waits="\"t$((number / 2))\"" interval=5min; }
    ((number % 10)) || extended='"tools"'
    printf ',"t%d":{"interval":"%s","jitter":"10s"}' $number $interval >>polling
    printf '{"generation":3,"spec":{"revision":"%040d","image":"debian","uids":{"first":1073741824,"count":65536},"bridge":"bb-9e3779b1","mac":"06:00:00:00:00:01","address":"10.88.0.2","limits":{"cpuCores":4,"cpuWeight":null,"memory":"4G","swap":"0"},"sysext":[%s],"services":["web.service","worker.service"],"secrets":[],"dependsOn":[%s]}}' \
        $number "$extended" "$waits" >t$number.json
done
printf '}' >>polling
for number in $(seq 1000); do echo "tmpfs /srv/mounts/$number tmpfs defaults 0 0"; done >/srv/generator.fstab
mountpoint --quiet /var/lib/bitbuilder/boot || mount --bind /srv/generator /var/lib/bitbuilder/boot
"#;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    scene.must(STATE)?;
    let ours = time(scene, OURS, "[ $(ls /run/generated/normal/*.target | wc -l) = 1000 ]");
    let peer = time(
        scene,
        &format!("SYSTEMD_FSTAB=/srv/generator.fstab {PEER}"),
        "[ $(ls /run/generated/normal/*.mount | wc -l) = 1000 ]",
    );
    scene.must("umount /var/lib/bitbuilder/boot")?;
    let (ours, peer) = (ours?, peer?);
    Ok(vec![Figure {
        name: "generator-1000".to_owned(),
        ours,
        peer,
        peer_name: "systemd-fstab-generator, 1,000 lines",
        unit: "ms",
        goal: Some(55.0 / peer),
    }])
}

/// The median of many runs, in milliseconds, each into directories that are empty as at boot. The last has done its work.
fn time(scene: &Scene, command: &str, check: &str) -> Result<f64> {
    let printed = scene.must(&format!(
        "for run in $(seq {RUNS}); do
             rm -rf /run/generated && mkdir -p /run/generated/normal /run/generated/early /run/generated/late
             begun=$EPOCHREALTIME; {command} /run/generated/normal /run/generated/early /run/generated/late; ended=$EPOCHREALTIME
             echo $(( ${{ended/[.,]/}} - ${{begun/[.,]/}} ))
         done
         {check}"
    ))?;
    let took: Result<Vec<f64>, _> = printed.lines().map(str::parse).collect();
    Ok(median(took.with_context(|| format!("not numbers: {printed}"))?) / 1000.0)
}
