//! Edits: what they write is read back, what they do not touch stays.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use passfile::{
    Change, EditError, EntryError, Field, FieldName, Key, Libpq, NewEntry, PassFile, PgVersion,
};
use proptest::{collection::vec, prelude::*};

fn file(bytes: impl Into<Vec<u8>>) -> PassFile {
    PassFile::parse(bytes).unwrap()
}

fn text(file: &PassFile) -> String {
    String::from_utf8(file.to_bytes().to_vec()).unwrap()
}

fn found(file: &PassFile, key: &Key<'_>, version: PgVersion) -> Option<Vec<u8>> {
    file.lookup(key, &Libpq::new(version)).map(|found| found.password().expose().to_vec())
}

#[test]
fn escapes_what_has_to_be() {
    for (entry, line) in [
        (NewEntry::new("pw"), "*:*:*:*:pw"),
        (NewEntry::new("").host("h"), "h:*:*:*:"),
        (NewEntry::new(r"a:b\c#d e"), r"*:*:*:*:a\:b\\c#d e"),
        (NewEntry::new("x").host("#h"), r"\#h:*:*:*:x"),
        (NewEntry::new("x").user("#h"), "*:*:*:#h:x"),
        (NewEntry::new("*").host("*").user("**"), r"\*:*:*:**:*"),
        (NewEntry::new("x").host("::1").port(5432).dbname("d"), r"\:\:1:5432:d:*:x"),
        (NewEntry::new("x").host(Field::Any).dbname(" d "), "*:*: d :*:x"),
        (NewEntry::new("x\r"), "*:*:*:*:x\r:"),
        (NewEntry::new("x\ry"), "*:*:*:*:x\ry"),
    ] {
        assert_eq!(entry.to_line().unwrap().as_slice(), line.as_bytes(), "{entry:?}");
    }
}

#[test]
fn refuses_what_cannot_be_written() {
    let line_feed = |field| EntryError::LineFeed { field };
    for (entry, error) in [
        (NewEntry::new("p\nw"), line_feed(FieldName::Password)),
        (NewEntry::new("p").host("a\nb"), line_feed(FieldName::Host)),
        (NewEntry::new("p\0w"), EntryError::Nul { field: FieldName::Password }),
        (NewEntry::new("p").user("a\0"), EntryError::Nul { field: FieldName::User }),
        (NewEntry::new("p").dbname(""), EntryError::EmptyField { field: FieldName::Database }),
    ] {
        assert_eq!(entry.to_line().err(), Some(error));
        let mut file = file("a:b:c:d:e");
        assert_eq!(file.push(&entry), Err(EditError::Entry(error)));
        assert_eq!(file.set(&entry), Err(EditError::Entry(error)));
        assert_eq!(file.replace(1, &entry), Err(EditError::Entry(error)));
        assert_eq!(text(&file), "a:b:c:d:e");
    }
}

/// What libpq matches, whatever its fields look like: an address of which the colons are not escaped.
#[test]
fn set_finds_what_libpq_matches() {
    let any_port = NewEntry::new("new").host("::1").user("bob");
    let app = any_port.clone().port(5432).dbname("app");
    for (before, entry, change, after) in [
        ("::1:*:*:bob:old\n", &any_port, Change::Replaced { line: 1 }, "\\:\\:1:*:*:bob:new\n"),
        ("::1:*:*:bob:new\n", &any_port, Change::Unchanged { line: 1 }, "::1:*:*:bob:new\n"),
        (
            "::1:5432:app:bob:old\n",
            &app,
            Change::Replaced { line: 1 },
            "\\:\\:1:5432:app:bob:new\n",
        ),
        // It is for more than the entry asks for.
        (
            "::1:*:*:*:old\n",
            &any_port,
            Change::Added { line: 1 },
            "\\:\\:1:*:*:bob:new\n::1:*:*:*:old\n",
        ),
        (
            "::1:*:*:bob:old\n*:*:*:*:any\n::\\1:*:*:bob:older\n",
            &any_port,
            Change::Replaced { line: 1 },
            "\\:\\:1:*:*:bob:new\n*:*:*:*:any\n",
        ),
        // It is for less: another port is searched for further on.
        (
            "::1:5432:*:bob:old\n",
            &any_port,
            Change::Added { line: 2 },
            "::1:5432:*:bob:old\n\\:\\:1:*:*:bob:new\n",
        ),
        // It may be meant otherwise, as the password of host a: it stays.
        (
            "a:*:p:d:u:old\n",
            &NewEntry::new("new").host("a:*").port("p").dbname("d").user("u"),
            Change::Added { line: 1 },
            "a\\:*:p:d:u:new\na:*:p:d:u:old\n",
        ),
    ] {
        let mut file = file(before);
        assert_eq!(file.set(entry).unwrap(), change, "{before}");
        assert_eq!(text(&file), after, "{before}");
        assert!(matches!(file.set(entry), Ok(Change::Unchanged { .. })), "{before}");
    }
}

