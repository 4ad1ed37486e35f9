//! Values of string settings: in the words of those that have a syntax of their own.

use super::{junk, pick};
use crate::differential::Random;

pub(super) fn string(random: &mut Random, name: &str) -> String {
    match random.below(14) {
        0 => "x".repeat(random.below(140)),
        1 => format!("{}é", "x".repeat(60 + random.below(4))),
        2 => junk(random),
        3 => list(random, OTHER),
        _ => match words(name) {
            Some(words) => list(random, words),
            None => match &name.to_ascii_lowercase()[..] {
                "client_encoding" => encoding(random),
                "synchronous_standby_names" => standbys(random),
                "timezone" | "log_timezone" => zone(random),
                "recovery_target_lsn" => lsn(random),
                "recovery_target_xid" | "recovery_target_timeline" => number(random),
                _ => random.pick(OTHER).to_owned(),
            },
        },
    }
}

/// An element of a list, that may need its double quotes.
pub(in super::super) fn element(random: &mut Random) -> String {
    const ELEMENTS: [&str; 17] = [
        "public",
        "$user",
        "My Schema",
        "a\"b",
        "it's",
        "a,b",
        "",
        "*",
        "::1",
        "Camel",
        "tab\there",
        "back\\slash",
        "é",
        "1st",
        "/tmp/a b",
        "pg_stat_statements",
        "longer_than_the_63_bytes_that_a_server_keeps_of_what_it_takes_for_a_name",
    ];
    random.pick(&ELEMENTS).to_owned()
}

/// What may stand anywhere.
const OTHER: &[&str] = &[
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
    "default",
    "UTF8",
    "on",
    "all",
    "heap, btree",
    "immediate",
    "latest",
    "current",
    "slot_1",
    "Slot-1",
    "slot_1, slot_2",
    "a//b/../c/./",
    "%m [%p] ",
    "/a//b/../c",
    "./x",
    "..",
    "none",
    "\"none\"",
    "pg_catalog.simple",
    "2020-01-01 00:00:00+00",
    "ABC_1,d",
    "\u{1}\u{7f}\u{80}",
];

/// The words of the settings that are lists of words.
fn words(name: &str) -> Option<&'static [&'static str]> {
    Some(match &name.to_ascii_lowercase()[..] {
        "datestyle" => &[
            "iso",
            "ISO",
            "sql",
            "postgres",
            "PostgresX",
            "german",
            "ymd",
            "DMY",
            "mdy",
            "us",
            "euro",
            "European",
            "noneuro",
            "noneuropean",
            "default",
            "\"ISO\"",
            "postgre",
            "isox",
        ],
        "log_destination" => {
            &["stderr", "csvlog", "jsonlog", "syslog", "eventlog", "StdErr", "\"CSVLOG\""]
        }
        "log_connections" => &[
            "receipt",
            "authentication",
            "authorization",
            "setup_durations",
            "all",
            "on",
            "off",
            "true",
            "yes",
            "1",
            "ALL",
            "\"Receipt\"",
            "t",
            "",
        ],
        "wal_consistency_checking" => &[
            "all",
            "heap",
            "heap2",
            "btree",
            "hash",
            "gin",
            "gist",
            "sequence",
            "spgist",
            "brin",
            "generic",
            "logicalmessage",
            "xlog",
            "BTREE",
            "commitTs",
            "standby",
            "replicationorigin",
        ],
        "createrole_self_grant" => &["set", "inherit", "SET", "admin", "\"Inherit\""],
        "restrict_nonsystem_relation_kind" => {
            &["view", "foreign-table", "table", "View", "foreign_table", "\"foreign-table\""]
        }
        "debug_io_direct" => &["data", "wal", "wal_init", "DATA", ""],
        "search_path"
        | "temp_tablespaces"
        | "synchronized_standby_slots"
        | "local_preload_libraries"
        | "session_preload_libraries"
        | "shared_preload_libraries"
        | "unix_socket_directories"
        | "listen_addresses"
        | "oauth_validator_libraries" => &[
            "a",
            "\"$user\"",
            "$user",
            "public",
            "\"a b\"",
            "a b",
            "a.b",
            "\"a\"\"b\"",
            "\"a\"b",
            "A",
            "1a",
            "\"\"",
            "''",
            "é",
            "*",
            "::1",
            "/tmp",
            "a\u{b}b",
            "a\u{c}",
            "\"a",
            "a\"b",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ],
        _ => return None,
    })
}

