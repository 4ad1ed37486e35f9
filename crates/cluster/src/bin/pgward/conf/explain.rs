//! `pgward conf explain`.

use std::{fmt::Write as _, path::PathBuf};

use pgconf::{Activation, Catalogue, Context, Kind, Setting};
use serde_json::{Value, json};

use super::{
    get::{nearest, place_json},
    reading::{self, AutoArguments, Reading},
    secrets,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    text::{FAINT, STRONG, plain, styled},
    version,
};

/// `pgward conf explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward conf explain work_mem --pg 16
  pgward conf explain ssl --file /etc/postgresql/17/main/postgresql.conf")]
pub(super) struct Arguments {
    /// The setting
    name: String,
    /// Tell where this postgresql.conf sets it, too (- is standard input)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    auto: AutoArguments,
    #[command(flatten)]
    pg: version::VersionArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let version = arguments.pg.version(console);
    let name = arguments.name.as_str();
    let catalogue = Catalogue::new(version);
    let Some(setting) = catalogue.get(name) else {
        let failure = Failure::user(format!("PostgreSQL {version} has no setting {name}"));
        return Err(match nearest(name, version) {
            Some(near) => failure.fix(format!("did you mean {near}?")),
            None => failure.fix("name the major that has it with --pg; extensions' are not known"),
        });
    };
    let reading = match &arguments.file {
        Some(path) => Some(reading::read(path, &arguments.auto, console, version)?),
        None => None,
    };
    let mut text = String::new();
    let _ = writeln!(text, "{} (PostgreSQL {version})", styled(STRONG, setting.name()));
    let mut line = |what: &str, is: String| {
        let _ = writeln!(text, "  {}  {}", styled(FAINT, format_args!("{what:<8}")), plain(&is));
    };
    if !name.eq_ignore_ascii_case(setting.name()) {
        line("asked", format!("{name} is its old name"));
    }
    line("takes", takes(&setting));
    match setting.default_shown() {
        Some(default) if default.is_empty() => line("default", "'' (empty)".to_owned()),
        Some(default) => line("default", default),
        None => line("default", "none is built in".to_owned()),
    }
    line("change", change_words(&setting).to_owned());
    if let Some(reading) = &reading {
        for place in places(reading, name) {
            line("set", place);
        }
    }
    let majors =
        pg_version::PgVersion::ALL.into_iter().filter(|major| Catalogue::new(*major).knows(name));
    let majors: Vec<Value> = majors.map(|major| json!(major)).collect();
    let set: Option<Value> = reading.as_ref().map(|reading| {
        let provenance = reading.configuration.provenance(name);
        let all = provenance.overridden().chain(provenance.effective());
        all.map(|place| place_json(reading, place, false)).collect()
    });
    let unit = setting.unit();
    let result = json!({
        "name": setting.name(),
        "pg": version,
        "majors": majors,
        "type": type_word(&setting),
        "unit": unit.map(pgconf::Unit::as_str),
        "values": setting.values().collect::<Vec<_>>(),
        "bounds": bounds(&setting),
        "default": setting.default(),
        "default-shown": setting.default_shown(),
        "context": setting.context(),
        "activation": setting.activation().as_str(),
        "set": set,
    });
    Ok(Answer::new(text, result))
}

/// Where a file sets it: in reading order, the last one counts.
fn places(reading: &Reading, name: &str) -> Vec<String> {
    let provenance = reading.configuration.provenance(name);
    let Some(effective) = provenance.effective() else {
        return vec!["in none of the files: the default counts".to_owned()];
    };
    let mut all: Vec<String> = provenance
        .overridden()
        .map(|place| {
            let value = secrets::shown(place.name, &place.value);
            format!("{} line {}: {value} (overridden)", reading.name(place.file), place.line)
        })
        .collect();
    let value = secrets::shown(effective.name, &effective.value);
    all.push(format!(
        "{} line {}: {value} (this counts)",
        reading.name(effective.file),
        effective.line
    ));
    all
}

fn type_word(setting: &Setting) -> &'static str {
    match setting.kind() {
        Kind::Bool => "bool",
        Kind::Integer { .. } => "integer",
        Kind::Real { .. } => "real",
        Kind::Enum(_) => "enum",
        _ => "string",
    }
}

fn bounds(setting: &Setting) -> Option<[f64; 2]> {
    match setting.kind() {
        Kind::Integer { min, max, .. } => Some([f64::from(min), f64::from(max)]),
        Kind::Real { min, max, .. } => Some([min, max]),
        _ => None,
    }
}

fn takes(setting: &Setting) -> String {
    let unit = |unit: Option<pgconf::Unit>| {
        unit.map_or(String::new(), |unit| format!(", in {} unless a unit is given", unit.as_str()))
    };
    match setting.kind() {
        Kind::Bool => "on or off".to_owned(),
        Kind::Integer { unit: in_unit, min, max } => {
            format!("a whole number, {min} to {max}{}", unit(in_unit))
        }
        Kind::Real { unit: in_unit, min, max } if max >= f64::MAX => {
            format!("a number, from {min}{}", unit(in_unit))
        }
        Kind::Real { unit: in_unit, min, max } => {
            format!("a number, {min} to {max}{}", unit(in_unit))
        }
        Kind::Enum(words) => format!("one of {}", words.iter().collect::<Vec<_>>().join(", ")),
        _ => "text".to_owned(),
    }
}

fn change_words(setting: &Setting) -> &'static str {
    if setting.context() == Context::Internal {
        return "nobody can: it says how the server was built, or its data directory made";
    }
    match setting.activation() {
        Activation::Reload => "takes effect at a reload",
        Activation::NewSession => "takes effect for new sessions after a reload",
        Activation::Restart => "takes effect at a restart only",
        Activation::Never => "no file can change it",
    }
}
