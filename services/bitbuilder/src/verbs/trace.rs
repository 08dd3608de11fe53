//! `bitbuilder trace`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::{Origin, Origins, Trace};
use model::{Revision, TenantName, text::printable};
use runtime::Client;
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A tenant, a unit, an address with or without a port, a port of the host (8080, 8080/udp), a link, a uid, or a commit.
    what: String,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Origins { origins } = services.call(&Trace { what: words.what }).await?;
    if json == Json::Off {
        let texts: Vec<String> = origins.iter().map(origin).collect();
        output::text(&texts.join("\n"))?;
    }
    output::json(json, &Origins { origins })?;
    Ok(0)
}

fn origin(origin: &Origin) -> String {
    let Origin { tenant, what, repository, revision, place, registered, system_revision } = origin;
    let mut text = format!("{}: {}\n", tenant.as_ref().map_or("system", TenantName::as_str), printable(what));
    let system = system_revision.as_ref().map_or(String::new(), |revision| format!(" (commit {})", revision.short()));
    let lines = [
        ("asked for at", place.clone()),
        ("in commit", revision.as_ref().map(Revision::to_string)),
        ("of", repository.as_ref().map(ToString::to_string)),
        ("registered at", registered.as_ref().map(|place| format!("{place}{system}"))),
    ];
    for (label, value) in lines {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  {label:13} {}", value.map_or("-".to_owned(), |value| printable(&value)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_reads_well() {
        let known = Origin {
            tenant: "web".parse().ok(),
            what: "the host's tcp port 8080, which leads to its port 80".to_owned(),
            repository: "git://127.0.0.1/web".parse().ok(),
            revision: "a".repeat(40).parse().ok(),
            place: Some("web:metadata.json:7".to_owned()),
            registered: Some("system:tenants/registry.json:4".to_owned()),
            system_revision: "b".repeat(40).parse().ok(),
        };
        let left = Origin { registered: None, repository: None, place: None, ..known.clone() };
        insta::assert_snapshot!([origin(&known), origin(&left)].join("\n"));
    }
}
