//! Password files: 5,000 lines that do not match, and one at the end that does (the file that other
//! readers were measured with: libpq 16 takes 0.34 ms of it, asyncpg 17 ms).
//!
//! `cargo bench -p benches --bench passfile`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use divan::{Bencher, black_box, counter::BytesCount};
use passfile::{Key, Libpq, NewEntry, PassFile, fs};

fn main() {
    divan::main();
}

fn content() -> Vec<u8> {
    let mut lines: String =
        (0..5_000).map(|host| format!("h{host}:5439:app:bob:p{host}\n")).collect();
    lines += "db1:5439:app:bob:pw\n";
    lines.into_bytes()
}

fn key() -> Key<'static> {
    Key::new("bob").host("db1").port("5439").dbname("app")
}

/// Reading the file from disk, judging it, looking up: what libpq does for each host.
#[divan::bench]
fn open_and_look_up_last_line(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    let mut stored = fs::Stored::open_or_new(&path).unwrap();
    stored.file = PassFile::parse(content()).unwrap();
    stored.save().unwrap();
    let (key, libpq) = (key(), Libpq::default());
    bencher.counter(BytesCount::new(content().len())).bench_local(|| {
        let file = fs::open(black_box(&path)).unwrap();
        file.lookup(&key, &libpq).unwrap().line()
    });
}

/// The same from bytes in memory.
#[divan::bench]
fn parse_and_look_up_last_line(bencher: Bencher<'_, '_>) {
    let (key, libpq) = (key(), Libpq::default());
    let counter = BytesCount::new(content().len());
    bencher.counter(counter).with_inputs(content).bench_local_values(|content| {
        PassFile::parse(content).unwrap().lookup(&key, &libpq).unwrap().line()
    });
}

#[divan::bench]
fn look_up_last_line(bencher: Bencher<'_, '_>) {
    let file = PassFile::parse(content()).unwrap();
    let (key, libpq) = (key(), Libpq::default());
    bencher.bench_local(|| file.lookup(black_box(&key), &libpq).unwrap().line());
}

#[divan::bench]
fn look_up_last_line_prepared(bencher: Bencher<'_, '_>) {
    let file = PassFile::parse(content()).unwrap().prepare(Libpq::default());
    let key = key();
    bencher.bench_local(|| file.lookup(black_box(&key)).unwrap().line());
}

/// With a line for each of the 16 combinations of stars.
#[divan::bench]
fn look_up_prepared_all_wildcards(bencher: Bencher<'_, '_>) {
    let mut content = content();
    for stars in 0..16_u8 {
        let fields: Vec<&str> =
            (0..4).map(|field| if stars & (1 << field) == 0 { "x" } else { "*" }).collect();
        content.extend(format!("{}:pw\n", fields.join(":")).bytes());
    }
    let file = PassFile::parse(content).unwrap().prepare(Libpq::default());
    let key = key();
    bencher.bench_local(|| file.lookup(black_box(&key)).unwrap().line());
}

#[divan::bench]
fn prepare(bencher: Bencher<'_, '_>) {
    let file = PassFile::parse(content()).unwrap();
    bencher.with_inputs(|| file.clone()).bench_local_values(|file| file.prepare(Libpq::default()));
}

/// A new password in the middle of the file.
#[divan::bench]
fn set_in_the_middle(bencher: Bencher<'_, '_>) {
    let file = PassFile::parse(content()).unwrap();
    let entry = NewEntry::new("new").host("h2500").port(5439).dbname("app").user("bob");
    bencher.with_inputs(|| file.clone()).bench_local_refs(|file| file.set(&entry).unwrap());
}

#[divan::bench]
fn lint(bencher: Bencher<'_, '_>) {
    let file = PassFile::parse(content()).unwrap();
    bencher.bench_local(|| file.lint(&Libpq::default(), None).len());
}
