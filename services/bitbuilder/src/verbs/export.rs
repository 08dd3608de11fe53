//! `bitbuilder export`

use crate::output::{self, Failure, Json};
use interfaces::{git_sync, orchestrator};
use runtime::Client;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, PipeReader},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the bundle, for root alone; - for standard output.
    file: PathBuf,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let to_output = words.file == Path::new("-");
    if to_output && io::stdout().is_terminal() {
        return Err("a bundle is nothing for a terminal; name a file".into());
    }
    let orchestrator::Exported { document } = services.call(&orchestrator::Export {}).await?;
    let (reader, writer) = io::pipe()?;
    let target = Target::open((!to_output).then_some(words.file))?;
    let written = tokio::task::spawn_blocking(move || target.fill(reader));
    let export = git_sync::Export { document, file_descriptor_index: 0 };
    let exported = services.waiting(PATIENCE).call_with(&export, vec![OwnedFd::from(writer)]).await;
    let (target, bytes) = written.await??;
    // What was not written to its end never has the name.
    let git_sync::Exported { missing } = exported?;
    target.keep()?;
    for repository in &missing {
        eprintln!("bitbuilder: nothing is held of {repository}: it is left out");
    }
    if !to_output {
        output::json(json, &serde_json::json!({ "bytes": bytes, "missing": missing }))?;
    }
    if json == Json::Off && !to_output {
        output::text(&format!("{bytes} bytes. A new host starts from them: bitbuilder init --bundle FILE\n"))?;
    }
    Ok(u8::from(!missing.is_empty()))
}

/// Where a bundle goes.
struct Target {
    /// The name that it will have; none if it goes to standard output.
    name: Option<PathBuf>,
    file: Option<File>,
}

impl Target {
    fn open(name: Option<PathBuf>) -> Result<Self, Failure> {
        let open = |name: &PathBuf| {
            let growing = growing(name);
            // What an interrupted one left.
            let _absent = fs::remove_file(&growing);
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&growing);
            opened.map_err(|cause| format!("cannot write {}: {cause}", growing.display()))
        };
        let file = name.as_ref().map(open).transpose()?;
        Ok(Self { name, file })
    }

    fn fill(self, mut reader: PipeReader) -> io::Result<(Self, u64)> {
        let bytes = match &self.file {
            Some(file) => io::copy(&mut reader, &mut &*file)?,
            None => io::copy(&mut reader, &mut io::stdout().lock())?,
        };
        Ok((self, bytes))
    }

    fn keep(mut self) -> io::Result<()> {
        let (Some(name), Some(file)) = (self.name.take(), &self.file) else { return Ok(()) };
        file.sync_all()?;
        fs::rename(growing(&name), name)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _absent = fs::remove_file(growing(name));
        }
    }
}

/// What it is called until it is whole.
fn growing(name: &Path) -> PathBuf {
    let mut growing = name.as_os_str().to_owned();
    growing.push(".new");
    PathBuf::from(growing)
}
