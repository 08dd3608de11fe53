//! The notification service's process.

fn main() -> std::process::ExitCode {
    runtime::run("notification", notification::serve())
}
