//! `bitbuilder logs`

use crate::output::{self, Failure, Json};
use futures_util::StreamExt;
use interfaces::tenant::ReadLog;
use model::{TenantName, text::printable};
use runtime::Client;
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
    /// Go on showing what they say.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the last lines.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10000))]
    lines: u32,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { tenant, follow, lines } = words;
    let mut logged = std::pin::pin!(services.stream(&ReadLog { tenant, lines, follow }).await?);
    let mut out = io::stdout();
    while let Some(logged) = logged.next().await {
        let line = logged?.line;
        output::json(json, &line)?;
        if json != Json::Off {
            continue;
        }
        writeln!(out, "{}: {}", printable(&line.identifier), printable(&line.message.replace('\t', "    ")))?;
        out.flush()?;
    }
    Ok(0)
}
