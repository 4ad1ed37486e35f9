//! Completions for shells, and manual pages: from the same definitions as the program itself.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward completions`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward completions bash > /etc/bash_completion.d/pgward
  pgward completions zsh > \"${fpath[1]}/_pgward\"
  pgward completions fish > ~/.config/fish/completions/pgward.fish")]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `pgward man`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward man ~/.local/share/man/man1")]
pub(crate) struct ManArguments {
    /// The folder to write the pages to; it is made if it is not there
    folder: PathBuf,
}

pub(crate) fn completions(
    arguments: &CompletionsArguments,
    _console: &Console,
) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "pgward", &mut script);
    let result =
        json!({ "shell": arguments.shell.to_string(), "script": String::from_utf8_lossy(&script) });
    Ok(Answer::file(script, result))
}

pub(crate) fn man(arguments: &ManArguments, _console: &Console) -> Result<Answer, Failure> {
    let folder = &arguments.folder;
    let failed = |error| Failure::io("write to", &folder.display().to_string(), &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut command = crate::Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    write_pages(&command, folder, &mut pages).map_err(failed)?;
    pages.sort();
    let said = format!("{}: {} manual pages\n", folder.display(), pages.len());
    Ok(Answer::new(said, json!({ "folder": folder.display().to_string(), "pages": pages })))
}

/// The page of a command, and those of the commands below it.
fn write_pages(
    command: &clap::Command,
    folder: &Path,
    pages: &mut Vec<String>,
) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder, pages)?;
    }
    let version = concat!("pgward ", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone()).source(version);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let name = man.get_filename();
    // The date, which a page need not have, would have to be an empty string to be none.
    let page = String::from_utf8_lossy(&page).replacen(" 1  \"", " 1 \"\" \"", 1);
    std::fs::write(folder.join(&name), with_sections(&page))?;
    pages.push(name);
    Ok(())
}

/// What follows a command's options, in the sections where a reader of manual pages looks for it: clap
/// knows of one section only, in which examples would run together.
fn with_sections(page: &str) -> String {
    const EXTRA: &str = "\n.SH EXTRA\n";
    let Some((before, extra)) = page.split_once(EXTRA) else { return page.to_owned() };
    let (extra, after) = extra.find("\n.SH ").map_or((extra, ""), |end| extra.split_at(end));
    let (mut notes, mut exit, mut examples) = (Vec::new(), Vec::new(), Vec::new());
    for block in extra.trim_end().split("\n\n") {
        match block.strip_prefix("Examples:\n") {
            Some(lines) => examples.extend(lines.lines().map(str::trim_start)),
            None if block.starts_with("Exit code") => exit.push(block),
            None => notes.push(block),
        }
    }
    let mut out = before.to_owned();
    for (title, blocks) in [("NOTES", notes), ("EXIT STATUS", exit)] {
        if !blocks.is_empty() {
            out.push_str(&format!("\n.SH \"{title}\"\n{}", blocks.join("\n.PP\n")));
        }
    }
    if !examples.is_empty() {
        out.push_str(&format!("\n.SH EXAMPLES\n.nf\n{}\n.fi", examples.join("\n")));
    }
    out + after.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_options_has_sections_of_its_own() {
        let page = ".SH OPTIONS\nx\n.SH EXTRA\nExamples:\n  pgward a   b\n  pgward c\n\nOne.\n\nTwo.\n\n\
                    Exit code 0: fine\n.SH VERSION\nv1\n";
        assert_eq!(
            with_sections(page),
            ".SH OPTIONS\nx\n.SH \"NOTES\"\nOne.\n.PP\nTwo.\n.SH \"EXIT STATUS\"\nExit code 0: fine\n\
             .SH EXAMPLES\n.nf\npgward a   b\npgward c\n.fi\n.SH VERSION\nv1\n"
        );
        assert_eq!(with_sections(".SH OPTIONS\n"), ".SH OPTIONS\n");
    }
}
