//! Entries written by us, read back by every libpq of this machine.

use passfile::{NewEntry, PassFile};
use pgtest::libpq::Libpq;
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

/// Bytes that mean something in a password file more often than not. No comma, which in a host
/// begins another one, and no slash, which in a host begins a socket folder.
fn value(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b":\\*# \r\t".to_vec()),
        2 => prop::sample::select(b"abc019".to_vec()),
        1 => (1..=255_u8).prop_filter("", |byte| !b"\n,/".contains(byte)),
    ];
    vec(byte, length)
}

#[test]
fn every_libpq_reads_what_is_written() {
    let entry =
        (value(1..9), value(1..6), value(1..9), value(0..9), value(0..300), any::<[bool; 3]>());
    let mut runner = TestRunner::deterministic();
    let entries: Vec<_> =
        (0..300).map(|_| entry.new_tree(&mut runner).unwrap().current()).collect();

    let mut file = PassFile::new();
    let mut asked = Vec::new();
    for (number, (host, port, dbname, user, password, given)) in entries.iter().enumerate() {
        // A user of its own: no other entry matches.
        let user = [user, number.to_string().as_bytes()].concat();
        let mut new = NewEntry::new(password).user(user.clone());
        if given[0] {
            new = new.host(&host[..]);
        }
        if given[1] {
            new = new.port(&port[..]);
        }
        if given[2] {
            new = new.dbname(&dbname[..]);
        }
        file.push(&new).unwrap();
        // An address that is none: libpq gives up, after it has looked the password up.
        let hostaddr = b"!".to_vec();
        let names = ["host", "hostaddr", "port", "dbname", "user"];
        let values = [host.clone(), hostaddr, port.clone(), dbname.clone(), user];
        asked.push((names.into_iter().zip(values).collect::<Vec<_>>(), password));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let mut stored = passfile::fs::Stored::open_or_new(&path).unwrap();
    stored.file = file;
    stored.save().unwrap();

    for installation in pgtest::find_each_major().unwrap() {
        let libpq = Libpq::load(&installation).unwrap();
        for (params, password) in &asked {
            let mut params = params.clone();
            params.push(("passfile", path.to_str().unwrap().into()));
            let read = libpq.lookup_password(&params).unwrap().unwrap_or_default();
            assert_eq!(read, **password, "{params:?} read by libpq {}", libpq.version());
        }
    }
}
