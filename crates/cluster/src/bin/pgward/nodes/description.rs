//! The description of the cluster, as the user wrote it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use cluster::{
    conninfo::ConnInfo,
    inspect::Node,
    reach::{Reached, reach},
    spec::{ClusterSpec, SpecError},
};
use passfile::{Libpq, Surroundings};
use pg_version::PgVersion;

use super::wait_for;
use crate::frame::{
    console::Console,
    diagnostic::{Diagnostic, Place, Secrets},
    failure::Failure,
    input::Input,
};

/// Which description.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DescriptionArgument {
    /// The description of the cluster; pgward init writes one (- is standard input)
    #[arg(value_name = "FILE", default_value = "pgward.toml")]
    path: PathBuf,
}

/// A cluster, and the way to its nodes.
pub(super) struct Description {
    pub(super) spec: ClusterSpec,
    pub(super) nodes: Vec<Node>,
    /// What keeps the ways to them open.
    pub(super) reached: Reached,
}

impl DescriptionArgument {
    pub(super) fn read(&self, console: &Console) -> Result<Description, Failure> {
        let input = Input::read_shown(&self.path).map_err(|failure| {
            if failure.exit == crate::frame::failure::Exit::Findings {
                failure.fix("name the description, or write one with pgward init")
            } else {
                failure
            }
        })?;
        let text = utf8(input.bytes()).map_err(|at| {
            Failure::at(
                Diagnostic::error("the description is not UTF-8")
                    .at(Place::of(&*input.name, input.bytes(), at..at + 1, &Secrets::new()))
                    .fix("save it as UTF-8"),
            )
        })?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let spec = ClusterSpec::from_toml(text, folder)
            .map_err(|error| misdescribed(&input.name, text, &error))?;
        let told = match needs_password_file(&spec) {
            true => with_password_file(&spec, own_password_file(console)),
            false => spec.clone(),
        };
        let reached = wait_for(async { Ok(reach(&told).await?) })?;
        let nodes = reached.nodes.clone();
        Ok(Description { spec, nodes, reached })
    }
}

/// Bytes as text, or the first that is none. UTF-16 without a mark is UTF-8 by the letter, with zeros.
fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.valid_up_to())?;
    text.find('\0').map_or(Ok(text), Err)
}

/// The password file that libpq takes for whoever calls: `PGPASSFILE`, else `.pgpass` in the home folder. A
/// file that libpq ignores is not taken, with the warning that libpq has for it.
fn own_password_file(console: &Console) -> Option<PathBuf> {
    let libpq = Libpq::new(PgVersion::NEWEST);
    let path = Surroundings::of_process().passfile(None, &libpq)?;
    match passfile::fs::open(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            if let Some(warning) = error.warning(&libpq) {
                console.warn(warning.strip_prefix("WARNING: ").unwrap_or(&warning));
            }
            None
        }
    }
}

/// Whether `sql` of any node has neither a password nor a file for it.
fn needs_password_file(spec: &ClusterSpec) -> bool {
    let lacks = |sql: ConnInfo| sql.get("password").is_none() && sql.get("passfile").is_none();
    spec.nodes.iter().any(|node| node.sql.parse::<ConnInfo>().is_ok_and(lacks))
}

/// The description with a password file where `sql` has neither a password nor a file: the library reads
/// no environment, and so has to be told.
fn with_password_file(spec: &ClusterSpec, path: Option<PathBuf>) -> ClusterSpec {
    let mut spec = spec.clone();
    let Some(path) = path.as_deref().and_then(Path::to_str) else { return spec };
    for node in &mut spec.nodes {
        let Ok(mut sql) = node.sql.parse::<ConnInfo>() else { continue };
        if sql.get("password").is_none() && sql.get("passfile").is_none() {
            sql.set("passfile", path);
            node.sql = sql.to_text().to_string();
        }
    }
    spec
}

