//! `bitbuilder doctor`

use crate::{
    doctor::{self, Verdict},
    exit,
    output::{self, Failure, Json},
};
use runtime::Client;
use std::path::Path;

pub(crate) async fn run(services: &Client, sockets: &Path, json: Json) -> Result<u8, Failure> {
    let findings = doctor::examine(services, sockets).await;
    output::json(json, &findings)?;
    if json == Json::Off {
        output::text(&doctor::text(&findings))?;
    }
    let fails = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if fails { exit::FAILED } else { 0 })
}
