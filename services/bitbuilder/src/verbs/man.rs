//! `bitbuilder man`, for the package: the manual's pages from the one table of words, one for the command and one per verb.

use crate::{cli, exit, output::Failure};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the pages are written to.
    directory: PathBuf,
}

pub(crate) fn run(words: &Arguments) -> Result<u8, Failure> {
    fs::create_dir_all(&words.directory)?;
    for (name, page) in pages()? {
        fs::write(words.directory.join(name), page)?;
    }
    Ok(0)
}

fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut whole = cli::Arguments::command();
    whole.build();
    let verbs: Vec<&Command> =
        whole.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help").collect();
    let names: Vec<String> = verbs.iter().map(|verb| format!("bitbuilder-{}", verb.get_name())).collect();
    let mut pages = Vec::new();
    for (verb, name) in verbs.into_iter().zip(&names) {
        pages.push((format!("{name}.1"), page(verb.clone().display_name(name), &["bitbuilder".to_owned()])?));
    }
    // The codes have a section of their own here.
    pages.push(("bitbuilder.1".to_owned(), page(whole.clone().after_help(""), &names)?));
    Ok(pages)
}

fn page(command: Command, see_also: &[String]) -> io::Result<Vec<u8>> {
    let has_verbs = command.has_subcommands();
    let man =
        Man::new(command).source(concat!("bitbuilder ", env!("CARGO_PKG_VERSION"))).manual("BitBuilder Hypervisor");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_verbs {
        man.render_subcommands_section(&mut page)?;
    }
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for (code, meaning) in exit::CODES {
        writeln!(page, ".TP\n\\fB{code}\\fR\n{}", escaped(meaning))?;
    }
    let others: Vec<String> = see_also.iter().map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
    writeln!(page, ".SH \"SEE ALSO\"\n{}, \\fBvarlinkctl\\fR(1), /usr/share/doc/bitbuilder", others.join(", "))?;
    Ok(page)
}

/// Text as roff wants it: a hyphen that is to be copied, and no line that begins a request.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_a_page_with_every_section() {
        let pages = pages().unwrap();
        let command = cli::Arguments::command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = format!("bitbuilder-{}.1", verb.get_name());
            assert!(pages.iter().any(|(page, _)| *page == name), "there is no {name}");
        }
        for (name, page) in pages {
            let page = String::from_utf8(page).unwrap();
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
                assert!(page.contains(&format!(".SH {section}")), "{name} has no section {section}");
            }
            assert!(!page.contains('`'), "{name} has Markdown");
        }
    }
}
