//! Files of sealed values as people and others write them.

use super::*;
use proptest::prelude::*;

const ARMOR: &str =
    "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n-----END AGE ENCRYPTED FILE-----";

fn file(entries: &[(&str, &str)]) -> String {
    let entry = |(name, sealed): &(&str, &str)| {
        let lines: String = sealed.lines().map(|line| format!("      {line}\n")).collect();
        format!("  - name: {name}\n    sealed: |\n{lines}")
    };
    format!("version: \"1.0\"\nsecrets:\n{}", entries.iter().map(entry).collect::<String>())
}

fn read(text: &str) -> Result<Document<SealedSecrets>, Vec<Diagnostic>> {
    Document::yaml_unshown("web:secrets/sealed-secrets.yaml", text.as_bytes())
}

#[test]
fn each_value_is_read_with_its_name_and_place() {
    let document = read(&file(&[("token", ARMOR), ("db.password", ARMOR)])).unwrap();
    let [token, password] = document.content.secrets.as_slice() else { panic!("there are two") };
    assert_eq!((token.sealed.as_str(), password.name.as_str()), (ARMOR, "db.password"));
    assert_eq!(check(&document), []);
    let tenant = "web".parse().unwrap();
    let refused = refused(&document, &tenant, &[(password.name.clone(), Reason::WrongPlace)]);
    let [fault] = refused.as_slice() else { panic!("one is refused: {refused:?}") };
    assert_eq!((fault.line, fault.column), (8, 11));
    assert!(fault.message.starts_with("the secret db.password of web cannot be opened: "), "{}", fault.message);
}

#[test]
fn a_name_is_there_once_and_not_too_many_are() {
    let twice = read(&file(&[("token", ARMOR), ("token", ARMOR)])).unwrap();
    assert!(check(&twice)[0].message.contains("already, at web:secrets/sealed-secrets.yaml:3"));
    let names: Vec<String> = (0..=MOST).map(|number| format!("s{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), ARMOR)).collect();
    assert_eq!(check(&read(&file(&many[1..])).unwrap()), []);
    assert!(check(&read(&file(&many)).unwrap())[0].message.contains("at most 64"));
}

#[test]
fn a_value_that_nobody_sealed_is_not_shown() {
    for value in [
        "hunter2",
        "\"hunter2\"",
        "[hunter2]",
        "|\n      hunter2",
        "'hunter2",
        "{hunter2: 1}",
        "&hunter2 x",
        "!hunter2 x",
    ] {
        let text = format!("version: \"1.0\"\nsecrets:\n  - name: token\n    sealed: {value}\n");
        for fault in read(&text).unwrap_err() {
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }
    assert!(!"hunter2".parse::<Sealed>().unwrap_err().to_string().contains("hunter2"));
    assert!(!format!("{:?}", SecretValue::of(b"hunter2")).contains(&BASE64_STANDARD.encode("hunter2")));
}

#[test]
fn only_whole_armor_is_a_sealed_value() {
    assert!(ARMOR.parse::<Sealed>().is_ok() && format!("{ARMOR}\n").parse::<Sealed>().is_ok());
    assert_eq!(ARMOR.parse::<Sealed>().unwrap().digest(), format!("{ARMOR}\n").parse::<Sealed>().unwrap().digest());
    let full = "A".repeat(64);
    for good in [
        ARMOR.replace("Cg==", &format!("Cg==\n{full}")).replace("Cg==", &"A".repeat(36)),
        ARMOR.replace("Cg==", "Cgg="),
    ] {
        assert!(good.parse::<Sealed>().is_ok(), "{good}");
    }
    for bad in [
        String::new(),
        ARMOR.replace("-----END AGE ENCRYPTED FILE-----", ""),
        ARMOR.replace("Cg==", "Cg="),
        ARMOR.replace("Cg==", "C==="),
        ARMOR.replace("Cg==", "Cg==\nAAAA"),
        ARMOR.replace("Cg==", "Cg-_"),
        ARMOR.replace("Cg==", &full),
        ARMOR.replace('\n', "\r\n"),
        format!("{ARMOR}\n\n"),
        format!(" {ARMOR}"),
        ARMOR.replace("YWdl", "YWd\0"),
        ARMOR
            .replace("Cg==", &format!("{}\n", "A".repeat(36)))
            .replace("-----END", &format!("{}-----END", format!("{full}\n").repeat(6000))),
    ] {
        assert!(bad.parse::<Sealed>().is_err(), "{} bytes: {bad:.200}", bad.len());
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_armor(text in "(-----BEGIN AGE ENCRYPTED FILE-----\n)?([A-Za-z0-9+/=\n-]{0,70}|\\PC{0,9})(\n-----END AGE ENCRYPTED FILE-----\n?)?") {
        let schema = Sealed::schema();
        prop_assert!(schema["pattern"].is_string());
        if let Ok(sealed) = text.parse::<Sealed>() {
            prop_assert!(sealed.as_str().starts_with(BEGIN) && sealed.as_str().ends_with(END));
            prop_assert!(sealed.as_str().bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
            let inner: String = sealed.as_str().lines().filter(|line| !line.starts_with('-')).collect();
            prop_assert_eq!(inner.len() % 4, 0);
        }
    }

    #[test]
    fn any_value_survives_the_way(bytes: Vec<u8>) {
        let value = SecretValue::of(&bytes);
        let written = serde_json::to_string(&value).unwrap();
        let read: SecretValue = serde_json::from_str(&written).unwrap();
        let read = read.bytes().unwrap();
        prop_assert_eq!(read.as_slice(), bytes.as_slice());
    }

    #[test]
    fn no_name_leaves_its_argument(text in "\\PC{0,70}") {
        if let Ok(name) = text.parse::<SecretName>() {
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && !b"/:%\\\"'$=".contains(&b)));
            prop_assert!(!name.as_str().starts_with(['-', '.']));
        }
    }
}
