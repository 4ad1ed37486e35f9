//! `pgward hba fmt`.

use super::{
    reading::{FileArgument, ServerArguments, hba},
    secrets,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    edit::{self, Edited},
    failure::Failure,
    text::diff,
};

/// `pgward hba fmt`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only blanks between the fields of rules change: comments, order and meaning stay.

Examples:
  pgward hba fmt pg_hba.conf              print the file with its columns aligned
  pgward hba fmt pg_hba.conf --write      change the file
  pgward hba fmt pg_hba.conf --check      exit code 1 if the file would change")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    server: ServerArguments,
    /// Change the file instead of printing it
    #[arg(long, conflicts_with_all = ["check", "diff"])]
    write: bool,
    /// Only say whether the file would change
    #[arg(long)]
    check: bool,
    /// Show what would change
    #[arg(long)]
    diff: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    if arguments.file.is_ident() {
        return Err(Failure::user("fmt is for pg_hba.conf only").fix("name a pg_hba.conf"));
    }
    let server = arguments.server.server(console);
    let input = arguments.file.input()?;
    let formatted = hba(&input)?.format(&server);
    let new = formatted.to_bytes();
    let write = edit::EditArguments { dry_run: !arguments.write, diff: arguments.diff };
    let (before, after) = (secrets::masked(input.bytes()), secrets::masked(&new));
    let edited: Edited = write.write(&input, &new, (&before, &after))?;
    let words = match (edited.changed, edited.written) {
        (false, _) => "is aligned already",
        (true, true) => "is aligned now",
        (true, false) => "is not aligned",
    };
    let said = format!("{}: {words}\n", input.name);
    if arguments.diff {
        let text = if edited.changed { diff(&edited.diff) } else { said };
        return Ok(Answer::new(text, &edited).fine_if(!edited.changed || !arguments.check));
    }
    if arguments.check || (arguments.write && input.snapshot().is_some()) {
        return Ok(Answer::new(said, &edited).fine_if(!edited.changed || edited.written));
    }
    let edited = Edited { text: Some(String::from_utf8_lossy(&new).into_owned()), ..edited };
    Ok(Answer::file(new, edited))
}
