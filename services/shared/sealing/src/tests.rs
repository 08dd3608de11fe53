//! Values that open where they were sealed for, and nowhere else.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn keys(count: usize) -> (Identities, Vec<Recipient>) {
    let (secret, public): (Vec<_>, Vec<_>) = (0..count).map(|_| generate().unwrap()).unzip();
    (Identities::parse(secret.iter().map(|key| key.as_str())).unwrap(), public)
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn name(name: &str) -> SecretName {
    name.parse().unwrap()
}

/// What age itself makes of a plaintext.
fn armored(recipients: &[&dyn age::Recipient], plain: &[u8]) -> Sealed {
    let encryptor = Encryptor::with_recipients(recipients.iter().copied()).unwrap();
    armor(|output| {
        let mut stream = encryptor.wrap_output(output).unwrap();
        stream.write_all(plain).unwrap();
        stream.finish().unwrap()
    })
}

fn armor(write: impl FnOnce(ArmoredWriter<Vec<u8>>) -> ArmoredWriter<Vec<u8>>) -> Sealed {
    let writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
    String::from_utf8(write(writer).finish().unwrap()).unwrap().parse().unwrap()
}

fn raw(bytes: &[u8]) -> Sealed {
    armor(|mut writer| {
        writer.write_all(bytes).unwrap();
        writer
    })
}

fn binary(sealed: &Sealed) -> Vec<u8> {
    let mut bytes = Vec::new();
    ArmoredReader::new(sealed.as_str().as_bytes()).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_value_opens_for_its_tenant_under_its_name_and_for_nobody_else() {
    let (ours, public) = keys(2);
    let (theirs, _) = keys(1);
    let sealed = seal(&public[1..], &tenant("web"), &name("token"), b"canary").unwrap();
    let open =
        |keys: &Identities, whose, what| keys.open(&tenant(whose), &name(what), &sealed).map(|value| value.to_vec());
    assert_eq!(open(&ours, "web", "token"), Ok(b"canary".to_vec()));
    assert_eq!(open(&ours, "mail", "token"), Err(Reason::WrongPlace));
    assert_eq!(open(&ours, "web", "token2"), Err(Reason::WrongPlace));
    assert_eq!(open(&theirs, "web", "token"), Err(Reason::WrongKey));
    assert_eq!(open(&ours.without(&public[1]), "web", "token"), Err(Reason::WrongKey));
    assert_eq!(open(&ours.without(&public[0]), "web", "token"), Ok(b"canary".to_vec()));
    assert_eq!(ours.recipients(), public);
    assert!(!sealed.as_str().contains("canary"));
}

#[test]
fn what_a_person_makes_with_age_alone_opens_too() {
    let (ours, public) = keys(1);
    let key: x25519::Recipient = public[0].as_str().parse().unwrap();
    let sealed = armored(&[&key], b"bitbuilder-secret/1 web token\nby hand\n");
    assert_eq!(*ours.open(&tenant("web"), &name("token"), &sealed).unwrap(), b"by hand\n");
    // Without the first line it is nobody's.
    let bare = armored(&[&key], b"by hand\n");
    assert_eq!(ours.open(&tenant("web"), &name("token"), &bare), Err(Reason::WrongPlace));
}

#[test]
fn what_costs_more_than_a_recipient_is_refused_before_it_is_computed() {
    let (ours, public) = keys(1);
    let key: x25519::Recipient = public[0].as_str().parse().unwrap();
    let open = |sealed: &Sealed| ours.open(&tenant("web"), &name("token"), sealed).map(|value| value.to_vec());
    // A passphrase with a work factor of 2^62.
    let bomb = b"age-encryption.org/v1\n-> scrypt rF0/NwblUHHTpgQgRpe5CQ 62\nkBBCMJL9rOIoBjxzOfLnGhtzhbRbvAjiVaF0tjZeBVA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    assert_eq!(open(&raw(bomb)), Err(Reason::Foreign));
    let plugin = String::from_utf8_lossy(bomb).replace("scrypt", "yubikey");
    assert_eq!(open(&raw(plugin.as_bytes())), Err(Reason::Foreign));
    let eight = [&key as &dyn age::Recipient; MOST_RECIPIENTS];
    let plain = b"bitbuilder-secret/1 web token\n";
    assert_eq!(open(&armored(&eight, plain)), Ok(Vec::new()));
    assert_eq!(open(&armored(&[&eight[..], &eight[..1]].concat(), plain)), Err(Reason::Foreign));
    // Headers as long as a file may be, of stanzas and of one stanza.
    let begun = Instant::now();
    for stanza in ["-> a-grease\n\n", "-> X25519 a\n\n", "-> X25519\n"] {
        let long = format!("age-encryption.org/v1\n{}--- AAAA\n", stanza.repeat(250_000 / stanza.len()));
        assert_eq!(open(&raw(long.as_bytes())), Err(Reason::Foreign), "{stanza:?}");
    }
    let body = format!("age-encryption.org/v1\n-> X25519 {}\n--- AAAA\n", "A".repeat(250_000));
    assert_eq!(open(&raw(body.as_bytes())), Err(Reason::Foreign));
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[test]
fn no_more_is_sealed_than_is_opened() {
    let (ours, public) = keys(1);
    let largest = vec![7; LARGEST_VALUE];
    let (web, token) = (tenant("web"), name("token"));
    let sealed = seal(&vec![public[0].clone(); MOST_RECIPIENTS], &web, &token, &largest).unwrap();
    assert_eq!(*ours.open(&web, &token, &sealed).unwrap(), largest);
    assert!(matches!(seal(&public, &web, &token, &[&largest[..], &[7]].concat()), Err(SealError::TooLarge(_))));
    assert!(matches!(seal(&[], &web, &token, b""), Err(SealError::Recipients(0))));
    assert!(matches!(seal(&vec![public[0].clone(); 9], &web, &token, b""), Err(SealError::Recipients(9))));
    let mut mistyped = public[0].to_string();
    let last = if mistyped.pop() == Some('q') { 'p' } else { 'q' };
    mistyped.push(last);
    assert!(matches!(seal(&[mistyped.parse().unwrap()], &web, &token, b""), Err(SealError::Mistyped(_))));
    assert!(Identities::parse(["age1x"]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_changed_or_missing_byte_opens_nothing(value in proptest::collection::vec(any::<u8>(), 0..300), at: proptest::sample::Index, bit in 0u8..8, cut: bool) {
        let (ours, public) = keys(1);
        let (web, token) = (tenant("web"), name("token"));
        let sealed = seal(&public, &web, &token, &value).unwrap();
        prop_assert_eq!(&*ours.open(&web, &token, &sealed).unwrap(), &value);
        let mut bytes = binary(&sealed);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if !bytes.is_empty() {
            prop_assert!(ours.open(&web, &token, &raw(&bytes)).is_err());
        }
    }
}
