//! `bitbuilder completion`: what a shell offers when somebody presses Tab, from the one table of words.

use crate::{
    cli,
    output::{self, Failure},
};
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// For which shell.
    #[arg(value_enum)]
    shell: For,
}

/// Shells that a host has.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum For {
    /// source <(bitbuilder completion bash)
    Bash,
    /// In a file _bitbuilder in $fpath
    Zsh,
    /// bitbuilder completion fish | source
    Fish,
}

pub(crate) fn run(words: &Arguments) -> Result<u8, Failure> {
    output::text(&script(words.shell))?;
    Ok(0)
}

fn script(shell: For) -> String {
    let shell = match shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::Arguments::command(), "bitbuilder", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_is_offered_each_word() {
        for shell in [For::Bash, For::Zsh, For::Fish] {
            let script = script(shell);
            let command = cli::Arguments::command();
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(script.contains(verb.get_name()), "{shell:?} is not offered {}", verb.get_name());
            }
        }
    }
}
