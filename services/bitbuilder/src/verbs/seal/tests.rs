//! Files that people wrote, and what is put into them.

use super::*;

fn key() -> Recipient {
    sealing::generate().unwrap().1
}

fn secret(name: &str) -> SealedSecret {
    let name: SecretName = name.parse().unwrap();
    SealedSecret { sealed: sealing::seal(&[key()], &"web".parse().unwrap(), &name, b"value").unwrap(), name }
}

fn words(directory: &Path, line: &str) -> Arguments {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        words: Arguments,
    }
    let file = directory.join(secrets::PATH).display().to_string();
    let line: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    <Line as clap::Parser>::parse_from([&["seal", "--file", &file], &line[..]].concat()).words
}

async fn run_in(directory: &Path, line: &str) -> Result<u8, String> {
    let nobody = Client::in_directory(directory);
    run(&nobody, words(directory, line), Json::Short).await.map_err(|fault| fault.to_string())
}

#[test]
fn what_a_person_wrote_stays() {
    let (one, two, other) = (secret("one"), secret("two"), secret("three"));
    let text = edit::with("", &[], std::slice::from_ref(&one)).unwrap();
    let text = edit::with(&text, std::slice::from_ref(&one), std::slice::from_ref(&two)).unwrap();
    assert_eq!(edit::parse(&text).unwrap(), [one.clone(), two.clone()]);
    let text = text.replace("  - name: two", "\n  # the second\n  - name: two") + "# the end\n";
    let newer = secret("one");
    let held = [one.clone(), two.clone()];
    let replaced = edit::with(&text, &held, std::slice::from_ref(&newer)).unwrap();
    assert_eq!(edit::parse(&replaced).unwrap(), [newer.clone(), two.clone()]);
    let armor = |secret: &SealedSecret| -> String {
        secret.sealed.as_str().lines().map(|line| format!("      {line}\n")).collect()
    };
    assert_eq!(replaced, text.replace(&armor(&one), &armor(&newer)));
    let added = edit::with(&text, &held, std::slice::from_ref(&other)).unwrap();
    assert!(added.contains("\n  # the second\n") && added.ends_with("# the end\n"), "{added}");
    assert_eq!(edit::parse(&added).unwrap(), [one, two, other]);
}

#[test]
fn each_way_to_write_a_list_is_kept_or_left_alone() {
    let (one, newer, two) = (secret("one"), secret("one"), secret("two"));
    let block: String = one.sealed.as_str().lines().map(|line| format!("      {line}\n")).collect();
    let quoted = one.sealed.as_str().replace('\n', "\\n");
    for (text, editable) in [
        (format!("version: \"1.0\"\nsecrets:\n- sealed: |\n{block}  name: one\n"), true),
        (
            format!(
                "secrets:\n    - name: one\n      sealed: |-\n  {}\nversion: \"1.0\"",
                block.trim_end().replace('\n', "\n  ")
            ),
            true,
        ),
        (format!("version: \"1.0\"\nsecrets: [{{name: one, sealed: \"{quoted}\"}}]\n"), false),
    ] {
        let held = edit::parse(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        assert_eq!(held, std::slice::from_ref(&one));
        for entry in [&newer, &two] {
            let edited = edit::with(&text, &held, std::slice::from_ref(entry));
            assert_eq!(edited.is_some(), editable, "{text}\n{edited:?}");
        }
    }
    let empty = edit::with("version: \"1.0\"\nsecrets: []\n", &[], std::slice::from_ref(&two)).unwrap();
    assert_eq!(edit::parse(&empty).unwrap(), [two]);
    for odd in ["1", "0x10", "null", "1e9", "true"] {
        let odd = secret(odd);
        assert!(edit::with("", &[], &[odd]).is_some());
    }
}

#[tokio::test]
async fn a_value_is_sealed_without_a_host_for_whom_the_repository_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("value"), "canary").unwrap();
    let from = format!("token --from {}", path.join("value").display());
    assert!(run_in(path, &from).await.unwrap_err().contains("give --tenant"));
    let manifest = r#"{"version": "1.0", "tenant": {"name": "web", "type": "container"}, "image": "debian"}"#;
    fs::write(path.join(manifest::PATH), manifest).unwrap();
    assert!(run_in(path, &from).await.unwrap_err().contains("does not answer"), "nobody says to whom");
    fs::create_dir(path.join("secrets")).unwrap();
    let (one, two) = (key(), key());
    fs::write(path.join(secrets::RECIPIENTS), format!("# of the host\n{one}\n\n{two} # kept in the safe\n")).unwrap();
    assert_eq!(run_in(path, &from).await, Ok(0));
    let text = fs::read_to_string(path.join(secrets::PATH)).unwrap();
    assert!(edit::parse(&text).unwrap()[0].name.as_str() == "token" && !text.contains("canary"), "{text}");
    fs::write(path.join(secrets::RECIPIENTS), "age1x\n").unwrap();
    assert!(run_in(path, &from).await.unwrap_err().contains("line 1: \"age1x\" is not a recipient"));
    assert_eq!(run_in(path, &format!("{from} --recipient {one} --tenant mail")).await, Ok(0));
    fs::write(path.join("value"), vec![0; LARGEST_VALUE + 1]).unwrap();
    assert!(run_in(path, &format!("{from} --recipient {one}")).await.unwrap_err().contains("at most 262144"));
}
