//! Password files.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "how a target tells what it found"
)]

use passfile::{Change, EditError, Field, Key, Libpq, NewEntry, PassFile, PgVersion};

/// The first line holds what is searched for, separated by tabs; the rest is the file. However it
/// is looked up, the same is found, and nothing of the file is lost.
pub fn lookup(data: &[u8]) {
    let (key, content) = split_line(data);
    let file = parse(content);
    assert_eq!(file.as_bytes(), Some(content));
    assert_eq!(*file.to_bytes(), *content);
    let [host, port, dbname, user] = fields(key);
    let key = Key::new(user).host(host).port(port).dbname(dbname);
    for version in [PgVersion::V12, PgVersion::V13, PgVersion::V18] {
        let libpq = Libpq::new(version);
        let found = file.lookup(&key, &libpq);
        let trace = file.trace(&key, &libpq);
        assert_eq!(trace.found(), found.as_ref());
        let lines = trace.lines().iter().flat_map(|line| line.line..=line.last_line);
        assert!(lines.eq(1..=file.line_count()));
        for finding in file.lint(&libpq, None) {
            assert!(finding.line.is_some_and(|line| line <= file.line_count()));
        }
        if let Some(found) = &found {
            // A backslash more than the password has would be one too few in the file.
            assert!(found.password().expose().len() <= content.len());
            assert!(!found.password().expose().contains(&0));
        }
        let prepared = file.clone().prepare(libpq);
        assert_eq!(prepared.lookup(&key), found);
    }
}

/// The first line holds an entry's fields and password, separated by tabs; the rest is the file.
/// What is written is read back, whatever is in the file, and what is not touched stays.
pub fn edit(data: &[u8]) {
    let (entry, content) = split_line(data);
    let [host, port, dbname, user] = fields(entry);
    let password = entry.split(|byte| *byte == b'\t').nth(4).unwrap_or_default();
    let field = |value| if value == b"*" { Field::Any } else { Field::from(value) };
    let entry = NewEntry::new(password)
        .host(field(host))
        .port(field(port))
        .dbname(field(dbname))
        .user(field(user));
    let Ok(line) = entry.to_line() else { return };

    // Alone, it is found by its own values, a star by any.
    let mut alone = PassFile::new();
    alone.push(&entry).expect("an entry that can be written");
    assert_eq!(*alone.to_bytes(), [&line[..], b"\n"].concat());
    let key = Key::new(user).host(host).port(port).dbname(dbname);
    read_back(&alone, &key, password);

    let mut file = parse(content);
    let before = lines(&file);
    match file.set(&entry) {
        Ok(_) => {}
        Err(EditError::AfterNul { .. }) => return,
        Err(error) => panic!("{error}"),
    }
    // What a star stands for is anything that no line asks for by name: those may come first.
    let other = vec![b'o'; content.len() + 1];
    let value = |value| if value == b"*" { &other[..] } else { value };
    let key = Key::new(value(user)).host(value(host)).port(value(port)).dbname(value(dbname));
    read_back(&file, &key, password);
    let kept = lines(&file);
    let mut rest = before.iter();
    let others = kept.iter().filter(|kept| ***kept != *line.trim_ascii_end());
    // The other lines are those of before, in their order, perhaps fewer.
    for other in others {
        assert!(rest.any(|before| before == other), "a line that nobody wrote");
    }
    let after = file.to_bytes();
    assert!(matches!(file.set(&entry), Ok(Change::Unchanged { .. })));
    assert_eq!(file.to_bytes(), after);

    for number in 1..=file.line_count() {
        let mut edited = file.clone();
        match edited.replace(number, &entry) {
            Ok(()) => {
                let read = edited.entries(&Libpq::default()).find(|entry| entry.line() == number);
                let start = joined_start(&file, number);
                if start == number {
                    let read = read.expect("the entry just written");
                    assert_eq!(read.fields(), *entry.fields());
                    assert!(read.password() == *password);
                }
            }
            Err(EditError::AfterNul { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let mut edited = file.clone();
        edited.remove(number).expect("a line that is there");
        match edited.move_line(1, edited.line_count()) {
            Ok(()) | Err(EditError::AfterNul { .. } | EditError::NoSuchLine { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if number > 20 {
            break;
        }
    }
}

/// The first line of those that libpq reads as one with this one.
fn joined_start(file: &PassFile, number: usize) -> usize {
    let trace = file.trace(&Key::new("user"), &Libpq::default());
    let line = trace.lines().iter().find(|line| (line.line..=line.last_line).contains(&number));
    line.expect("each line is in the trace").line
}

fn read_back(file: &PassFile, key: &Key<'_>, password: &[u8]) {
    for version in PgVersion::ALL {
        // With a socket folder that no field can name.
        let libpq = Libpq::new(version).with_socket_dir("");
        let found = file.lookup(key, &libpq).expect("the entry is found");
        assert!(*found.password() == *password, "{version}");
    }
}

/// The lines without their ends: an edit may end the last one.
fn lines(file: &PassFile) -> Vec<Vec<u8>> {
    let bytes = file.to_bytes();
    let text = |line: &[u8]| line.trim_ascii_end().to_vec();
    bytes.split_inclusive(|byte| *byte == b'\n').map(text).collect()
}

fn parse(content: &[u8]) -> PassFile {
    PassFile::parse(content).expect("less than 4 GiB")
}

fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

fn fields(line: &[u8]) -> [&[u8]; 4] {
    let mut parts = line.split(|byte| *byte == b'\t');
    [(); 4].map(|()| parts.next().unwrap_or_default())
}
