//! `pgward conf get`.

use pgconf::{Catalogue, Occurrence, Origin};
use serde_json::{Value, json};

use super::{
    reading::{FileArguments, Reading},
    secrets,
};
use crate::frame::{
    answer::Answer, console::Console, diagnostic::Diagnostic, failure::Failure, text::lossy,
    version,
};

/// `pgward conf get`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward conf get /etc/postgresql/17/main/postgresql.conf port -D /var/lib/postgresql/17/main
  pgward conf get postgresql.conf work_mem --pg 16 --format json

Printed is the value as it stands in the file that has the last word, else the server's default. \
Exit code 0: there is one; 1: no such setting, or it has no value.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArguments,
    /// The setting
    name: String,
    #[command(flatten)]
    pg: version::VersionArguments,
    /// Print passwords in connection strings, too
    #[arg(long)]
    reveal: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let reading = arguments.file.read(console, arguments.pg)?;
    let name = arguments.name.as_str();
    let configuration = &reading.configuration;
    let provenance = configuration.provenance(name);
    let setting = Catalogue::new(configuration.version()).get(name);
    let Some(value) = configuration.value_or_default(name) else {
        return Err(no_value(&reading, name, setting.is_some()));
    };
    let hidden = !arguments.reveal && secrets::is_in(name.as_bytes(), &value);
    // The server's default as people write it (4MB), not in its unit (4096).
    let default = setting.filter(|_| provenance.effective().is_none());
    let shown = match default.and_then(|setting| setting.default_shown()) {
        Some(default) => default,
        None if hidden => secrets::shown(name.as_bytes(), &value),
        None => lossy(&value),
    };
    if hidden {
        console.note("the password in it is not shown; --reveal shows it");
    }
    match provenance.effective() {
        Some(place) => {
            console.detail(&format!("{} line {} sets it", reading.name(place.file), place.line));
        }
        None => console.detail("no file sets it: this is the server's default"),
    }
    let overridden: Vec<Value> = provenance
        .overridden()
        .map(|place| place_json(&reading, place, arguments.reveal))
        .collect();
    let checked = setting.and_then(|setting| setting.check(&value).ok());
    let result = json!({
        "name": setting.map_or(name, |setting| setting.name()),
        "pg": configuration.version(),
        "value": shown,
        "shown": checked.filter(|_| !hidden).map(|checked| lossy(checked.show())),
        "set": provenance.effective().map(|place| place_json(&reading, place, arguments.reveal)),
        "overridden": overridden,
    });
    Ok(Answer::new(format!("{shown}\n"), result))
}

/// A place that sets something.
pub(super) fn place_json(reading: &Reading, place: &Occurrence<'_>, reveal: bool) -> Value {
    let value = if reveal { lossy(&place.value) } else { secrets::shown(place.name, &place.value) };
    json!({
        "file": reading.name(place.file),
        "line": place.line,
        "value": value,
        "alter-system": place.origin == Origin::AlterSystem,
    })
}

fn no_value(reading: &Reading, name: &str, known: bool) -> Failure {
    let version = reading.configuration.version();
    if known {
        return Failure::user(format!(
            "{name} has no value: no file sets it, and it has no default"
        ));
    }
    let diagnostic = Diagnostic::error(format!("PostgreSQL {version} has no setting {name}"));
    let diagnostic = match nearest(name, version) {
        Some(near) => diagnostic.fix(format!("did you mean {near}?")),
        None => diagnostic.fix("look at its name, or name the major that has it with --pg"),
    };
    Failure::at(diagnostic.code("unknown-name"))
}

/// The setting whose name is most like this one, if any is near.
pub(super) fn nearest(name: &str, version: pg_version::PgVersion) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    Catalogue::new(version)
        .settings()
        .map(|setting| (distance(&name, &setting.name().to_ascii_lowercase()), setting.name()))
        .min()
        .filter(|(distance, _)| *distance <= 2.max(name.len() / 5))
        .map(|(_, near)| near)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_nearly_meant() {
        let version = pg_version::PgVersion::V17;
        assert_eq!(nearest("work_men", version), Some("work_mem"));
        assert_eq!(nearest("shared_bufers", version), Some("shared_buffers"));
        assert_eq!(nearest("timezone", version), Some("TimeZone"));
        assert_eq!(nearest("colour_of_the_elephant", version), None);
    }
}
