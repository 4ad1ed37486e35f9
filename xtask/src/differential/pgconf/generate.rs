//! Files, names and values: mostly sensible, often at the edge, sometimes rubbish.

use std::collections::HashMap;

use pg_version::PgVersion;
use pgconf::{Catalogue, Kind, Setting};
use pgtest::Server;

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
    const KNOWN: [&str; 12] = [
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
    ];
    const OTHER: [&str; 14] = [
        "nosuch",
        "a.b",
        "A.B",
        "a.b.c",
        "_x._y",
        "1a",
        "a$b",
        "żółw.x",
        "é",
        "a-b",
        "plpgsql.x",
        "wal_keep_segments",
        "standby_mode",
        "force_parallel_mode",
    ];
    match random.below(10) {
        0..5 => pick(random, settings).name().to_owned(),
        5..8 => (*pick(random, &KNOWN)).to_owned(),
        8 => pick(random, settings).name().to_ascii_uppercase(),
        _ => (*pick(random, &OTHER)).to_owned(),
    }
}

/// A value for a setting: of its type, near its bounds, or of another type.
pub(super) fn value(random: &mut Random, setting: Option<&Setting>) -> String {
    let kind = setting.map(Setting::kind);
    match kind {
        _ if random.once_in(6) => junk(random),
        Some(Kind::Bool) => boolean(random),
        Some(Kind::Integer { min, max, .. }) => {
            let number = match random.below(8) {
                0 => i64::from(min) - 1,
                1 => i64::from(min),
                2 => i64::from(max),
                3 => i64::from(max) + 1,
                4 => i64::from(min) + i64::try_from(random.below(1000)).unwrap_or_default(),
                _ => {
                    let bits = random.below(33);
                    i64::try_from(random.below(1 << bits)).unwrap_or_default()
                }
            };
            let unit = unit(random, setting);
            match random.below(10) {
                0 => format!("{:.*}{unit}", random.below(4), near(random, number)),
                1 => format!("0x{number:x}{unit}"),
                2 => format!("0{number:o}{unit}"),
                3 => format!(" {number} {unit} "),
                4 => format!("{}e{}{unit}", number % 1000, random.below(8)),
                5 => number.to_string(),
                _ => format!("{number}{unit}"),
            }
        }
        Some(Kind::Real { min, max, .. }) => {
            let number = match random.below(8) {
                0 => min - 0.1,
                1 => min,
                2 => max,
                3 => max + 0.5,
                _ => {
                    near(random, 10) * 10_f64.powi(i32::try_from(random.below(7)).unwrap_or(0) - 4)
                }
            };
            let unit = unit(random, setting);
            match random.below(6) {
                0 => format!("{number:e}{unit}"),
                1 => format!(" {number} {unit}"),
                2 => format!("0x{:x}.8p{}", random.below(99), random.below(5)),
                _ => format!("{number}{unit}"),
            }
        }
        Some(Kind::Enum(_)) => {
            let values: Vec<_> = setting.into_iter().flat_map(Setting::values).collect();
            match random.below(8) {
                0 => pick(random, &values).to_uppercase(),
                1 => boolean(random),
                2 => (*pick(
                    random,
                    &[
                        "debug",
                        "info",
                        "archive",
                        "hot_standby",
                        "lz4",
                        "zstd",
                        "on",
                        "scram",
                        "log",
                    ],
                ))
                .to_owned(),
                3 => format!(" {}", pick(random, &values)),
                _ => pick(random, &values).clone(),
            }
        }
        _ => string(random),
    }
}

#[expect(clippy::cast_precision_loss, reason = "any number near it will do")]
fn near(random: &mut Random, number: i64) -> f64 {
    number as f64 + random.below(1000) as f64 / 1000.0
}

fn unit(random: &mut Random, setting: Option<&Setting>) -> &'static str {
    const UNITS: [&str; 21] = [
        "", "", "B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d", "kb", "mb", "KB",
        "m", "MIN", "k", "PB", "ns",
    ];
    match setting.and_then(Setting::unit) {
        Some(unit) if random.once_in(3) && unit.as_str() != "8kB" => unit.as_str(),
        None if !random.once_in(5) => "",
        _ => UNITS[random.below(UNITS.len())],
    }
}

fn boolean(random: &mut Random) -> String {
    (*pick(
        random,
        &[
            "on", "off", "true", "false", "yes", "no", "1", "0", "t", "f", "y", "n", "tr", "of",
            "o", "ON", "On", "onn", "01", "", "2", "default",
        ],
    ))
    .to_owned()
}

fn string(random: &mut Random) -> String {
    const STRINGS: [&str; 44] = [
        "",
        "a",
        "a, b",
        "a,,b",
        "\"a\", b",
        "\"a",
        "*",
        "localhost",
        "127.0.0.1, ::1",
        "it's",
        "C:\\x\\y",
        "é",
        "a\tb",
        "ISO, DMY",
        "german",
        "postgres, mdy, ymd",
        "sql,",
        "iso, bogus",
        "default",
        "UTF8",
        "latin-1",
        "unicode",
        "UNICODE",
        "koi8",
        "FIRST 2 (a, b)",
        "ANY 0 (a)",
        "2 (\"x y\", *)",
        "FIRST (",
        "stderr, csvlog",
        "stderr,jsonlog",
        "syslog, bogus",
        "receipt, all",
        "on",
        "all",
        "heap, btree",
        "set, inherit",
        "view",
        "immediate",
        "latest",
        "0/16B3748",
        "slot_1",
        "Slot-1",
        "a//b/../c/./",
        "%m [%p] ",
    ];
    match random.below(12) {
        0 => "x".repeat(random.below(140)),
        1 => format!("{}é", "x".repeat(60 + random.below(4))),
        2 => junk(random),
        _ => (*pick(random, &STRINGS)).to_owned(),
    }
}