/// Before, what is done, after.
#[test]
fn edits_of_lines() {
    type Edit = fn(&mut PassFile) -> Result<(), EditError>;
    let cases: [(&str, Edit, &str); 9] = [
        ("a\nb\n", |f| f.push(&NewEntry::new("p")).map(drop), "a\nb\n*:*:*:*:p\n"),
        ("a\r\nb", |f| f.push(&NewEntry::new("p")).map(drop), "a\r\nb\r\n*:*:*:*:p\r\n"),
        ("", |f| f.push(&NewEntry::new("p")).map(drop), "*:*:*:*:p\n"),
        ("a\nb", |f| f.insert(1, &NewEntry::new("p")), "*:*:*:*:p\na\nb\n"),
        ("a\nb", |f| f.replace(2, &NewEntry::new("p")), "a\n*:*:*:*:p\n"),
        ("a\r\nb\n", |f| f.replace(1, &NewEntry::new("p")), "*:*:*:*:p\r\nb\n"),
        ("a\nb\nc", |f| f.remove(2), "a\nc\n"),
        ("a\nb\nc", |f| f.move_line(3, 1), "c\na\nb\n"),
        ("a\nb\nc\n", |f| f.move_line(1, 3), "b\nc\na\n"),
    ];
    for (before, edit, after) in cases {
        let mut file = file(before);
        edit(&mut file).unwrap();
        assert_eq!(text(&file), after, "{before:?}");
    }
}

#[test]
fn there_is_no_line_0_nor_one_past_the_end() {
    let mut file = file("a\nb\n");
    let entry = NewEntry::new("p");
    let missing = |line| Err(EditError::NoSuchLine { line, lines: 2 });
    for line in [0, 3, usize::MAX] {
        assert_eq!(file.replace(line, &entry), missing(line));
        assert_eq!(file.remove(line), missing(line));
        assert_eq!(file.move_line(line, 1), missing(line));
        assert_eq!(file.move_line(1, line), missing(line));
    }
    assert_eq!(file.insert(0, &entry), missing(0));
    assert_eq!(file.insert(4, &entry), missing(4));
    assert_eq!(text(&file), "a\nb\n");
}

#[test]
fn set_puts_an_entry_where_it_is_reached() {
    let entry = || NewEntry::new("new").host("h").port(5432).dbname("d").user("u");
    for (before, change, after) in [
        ("", Change::Added { line: 1 }, "h:5432:d:u:new\n"),
        ("# c\n", Change::Added { line: 2 }, "# c\nh:5432:d:u:new\n"),
        ("h:5432:d:u:new", Change::Unchanged { line: 1 }, "h:5432:d:u:new"),
        ("h:5432:d:u:new:extra\r\n", Change::Unchanged { line: 1 }, "h:5432:d:u:new:extra\r\n"),
        ("h:5432:d:u:old\nx\n", Change::Replaced { line: 1 }, "h:5432:d:u:new\nx\n"),
        // The same, spelt otherwise.
        (r"\h:5432:d:\u:old", Change::Replaced { line: 1 }, "h:5432:d:u:new\n"),
        ("h:*:d:u:any\n", Change::Added { line: 1 }, "h:5432:d:u:new\nh:*:d:u:any\n"),
        ("x\n*:*:*:*:\n", Change::Added { line: 2 }, "x\nh:5432:d:u:new\n*:*:*:*:\n"),
        // What was hidden behind another, and what is left over.
        (
            "*:*:*:u:a\nh:5432:d:u:old\nx\nh:5432:d:u:older\n",
            Change::Added { line: 1 },
            "h:5432:d:u:new\n*:*:*:u:a\nx\n",
        ),
        ("h:5432:d:u:new\nh:5432:d:u:old\n", Change::Unchanged { line: 1 }, "h:5432:d:u:new\n"),
        // Another host's entry, and a comment, are let alone.
        (
            "#h:5432:d:u:c\nH:5432:d:u:c\n",
            Change::Added { line: 3 },
            "#h:5432:d:u:c\nH:5432:d:u:c\nh:5432:d:u:new\n",
        ),
    ] {
        let mut file = file(before);
        assert_eq!(file.set(&entry()), Ok(change), "{before:?}");
        assert_eq!(text(&file), after, "{before:?}");
        let Ok(Change::Unchanged { .. }) = file.set(&entry()) else { panic!("{before:?}") };
        assert_eq!(text(&file), after, "{before:?}");
    }
}

#[test]
fn set_of_wildcards_goes_before_what_hides_it() {
    let mut file = file("h:*:*:u:one\n*:*:*:*:all\n");
    let entry = NewEntry::new("new").user("u");
    assert_eq!(file.set(&entry), Ok(Change::Added { line: 2 }));
    assert_eq!(text(&file), "h:*:*:u:one\n*:*:*:u:new\n*:*:*:*:all\n");
}

