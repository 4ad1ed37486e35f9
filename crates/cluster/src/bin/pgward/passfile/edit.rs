//! `pgward passfile add` and `pgward passfile remove`.

use std::{fmt::Write as _, path::Path};

use passfile::{Change, Field, Libpq, NewEntry, PassFile, fs::Stored};
use serde_json::json;

use super::place::{PlaceArguments, store_failure};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    input::Input,
    secret::{self, Ask},
    text::{FAINT, count, plain, styled},
};

/// Which connections an entry is for; what is left out is any.
#[derive(Clone, Debug, clap::Args)]
struct FieldArguments {
    /// Only for this host, compared letter by letter with what the connection names [default: any]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only for this port [default: any]
    #[arg(long, short, value_name = "PORT")]
    port: Option<String>,
    /// Only for this database; "replication" for a standby [default: any]
    #[arg(long, short = 'd', value_name = "NAME")]
    database: Option<String>,
    /// Only for this user [default: any]
    #[arg(long, short = 'U', value_name = "ROLE")]
    user: Option<String>,
}

/// `pgward passfile add`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The password comes from a prompt without echo, from --password-file or from --password-fd; never from \
an argument. The line goes where libpq reaches it; a line for the same connections gets the new \
password. A new file has mode 0600 from its first instant.

Examples:
  pgward passfile add --host db1 --user repl
  pgward passfile add /var/lib/postgresql/.pgpass --host db1 --user repl --password-file repl.pw")]
pub(super) struct AddArguments {
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    fields: FieldArguments,
    #[command(flatten)]
    password: secret::PasswordArguments,
    /// Change nothing; say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// `pgward passfile remove`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward passfile remove --host db1 --user repl     lines with just these fields, else *
  pgward passfile remove --line 3")]
pub(super) struct RemoveArguments {
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    fields: FieldArguments,
    /// Remove the line with this number (may be repeated)
    #[arg(long, value_name = "LINE", conflicts_with_all = ["host", "port", "database", "user"])]
    line: Vec<usize>,
    /// Change nothing; say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub(super) fn add(arguments: &AddArguments, console: &Console) -> Result<Answer, Failure> {
    let libpq = arguments.place.libpq(console);
    let path = arguments.place.path(console, &libpq)?;
    let password = arguments.password.read(console, "password", Ask::Twice)?;
    if password.is_empty() {
        return Err(Failure::user("the password is empty, which libpq takes for none"));
    }
    let entry = arguments.fields.entry(&password);
    let mut target = Target::open(&path, arguments.place.is_input(), true)?;
    if arguments.fields.host.is_none() {
        console.warn("any host may get this password: --host names the one that it is for");
    }
    if arguments.fields.host.as_deref() == Some(libpq.socket_dir()) {
        console.warn(&format!(
            "libpq calls its default socket folder localhost: it never searches for {}",
            libpq.socket_dir()
        ));
    }
    let change = target
        .file()
        .set(&entry)
        .map_err(|error| Failure::user(format!("{}: {error}", path.display())))?;
    let would = if arguments.dry_run { "would be " } else { "" };
    let (word, line, said) = match change {
        Change::Unchanged { line } => ("unchanged", line, format!("line {line} is so already")),
        Change::Replaced { line } => ("replaced", line, format!("line {line} {would}changed")),
        Change::Added { line } => ("added", line, format!("line {line} {would}added")),
        other => return Err(Failure::failed(format!("{other:?}"))),
    };
    let result = json!({ "file": path.display().to_string(), "change": word, "line": line });
    finish(console, target, arguments.dry_run, &format!("{said}\n"), result)
}

pub(super) fn remove(arguments: &RemoveArguments, console: &Console) -> Result<Answer, Failure> {
    let libpq = arguments.place.libpq(console);
    let path = arguments.place.path(console, &libpq)?;
    let mut target = Target::open(&path, arguments.place.is_input(), false)?;
    let mut lines = arguments.line.clone();
    if lines.is_empty() {
        lines = arguments.fields.lines(target.file(), &libpq);
    }
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() {
        return Err(Failure::user(format!("{}: no entry has just these fields", path.display()))
            .fix("pgward passfile lookup tells which line a connection uses; --line removes it"));
    }
    let mut said = String::new();
    // From the end, so that the numbers stay what they are.
    for line in lines.iter().rev() {
        target
            .file()
            .remove(*line)
            .map_err(|error| Failure::user(format!("{}: {error}", path.display())))?;
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    let numbers: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let words = count(lines.len(), "line", "lines");
    let _ = writeln!(said, "{words} {would}removed: {}", numbers.join(", "));
    let result = json!({ "file": path.display().to_string(), "lines": lines });
    finish(console, target, arguments.dry_run, &said, result)
}

impl FieldArguments {
    fn entry<'a>(&'a self, password: &'a [u8]) -> NewEntry<'a> {
        let mut entry = NewEntry::new(password);
        if let Some(host) = &self.host {
            entry = entry.host(host);
        }
        if let Some(port) = &self.port {
            entry = entry.port(port);
        }
        if let Some(database) = &self.database {
            entry = entry.dbname(database);
        }
        if let Some(user) = &self.user {
            entry = entry.user(user);
        }
        entry
    }

    /// The lines that have just these fields.
    fn lines(&self, file: &PassFile, libpq: &Libpq) -> Vec<usize> {
        let wanted = self.entry(b"");
        let same = |fields: [Field<'_>; 4]| fields == *wanted.fields();
        file.entries(libpq).filter(|entry| same(entry.fields())).map(|entry| entry.line()).collect()
    }
}

/// A file to be edited, or standard input.
enum Target {
    Disk(Stored),
    Input(PassFile),
}

impl Target {
    fn open(path: &Path, is_input: bool, may_be_new: bool) -> Result<Self, Failure> {
        if is_input {
            let input = Input::read(path)?;
            let file = PassFile::parse(input.bytes())
                .map_err(|error| Failure::user(format!("{}: {error}", input.name)))?;
            return Ok(Self::Input(file));
        }
        let stored = if may_be_new { Stored::open_or_new(path) } else { Stored::open(path) };
        stored.map(Self::Disk).map_err(store_failure)
    }

    fn file(&mut self) -> &mut PassFile {
        match self {
            Self::Disk(stored) => &mut stored.file,
            Self::Input(file) => file,
        }
    }
}

fn finish(
    console: &Console,
    target: Target,
    dry_run: bool,
    said: &str,
    mut result: serde_json::Value,
) -> Result<Answer, Failure> {
    let mut written = false;
    match target {
        Target::Input(file) if !dry_run => {
            if console.is_json() {
                return Err(Failure::user("a password file is not printed as JSON")
                    .fix("take --format text, or name a file"));
            }
            console.show("note", said);
            console.print_bytes(&file.to_bytes())?;
            return Ok(Answer::new("", result));
        }
        Target::Disk(mut stored) if !dry_run => {
            written = stored.save().map_err(store_failure)?;
        }
        _ => {}
    }
    result["written"] = json!(written);
    let mut text = String::new();
    let file = result["file"].as_str().unwrap_or_default();
    let _ = write!(text, "{}: {said}", plain(file));
    if dry_run {
        let _ = writeln!(text, "{}", styled(FAINT, "nothing was written (--dry-run)"));
    }
    Ok(Answer::new(text, result))
}
