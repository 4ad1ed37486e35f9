//! `postgresql.conf`: a file of the size and kind that initdb writes (888 lines, 32 kB, nearly all of
//! them comments; other readers take 298 µs and 1.5 ms for initdb's own), and files without end.
//!
//! `cargo bench -p benches --bench pgconf`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use divan::{Bencher, black_box, counter::BytesCount};
use pg_version::PgVersion;
use pgconf::{Catalogue, ConfFile, Configuration};
use textfile::MemoryFiles;

fn main() {
    divan::main();
}

/// 888 lines: headings, a template line with a comment for each setting, what initdb takes into use.
fn sample() -> Vec<u8> {
    let mut lines = vec!["# -----------------------------".to_owned(), "# PostgreSQL".to_owned()];
    for (index, setting) in Catalogue::new(PgVersion::V17).settings().enumerate() {
        if index % 8 == 0 {
            lines.push(String::new());
            lines.push("#------------------------------------------------------------".to_owned());
            lines.push(format!("# SECTION {index}"));
        }
        let default = setting.default_shown().unwrap_or_default();
        let mark = if index % 25 == 0 { "" } else { "#" };
        let name = setting.name();
        lines.push(format!("{mark}{name} = '{default}'\t\t\t# what it is good for"));
        if index % 3 == 0 {
            lines.push("\t\t\t\t\t# and what a change of it needs".to_owned());
        }
    }
    while lines.len() < 888 {
        lines.push("# Add settings for extensions here".to_owned());
    }
    lines.truncate(888);
    (lines.join("\n") + "\n").into_bytes()
}

#[divan::bench]
fn parse_sample(bencher: Bencher<'_, '_>) {
    let sample = sample();
    bencher
        .counter(BytesCount::new(sample.len()))
        .with_inputs(|| sample.clone())
        .bench_local_values(|bytes| ConfFile::new(black_box(bytes)));
}

/// The file that initdb of the newest major begins with: 888 lines with 18.
#[divan::bench]
fn parse_initdbs_sample(bencher: Bencher<'_, '_>) {
    let installation = pgtest::find(PgVersion::NEWEST).unwrap();
    let path = installation.bindir().join("../share/postgresql/postgresql.conf.sample");
    let sample = std::fs::read(path).unwrap();
    bencher
        .counter(BytesCount::new(sample.len()))
        .with_inputs(|| sample.clone())
        .bench_local_values(|bytes| ConfFile::new(black_box(bytes)));
}

/// A template line taken into use, and the whole file as bytes.
#[divan::bench]
fn set_and_serialise_sample(bencher: Bencher<'_, '_>) {
    let file = ConfFile::new(sample());
    bencher.with_inputs(|| file.clone()).bench_local_values(|mut file| {
        file.set("work_mem", "64MB").unwrap();
        file.to_bytes().into_owned()
    });
}

/// The same through a configuration, with the value checked and all that is said of the edit.
#[divan::bench]
fn set_in_configuration(bencher: Bencher<'_, '_>) {
    let mut files = MemoryFiles::default();
    files.insert("/pg/postgresql.conf", sample());
    let read = Configuration::read(&files, "/pg/postgresql.conf", None, PgVersion::V17);
    bencher.with_inputs(|| read.clone()).bench_local_values(|mut configuration| {
        configuration.set("work_mem", "64MB").unwrap();
        configuration.edited().map(|(_, file)| file.to_bytes().into_owned()).collect::<Vec<_>>()
    });
}

#[divan::bench(args = [10_000, 100_000])]
fn parse_settings(bencher: Bencher<'_, '_>, lines: usize) {
    let text: String = (0..lines).map(|line| format!("ext.setting_{line} = 'x' # c\n")).collect();
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| text.clone())
        .bench_local_values(|text| ConfFile::new(black_box(text)));
}

#[divan::bench]
fn look_up_setting(bencher: Bencher<'_, '_>) {
    let catalogue = Catalogue::new(PgVersion::V17);
    bencher.bench_local(|| catalogue.get(black_box("work_mem")));
}

#[divan::bench]
fn check_value(bencher: Bencher<'_, '_>) {
    let setting = Catalogue::new(PgVersion::V17).get("work_mem").unwrap();
    bencher.bench_local(|| setting.check(black_box("1.5GB")));
}
