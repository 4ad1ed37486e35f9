//! Files, names and values: mostly sensible, often at the edge, sometimes rubbish.

mod files;
mod numbers;
mod strings;

use std::collections::HashMap;

use pgconf::{Catalogue, Kind, Setting};
use pgtest::Server;

pub(super) use self::{
    files::{Content, Kind as FilesKind, files},
    strings::element,
};
use crate::differential::Random;

/// Every setting that the generators write: those that the server has, built as the catalogue says.
/// (A server can have more or fewer words for an enum, with its libraries.) The one that says where
/// the main file is would only tell that it cannot be changed.
pub(super) fn settings(server: &Server) -> Result<Vec<Setting>, pgtest::Error> {
    let rows = server.query("SELECT name, array_to_string(enumvals, '|') FROM pg_settings")?;
    let words: HashMap<_, _> = rows
        .rows
        .into_iter()
        .filter_map(|row| {
            let mut columns = row.into_iter();
            Some((columns.next()??, columns.next().flatten().unwrap_or_default()))
        })
        .collect();
    let catalogue = Catalogue::new(server.version());
    Ok(catalogue
        .settings()
        .filter(|setting| {
            let here = words.get(setting.name()).map(String::as_str);
            let hidden = ["default_with_oids", "role", "seed", "ssl_renegotiation_limit"];
            hidden.contains(&setting.name())
                || here.is_some_and(|here| here == setting.values().collect::<Vec<_>>().join("|"))
        })
        .filter(|setting| setting.name() != "config_file")
        .collect())
}

pub(super) fn name(random: &mut Random, settings: &[Setting]) -> String {
    const KNOWN: [&str; 14] = [
        "work_mem",
        "Work_Mem",
        "sort_mem",
        "vacuum_mem",
        "ssl_ecdh_curve",
        "search_path",
        "application_name",
        "default_with_oids",
        "log_connections",
        "wal_compression",
        "password_encryption",
        "DATESTYLE",
        "shared_preload_libraries",
        "listen_addresses",
    ];
    const OTHER: [&str; 18] = [
        "nosuch",
        "a.b",
        "A.B",
        "a.b.c",
        "_x._y",
        "1a",
        "a$b",
        "a.$b",
        "żółw.x",
        "é",
        "a-b",
        "a.b-c",
        "plpgsql.x",
        "plpgsql.variable_conflict",
        "wal_keep_segments",
        "standby_mode",
        "force_parallel_mode",
        "includes",
    ];
    match random.below(10) {
        0..5 => pick(random, settings).name().to_owned(),
        5..8 => random.pick(&KNOWN).to_owned(),
        8 => pick(random, settings).name().to_ascii_uppercase(),
        _ => random.pick(&OTHER).to_owned(),
    }
}

/// A value for a setting: of its type, near its bounds, or of another type.
pub(super) fn value(random: &mut Random, setting: Option<&Setting>) -> String {
    match setting.map(Setting::kind) {
        _ if random.once_in(6) => junk(random),
        Some(Kind::Bool) => boolean(random),
        Some(Kind::Integer { unit, min, max }) => numbers::integer(random, unit, min, max),
        Some(Kind::Real { unit, min, max }) => numbers::real(random, unit, min, max),
        Some(Kind::Enum(words)) => word(random, &words.iter().collect::<Vec<_>>()),
        _ => strings::string(random, setting.map_or("", Setting::name)),
    }
}

/// A word of an enum, or of another one.
fn word(random: &mut Random, words: &[String]) -> String {
    const OTHER: [&str; 12] = [
        "debug",
        "info",
        "archive",
        "hot_standby",
        "lz4",
        "zstd",
        "on",
        "scram",
        "log",
        "minimal",
        "md5",
        "ALWAYS",
    ];
    match random.below(9) {
        0 => pick(random, words).to_uppercase(),
        1 => boolean(random),
        2 => random.pick(&OTHER).to_owned(),
        3 => format!(" {}", pick(random, words)),
        4 => {
            // A beginning is no word.
            let word = pick(random, words);
            word.chars().take(random.below(word.len() + 1)).collect()
        }
        _ => pick(random, words).clone(),
    }
}

fn boolean(random: &mut Random) -> String {
    const BOOLEANS: [&str; 30] = [
        "on", "off", "true", "false", "yes", "no", "1", "0", "t", "f", "y", "n", "tr", "of", "o",
        "ON", "On", "onn", "01", "", "2", "default", "fals", "ye", "OF", "offf", "1 ", "yesss",
        "enabled", "null",
    ];
    random.pick(&BOOLEANS).to_owned()
}

fn junk(random: &mut Random) -> String {
    const PIECES: [&str; 32] = [
        "a", "1", "0x", ".", "-", "+", " ", "\t", "\r", "e", "E5", "kB", "'", "\\", "\"", "#", "=",
        "é", "\u{a0}", "\u{b}", "\u{c}", "\u{1}", "\u{7f}", ",", ";", "/", ":", "_", "inf", "nan",
        "%", "$",
    ];
    (0..random.below(6)).map(|_| random.pick(&PIECES)).collect()
}

/// One of these; there has to be one.
pub(super) fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len())]
}
