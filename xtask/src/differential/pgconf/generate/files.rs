//! Files that set things and include each other.

use std::fmt;

use pg_version::PgVersion;
use pgconf::{Catalogue, ConfFile, Setting};

use super::{name, value};
use crate::differential::Random;

/// What stands at a path of a case.
#[derive(Debug)]
pub(in super::super) enum Content {
    Bytes(Vec<u8>),
    /// Nobody but root can read it.
    Unreadable(Vec<u8>),
    Link(&'static str),
    Folder,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.escape_ascii().fmt(f),
            Self::Unreadable(bytes) => write!(f, "(unreadable) {}", bytes.escape_ascii()),
            Self::Link(target) => write!(f, "(link to {target})"),
            Self::Folder => f.write_str("(folder)"),
        }
    }
}

/// How good the files are to be.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(in super::super) enum Kind {
    Any,
    /// A server can read them.
    Readable,
    /// And take nearly all of the values.
    Sound,
}

/// The files of a case, by their names below the data folder.
pub(in super::super) fn files(
    random: &mut Random,
    settings: &[Setting],
    kind: Kind,
) -> Vec<(String, Content)> {
    const INCLUDED: [&str; 12] = [
        "case/a.conf",
        "case/b.conf",
        "case/d/1.conf",
        "case/d/10.conf",
        "case/d/B.conf",
        "case/d/.h.conf",
        "case/d/x.CONF",
        "case/d/#c.conf",
        "case/d/.conf",
        "case/d/conf",
        "case/d/\u{e9}.conf",
        "case/d/2 x.conf",
    ];
    const LINKS: [(&str, &str); 6] = [
        ("case/link.conf", "d/1.conf"),
        ("case/folder", "d"),
        ("case/d/l.conf", "../a.conf"),
        ("case/d/dangling.conf", "nothing"),
        ("case/d/loop.conf", "loop.conf"),
        ("case/d/loop", "loop"),
    ];
    let mut files = Vec::new();
    files.push(("postgresql.conf".to_owned(), Content::Bytes(file(random, settings, kind, 0))));
    if kind >= Kind::Readable {
        files.push(("case/d".to_owned(), Content::Folder));
    }
    if random.once_in(2) {
        for name in INCLUDED {
            if random.once_in(2) {
                let bytes = file(random, settings, kind, 1);
                let hidden = kind == Kind::Any && random.once_in(20);
                let content =
                    if hidden { Content::Unreadable(bytes) } else { Content::Bytes(bytes) };
                files.push((name.to_owned(), content));
            }
        }
        for name in ["case/d/sub.conf", "case/empty"] {
            if random.once_in(2) {
                files.push((name.to_owned(), Content::Folder));
            }
        }
        // Of several links to nothing a server reports the one that the folder happens to have first.
        let mut leads_nowhere = false;
        for (name, target) in LINKS {
            let is_loose = match target {
                "nothing" | "loop.conf" => true,
                "../a.conf" => !files.iter().any(|(file, _)| file == "case/a.conf"),
                _ => false,
            };
            if is_loose && (kind >= Kind::Readable || leads_nowhere) {
                continue;
            }
            if random.once_in(if name.starts_with("case/d/") { 12 } else { 3 }) {
                files.push((name.to_owned(), Content::Link(target)));
                leads_nowhere |= is_loose;
            }
        }
        // One below the other, deeper than a server goes or not.
        let deepest = 6 + random.below(if kind == Kind::Any { 6 } else { 4 });
        for depth in 1..=deepest {
            let mut bytes = file(random, settings, kind, 2);
            if depth < deepest {
                bytes = [format!("include 'c{}.conf'\n", depth + 1).into_bytes(), bytes].concat();
            }
            files.push((format!("case/c{depth}.conf"), Content::Bytes(bytes)));
        }
    }
    if random.once_in(4) {
        let content = Content::Bytes(file(random, settings, kind, 2));
        files.push(("postgresql.auto.conf".to_owned(), content));
    }
    files
}

