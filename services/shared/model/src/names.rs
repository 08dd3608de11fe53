//! Names that become part of a path, a unit or a command line, and therefore hold nothing that any of those would
//! read as more than a name.

use crate::text::checked_text;

/// Names that would be mistaken for something of the host's own.
const RESERVED: [&str; 3] = ["system", "host", "localhost"];

checked_text!(
    /// A tenant's name: the same in the registry, in metadata.json and in `machinectl list`.
    TenantName,
    "a tenant name",
    "1 to 24 of a-z, 0-9 and '-', beginning with a letter, not ending in '-', and not system, host or localhost",
    |text| {
        is_label(text, 24) && text.starts_with(|c: char| c.is_ascii_lowercase()) && !RESERVED.contains(&text)
    },
    schema { "pattern": "^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$", "not": { "enum": RESERVED } }
);

checked_text!(
    /// Which repository is meant: a tenant's, by its name, or the system repository, `system`.
    RepositoryName,
    "a repository's name",
    "system or a tenant's name",
    |text| text == "system" || text.parse::<TenantName>().is_ok()
);

impl RepositoryName {
    /// The system repository.
    #[must_use]
    pub fn system() -> Self {
        Self("system".to_owned())
    }
}

impl From<&TenantName> for RepositoryName {
    fn from(tenant: &TenantName) -> Self {
        Self(tenant.0.clone())
    }
}

checked_text!(
    /// The name of something that is told what becomes of commits; part of its credentials' names.
    TargetName,
    "a target's name",
    "1 to 32 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    |text| is_label(text, 32),
    schema { "pattern": "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$" }
);

checked_text!(
    /// The name of a base image: a directory or subvolume below `/var/lib/machines`.
    ImageName,
    "an image name",
    "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    |text| is_file_label(text, 64),
    schema { "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" }
);

checked_text!(
    /// The name of a system extension image, without its `.raw`.
    ExtensionName,
    "an extension name",
    "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    |text| is_file_label(text, 64),
    schema { "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" }
);

checked_text!(
    /// The name of a service unit that a tenant's repository ships under `units/` (systemd.unit(5)).
    UnitName,
    "a service unit name",
    "letters, digits, ':', '_', '.', '-' and one '@', ending in .service, at most 128 characters",
    |text| {
        let Some(stem) = text.strip_suffix(".service") else { return false };
        !stem.is_empty()
            && text.len() <= 128
            && stem.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !stem.ends_with('@')
            && stem.matches('@').count() <= 1
            && stem.chars().all(|c| c.is_ascii_alphanumeric() || ":_.-@".contains(c))
    },
    schema { "pattern": "^[A-Za-z0-9][A-Za-z0-9:_.-]*(@[A-Za-z0-9:_.-]+)?\\.service$", "maxLength": 128 }
);

impl UnitName {
    /// The files below `units/` that may hold the unit, the first that is there counting: its own, and its template's.
    #[must_use]
    pub fn shipped_as(&self) -> Vec<String> {
        let template = self.0.split_once('@').map(|(prefix, _)| format!("{prefix}@.service"));
        std::iter::once(self.0.clone()).chain(template).collect()
    }
}

fn is_label(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_file_label(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tenant_names_follow_the_rule() {
        for good in ["a", "web", "my-app", "a1", "abcdefghijklmnopqrstuvwx"] {
            assert_eq!(good.parse::<TenantName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "A",
            "1a",
            "-a",
            "a-",
            "a/b",
            "..",
            "a\n",
            "a%i",
            "a b",
            "ä",
            "system",
            "host",
            "localhost",
            "a.b",
            "a_b",
            "abcdefghijklmnopqrstuvwxy",
            "a\0",
        ] {
            assert!(bad.parse::<TenantName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn unit_names_follow_the_rule() {
        for good in ["a.service", "getty@tty1.service", "a_b-c.d.service"] {
            assert!(good.parse::<UnitName>().is_ok(), "{good:?} was refused");
        }
        for bad in [
            ".service",
            "a.socket",
            "../a.service",
            "a b.service",
            "@.service",
            "a@.service",
            "a\n.service",
            "-a.service",
            "%a.service",
        ] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_instance_may_be_shipped_as_its_template() {
        let shipped_as = |name: &str| name.parse::<UnitName>().unwrap().shipped_as();
        assert_eq!(shipped_as("a.service"), ["a.service"]);
        assert_eq!(shipped_as("b@1.service"), ["b@1.service", "b@.service"]);
        assert_eq!(shipped_as("b.c@d.e.service"), ["b.c@d.e.service", "b.c@.service"]);
    }

    proptest! {
        #[test]
        fn no_accepted_name_can_leave_its_directory_or_its_line(text in "\\PC{0,40}") {
            for accepted in [
                text.parse::<TenantName>().map(String::from).ok(),
                text.parse::<ImageName>().map(String::from).ok(),
                text.parse::<ExtensionName>().map(String::from).ok(),
                text.parse::<UnitName>().map(String::from).ok(),
            ].into_iter().flatten() {
                prop_assert!(accepted.bytes().all(|b| b.is_ascii_graphic() && !b"/%\\\"'$ ".contains(&b)));
                prop_assert!(accepted != "." && accepted != ".." && !accepted.starts_with('-'));
            }
        }
    }
}