/// Some of the words with commas between, as they should be or nearly.
fn list(random: &mut Random, words: &[&str]) -> String {
    const COMMAS: [&str; 8] = [",", ", ", ", ", " , ", ",\t", ",,", " ", ";"];
    let mut list = String::new();
    let count = 1 + random.below(4) * random.below(2);
    for index in 0..count {
        if index > 0 {
            list.push_str(random.pick(&COMMAS));
        }
        list.push_str(random.pick(words));
    }
    match random.below(12) {
        0 => format!(" {list} "),
        1 => format!("{list},"),
        _ => list,
    }
}

/// A client encoding under one of its names, with what is allowed between letters and digits.
fn encoding(random: &mut Random) -> String {
    const ENCODINGS: [&str; 70] = [
        "SQL_ASCII",
        "EUC_JP",
        "EUC_CN",
        "EUC_KR",
        "EUC_TW",
        "EUC_JIS_2004",
        "UTF8",
        "Unicode",
        "LATIN1",
        "ISO88591",
        "LATIN2",
        "ISO88592",
        "LATIN3",
        "ISO88593",
        "LATIN4",
        "ISO88594",
        "LATIN5",
        "ISO88599",
        "LATIN6",
        "ISO885910",
        "LATIN7",
        "ISO885913",
        "LATIN8",
        "ISO885914",
        "LATIN9",
        "ISO885915",
        "LATIN10",
        "ISO885916",
        "WIN1256",
        "Windows1256",
        "WIN1258",
        "ABC",
        "TCVN",
        "TCVN5712",
        "VSCII",
        "WIN866",
        "Windows866",
        "ALT",
        "WIN874",
        "Windows874",
        "KOI8R",
        "KOI8",
        "WIN1251",
        "Windows1251",
        "WIN",
        "WIN1252",
        "Windows1252",
        "ISO_8859_5",
        "ISO_8859_6",
        "ISO_8859_7",
        "ISO_8859_8",
        "WIN1250",
        "WIN1253",
        "WIN1254",
        "WIN1255",
        "WIN1257",
        "KOI8U",
        "SJIS",
        "ShiftJIS",
        "Mskanji",
        "WIN932",
        "BIG5",
        "WIN950",
        "GBK",
        "WIN936",
        "UHC",
        "WIN949",
        "GB18030",
        "JOHAB",
        "SHIFT_JIS_2004",
    ];
    const MARKS: [&str; 6] = ["", "", "-", "_", " ", "é"];
    let encoding = random.pick(&ENCODINGS);
    match random.below(4) {
        0 => encoding.to_owned(),
        1 => encoding.to_lowercase(),
        2 => encoding.chars().map(|c| format!("{c}{}", random.pick(&MARKS))).collect(),
        _ => format!("{encoding}{}", random.pick(&["", "x", "1", "\t", "."])),
    }
}

fn standbys(random: &mut Random) -> String {
    const TOKENS: [&str; 24] = [
        "FIRST",
        "any",
        "ANY",
        "first",
        "1",
        "2",
        "0",
        "00",
        "(",
        ")",
        "(",
        ")",
        ",",
        ",",
        "a",
        "b1",
        "\"x y\"",
        "\"a\"\"b\"",
        "\"",
        "*",
        "_a$",
        "é",
        "a-b",
        "99999999999",
    ];
    const BLANKS: [&str; 5] = ["", " ", " ", "\n", "\u{b}"];
    if random.once_in(2) {
        let count = 1 + random.below(7);
        return (0..count)
            .map(|_| format!("{}{}", random.pick(&TOKENS), random.pick(&BLANKS)))
            .collect();
    }
    let names: Vec<_> = (0..1 + random.below(3)).map(|_| random.pick(&TOKENS[14..])).collect();
    let names = names.join(random.pick(&[",", ", ", " , "]));
    let count = random.pick(&TOKENS[4..8]);
    match random.below(4) {
        0 => names,
        1 => format!("{count} ({names})"),
        2 => format!("FIRST {count} ({names})"),
        _ => format!("any {count}({names}) "),
    }
}

