//! Passwords leave no trace: not in the memory of the process, not in anything that is printed.
#![cfg(feature = "fs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    env,
    fmt::{Debug, Display},
    fs::{self, File, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use passfile::{
    EditError, EntryError, Field, FileStatus, HostListError, Key, Libpq, NewEntry, PassFile,
    fs::{Stored, open},
};

/// The password, masked: it stands nowhere in the program.
const MASKED: [u8; 30] = *b"\x24\x10\x6b\x23\x02\x36\x3a\x11\x7f\x0d\x62\x35\x16\x25\x60\x3b\x08\x21\x33\x07\x68\x2c\x1b\x31\x61\x14\x3e\x0f\x26\x1d";
const MASK: u8 = 0x55;
/// Tells the program that is run again which file to read.
const FOLDER: &str = "PASSFILE_TEST_SECRET";

fn password() -> String {
    MASKED.iter().map(|byte| char::from(byte ^ MASK)).collect()
}

/// How often the password stands in this process's memory.
fn occurrences() -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = BufReader::new(File::open("/proc/self/maps").unwrap());
    let maps: Vec<String> = maps.lines().map(Result::unwrap).collect();
    let mut count = 0;
    for map in maps.iter().filter(|map| map.contains(" rw")) {
        let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let address = |hex: &str| usize::from_str_radix(hex, 16).unwrap();
        let mut bytes = vec![0; address(end) - address(start)];
        // Some pages cannot be read.
        if memory.read_exact_at(&mut bytes, address(start).try_into().unwrap()).is_ok() {
            let masked = |window: &&[u8]| window.iter().zip(MASKED).all(|(a, b)| a ^ MASK == b);
            count += bytes.windows(MASKED.len()).filter(masked).count();
        }
        // Not to be found in the copy.
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
    count
}

/// Everything that may touch a password, but what hands it out of the crate.
fn use_the_file(path: &Path) {
    let libpq = Libpq::default();
    let key = Key::new("bob").host("db1");
    let file = open(path).unwrap();
    let found = file.lookup(&key, &libpq).unwrap();
    assert_eq!(found.password().expose().len(), MASKED.len() + 1);
    assert!(occurrences() > 0, "the search itself does not work");
    let password = found.into_password().into_owned();
    let line = file.trace(&key, &libpq).into_found().unwrap().line();
    assert_eq!(file.lint(&libpq, None).len(), 1);
    let mut copy = file.clone();
    let again = file.prepare(libpq.clone());
    assert!(again.lookup(&key).unwrap().password() == &password);
    copy.push(&NewEntry::new(password.expose()).host("db2")).unwrap();
    copy.replace(line, &NewEntry::new(password.expose())).unwrap();
    for host in 0..50_u16 {
        copy.set(&NewEntry::new(password.expose()).host(host)).unwrap();
    }
    copy.move_line(2, 1).unwrap();
    copy.remove(3).unwrap();
    assert!(copy.to_bytes().len() > 50 * MASKED.len());
    let joined = open(&path.with_extension("joined")).unwrap();
    assert!(joined.lookup(&key, &libpq).unwrap().password() == &password);

    let mut stored = Stored::open(path).unwrap();
    stored.file.set(&NewEntry::new(password.expose()).user("bob")).unwrap();
    assert!(stored.save().unwrap());
}

#[test]
fn nothing_stays_in_memory() {
    if let Some(folder) = env::var_os(FOLDER) {
        use_the_file(&PathBuf::from(folder).join("pgpass"));
        assert_eq!(occurrences(), 0, "the password is still there");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    // With an escape, so that it is copied; once more with a NUL, so that lines are joined.
    let password = password();
    for (path, host) in [(&path, "db1"), (&path.with_extension("joined"), "d\0\nb1")] {
        fs::write(path, format!("# mine\n{host}:*:*:*:{password}\\:\nx:*:*:*:\n")).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "nothing_stays_in_memory", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    assert!(!printed.contains(&password));
}

#[derive(Default)]
struct Printed(String);

impl Printed {
    fn debug(&mut self, value: &impl Debug) {
        self.0 += &format!("{value:?}\n{value:#?}\n");
    }

    fn both(&mut self, value: &(impl Debug + Display)) {
        self.debug(value);
        self.0 += &format!("{value}\n");
    }
}

#[test]
fn nothing_prints_a_password() {
    let secret = password();
    let libpq = Libpq::default();
    let key = Key::new("bob").host("db1");
    // Where it belongs, and where it does not.
    let lines = format!(
        "db1:5432:app:{secret}\n{secret}:*:*:*:x\n {secret}\n#{secret}\ndb1:*:*:bob:{secret}\n\
         db2:*:{secret}:{secret}:\\{secret} #{secret}:{secret}\ndb2\0{secret}\n{secret}"
    );
    let mut printed = Printed::default();
    let mut file = PassFile::parse(lines).unwrap();
    printed.debug(&file);
    let trace = file.trace(&key, &libpq);
    assert_eq!(trace.found().unwrap().password().expose(), secret.as_bytes());
    printed.both(&trace);
    trace.lines().iter().for_each(|line| printed.both(line));
    printed.debug(&file.lookup(&key, &libpq));
    printed.debug(&file.lookup(&key, &libpq).map(passfile::Found::into_password));
    for entry in file.entries(&libpq) {
        printed.debug(&entry);
        printed.debug(&entry.password());
    }
    let findings = file.lint(&libpq, Some(FileStatus::plain(0o644)));
    assert!(findings.len() > 5);
    findings.iter().for_each(|finding| printed.both(finding));
    printed.debug(&file.clone().prepare(libpq.clone()));

    let entry = NewEntry::new(&secret).host("db1").port(Field::Any);
    printed.debug(&entry);
    let with_line_feed = format!("{secret}\n");
    let bad = NewEntry::new(&with_line_feed);
    let error: EntryError = bad.to_line().unwrap_err();
    printed.both(&error);
    let error: EditError = file.push(&bad).unwrap_err();
    printed.both(&error);
    printed.both(&file.remove(1_000).unwrap_err());
    printed.debug(&file.set(&entry));
    printed.both(&HostListError::Ports { ports: 2, hosts: 3 });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let mut stored = Stored::open_or_new(&path).unwrap();
    stored.file.push(&entry).unwrap();
    stored.save().unwrap();
    printed.debug(&stored);
    printed.debug(&open(&path).unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    printed.both(&open(&path).unwrap_err());
    fs::write(&path, &secret).unwrap();
    printed.both(
        &stored.save().map(drop).and_then(|()| Stored::open(path.join("x")).map(drop)).unwrap_err(),
    );

    assert!(printed.0.len() > 1_000);
    assert!(!printed.0.contains(&secret), "{}", printed.0);
    // Neither a part of it, nor its bytes as numbers.
    assert!(!printed.0.contains(&secret[..10]) && !printed.0.contains(&secret[20..]));
    let numbers = format!("{:?}", &secret.as_bytes()[..4]);
    assert!(!printed.0.contains(numbers.trim_matches(['[', ']'])), "{}", printed.0);
}
