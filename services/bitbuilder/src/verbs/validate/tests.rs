//! Repositories as their owners have them, and as nobody should.

use super::*;
use std::fs;
use std::{fs::File, os::unix::fs::symlink};

const METADATA: &str =
    r#"{"version": "1.0", "tenant": {"name": "web", "type": "container"}, "image": "debian", "security": {}}"#;
const REGISTRY: &str = r#"{"version": "1.0", "tenants": [{"name": "web", "repository": "https://h/web"}]}"#;

fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn words(directory: &tempfile::TempDir, system: Option<&tempfile::TempDir>) -> Arguments {
    let system = system.map(|system| system.path().to_owned());
    Arguments { path: directory.path().to_owned(), kind: None, system }
}

fn code(directory: &tempfile::TempDir, system: Option<&tempfile::TempDir>) -> Result<u8, String> {
    run(&words(directory, system), Json::Off).map_err(|error| error.to_string())
}

#[test]
fn the_files_tell_which_kind_it_is() {
    assert_eq!(code(&repository(&[(manifest::PATH, METADATA)]), None), Ok(0));
    assert_eq!(code(&repository(&[(registry::PATH, REGISTRY)]), None), Ok(0));
    let both = repository(&[(registry::PATH, REGISTRY), (manifest::PATH, METADATA)]);
    assert!(code(&both, None).unwrap_err().contains("both metadata.json and tenants/registry.json"));
    let forced = Arguments { kind: Some(Kind::System), ..words(&both, None) };
    assert_eq!(run(&forced, Json::Off).ok(), Some(0));
    assert!(code(&repository(&[]), None).unwrap_err().contains("neither"));
    let file = Arguments { path: both.path().join(manifest::PATH), ..words(&both, None) };
    assert!(run(&file, Json::Off).is_err());
}

#[test]
fn all_faults_are_shown_at_once_each_with_its_place() {
    let wrong = METADATA.replace("container", "vm\", \"x\": \"").replace("debian", "../x");
    let repository = repository(&[(manifest::PATH, &wrong), (model::config::PATH, "version: \"1.0\"\nsync: 1\n")]);
    let report = tenant(&WorkTree::at(repository.path()), None);
    let origins: Vec<String> =
        report.diagnostics.iter().map(|fault| format!("{}:{}", fault.origin, fault.line)).collect();
    assert_eq!(origins, ["metadata.json:1", "metadata.json:1", ".gitops/config.yaml:2"]);
    let shown = text(&report, Path::new("web"));
    assert!(shown.contains("^^^") && shown.ends_with("web is refused as a tenant's repository: 3 faults\n"), "{shown}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["kind"], "tenant");
    assert_eq!(json["diagnostics"][0]["origin"], "metadata.json");
}

#[test]
fn what_no_host_of_this_version_has_is_said() {
    let without = METADATA.replace("\"security\": {}", "\"services\": {\"portable\": []}");
    let noted = tenant(&WorkTree::at(repository(&[(manifest::PATH, &without)]).path()), None);
    assert_eq!((noted.valid, noted.not_in_effect.as_slice()), (true, &["services.portable".to_owned()][..]));
    let refused = repository(&[(manifest::PATH, &METADATA.replace("container", "vm"))]);
    let refused = tenant(&WorkTree::at(refused.path()), None);
    assert!(refused.diagnostics[0].message.contains("not supported"), "{:?}", refused.diagnostics);
}

#[test]
fn a_request_is_held_against_the_system_repositorys_policy() {
    let request =
        METADATA.replace("\"security\": {}", "\"network\": {\"forward\": [{\"host\": 8080, \"tenant\": 80}]}");
    let asks = repository(&[(manifest::PATH, &request)]);
    assert_eq!(code(&asks, None), Ok(0));
    let stingy = repository(&[(registry::PATH, REGISTRY)]);
    assert_eq!(code(&asks, Some(&stingy)), Ok(3));
    let generous = REGISTRY.replace("\"https://h/web\"", "\"https://h/web\", \"limits\": {\"ports\": [\"8080\"]}");
    assert_eq!(code(&asks, Some(&repository(&[(registry::PATH, &generous)]))), Ok(0));
    let elsewhere = repository(&[(registry::PATH, &REGISTRY.replace("\"web\"", "\"db\""))]);
    let report = tenant(&WorkTree::at(asks.path()), Some(&WorkTree::at(elsewhere.path())));
    assert!(report.diagnostics[0].message.contains("no tenant web is registered"), "{:?}", report.diagnostics);
    let broken = repository(&[(registry::PATH, "{")]);
    let report = tenant(&WorkTree::at(asks.path()), Some(&WorkTree::at(broken.path())));
    assert_eq!(report.diagnostics[0].origin, "system:tenants/registry.json");
    assert!(code(&stingy, Some(&stingy)).unwrap_err().contains("--system is for a tenant's"));
}

#[test]
fn nothing_in_the_directory_makes_it_hang_or_tell_what_is_elsewhere() {
    let secret = repository(&[("metadata.json", "{\"secret\": 1}")]);
    let hostile = repository(&[]);
    let metadata = hostile.path().join(manifest::PATH);
    let said = |expected: &str| {
        let report = tenant(&WorkTree::at(hostile.path()), None);
        let shown = text(&report, hostile.path());
        assert!(!report.valid && shown.contains(expected) && !shown.contains("secret"), "{shown}");
        fs::remove_file(&metadata).or_else(|_| fs::remove_dir(&metadata)).unwrap();
    };
    symlink(secret.path().join("metadata.json"), &metadata).unwrap();
    said("symbolic link");
    rustix::fs::mknodat(rustix::fs::CWD, &metadata, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    said("not a regular file");
    fs::create_dir(&metadata).unwrap();
    said("not a regular file");
    File::create(&metadata).unwrap().set_len(1 << 40).unwrap();
    said("at most 1048576 are read");
    fs::write(&metadata, [b'['; 1 << 20]).unwrap();
    said("nested too deeply");
    symlink(secret.path(), hostile.path().join("tenants")).unwrap();
    fs::write(&metadata, "\u{1b}[2J").unwrap();
    let shown = text(&tenant(&WorkTree::at(hostile.path()), None), hostile.path());
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn the_examples_are_accepted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/examples");
    let system = examples.join("system");
    assert!(super::system(&WorkTree::at(&system)).valid);
    let registry = System::read("", &WorkTree::at(&system)).unwrap();
    for registered in registry.registrations {
        let path = examples.join(format!("tenant-{}", registered.name));
        for system in [None, Some(system.clone())] {
            let words = Arguments { path: path.clone(), kind: None, system };
            assert_eq!(run(&words, Json::Off).ok(), Some(0), "{}", path.display());
        }
    }
}