/// A time zone: a name, an offset, an interval, a rule of POSIX.
fn zone(random: &mut Random) -> String {
    const NAMES: [&str; 34] = [
        "UTC",
        "utc",
        "GMT",
        "gmt",
        "Europe/Berlin",
        "europe/berlin",
        "EUROPE/BERLIN",
        "Mars/Olympus",
        "America/Argentina/Buenos_Aires",
        "america/argentina",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        "Europe//Berlin",
        "../timezone/UTC",
        "Etc/GMT+5",
        "EST5EDT",
        "est5edt",
        "CET",
        "PST8PDT",
        "Asia/Calcutta",
        "US/Pacific",
        "Zulu",
        ":UTC",
        ":europe/berlin",
        "Factory",
        "",
        " UTC",
        "UTC ",
        ".",
        "PRC",
        "GMT0",
        "GMT+0",
        "Etc/UCT",
    ];
    const POSIX: [&str; 30] = [
        "UTC+3",
        "utc-3",
        "<+03>-03",
        "<+03>3",
        "abc5",
        "ABC5DEF",
        "abc5def4",
        "abc-5:30",
        "a5",
        "5abc",
        "+5abc",
        "ABC5DEF,M3.2.0,M11.1.0",
        "ABC5DEF,J60,J300",
        "ABC5DEF,0,365/25",
        "ABC5DEF,M3.2.0/2:30:15,M11.1.0/-1",
        "ABC5DEF,M13.2.0,M11.1.0",
        "ABC5DEF,",
        "ABC5DEF;0,1",
        "ABC168",
        "ABC167:59:60",
        "ABC167:59:61",
        "ABC167:60",
        "<abc",
        "<abc>",
        "<>5",
        "ABC5<def>",
        "ABC5<>",
        "ABC5DEF6,J0,J1",
        "foo/bar3",
        "UTC+",
    ];
    const OFFSETS: [&str; 30] = [
        "3",
        "-3",
        "+3",
        "5.5",
        "-5.75",
        "0",
        "-0",
        "167",
        "168",
        "-168",
        "1e1",
        "0x10",
        "inf",
        "nan",
        " 3",
        "3 ",
        "3.00027",
        "-3.123456",
        "1e300",
        "0.0001",
        "interval  '0:00:01'",
        "INTERVAL '+02:00'",
        "interval'-5:30'",
        "interval",
        "INTERVAL'167:59:59'",
        "interval '3",
        "interval 3",
        "interval '3' x",
        "Interval '-08:00'",
        "interval'-168:00'",
    ];
    let names: &[&str] = match random.below(3) {
        0 => &NAMES,
        1 => &POSIX,
        _ => &OFFSETS,
    };
    (*pick(random, names)).to_owned()
}

fn lsn(random: &mut Random) -> String {
    const PARTS: [&str; 9] =
        ["0", "16B3748", "ffffffff", "FFFFFFFFF", "", "g", "00000001", " 1", "-1"];
    format!(
        "{}{}{}",
        random.pick(&PARTS),
        random.pick(&["/", "/", "/", "", "//"]),
        random.pick(&PARTS)
    )
}

fn number(random: &mut Random) -> String {
    const NUMBERS: [&str; 20] = [
        "latest",
        "current",
        "Latest",
        "1",
        "0",
        "-1",
        "x",
        "",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "-18446744073709551615",
        "0x10",
        "0xz",
        "09",
        "99999999999999999999999",
        "1 2",
        "1e99",
        " 7",
    ];
    random.pick(&NUMBERS).to_owned()
}
