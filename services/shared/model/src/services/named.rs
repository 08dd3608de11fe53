//! What a unit file names: paths below the tenant's checkout, and credentials. Rather too much than too little is taken for a
//! name: what is missed would not restart its service.

use std::collections::BTreeSet;

const CHECKOUT: &str = "/srv/config";
/// Where a tenant's credentials are for its service manager (systemd.exec(5)) and for systemd-nspawn(1).
const CREDENTIALS: [&str; 2] = ["/run/credentials/@system", "/run/host/credentials"];
/// What ends a path in a directive.
const ENDS: &str = "\"'`;,:|&<>()=";
/// What stands for something that is only known when the unit is started.
const STANDS_FOR: &str = "%$*?[{\\";

/// What was found in a unit's files.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Files and directories, from the repository's root.
    pub(super) paths: BTreeSet<String>,
    /// Whether the checkout as such is named.
    pub(super) everything: bool,
    credentials: BTreeSet<String>,
}

impl Named {
    pub(super) fn read(&mut self, unit: &[u8]) {
        let text = String::from_utf8_lossy(unit);
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        // A line that ends in a backslash goes on in the next.
        let joined = lines.fold(String::new(), |mut joined, line| {
            match line.strip_suffix('\\') {
                Some(begun) => {
                    joined.push_str(begun);
                    joined.push(' ');
                }
                None => {
                    joined.push_str(line);
                    joined.push('\n');
                }
            }
            joined
        });
        joined.lines().for_each(|line| self.line(line));
    }

    /// Whether a credential of this name is among those that are loaded.
    pub(super) fn loads(&self, name: &str) -> bool {
        self.credentials.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }

    fn line(&mut self, line: &str) {
        for below in below(line, CHECKOUT) {
            match path(below) {
                Some(path) => drop(self.paths.insert(path)),
                None => self.everything = true,
            }
        }
        for below in CREDENTIALS.iter().flat_map(|directory| self::below(line, directory)) {
            self.credentials.insert(path(below).unwrap_or_else(|| "*".to_owned()));
        }
        let Some((key, value)) = line.split_once('=') else { return };
        let (name, rest) = value.trim().split_once(':').unwrap_or((value.trim(), ""));
        let name = match key.trim() {
            "ImportCredential" => name,
            "LoadCredential" | "LoadCredentialEncrypted" if rest.is_empty() => name,
            // A path elsewhere is none of ours; one that is relative is a credential's name.
            "LoadCredential" | "LoadCredentialEncrypted" if !rest.starts_with('/') => rest,
            _ => return,
        };
        let name = if name.contains('%') { "*" } else { name };
        self.credentials.insert(name.trim_matches('"').to_owned());
    }
}

/// What follows each mention of `directory`, up to the end of the path.
fn below<'a>(line: &'a str, directory: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(directory).filter_map(move |(at, _)| {
        let rest = line.get(at + directory.len()..)?;
        let end = rest.find(|c: char| c.is_whitespace() || ENDS.contains(c)).unwrap_or(rest.len());
        let path = rest.get(..end)?;
        // Of another directory whose name begins like this one's.
        let is_of_it = path.starts_with(|c: char| c == '/' || STANDS_FOR.contains(c)) || path.is_empty();
        is_of_it.then_some(path)
    })
}

/// A path without detours, cut before what is only known later. None if that leaves nothing.
fn path(below: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in below.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part.contains(|c: char| STANDS_FOR.contains(c)) {
            break;
        }
        if part == ".." {
            return None;
        }
        parts.push(part);
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// glob(7) without its brackets, which match whatever stands behind them.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'[', _)), _) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        (Some((b'?', pattern)), Some((_, name))) => matches(pattern, name),
        (Some((wanted, pattern)), Some((found, name))) => wanted == found && matches(pattern, name),
        (Some(_) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(unit: &str) -> Named {
        let mut named = Named::default();
        named.read(unit.as_bytes());
        named
    }

    #[test]
    fn paths_are_found_wherever_they_stand() {
        let unit = "[Service]\nExecStart=/bin/sh -c '. /srv/config/lib/a.sh; exec b' \\\n  # not this: /srv/config/comment\n  \
            --file=/srv/config/b.conf\nEnvironmentFile=-/srv/config//./c.env\nBindReadOnlyPaths=/srv/config/d:/etc/d\n\
            # /srv/config/comment\n; /srv/config/comment\nExecReload=/srv/config/e/%i.sh /srv/configuration/f /srv/config-old/g\n";
        let found = named(unit);
        assert_eq!(
            found.paths.iter().map(String::as_str).collect::<Vec<_>>(),
            ["b.conf", "c.env", "d", "e", "lib/a.sh"]
        );
        assert!(!found.everything);
    }

    #[test]
    fn what_cannot_be_told_apart_is_everything() {
        for unit in
            ["A=/srv/config", "A=/srv/config/", "A=\"/srv/config\" b", "A=/srv/config/%i", "A=/srv/config/a/../b"]
        {
            assert!(named(unit).everything, "{unit}");
        }
        assert!(!named("A=/srv/config/a").everything);
    }

    #[test]
    fn credentials_are_found_by_their_names() {
        let unit = "LoadCredential=plain\nLoadCredential=own:other\nLoadCredential=file:/etc/file\nLoadCredentialEncrypted = sealed\n\
            ImportCredential=db.*\nImportCredential=old:new\nExecStart=cat /run/credentials/@system/direct\n";
        let found = named(unit);
        for name in ["plain", "other", "sealed", "db.", "db.password", "old", "direct"] {
            assert!(found.loads(name), "{name}");
        }
        for name in ["own", "file", "db", "new", "plain2", "@system", ""] {
            assert!(!found.loads(name), "{name}");
        }
        assert!(named("A=ls /run/host/credentials").loads("any") && named("LoadCredential=%i").loads("any"));
        assert!(named("ImportCredential=x[ab]*").loads("xa") && !named("ImportCredential=a?c").loads("ac"));
    }
}
