//! `cargo xtask catalogue FOLDER`: the facts about every setting, from what servers of each major say
//! in `pg_settings`, and the names of time zones, in the compact form that the crate `pgconf` embeds.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use pg_version::PgVersion;
use serde_json::Value;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Holds pg_settings-12.json to pg_settings-18.json, each an array of the rows of `pg_settings`
    folder: PathBuf,
    /// A server's `share/postgresql/timezone`; without it the names of time zones stay as they are
    #[arg(long)]
    time_zones: Option<PathBuf>,
    /// Where to write facts.txt and time_zones.txt
    #[arg(long, default_value = "crates/pgconf/src/catalogue")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let write = |name: &str, text: Result<String, String>| -> Result<(), String> {
        let path = arguments.output.join(name);
        let text = text?;
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}: {} bytes", path.display(), text.len());
        Ok(())
    };
    let written = write("facts.txt", generate(&arguments.folder)).and_then(|()| {
        let zones = arguments.time_zones.as_deref();
        zones.map_or(Ok(()), |folder| write("time_zones.txt", time_zones(folder)))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Each folder of the time zone database and what is in it on a line, `.` for the topmost one.
fn time_zones(folder: &Path) -> Result<String, String> {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let text = |error: std::io::Error| format!("{}: {error}", path.display());
        for entry in std::fs::read_dir(&path).map_err(text)? {
            let entry = entry.map_err(text)?;
            let name = entry.file_name().into_string().map_err(|name| format!("{name:?}"))?;
            if entry.path().is_dir() {
                folders.push(if below.is_empty() { name } else { format!("{below}/{name}") });
            } else if name != "posixrules" {
                // No zone, but what 12 takes the rules for summer time from.
                let line = if below.is_empty() { "." } else { &below };
                lines.entry(line.to_owned()).or_default().push(name);
            }
        }
    }
    let line = |(folder, mut names): (String, Vec<String>)| {
        names.sort_unstable();
        format!("{folder} {}\n", names.join(" "))
    };
    Ok(lines.into_iter().map(line).collect())
}

/// Settings that every server takes but hides from `pg_settings` (flag `GUC_NO_SHOW_ALL`), as in the
/// tables of `guc.c` and `guc_tables.c`.
const HIDDEN: [(&str, &str); 6] = [
    ("default_with_oids", "b u 'off'"),
    ("is_superuser", "b i 'off'"),
    ("role", "s u 'none'"),
    ("seed", "r u - -1 1 '0'"),
    ("session_authorization", "s u NULL"),
    ("ssl_renegotiation_limit", "i u - 0 0 '0'"),
];

fn generate(folder: &Path) -> Result<String, String> {
    let mut settings: BTreeMap<String, (String, Vec<(PgVersion, String)>)> = BTreeMap::new();
    let mut add = |name: &str, version, facts| {
        let entry = settings.entry(name.to_ascii_lowercase());
        entry.or_insert_with(|| (name.to_owned(), Vec::new())).1.push((version, facts));
    };
    for version in PgVersion::ALL {
        let path = folder.join(format!("pg_settings-{version}.json"));
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let rows: Vec<Value> =
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        for row in rows {
            let name = row["name"].as_str().ok_or("a row without a name")?;
            add(name, version, facts(&row).ok_or_else(|| format!("{name}: unexpected row"))?);
        }
        for (name, facts) in HIDDEN {
            add(name, version, facts.to_owned());
        }
    }
    let mut text = String::new();
    for (name, majors) in settings.values() {
        writeln!(text, "{name}").map_err(|e| e.to_string())?;
        let runs = majors.chunk_by(|(one, facts), (next, others)| {
            facts == others && next.major() == one.major() + 1
        });
        for run in runs {
            let [(first, facts), ..] = run else { continue };
            let last = run.last().map_or(*first, |(last, _)| *last);
            writeln!(text, " {first} {last} {facts}").map_err(|e| e.to_string())?;
        }
    }
    Ok(text)
}

/// `TYPE CONTEXT 'DEFAULT'`, with unit and bounds of numbers and the values of an enum before the
/// default.
fn facts(row: &Value) -> Option<String> {
    let context = match row["context"].as_str()? {
        "internal" => 'i',
        "postmaster" => 'p',
        "sighup" => 'h',
        "superuser-backend" => 'B',
        "backend" => 'b',
        "superuser" => 's',
        "user" => 'u',
        _ => return None,
    };
    let default = match (&row["boot_val"], row["name"].as_str()?) {
        // What a build says of itself is no fact about its major.
        (_, "server_version" | "server_version_num") | (Value::Null, _) => "NULL".to_owned(),
        (Value::String(text), _) => format!("'{text}'"),
        _ => return None,
    };
    let unit = row["unit"].as_str().unwrap_or("-");
    let bound = |key: &str, largest: &str| {
        let text = row[key].as_str()?;
        Some(if text == largest { "*".to_owned() } else { text.to_owned() })
    };
    let number = |letter, largest| {
        let (min, max) = (bound("min_val", largest)?, bound("max_val", largest)?);
        let (min, max) = match row["name"].as_str()? {
            "server_version_num" => ("0".to_owned(), "*".to_owned()),
            _ => (min, max),
        };
        Some(format!("{letter} {context} {unit} {min} {max} {default}"))
    };
    match row["vartype"].as_str()? {
        "bool" => Some(format!("b {context} {default}")),
        "integer" => number('i', "2147483647"),
        "real" => number('r', "1.79769e+308"),
        "enum" => {
            let values: Option<Vec<_>> =
                row["enumvals"].as_array()?.iter().map(Value::as_str).collect();
            Some(format!("e {context} {} {default}", values?.join("|").replace(' ', "~")))
        }
        "string" => Some(format!("s {context} {default}")),
        _ => None,
    }
}