fn file(random: &mut Random, settings: &[Setting], kind: Kind, depth: usize) -> Vec<u8> {
    const INCLUDES: [&str; 28] = [
        "include 'case/a.conf'",
        "include 'a.conf'",
        "include '../case/./b.conf'",
        "include 'case/d/../b.conf'",
        "INCLUDE_IF_EXISTS = 'case/nope.conf'",
        "include_if_exists 'case/d'",
        "include_if_exists 'case/d/10.conf'",
        "include 'nope'",
        "include_dir 'case/d'",
        "include_dir 'd'",
        "include_dir 'case/empty'",
        "include_dir 'case/nope'",
        "include_dir 'case/a.conf'",
        "include_dir 'case/folder/'",
        "include_dir '.'",
        "include_dir = case/d",
        "include ' '",
        "include_dir ''",
        "include 'postgresql.conf'",
        "include '../postgresql.conf'",
        "include case/a.conf",
        "include 'case/link.conf'",
        "include 'case/c1.conf'",
        "include 'case/c2.conf' # less deep",
        "include 'case/\\141.conf'",
        "include 'case/b.conf ",
        "include 'case/b.conf/'",
        "Include_If_Exists'postgresql.auto.conf'",
    ];
    // From the main file only, so that no file includes itself.
    const READABLE: [&str; 9] = [
        "include_if_exists 'case/a.conf'",
        "INCLUDE_IF_EXISTS = 'case/nope.conf'",
        "include_if_exists 'case/d/../b.conf' # b",
        "include_if_exists 'case/link.conf'",
        "include_if_exists 'case/c1.conf'",
        "include_if_exists 'case/c3.conf'",
        "include_if_exists case/d/1.conf",
        "Include_If_Exists'postgresql.auto.conf'",
        "include_dir 'case/d'",
    ];
    const OTHER: [&str; 12] = [
        "",
        "# c",
        "   # work_mem = 1",
        "#work_mem = 4MB",
        "# search_path = 'x' # y",
        "\t",
        "\u{feff}",
        "bad line here",
        "x =",
        "work_mem = 4MB\rport = 1",
        "application_name = 'a\\",
        "include",
    ];
    let mut bytes = Vec::new();
    let readable = kind >= Kind::Readable;
    if !readable && random.once_in(50) {
        bytes.extend_from_slice(b"\xef\xbb\xbf");
    }
    let count = random.below([9, 4, 3][depth]) + 1;
    for index in 0..count {
        let line = match random.below(8) {
            0 => random.pick(if readable { &OTHER[..6] } else { &OTHER }).as_bytes().to_vec(),
            1 if random.once_in(2) && !readable => random.pick(&INCLUDES).as_bytes().to_vec(),
            1 if depth == 0 => random.pick(&READABLE).as_bytes().to_vec(),
            _ => sane(random, settings, kind),
        };
        bytes.extend(line);
        if index + 1 < count || !random.once_in(4) {
            bytes.extend_from_slice(if random.once_in(9) { b"\r\n" } else { b"\n" });
        }
    }
    // Bytes go wrong.
    if !readable && random.once_in(5) && !bytes.is_empty() {
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
fn sane(random: &mut Random, settings: &[Setting], kind: Kind) -> Vec<u8> {
    if kind < Kind::Sound && random.once_in(8) {
        let line = line(random, settings);
        if kind == Kind::Any || is_readable(&line, settings) {
            return line;
        }
    }
    let name = loop {
        let name = name(random, settings);
        let taken = Catalogue::new(settings[0].version()).takes(&name);
        let unknown = kind == Kind::Any && random.once_in(20);
        let is_settable = || {
            let setting = Catalogue::new(settings[0].version()).get(&name);
            setting.is_none_or(|setting| !setting.is_refused_in_file())
        };
        if kind == Kind::Sound && !is_settable() {
            continue;
        }
        if (taken || unknown) && name.split('.').count() < 3 {
            break name;
        }
    };
    let setting = Catalogue::new(settings[0].version()).get(&name);
    let mut value = String::new();
    for _ in 0..if kind == Kind::Sound && !random.once_in(30) { 50 } else { 1 } {
        value = super::value(random, setting.as_ref()).replace('\n', "");
        if setting.is_none_or(|setting| setting.check_in_file(&value).is_ok()) {
            break;
        }
    }
    if random.once_in(400) {
        // Longer than the buffers of a lexer.
        value = value.repeat(20_000 / value.len().max(1));
    }
    let mut file = ConfFile::new(Vec::new());
    match file.set(&name, &value) {
        Ok(_) => file.to_bytes().trim_ascii_end().to_vec(),
        Err(_) => format!("{name} = 'x'").into_bytes(),
    }
}

/// Whether a server reads the line and knows the name.
fn is_readable(line: &[u8], settings: &[Setting]) -> bool {
    let file = ConfFile::new(line);
    let name = file.line(0).and_then(|line| line.name());
    file.syntax_errors().next().is_none()
        && name.is_none_or(|name| Catalogue::new(settings[0].version()).takes(name))
}

/// A line of a file, in any spelling.
fn line(random: &mut Random, settings: &[Setting]) -> Vec<u8> {
    let name = name(random, settings);
    let version = settings.first().map_or(PgVersion::NEWEST, Setting::version);
    let setting = Catalogue::new(version).get(&name);
    let value = value(random, setting.as_ref());
    let blank = random.pick(&["", "", "", " ", "\t", "  "]);
    let equals = random.pick(&[" = ", " = ", " = ", "=", " ", "\t", "", " == ", "\u{c}= "]);
    let value = match random.below(10) {
        0..3 => value,
        3 => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
        4 => format!("'{}'", value.chars().map(escaped).collect::<String>()),
        5 => format!("'{value}"),
        6 => format!("'{}'", escapes(random)),
        _ => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
    };
    let tail = random.pick(&["", "", "", "", " ", " # c", "# c", "\r", " x", " 'x'", ";", "\0"]);
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

/// What may stand between quotes.
fn escapes(random: &mut Random) -> String {
    const PIECES: [&str; 30] = [
        "\\", "''", "'", "\\'", "\\\\", "\\n", "\\t", "\\r", "\\b", "\\f", "\\v", "\\a", "\\0",
        "\\00", "\\000", "\\1", "\\60", "\\101", "\\377", "\\400", "\\777", "\\8", "\\18", "\\x41",
        "\\u00e9", "a", "#", "=", "\0", "\r",
    ];
    (0..random.below(7)).map(|_| random.pick(&PIECES)).collect()
}
