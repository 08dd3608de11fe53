//! The webhook receiver's process.

fn main() -> std::process::ExitCode {
    runtime::run("webhook", webhook::serve())
}