/// A last line of 255 bytes without a line feed is lost to libpq: setting brings it back.
#[test]
fn set_revives_a_lost_line() {
    let password = "p".repeat(255 - "h:*:*:*:".len());
    let mut file = file(format!("h:*:*:*:{password}"));
    let key = Key::new("u").host("h");
    assert_eq!(file.lookup(&key, &Libpq::default()), None);
    assert_eq!(file.set(&NewEntry::new(&password).host("h")), Ok(Change::Replaced { line: 1 }));
    assert_eq!(file.lookup(&key, &Libpq::default()).map(|found| found.line()), Some(1));
}

#[test]
fn nothing_is_written_after_a_nul() {
    let mut file = file("a\0b\nh:*:*:*:x\nc\0\n");
    let entry = NewEntry::new("p").host("h");
    let before = file.to_bytes();
    assert_eq!(file.push(&entry), Err(EditError::AfterNul { line: 3 }));
    assert_eq!(file.insert(2, &entry), Err(EditError::AfterNul { line: 1 }));
    assert_eq!(file.move_line(1, 2), Err(EditError::AfterNul { line: 1 }));
    assert_eq!(file.to_bytes(), before);
    // Removing one of the two lines that libpq reads as one removes both.
    file.remove(2).unwrap();
    assert_eq!(*file.to_bytes(), *b"c\0\n");
    file.replace(1, &entry).unwrap();
    assert_eq!(*file.to_bytes(), *b"h:*:*:*:p\n");
}

/// Bytes that make trouble more often than not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b":\\*# \r\t".to_vec()),
        2 => prop::sample::select(b"abc019".to_vec()),
        1 => (1..=255_u8).prop_filter("line feed", |byte| *byte != b'\n'),
    ];
    vec(byte, 1..12)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b":\\*# \r\nhpdu".to_vec()),
        1 => any::<u8>(),
    ];
    prop_oneof![vec(byte, 0..120), (0..600_usize).prop_map(|length| vec![b'x'; length]),]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the file holds: what was set is what every libpq finds.
    #[test]
    fn what_is_set_is_found(
        content in content(),
        fields in [value(), value(), value(), value()],
        password in prop_oneof![1 => Just(Vec::new()), 9 => value()],
    ) {
        let mut file = file(content);
        let [host, port, dbname, user] = fields.each_ref().map(Vec::as_slice);
        let entry =
            NewEntry::new(&password).host(host).port(port).dbname(dbname).user(user);
        match file.set(&entry) {
            Err(EditError::AfterNul { .. }) => return Ok(()),
            result => result.map(drop).unwrap(),
        }
        let key = Key::new(user).host(host).port(port).dbname(dbname);
        for version in PgVersion::ALL {
            let found = found(&file, &key, version);
            prop_assert_eq!(found.as_ref(), Some(&password), "{}", version);
        }
        let after = file.to_bytes();
        let again = matches!(file.set(&entry), Ok(Change::Unchanged { .. }));
        prop_assert!(again);
        prop_assert_eq!(file.to_bytes(), after);
    }

    #[test]
    fn unedited_bytes_are_the_same(content in vec(any::<u8>(), 0..400)) {
        let file = file(content.clone());
        prop_assert_eq!(file.as_bytes(), Some(&content[..]));
        prop_assert_eq!(file.to_bytes().to_vec(), content);
    }

    /// The trace and the lookup agree, and every line of the file is in the trace once.
    #[test]
    fn trace_agrees_with_lookup(content in content(), user in value()) {
        let file = file(content);
        let key = Key::new(&user[..]).host("h").port("p").dbname("d");
        for version in [PgVersion::V12, PgVersion::V18] {
            let trace = file.trace(&key, &Libpq::new(version));
            let found = file.lookup(&key, &Libpq::new(version));
            prop_assert_eq!(trace.found(), found.as_ref());
            let lines: Vec<usize> =
                trace.lines().iter().flat_map(|line| line.line..=line.last_line).collect();
            prop_assert_eq!(lines, (1..=file.line_count()).collect::<Vec<_>>());
        }
    }

    /// The prepared form finds what the plain one finds.
    #[test]
    fn prepared_agrees_with_lookup(
        lines in vec((vec(part(), 4..8), "[ab:\\\\]{0,3}"), 0..12),
        fields in [part(), part(), part(), part()],
    ) {
        let lines: Vec<String> =
            lines.iter().map(|(fields, end)| format!("{}{end}", fields.join(":"))).collect();
        let file = file(lines.join("\n"));
        let [host, port, dbname, user] = &fields;
        let key = Key::new(user).host(host).port(port).dbname(dbname);
        let prepared = file.clone().prepare(Libpq::default());
        prop_assert_eq!(prepared.lookup(&key), file.lookup(&key, &Libpq::default()));
    }
}

/// A field that often is another line's too.
fn part() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "*", "*", "a", "b", "a:b", ":", r"a\:b", r"\*", r"\a", "", r"\", "a\0",
    ])
    .prop_map(str::to_owned)
}
