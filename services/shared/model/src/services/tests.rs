//! What makes a service another one, and what does not.

use super::*;
use std::cell::Cell;

/// Files by path; those below `x/` may be executed.
struct Files(Vec<(&'static str, &'static str)>, Cell<usize>);

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.iter().find(|(own, _)| *own == path).map(|(_, content)| content.as_bytes().to_vec()))
    }

    fn has(&self, path: &str) -> bool {
        self.0.iter().any(|(own, _)| *own == path)
    }

    fn each(&self, path: &str, most: usize, see: &mut dyn FnMut(&str, bool, &[u8])) -> Result<(), String> {
        self.1.set(self.1.get() + 1);
        for (own, content) in &self.0 {
            if *own == path || own.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) {
                if *content == "link" || content.len() > most {
                    return Err("not read".to_owned());
                }
                see(own, own.starts_with("x/"), content.as_bytes());
            }
        }
        Ok(())
    }
}

const UNIT: &str = "ExecStart=/srv/config/x/run\nEnvironmentFile=/srv/config/env\nLoadCredential=token\nWorkingDirectory=/srv/config/www";

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("env", "A=1"),
        ("other", "1"),
        ("units/a.service", UNIT),
        ("units/a.service.d/10.conf", "[Service]"),
        ("units/b@.service", "ExecStart=sleep %i"),
        ("www/index.html", "1"),
        ("x/run", "1"),
    ]
}

fn secret(name: &str, digit: &str) -> SecretSpec {
    SecretSpec { name: name.parse().unwrap(), digest: digit.repeat(64).parse().unwrap() }
}

fn specs(files: Vec<(&'static str, &'static str)>, secrets: &[SecretSpec], digit: &str) -> Vec<ServiceSpec> {
    let units: Vec<UnitName> = ["a.service", "b@1.service"].map(|name| name.parse().unwrap()).into();
    let revision = digit.repeat(40).parse().unwrap();
    read(&Files(files, Cell::new(0)), &units, secrets).iter().map(|service| service.spec(&revision)).collect()
}

fn changed(files: Vec<(&'static str, &'static str)>, secrets: &[SecretSpec]) -> Vec<bool> {
    let before = specs(self::files(), &[secret("token", "1"), secret("own", "1")], "a");
    before.iter().zip(specs(files, secrets, "b")).map(|(before, after)| *before != after).collect()
}

#[test]
fn a_service_is_another_if_what_it_is_started_with_is() {
    let secrets = [secret("token", "1"), secret("own", "1")];
    assert_eq!(changed(files(), &secrets), [false, false], "another commit with the same");
    let with = |path: &'static str, content: &'static str| {
        let mut files = files();
        files.retain(|(own, _)| *own != path);
        files.push((path, content));
        files.sort_unstable();
        changed(files, &secrets)
    };
    assert_eq!(with("other", "2"), [false, false]);
    assert_eq!(with("units/readme", "2"), [false, false]);
    assert_eq!(with("units/a.service.d/readme", "2"), [false, false]);
    for (path, content) in [
        ("units/a.service", "ExecStart=true"),
        ("units/a.service.d/10.conf", "[Unit]"),
        ("units/a.service.d/20.conf", "[Unit]"),
        ("env", "A=2"),
        ("www/new.html", ""),
        ("x/run", "2"),
    ] {
        assert_eq!(with(path, content), [true, false], "{path}");
    }
    assert_eq!(with("units/b@.service", "ExecStart=true"), [false, true]);
    assert_eq!(changed(files(), &[secret("token", "2"), secret("own", "1")]), [true, false]);
    assert_eq!(changed(files(), &[secret("token", "1"), secret("own", "2")]), [false, false]);
    let mut fewer = files();
    fewer.retain(|(path, _)| *path != "env");
    assert_eq!(changed(fewer, &secrets), [true, false]);
}

#[test]
fn what_was_not_read_whole_is_another_with_each_commit() {
    let mut linked = files();
    linked.push(("www/link", "link"));
    assert_eq!(specs(linked.clone(), &[], "a"), specs(linked.clone(), &[], "a"));
    assert_ne!(specs(linked.clone(), &[], "a")[0], specs(linked, &[], "b")[0]);
    let everything = vec![("units/a.service", "WorkingDirectory=/srv/config")];
    assert_ne!(specs(everything.clone(), &[], "a")[0], specs(everything, &[], "b")[0]);
    assert_ne!(specs(Vec::new(), &[], "a"), specs(Vec::new(), &[], "b"), "no unit file");
}

#[test]
fn a_path_is_read_once_however_many_name_it_and_not_too_many_are() {
    let unit: &'static str = (0..2 * MOST_PATHS).map(|n| format!("A=/srv/config/{n}\n")).collect::<String>().leak();
    let files = Files(vec![("units/a@.service", unit)], Cell::new(0));
    let units: Vec<UnitName> = (0..9).map(|n| format!("a@{n}.service").parse().unwrap()).collect();
    let services = read(&files, &units, &[]);
    assert!(services.iter().all(|service| !service.whole));
    assert_eq!(files.1.get(), MOST_PATHS + units.len());
}

#[test]
fn what_an_earlier_version_wrote_is_read() {
    let spec: ServiceSpec = serde_json::from_str("\"a.service\"").unwrap();
    assert_eq!(spec.digest, Digest::unknown());
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ServiceSpec>(&text).unwrap(), spec);
    assert!(serde_json::from_str::<ServiceSpec>("{\"unit\":\"a.service\"}").is_err());
}
