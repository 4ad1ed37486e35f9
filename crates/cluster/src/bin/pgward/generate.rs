//! Completions for shells, and manual pages: from the same definitions as the program itself.

use std::path::PathBuf;

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
    let command = crate::Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    let mut pages: Vec<String> = std::fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("pgward"))
        .collect();
    pages.sort();
    let said = format!("{}: {} manual pages\n", folder.display(), pages.len());
    Ok(Answer::new(said, json!({ "folder": folder.display().to_string(), "pages": pages })))
}