/// What is wrong with the description, with its line.
fn misdescribed(name: &str, text: &str, error: &SpecError) -> Failure {
    let mut diagnostic = Diagnostic::error(error.message.clone());
    if let Some(place) = error.place {
        let start = offset(text, place.line, place.column);
        let span = start..start + word(&text[start..]);
        diagnostic = diagnostic.at(Place::of(name, text.as_bytes(), span, &secrets(text)));
    }
    if ["unknown field", "missing field"].iter().any(|what| error.message.starts_with(what)) {
        diagnostic = diagnostic.fix("pgward init - prints a description with every key explained");
    }
    if error.message == "invalid IP address syntax" {
        diagnostic = diagnostic.fix(
            "write an address in figures, such as 192.0.2.7, and a network of peers-from as \
             192.0.2.0/24; a host name is for the node's host",
        );
    }
    Failure::at(diagnostic)
}

/// The byte at a line and column, both from 1, the column in characters.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start.min(text.len())..];
    let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    (start + within).min(text.len())
}

/// How long the word at the start of a text is: a string in quotes, a table's name, or what ends at a
/// blank or an equals sign.
fn word(text: &str) -> usize {
    let ends = |end: char| text[1..].find([end, '\n']).map(|at| at + 1);
    match text.chars().next() {
        Some('"') => ends('"').map_or(1, |at| at + 1),
        Some('[') => ends('\n').map_or(text.len(), |at| text[..at].trim_end().len()),
        Some(_) => {
            let end = text.find(|c: char| c.is_whitespace() || c == '=' || c == ',');
            end.unwrap_or(text.len()).max(text.chars().next().map_or(0, char::len_utf8))
        }
        None => 0,
    }
}

/// Passwords in the connection strings of `sql`.
fn secrets(text: &str) -> Secrets {
    let mut found = Secrets::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(at) = password(line) {
            found.push(start + at.start..start + at.end);
        }
        start += line.len();
    }
    found
}

fn password(line: &str) -> Option<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    let in_uri = line.contains("://");
    let at = match lower.find("password") {
        Some(at) => at + "password".len(),
        None if in_uri => line.find("://")? + 3,
        None => return None,
    };
    let end = line.trim_end().len();
    (at < end).then_some(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let error = ClusterSpec::from_toml(text, Path::new(".")).unwrap_err();
        let failure = misdescribed("pgward.toml", text, &error);
        anstream::adapter::strip_str(&failure.problem.render()).to_string()
    }

    #[test]
    fn an_unknown_key_is_shown_in_its_line() {
        let text = "topology = \"native\"\nmode = \"cert\"\nlink_role = \"repl\"\n";
        let shown = shown(text);
        assert!(shown.starts_with("error: unknown field `link_role`"), "{shown}");
        assert!(
            shown.contains("--> pgward.toml:3:1\n  |\n3 | link_role = \"repl\"\n  | ^^^^^^^^^\n"),
            "{shown}"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        for sql in ["host=a password=geheim user=b", "postgresql://b:geheim@a/db"] {
            let text = format!(
                "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"\nsecrets = \"s\"\n\
                 [[nodes]]\nname = \"a\"\naddress = \"10.0.0.1\"\npeers-from = []\nsql = \"{sql}\" x\n"
            );
            assert!(!shown(&text).contains("geheim"), "{}", shown(&text));
        }
    }

    #[test]
    fn a_password_file_is_for_whoever_has_no_password() {
        for (sql, with) in [
            ("host=a user=b", "host=a user=b passfile=/home/me/.pgpass"),
            ("postgresql://b@a/db", "user=b host=a dbname=db passfile=/home/me/.pgpass"),
            ("host=a password=x", "host=a password=x"),
            ("host=a passfile=/x", "host=a passfile=/x"),
        ] {
            let text = format!(
                "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"\nsecrets = \"s\"\n\
                 [[nodes]]\nname = \"a\"\naddress = \"10.0.0.1\"\npeers-from = [\"10.0.0.0/8\"]\n\
                 sql = \"{sql}\"\n"
            );
            let spec = ClusterSpec::from_toml(&text, Path::new(".")).unwrap();
            let told = with_password_file(&spec, Some("/home/me/.pgpass".into()));
            assert_eq!(told.nodes[0].sql, with);
            assert_eq!(with_password_file(&spec, None), spec);
        }
    }

    #[test]
    fn no_place_is_too_far() {
        for text in ["", "a", "ä = 1\n", "\"", "[", "x\n\n"] {
            for line in 0..4 {
                for column in 0..4 {
                    let start = offset(text, line, column);
                    assert!(start + word(&text[start..]) <= text.len());
                }
            }
        }
    }
}
