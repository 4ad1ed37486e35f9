//! pg_hba.conf: the figures of the crate's README. `cargo bench -p benches --bench hba`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use divan::{Bencher, counter::ItemsCount};
use hba_parser::{
    AddressSpec, CompiledRules, Connection, ConnectionType, DatabaseSpec, Encryption, HbaDocument,
    Lint, Method, NewRule, PgVersion, RoleGraph, Rules, Server, UnknownNetwork, UserSpec,
    regex::Regex,
};

fn main() {
    divan::main();
}

const VERSION: PgVersion = PgVersion::V17;

/// A file as long as no administrator has one: nine rules, then a comment, and so on.
fn file(lines: usize) -> Vec<u8> {
    let mut out = String::new();
    for line in 0..lines {
        out.push_str(&match line % 10 {
            0 => format!("# rules of application {line}\n"),
            1 => format!("local   app{line}        all                                     peer\n"),
            2 => format!("hostssl \"my db {line}\"   +team{line}  10.1.0.0/16   cert map=m{line}\n"),
            _ => {
                let (high, low) = (line / 256 % 256, line % 256);
                format!(
                    "host    app{line:<10}  user{line:<10}  10.{high}.{low}.0/24        scram-sha-256\n"
                )
            }
        });
    }
    out.into_bytes()
}

/// 100,000 lines: split, and what each is.
#[divan::bench]
fn parse_100k_lines(bencher: Bencher<'_, '_>) {
    let file = file(100_000);
    bencher.counter(ItemsCount::new(100_000_usize)).with_inputs(|| file.clone()).bench_values(
        |file| {
            let document = HbaDocument::parse(file);
            let rules = document
                .lines(VERSION)
                .filter(|line| matches!(line.class(), hba_parser::LineClass::Rule(_)));
            let rules = rules.count();
            (document, rules)
        },
    );
}

/// 100,000 lines: split, and every token found.
#[divan::bench]
fn parse_100k_lines_to_tokens(bencher: Bencher<'_, '_>) {
    let file = file(100_000);
    bencher.counter(ItemsCount::new(100_000_usize)).with_inputs(|| file.clone()).bench_values(
        |file| {
            let document = HbaDocument::parse(file);
            let tokens: usize = document.lines(VERSION).map(|line| line.tokens().count()).sum();
            (document, tokens)
        },
    );
}

/// 100,000 lines as rules of a server.
#[divan::bench]
fn parse_and_interpret_100k_lines(bencher: Bencher<'_, '_>) {
    let file = file(100_000);
    let server = Server::new(VERSION);
    bencher
        .counter(ItemsCount::new(100_000_usize))
        .with_inputs(|| file.clone())
        .bench_values(|file| HbaDocument::parse(file).interpret(&server));
}

/// 100,000 lines, a rule put into the middle, and all written.
#[divan::bench]
fn parse_edit_and_write_100k_lines(bencher: Bencher<'_, '_>) {
    let file = file(100_000);
    let server = Server::new(VERSION);
    let rule = NewRule::new(ConnectionType::HostSsl, Method::Cert)
        .database(DatabaseSpec::name("app"))
        .user(UserSpec::name("web"))
        .address(AddressSpec::network([10, 0, 0, 0], 8));
    bencher.with_inputs(|| file.clone()).bench_values(|file| {
        let mut document = HbaDocument::parse(file);
        document.edit(&server).insert_before(50_000, &rule).unwrap().apply().unwrap();
        document.to_bytes().into_owned()
    });
}

fn compiled(rules: usize) -> CompiledRules {
    HbaDocument::parse(file(rules * 10 / 9)).interpret(&Server::new(VERSION)).compile()
}

/// One decision among 10,000 rules: the last one, none, one that roles decide.
#[divan::bench(args = ["last", "none", "socket"])]
fn decide_among_10k_rules(bencher: Bencher<'_, '_>, which: &str) {
    let rules = compiled(10_000);
    let last = rules.rules().iter().next_back().unwrap();
    let (database, user) = (
        last.databases().next().unwrap().text().to_vec(),
        last.users().next().unwrap().text().to_vec(),
    );
    let line = usize::try_from(last.line()).unwrap() - 1;
    let address = |line: usize| {
        [10, u8::try_from(line / 256 % 256).unwrap(), u8::try_from(line % 256).unwrap(), 9]
    };
    let roles = RoleGraph::default();
    let connection = match which {
        "last" => Connection::tcp(address(line).into(), Encryption::Tls, &database, &user),
        "none" => Connection::tcp([192, 0, 2, 1].into(), Encryption::Tls, b"nobody", b"nothing"),
        _ => Connection::local(b"app9991", b"alice"),
    };
    let decided = rules.decide(&connection, &roles, &UnknownNetwork).map(|rule| rule.line());
    assert_eq!(decided.is_none(), which == "none");
    bencher.bench(|| {
        rules.decide(divan::black_box(&connection), &roles, &UnknownNetwork).map(|rule| rule.line())
    });
}

