//! What holds for every file, whatever is in it.

use pg_version::PgVersion;
use pgconf::{
    Catalogue, Change, ConfFile, Configuration, EditError, LineKind, ListKind, Unset, join_list,
    split_list,
};
use proptest::{collection::vec, prelude::*};
use textfile::MemoryFiles;

/// Pieces of which files are made, so that they are often nearly right.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 34] = [
        b"work_mem",
        b"Work_Mem",
        b"sort_mem",
        b"port",
        b"a.b",
        b"=",
        b" = ",
        b" ",
        b"\t",
        b"\n",
        b"\n",
        b"\r\n",
        b"'",
        b"''",
        b"\\",
        b"\\'",
        b"\\n",
        b"\\101",
        b"#",
        b"# c",
        b"4MB",
        b"1.5",
        b"-1",
        b"0x1F",
        b"on",
        b"'x'",
        b"'it''s'",
        b"include 'x.conf'",
        b"include_dir 'd'",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b".",
        b"#work_mem = 1 # d",
    ];
    let piece = prop_oneof![
        9 => proptest::sample::select(PIECES.to_vec()).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..12).prop_map(|mut bytes| {
        bytes.retain(|byte| !matches!(byte, b'\n' | 0));
        bytes
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["work_mem", "WORK_MEM", "a.b", "port", "new_one"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn parsing_loses_nothing(bytes in text()) {
        let file = ConfFile::new(bytes.clone());
        assert_eq!(file.to_bytes().as_ref(), &bytes[..]);
        let lines: Vec<u8> = file.document().lines().flat_map(|line| line.bytes().to_vec()).collect();
        assert_eq!(lines, bytes);
        for line in file.lines() {
            assert_eq!(line.value().is_some(), !matches!(
                line.kind(),
                LineKind::Blank | LineKind::Comment | LineKind::Error
            ));
        }
    }

    #[test]
    fn what_is_set_is_read_back(bytes in text(), name in name(), value in value()) {
        let mut file = ConfFile::new(bytes);
        let lines = |file: &ConfFile| -> Vec<Vec<u8>> {
            file.document().lines().map(|line| line.bytes().to_vec()).collect()
        };
        let before = lines(&file);
        let edit = file.set(name, &value).unwrap();
        assert_eq!(file.get(name).as_deref(), Some(&value[..]));
        // As it would be read from disk.
        let read = ConfFile::new(file.to_bytes().into_owned());
        assert_eq!(read.get(name).as_deref(), Some(&value[..]));
        let line = read.line(edit.line - 1).unwrap();
        assert_eq!(line.value().as_deref(), Some(&value[..]));
        // Every other line is what it was.
        let after = lines(&file);
        let added = usize::from(edit.change == Change::Added);
        assert_eq!(after.len(), before.len() + added);
        for (index, line) in before.iter().enumerate() {
            if index + 1 != edit.line {
                // An edit may end the last line.
                assert!(after[index].starts_with(line));
            }
        }
        // Once more changes nothing.
        let bytes = file.to_bytes().into_owned();
        assert_eq!(file.set(name, &value).unwrap().change, Change::None);
        assert_eq!(file.to_bytes().as_ref(), &bytes[..]);
    }

    #[test]
    fn what_is_unset_is_gone(bytes in text(), name in name(), comment_out in any::<bool>()) {
        let how = if comment_out { Unset::CommentOut } else { Unset::Remove };
        let mut file = ConfFile::new(bytes);
        let others = |file: &ConfFile| -> Vec<Vec<u8>> {
            file.lines()
                .filter(|line| {
                    line.kind() == LineKind::Setting
                        && !line.name().is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
                })
                .map(|line| line.text().to_vec())
                .collect()
        };
        let before = others(&file);
        file.unset(name, how).unwrap();
        assert_eq!(file.get(name), None);
        assert_eq!(others(&file), before);
        let bytes = file.to_bytes().into_owned();
        assert_eq!(file.unset(name, how).unwrap().change, Change::None);
        assert_eq!(ConfFile::new(bytes.clone()).get(name), None);
        assert_eq!(file.to_bytes().as_ref(), &bytes[..]);
    }

    #[test]
    fn names_and_values_that_cannot_be_written_change_nothing(
        bytes in text(),
        name in vec(any::<u8>(), 0..6),
        value in vec(any::<u8>(), 0..6),
    ) {
        let mut file = ConfFile::new(bytes.clone());
        match file.set(&name, &value) {
            Ok(_) => assert_eq!(file.get(&name).as_deref(), Some(&value[..])),
            Err(EditError::LineFeed { at }) => assert_eq!(value[at], b'\n'),
            Err(EditError::Nul { at }) => assert_eq!(value[at], 0),
            Err(_) => assert_eq!(file.to_bytes().as_ref(), &bytes[..]),
        }
    }

    #[test]
    fn a_configuration_keeps_to_its_word(
        main in text(),
        included in text(),
        auto in text(),
        name in name(),
        value in "[0-9]{1,5}",
    ) {
        let mut files = MemoryFiles::default();
        files.insert("/c/postgresql.conf", main);
        files.insert("/c/x.conf", included.clone());
        files.insert("/c/d/1.conf", included);
        files.insert("/d/postgresql.auto.conf", auto.clone());
        let mut conf =
            Configuration::read(&files, "/c/postgresql.conf", Some(b"/d"), PgVersion::V17);
        let Ok(outcome) = conf.set(name, &value) else { return Ok(()) };
        let overridden = outcome.warnings.iter().any(|warning| matches!(
            warning,
            pgconf::Warning::AlterSystemWins { .. } | pgconf::Warning::LaterFileWins { .. }
        ));
        if !overridden {
            assert_eq!(conf.get(name).as_deref(), Some(value.as_bytes()));
        }
        for (path, file) in conf.edited() {
            assert!(path != b"/d/postgresql.auto.conf");
            files.insert(path, file.to_bytes().into_owned());
        }
        // What is edited in memory is what is read afterwards.
        let mut again =
            Configuration::read(&files, "/c/postgresql.conf", Some(b"/d"), PgVersion::V17);
        assert_eq!(again.get(name), conf.get(name));
        assert_eq!(again.file_settings(), conf.file_settings());
        assert_eq!(again.set(name, &value).unwrap().change, Change::None);
        assert_eq!(again.edited().count(), 0);
    }

    #[test]
    fn lists_come_back(elements in vec("[ -~é]{0,20}", 0..5), version in 12_u16..=18) {
        let version = PgVersion::try_from(version).unwrap();
        for kind in [ListKind::Identifiers, ListKind::Paths, ListKind::Words] {
            let list = join_list(kind, &elements);
            let split = split_list(version, kind, &list).unwrap();
            let wanted: Vec<_> = elements.iter().map(|e| e.as_bytes().to_vec()).collect();
            assert_eq!(split, wanted);
        }
    }

    /// What the server shows of a value is a value, and the same one.
    #[test]
    fn canonical_values_are_values(number in -10_i64..3_000_000_000, pick in any::<usize>()) {
        let settings: Vec<_> = Catalogue::new(PgVersion::V18).settings().collect();
        let setting = settings[pick % settings.len()];
        let Ok(checked) = setting.check(number.to_string()) else { return Ok(()) };
        if setting.name() == "seed" {
            return Ok(());
        }
        for form in [checked.canonical(), checked.show()] {
            let again = setting.check(form);
            assert!(again.is_ok(), "{}: {:?}", setting.name(), form);
            assert_eq!(again.unwrap().canonical(), checked.canonical());
        }
    }
}

/// Files that include each other cleverly would take a server years.
#[test]
fn includes_without_end_have_an_end() {
    let mut files = MemoryFiles::default();
    files.insert("/postgresql.conf", "include 'a.conf'\n");
    files.insert("/a.conf", "include 'b.conf'\nport = 1\n".repeat(100));
    files.insert("/b.conf", "include 'a.conf'\nport = 2\n".repeat(100));
    let conf = Configuration::read(&files, "/postgresql.conf", None, PgVersion::V17);
    let is_limit = |problem: pgconf::Problem| matches!(problem, pgconf::Problem::Limit);
    assert_eq!(conf.problems().filter(|problem| is_limit(problem.what.clone())).count(), 1);
    assert!(conf.occurrences().count() < 1_100_000);
}

/// Every setting's default is a value of it, but where it stands for "not given".
#[test]
fn defaults_are_values() {
    for version in PgVersion::ALL {
        for setting in Catalogue::new(version).settings() {
            let Some(default) = setting.default() else { continue };
            let checked = setting.check(default);
            assert!(checked.is_ok(), "{} {version}: {default}: {checked:?}", setting.name());
            assert!(setting.default_shown().is_some());
            assert_eq!(Catalogue::new(version).get(setting.name().to_uppercase()), Some(setting));
        }
    }
}
