//! `git-sync` is the service; `git-sync REPOSITORY` asks the orchestrator to sync one repository; the service runs itself
//! once more for each errand, and once to look at servers.

use git_sync::{Errands, ROOT, Session, client, errand, looker};
use interfaces::git_sync::CONTRACT;
use runtime::{Identify, Options, caller::HostUsers};
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => runtime::run("git-sync", async {
            let users = HostUsers::look_up()?;
            if !git_sync::is_confined() {
                tracing::warn!(
                    "this kernel has no Landlock: who works with what a server sent can reach all that this service can"
                );
            }
            let session = Session::new(Errands::new(Path::new(ROOT)));
            let options = Options { descriptors: 1, ..Options::activated(&CONTRACT, Identify::Host(users)) };
            runtime::serve(options, session).await.map_err(std::io::Error::other)
        }),
        (Some(errand::ARGUMENT), None) => errand::main(),
        (Some(looker::ARGUMENT), None) => looker::main(),
        (Some(repository), None) => runtime::run("git-sync", client::sync(repository)),
        (_, Some(_)) => {
            eprintln!("usage: git-sync [REPOSITORY]");
            ExitCode::from(64)
        }
    }
}