/// One decision among 10,000 rules that all are for every database and user.
#[divan::bench]
fn decide_by_address_among_10k_rules(bencher: Bencher<'_, '_>) {
    let file: String = (0..10_000)
        .map(|rule| format!("host all all 10.{}.{}.0/24 md5\n", rule / 256, rule % 256))
        .collect();
    let rules = HbaDocument::parse(file).interpret(&Server::new(VERSION)).compile();
    let roles = RoleGraph::default();
    let connection = Connection::tcp([10, 39, 15, 1].into(), Encryption::Tls, b"x", b"y");
    assert_eq!(
        rules.decide(&connection, &roles, &UnknownNetwork).map(|rule| rule.line()),
        Some(10_000)
    );
    bencher.bench(|| {
        rules.decide(divan::black_box(&connection), &roles, &UnknownNetwork).map(|rule| rule.line())
    });
}

/// Twice the input must not take more than twice the time: a line of ten million bytes and half of
/// it, a million rules and half of them, a list of 100,000 names and half of it.
#[divan::bench(args = [5_000_000, 10_000_000], sample_count = 5)]
fn one_long_line(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut file = b"local all ".to_vec();
    file.resize(bytes, b'x');
    file.extend_from_slice(b" trust\n");
    let server = Server::new(VERSION);
    bencher
        .with_inputs(|| file.clone())
        .bench_values(|file| HbaDocument::parse(file).interpret(&server));
}

#[divan::bench(args = [500_000, 1_000_000], sample_count = 3)]
fn many_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let file = file(rules);
    let server = Server::new(VERSION);
    bencher
        .with_inputs(|| file.clone())
        .bench_values(|file| HbaDocument::parse(file).interpret(&server));
}

#[divan::bench(args = [50_000, 100_000], sample_count = 10)]
fn a_long_list(bencher: Bencher<'_, '_>, names: usize) {
    let list: Vec<String> = (0..names).map(|name| format!("user{name}")).collect();
    let file = format!("local all {} md5\n", list.join(","));
    let server = Server::new(VERSION);
    bencher
        .with_inputs(|| file.clone())
        .bench_values(|file| HbaDocument::parse(file).interpret(&server));
}

/// A continued line of many physical ones.
#[divan::bench(args = [50_000, 100_000], sample_count = 10)]
fn a_long_continuation(bencher: Bencher<'_, '_>, lines: usize) {
    let file = format!("local all \\\n{}all md5\n", "x,\\\n".repeat(lines));
    let server = Server::new(VERSION);
    bencher
        .with_inputs(|| file.clone())
        .bench_values(|file| HbaDocument::parse(file).interpret(&server));
}

/// The files of the benchmarks below: rules of their own networks; rules that meet each other and
/// shadow none; two rules with long lists, of which the second has all names of the first but one.
fn growing(kind: &str, size: usize) -> Vec<u8> {
    match kind {
        "rules" => file(size),
        "rules that meet" => {
            let mut file = String::new();
            for rule in 0..size / 2 {
                file.push_str(&format!("host app{rule} all 10.0.0.0/8 md5\n"));
                file.push_str(&format!("host all user{rule} 10.{}.0.0/16 md5\n", rule % 256));
            }
            file.into_bytes()
        }
        _ => {
            let names = |from: usize| -> String {
                (from..size).map(|name| format!("user{name}")).collect::<Vec<_>>().join(",")
            };
            format!("host all {} 10.0.0.0/8 reject\nhost all {} all md5\n", names(1), names(0))
                .into_bytes()
        }
    }
}

/// What is done with files that grow: twice as much must not take more than twice as long.
const SIZES: [(&str, usize); 6] = [
    ("rules", 50_000),
    ("rules", 100_000),
    ("rules that meet", 50_000),
    ("rules that meet", 100_000),
    ("names", 50_000),
    ("names", 100_000),
];

