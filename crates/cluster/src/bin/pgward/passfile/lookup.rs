//! `pgward passfile lookup`.

use std::fmt::Write as _;

use passfile::{Insecure, Key, Libpq, Outcome, fs::OpenError};
use serde_json::{Value, json};

use super::place::PlaceArguments;
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    text::{BAD, FAINT, GOOD, plain, styled},
};

/// `pgward passfile lookup`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward passfile lookup --host db1 --user repl
  pgward passfile lookup /var/lib/postgresql/.pgpass --host db1 --database app --user web
  pgward passfile lookup --host db1 --user repl --reveal     print the password itself

Exit code 0: a password was found; 1: none was.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// The connection's host: a name, an address, or a folder of Unix sockets
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The connection's hostaddr
    #[arg(long, value_name = "ADDRESS")]
    hostaddr: Option<String>,
    /// The connection's port [default: 5432]
    #[arg(long, short, value_name = "PORT")]
    port: Option<String>,
    /// The connection's database; "replication" for a standby [default: the user's name]
    #[arg(long, short = 'd', value_name = "NAME")]
    database: Option<String>,
    /// The connection's user
    #[arg(long, short = 'U', value_name = "ROLE")]
    user: String,
    /// Print the password, and nothing else, on standard output
    #[arg(long)]
    reveal: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let libpq = arguments.place.libpq(console);
    let path = arguments.place.path(console, &libpq)?;
    let (name, file) = if arguments.place.is_input() {
        let read = arguments.place.read(console, &libpq)?;
        (read.name, read.file)
    } else {
        let name = path.display().to_string();
        let file = passfile::fs::open(&path).map_err(|error| ignored(&name, &error, &libpq))?;
        (name, file)
    };
    let key = arguments.key();
    let trace = file.trace(&key, &libpq);
    let found = trace.found();
    if let Some(found) = found.filter(|_| arguments.reveal && !console.is_json()) {
        let mut password = zeroize::Zeroizing::new(found.password().expose().to_vec());
        password.push(b'\n');
        console.detail(&format!("{name} line {}", found.line()));
        console.print_bytes(&password)?;
        return Ok(Answer::new("", Value::Null).fine_if(!found.password().is_empty()));
    }

    let mut text = String::new();
    let words = match found {
        None => styled(BAD, "no password") + ": no line is for this connection",
        Some(found) if found.password().is_empty() => {
            styled(BAD, "no password")
                + &format!(": line {} has an empty one, and libpq looks no further", found.line())
        }
        Some(found) => styled(GOOD, format_args!("line {}", found.line())) + " has the password",
    };
    let _ = writeln!(text, "{}: {words}", plain(&name));
    let shown = trace.to_string();
    let mut lines = shown.lines();
    if let Some(searched) = lines.next() {
        let _ = writeln!(text, "  {}", plain(searched));
    }
    for line in lines.filter(|line| !line.ends_with("not reached")) {
        let _ = writeln!(text, "  {}", styled(FAINT, plain(line)));
    }
    let traced: Vec<Value> = trace
        .lines()
        .iter()
        .map(|line| json!({ "line": line.line, "outcome": line.outcome.to_string(), "match": line.outcome == Outcome::Match }))
        .collect();
    let revealed = match found.filter(|_| arguments.reveal) {
        Some(found) => Some(as_json(found.password().expose())?),
        None => None,
    };
    let result = json!({
        "file": name,
        "pg": libpq.version(),
        "line": found.map(passfile::Found::line),
        "has-password": found.is_some_and(|found| !found.password().is_empty()),
        "password": revealed,
        "lines": traced,
    });
    let fine = found.is_some_and(|found| !found.password().is_empty());
    Ok(Answer::new(text, result).fine_if(fine))
}

/// The password to the letter, as a program needs it.
fn as_json(password: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(password).map_err(|_| {
        Failure::user("the password is not UTF-8, and JSON has no other text")
            .fix("take --format text")
    })
}

/// What makes libpq take the file.
fn how_to_mend(reason: Insecure, name: &str) -> String {
    match reason {
        Insecure::NotPlainFile { .. } => "name a plain file".to_owned(),
        _ => format!("chmod 600 {name}"),
    }
}

/// Why libpq has no password from a file.
fn ignored(name: &str, error: &OpenError, libpq: &Libpq) -> Failure {
    let mut failure = match error {
        OpenError::Insecure { reason, .. } => {
            Failure::user(format!("libpq ignores it: {error}")).fix(how_to_mend(*reason, name))
        }
        OpenError::Unopened { source, .. } | OpenError::Unread { source, .. } => {
            Failure::io("open", name, source)
        }
        other => Failure::user(other.to_string()),
    };
    let warning = error.warning(libpq);
    failure.problem.why.extend(warning.map(|warning| format!("libpq says: {warning}")));
    failure
}

impl Arguments {
    fn key(&self) -> Key<'_> {
        let mut key = Key::new(&self.user);
        if let Some(host) = &self.host {
            key = key.host(host);
        }
        if let Some(hostaddr) = &self.hostaddr {
            key = key.hostaddr(hostaddr);
        }
        if let Some(port) = &self.port {
            key = key.port(port);
        }
        if let Some(database) = &self.database {
            key = key.dbname(database);
        }
        key
    }
}
