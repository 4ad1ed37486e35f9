//! `postgresql.conf`.
#![expect(clippy::missing_panics_doc, reason = "how a target tells what it found")]

use pg_version::PgVersion;
use pgconf::{
    Catalogue, Change, ConfFile, Configuration, EditError, LineKind, Outcome, Unset, Value, Warning,
};
use textfile::MemoryFiles;

/// The first line holds a name and a value, separated by a tab; the rest is the file. Nothing is
/// lost, what is set is read back, all else stays, and twice is as good as once.
pub fn edit(data: &[u8]) {
    let (first, content) = split(data, b'\n');
    let (name, value) = split(first, b'\t');
    let file = ConfFile::new(content);
    assert_eq!(*file.to_bytes(), *content);
    assert_eq!(file.lines().count(), file.document().len());
    for line in file.lines() {
        let has_value = line.value().is_some() && line.name().is_some();
        let is_assignment =
            !matches!(line.kind(), LineKind::Blank | LineKind::Comment | LineKind::Error);
        assert_eq!(has_value, is_assignment);
    }
    for error in file.syntax_errors() {
        assert!(error.line <= file.document().len() && !error.to_string().is_empty());
    }

    let mut edited = file.clone();
    match edited.set(name, value) {
        Ok(edit) => {
            read_back(&edited, name, value);
            let added = usize::from(edit.change == Change::Added);
            assert_eq!(edited.document().len(), file.document().len() + added);
            // An edit may end the last line.
            let lines = file.document().lines().zip(edited.document().lines());
            for (index, (old, new)) in lines.enumerate() {
                assert!(index + 1 == edit.line || new.bytes().starts_with(old.bytes()));
            }
            let bytes = edited.to_bytes().into_owned();
            assert!(edited.set(name, value).is_ok_and(|edit| edit.change == Change::None));
            assert_eq!(*edited.to_bytes(), *bytes);
            for how in [Unset::CommentOut, Unset::Remove] {
                let mut unset = edited.clone();
                assert!(unset.unset(name, how).is_ok());
                assert!(unset.get(name).is_none());
                assert!(ConfFile::new(unset.to_bytes()).get(name).is_none());
                assert!(unset.set(name, value).is_ok());
                read_back(&unset, name, value);
            }
        }
        Err(error) => {
            let writable = !value.contains(&b'\n') && !value.contains(&0);
            assert!(
                !writable || matches!(error, EditError::Name { .. } | EditError::Directive { .. })
            );
            assert_eq!(*edited.to_bytes(), *content);
        }
    }
}

fn read_back(file: &ConfFile, name: &[u8], value: &[u8]) {
    assert_eq!(file.get(name).as_deref(), Some(value));
    assert_eq!(ConfFile::new(file.to_bytes()).get(name).as_deref(), Some(value));
}

/// Files one after the other, separated by a line of three dashes: the main file, `postgresql.auto.conf`,
/// included ones. Whatever they include, the crate comes to an end, agrees with itself in every
/// major, and an edit does what it says.
pub fn configuration(data: &[u8]) {
    const MANY: usize = 200;
    const NAMES: [&str; 5] = [
        "/c/postgresql.conf",
        "/d/postgresql.auto.conf",
        "/c/a.conf",
        "/c/d/1.conf",
        "/c/d/2.conf",
    ];
    let mut files = MemoryFiles::default();
    let mut rest = data;
    for name in NAMES {
        let end = rest.windows(5).position(|window| window == b"\n---\n");
        files.insert(name, &rest[..end.map_or(rest.len(), |end| end + 1)]);
        rest = end.map_or(&[], |end| &rest[end + 5..]);
    }
    for version in [PgVersion::V12, PgVersion::V15, PgVersion::V18] {
        let mut conf = Configuration::read(&files, NAMES[0], Some(b"/d"), version);
        let rows = conf.file_settings();
        assert!(
            rows.iter()
                .all(|row| row.name.is_some() != (row.error.is_some() && row.value.is_none()))
        );
        let catalogue = Catalogue::new(version);
        for occurrence in conf.occurrences() {
            if let Some(setting) = catalogue.get(occurrence.name)
                && let Ok(checked) = setting.check(&occurrence.value)
            {
                // What it is to the server is a value itself, but for what is shown in other words, and
                // for numbers so small that only hexadecimal digits can say them.
                let is_too_small =
                    matches!(checked.value(), Value::Real(value) if value.is_subnormal());
                assert!(
                    setting.name() == "seed"
                        || is_too_small
                        || setting.check(checked.canonical()).is_ok()
                );
            }
        }
        let _ = (conf.problems().count(), conf.invalid_values().count());
        if version == PgVersion::V15 {
            let _ = conf.upgrade(PgVersion::V16);
        }
        let Some(name) = conf.occurrences().next().map(|first| first.name.to_vec()) else {
            continue;
        };
        // Files that include each other cleverly take their time; once is enough to see the end.
        if conf.occurrences().nth(MANY).is_some() || conf.problems().nth(MANY).is_some() {
            continue;
        }
        type Edit<'a> = &'a dyn Fn(&mut Configuration) -> Result<Outcome, EditError>;
        let edits: [(Edit<'_>, Option<Option<&[u8]>>); 8] = [
            (&|conf| conf.set(&name, "1"), Some(Some(b"1"))),
            (&|conf| conf.set_in(NAMES[0], &name, "2"), Some(Some(b"2"))),
            (&|conf| conf.set_in(NAMES[1], &name, "2"), Some(Some(b"2"))),
            (&|conf| conf.set_in(NAMES[2], &name, "2"), Some(Some(b"2"))),
            (&|conf| conf.unset(&name, Unset::CommentOut), Some(None)),
            (&|conf| conf.unset(&name, Unset::Remove), Some(None)),
            (&|conf| conf.add_to_list("search_path", &name), None),
            (&|conf| conf.remove_from_list("search_path", "a"), None),
        ];
        for (edit, value) in edits {
            let before = conf.clone();
            let Ok(outcome) = edit(&mut conf) else { continue };
            let overridden = outcome.warnings.iter().any(|warning| {
                matches!(warning, Warning::AlterSystemWins { .. } | Warning::LaterFileWins { .. })
            });
            // What a list becomes, the properties of lists tell.
            let name = if value.is_some() { &name[..] } else { b"search_path" };
            if overridden && value == Some(None) {
                // What is left may have been behind what was taken out, in a file that only
                // postgresql.auto.conf includes.
                assert!(conf.get(name).is_some());
            } else if overridden {
                assert_eq!(conf.get(name), before.get(name));
            } else if let Some(value) = value {
                assert_eq!(conf.get(name).as_deref(), value);
            }
            assert_eq!(others(&conf, name), others(&before, name));
            assert!(conf.edited().all(|(path, _)| path != NAMES[1].as_bytes()));
            let after = conf.clone();
            assert!(edit(&mut conf).is_ok_and(|again| again.change == Change::None));
            for ((_, once), (_, twice)) in after.edited().zip(conf.edited()) {
                assert_eq!(once.to_bytes(), twice.to_bytes());
            }
        }
    }
}

/// Names and values of all other settings, in reading order.
fn others(conf: &Configuration, name: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let catalogue = Catalogue::new(conf.version());
    let current = |name| catalogue.current_name(name).to_ascii_lowercase();
    conf.occurrences()
        .filter(|occurrence| current(occurrence.name) != current(name))
        .map(|occurrence| (occurrence.name.to_vec(), occurrence.value.to_vec()))
        .collect()
}

/// Up to the first `mark`, and after it.
fn split(data: &[u8], mark: u8) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == mark).unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}