fn rules_of(kind: &str, size: usize) -> Rules {
    HbaDocument::parse(growing(kind, size)).interpret(&Server::new(VERSION))
}

/// Lints, among them the search for shadowed rules.
#[divan::bench(args = SIZES, sample_count = 3)]
fn lint(bencher: Bencher<'_, '_>, (kind, size): (&str, usize)) {
    let rules = rules_of(kind, size);
    bencher.bench(|| {
        let findings = rules.lint();
        assert!(findings.iter().all(|finding| finding.lint != Lint::NotSearched));
        findings.len()
    });
}

/// The index for decisions.
#[divan::bench(args = SIZES, sample_count = 3)]
fn compile(bencher: Bencher<'_, '_>, (kind, size): (&str, usize)) {
    bencher.with_inputs(|| rules_of(kind, size)).bench_values(Rules::compile);
}

/// Aligned columns.
#[divan::bench(args = SIZES, sample_count = 3)]
fn format(bencher: Bencher<'_, '_>, (kind, size): (&str, usize)) {
    let document = HbaDocument::parse(growing(kind, size));
    let server = Server::new(VERSION);
    bencher.bench(|| document.format(&server));
}

/// What changes if one rule does, or one of a list's names.
#[divan::bench(args = SIZES, sample_count = 3)]
fn diff(bencher: Bencher<'_, '_>, (kind, size): (&str, usize)) {
    let before = growing(kind, size);
    let text = String::from_utf8(before.clone()).unwrap();
    let after = match kind {
        "names" => text.replacen(&format!("user{},", size / 2), "", 1),
        "rules" => text.replacen("scram-sha-256", "md5", 1),
        _ => text.replacen("app7 all 10.0.0.0/8 md5", "app7 all 10.0.0.0/8 scram-sha-256", 1),
    };
    let read = |file: Vec<u8>| HbaDocument::parse(file).interpret(&Server::new(VERSION));
    let (before, after) = (read(before), read(after.into_bytes()));
    bencher.bench(|| {
        let difference = before.diff(&after);
        assert!(difference.complete && !difference.changes.is_empty());
    });
}

/// What the next major reads otherwise.
#[divan::bench(args = SIZES, sample_count = 3)]
fn upgrade(bencher: Bencher<'_, '_>, (kind, size): (&str, usize)) {
    let document = HbaDocument::parse(growing(kind, size));
    let (from, to) = (Server::new(PgVersion::V15), Server::new(VERSION));
    bencher.bench(|| document.upgrade(&from, &to).changes.len());
}

/// One edit for every hundredth line of 50,000 and of 100,000.
#[divan::bench(args = [50_000, 100_000], sample_count = 3)]
fn many_edits(bencher: Bencher<'_, '_>, lines: usize) {
    let file = file(lines);
    let server = Server::new(VERSION);
    let rule = NewRule::new(ConnectionType::HostSsl, Method::Cert).all();
    bencher.with_inputs(|| HbaDocument::parse(file.clone())).bench_values(|mut document| {
        let mut edit = document.edit(&server);
        for line in (4..lines).step_by(100) {
            let line = u32::try_from(line).unwrap();
            edit = edit.insert_before(line, &rule).unwrap();
            edit = edit.set_method(line, Method::Reject).unwrap();
        }
        edit.apply().unwrap();
        document
    });
}

/// One edit of a rule with a long list.
#[divan::bench(args = [50_000, 100_000], sample_count = 3)]
fn edit_of_a_long_list(bencher: Bencher<'_, '_>, names: usize) {
    let file = growing("names", names);
    let server = Server::new(VERSION);
    bencher.with_inputs(|| HbaDocument::parse(file.clone())).bench_values(|mut document| {
        document.edit(&server).set_method(1, Method::Reject).unwrap().apply().unwrap();
        document
    });
}

/// What a document holds after parsing is not timed: at most three bytes for each of the input.
#[divan::bench(sample_count = 3)]
fn memory_of_a_document(bencher: Bencher<'_, '_>) {
    let file = file(100_000);
    let most = 3 * file.len();
    bencher.with_inputs(|| file.clone()).bench_values(|file| {
        let document = HbaDocument::parse(file);
        assert!(document.memory() <= most, "{} bytes", document.memory());
        document
    });
}

#[divan::bench]
fn regex_match(bencher: Bencher<'_, '_>) {
    let regex = Regex::new(br"^(app|web)_\d+$", VERSION).unwrap();
    bencher.bench(|| regex.is_match(divan::black_box(b"web_1234")).unwrap());
}
