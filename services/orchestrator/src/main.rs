//! The orchestrator's process.

fn main() -> std::process::ExitCode {
    runtime::run("orchestrator", async { orchestrator::serve().await.map_err(|error| *error) })
}
