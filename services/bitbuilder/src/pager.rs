//! Long text at a terminal goes through a pager, as with systemctl and git: the pager reads what this process prints, and the
//! process ends after it.

use rustix::stdio::dup2_stdout;
use std::{
    fs::File,
    io::{self, IsTerminal},
    process::{Child, Command, Stdio},
};

/// What a person calls the pager that they want, the first that is set counting.
const VARIABLES: [&str; 3] = ["BITBUILDER_PAGER", "SYSTEMD_PAGER", "PAGER"];
/// Ends by itself if all fits on the screen, and shows colours.
const LESS: &str = "FRSX";

/// A pager that reads standard output.
#[derive(Debug)]
pub(crate) struct Pager(Child);

impl Pager {
    /// Starts one if standard output is a terminal that a person sits at, and one is there.
    pub(crate) fn open() -> Option<Self> {
        if !io::stdout().is_terminal() || std::env::var_os("TERM").is_none_or(|kind| kind == "dumb") {
            return None;
        }
        let said = VARIABLES.iter().find_map(|name| std::env::var(name).ok());
        // What sudo lets somebody run is this command, not whatever they call a pager.
        let through_sudo = std::env::var_os("SUDO_UID").is_some();
        let mut child = command(said.as_deref(), through_sudo)?.stdin(Stdio::piped()).spawn().ok()?;
        let reads = child.stdin.take()?;
        // A pager that cannot be given anything ends with its empty input.
        dup2_stdout(&reads).ok()?;
        Some(Self(child))
    }

    /// Tells the pager that this was all, and waits until its reader has seen it.
    pub(crate) fn close(mut self) -> io::Result<()> {
        dup2_stdout(File::open("/dev/null")?)?;
        self.0.wait().map(drop)
    }
}

/// The pager's command line: words between spaces, and no shell.
fn command(said: Option<&str>, through_sudo: bool) -> Option<Command> {
    let line = match said {
        Some(line) if !through_sudo => line,
        Some("" | "cat") => return None,
        Some(_) | None => "less",
    };
    let mut words = line.split_whitespace();
    let program = words.next().filter(|program| *program != "cat")?;
    #[allow(clippy::disallowed_methods, reason = "a pager stays as long as somebody reads, and writes to the terminal")]
    let mut command = Command::new(program);
    command.args(words);
    if std::env::var_os("LESS").is_none() || through_sudo {
        command.env("LESS", LESS);
    }
    if through_sudo {
        // No shell and no editor from within it (less(1), SECURITY).
        command.env("LESSSECURE", "1");
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(said: Option<&str>, through_sudo: bool) -> Option<Vec<String>> {
        let command = command(said, through_sudo)?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Some(words.map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_person_chooses_and_no_shell_reads_the_choice() {
        assert_eq!(words(None, false).unwrap(), ["less"]);
        assert_eq!(words(Some("most -s;id"), false).unwrap(), ["most", "-s;id"]);
        assert_eq!(words(Some("cat"), false), None);
        assert_eq!(words(Some(""), false), None);
    }

    #[test]
    fn sudo_does_not_let_anything_be_run() {
        assert_eq!(words(Some("sh -c id"), true).unwrap(), ["less"]);
        assert_eq!(words(Some("cat"), true), None);
        let command = command(None, true).unwrap();
        assert!(command.get_envs().any(|(name, value)| name == "LESSSECURE" && value.is_some()));
    }
}