fn junk(random: &mut Random) -> String {
    const PIECES: [&str; 30] = [
        "a", "1", "0x", ".", "-", "+", " ", "\t", "\r", "e", "E5", "kB", "'", "\\", "\"", "#", "=",
        "é", "\u{a0}", "\u{b}", "\u{c}", "\u{1}", "\u{7f}", ",", ";", "/", ":", "_", "inf", "nan",
    ];
    (0..random.below(6)).map(|_| *pick(random, &PIECES)).collect()
}

/// A line of a file.
fn line(random: &mut Random, settings: &[Setting]) -> Vec<u8> {
    let name = name(random, settings);
    let version = settings.first().map_or(PgVersion::NEWEST, Setting::version);
    let setting = Catalogue::new(version).get(&name);
    let value = value(random, setting.as_ref());
    let blank = *pick(random, &["", "", "", " ", "\t", "  "]);
    let equals = *pick(random, &[" = ", " = ", " = ", "=", " ", "\t", "", " == ", "\u{c}= "]);
    let value = match random.below(9) {
        0..3 => value,
        3 => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
        4 => format!("'{}'", value.chars().map(escaped).collect::<String>()),
        5 => format!("'{value}"),
        _ => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
    };
    let tail = *pick(random, &["", "", "", "", " ", " # c", "# c", "\r", " x", " 'x'", ";", "\0"]);
    format!("{blank}{name}{equals}{value}{tail}").into_bytes()
}

fn escaped(c: char) -> String {
    match c {
        '\'' => "''".to_owned(),
        '\\' => "\\134".to_owned(),
        c if c.is_ascii() && (c as u32).is_multiple_of(3) => format!("\\{:o}", c as u32),
        '\t' => "\\t".to_owned(),
        c => c.to_string(),
    }
}

/// The files of a case.
pub(super) fn files(random: &mut Random, settings: &[Setting]) -> Vec<(String, Vec<u8>)> {
    const INCLUDED: [&str; 9] = [
        "case/a.conf",
        "case/b.conf",
        "case/d/1.conf",
        "case/d/10.conf",
        "case/d/B.conf",
        "case/d/.h.conf",
        "case/d/x.CONF",
        "case/d/sub.conf/",
        "case/empty/",
    ];
    let mut files = vec![("postgresql.conf".to_owned(), file(random, settings, 0))];
    if random.once_in(2) {
        for name in INCLUDED {
            if random.once_in(2) {
                files.push((name.to_owned(), file(random, settings, 1)));
            }
        }
    }
    if random.once_in(4) {
        files.push(("postgresql.auto.conf".to_owned(), file(random, settings, 2)));
    }
    files
}

fn file(random: &mut Random, settings: &[Setting], depth: usize) -> Vec<u8> {
    const INCLUDES: [&str; 15] = [
        "include 'case/a.conf'",
        "include 'a.conf'",
        "include '../case/./b.conf'",
        "include 'case/d/../b.conf'",
        "INCLUDE_IF_EXISTS = 'case/nope.conf'",
        "include_if_exists 'case/d'",
        "include 'nope'",
        "include_dir 'case/d'",
        "include_dir 'd'",
        "include_dir 'case/empty'",
        "include_dir 'case/nope'",
        "include ' '",
        "include_dir ''",
        "include 'postgresql.conf'",
        "include case/a.conf",
    ];
    const OTHER: [&str; 8] = [
        "",
        "# c",
        "   # work_mem = 1",
        "#work_mem = 4MB",
        "\u{feff}",
        "bad line here",
        "x =",
        "\t",
    ];
    let mut bytes = Vec::new();
    let count = random.below([9, 4, 3][depth.min(2)]) + 1;
    for index in 0..count {
        let line = match random.below(8) {
            0 => pick(random, &OTHER).as_bytes().to_vec(),
            1 if random.once_in(2) => pick(random, &INCLUDES).as_bytes().to_vec(),
            _ => sane(random, settings),
        };
        bytes.extend(line);
        if index + 1 < count || !random.once_in(4) {
            bytes.extend_from_slice(if random.once_in(9) { b"\r\n" } else { b"\n" });
        }
    }
    // Bytes go wrong.
    if random.once_in(5) && !bytes.is_empty() {
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            let byte = random.next().to_le_bytes()[0];
            match random.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
    }
    bytes
}

/// Mostly lines that can be read: one that cannot hides the rest of the file.
fn sane(random: &mut Random, settings: &[Setting]) -> Vec<u8> {
    if random.once_in(8) {
        return line(random, settings);
    }
    let name = loop {
        let name = name(random, settings);
        let taken = Catalogue::new(settings[0].version()).takes(&name);
        if (taken || random.once_in(20)) && name.split('.').count() < 3 {
            break name;
        }
    };
    let setting = Catalogue::new(settings[0].version()).get(&name);
    let value = value(random, setting.as_ref()).replace('\n', "");
    let mut file = pgconf::ConfFile::new(Vec::new());
    match file.set(&name, &value) {
        Ok(_) => file.to_bytes().trim_ascii_end().to_vec(),
        Err(_) => format!("{name} = 'x'").into_bytes(),
    }
}

/// One of these; there has to be one.
pub(super) fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len())]
}
