//! Targets for pg_hba.conf and pg_ident.conf. The first byte chooses the major, and with it what
//! lines and rules are.
#![expect(clippy::missing_panics_doc, reason = "how a target tells what it found")]

use hba_parser::{
    AddressSpec, Build, Connection, ConnectionType, DatabaseSpec, Encryption, HbaDocument,
    IdentDocument, MemoryFiles, Method, NewMapping, NewRule, PgVersion, RoleGraph, RoleSpec, Rules,
    Server, StaticNetwork, SystemUserSpec, UserSpec, lexer, regex::Regex,
};

/// The server that a byte stands for, and the rest.
fn server(data: &[u8]) -> (Server, &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let version = PgVersion::ALL[usize::from(*first) % PgVersion::ALL.len()];
    let server = Server::new(version).with_ssl(first & 0x40 == 0);
    (if first & 0x80 == 0 { server } else { server.with_build(Build::MINIMAL) }, rest)
}

/// A file that includes itself and others.
fn files(content: &[u8]) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    files.insert("/f", content);
    files.insert("/d/a.conf", content);
    files.insert("/pg_hba.conf", content);
    files
}

/// Every byte comes back, and lines and tokens lie where they say.
pub fn roundtrip(data: &[u8]) {
    let (server, bytes) = server(data);
    let document = HbaDocument::parse(bytes);
    assert_eq!(document.to_bytes(), bytes);
    let mut end = 0;
    for line in lexer::lines(bytes, server.version) {
        assert_eq!(line.span().start(), end);
        end = line.span().end();
        let mut last = line.span().start();
        for token in line.tokens() {
            assert!(last <= token.span().start() && token.span().end() <= end);
            last = token.span().end();
            assert!(token.to_vec().len() <= token.span().len());
        }
        if let Some(comment) = line.comment() {
            assert_eq!(bytes[comment.start()], b'#');
        }
        let _ = line.class();
    }
    assert_eq!(end, bytes.len());
}

/// Reading has an answer for every file, and every question about it has one.
pub fn interpret(data: &[u8]) {
    let (server, bytes) = server(data);
    // The circle of includes multiplies a large file.
    let bytes = &bytes[..bytes.len().min(600)];
    let rules = HbaDocument::parse(bytes).interpret_at(b"/pg_hba.conf", &server, &files(bytes));
    assert_eq!(rules.rows().filter(|row| row.rule.is_some()).count(), rules.len());
    let refused = rules
        .diagnostics()
        .iter()
        .any(|diagnostic| diagnostic.severity == hba_parser::Severity::Error);
    assert!(!rules.verdict().is_loaded() || !refused, "{:?}", rules.diagnostics());
    let _ = (rules.reload_log(), rules.lint());
    assert!(rules.diff(&rules).changes.is_empty());
    let maps = IdentDocument::parse(bytes).interpret_at(b"/pg_ident.conf", &server, &files(bytes));
    let _ = (maps.rows().count(), maps.lint(), maps.reload_log());
    let _ = maps.check(Some(b"m"), b"root", b"alice", &RoleGraph::default());
    if let Ok(regex) = Regex::new(&bytes[..bytes.len().min(100)], server.version) {
        let matched = regex.is_match(b"alice_1 bob");
        let captures = regex.captures(b"alice_1 bob");
        if let (Ok(matched), Ok(captures)) = (matched, captures) {
            assert_eq!(matched, captures.is_some());
        }
    }
}

/// The index decides as the rules do.
pub fn decide(data: &[u8]) {
    let (server, bytes) = server(data);
    let document = HbaDocument::parse(&bytes[..bytes.len().min(4000)]);
    let rules = document.interpret(&server);
    let compiled = document.interpret(&server).compile();
    let mut roles = RoleGraph::default();
    roles.grant("grp", "alice");
    let mut network = StaticNetwork::default();
    network.interfaces.push(([10, 0, 0, 1].into(), [255, 0, 0, 0].into()));
    network.hosts.push((b"client.example.com".to_vec(), [10, 0, 0, 9].into()));
    let names: Vec<Vec<u8>> = rules
        .iter()
        .take(8)
        .flat_map(|rule| {
            rule.databases()
                .map(|name| name.text().to_vec())
                .chain(rule.users().map(|name| name.text().to_vec()))
                .take(3)
                .collect::<Vec<_>>()
        })
        .chain([b"alice".to_vec()])
        .take(12)
        .collect();
    for name in &names {
        for encryption in [Encryption::None, Encryption::Tls, Encryption::Gss] {
            let connection = Connection::tcp([10, 0, 0, 9].into(), encryption, name, b"alice");
            for connection in [
                connection,
                connection.physical_replication(),
                Connection::tcp([0; 16].into(), encryption, b"x", name),
                Connection::local(name, name),
            ] {
                let slow = rules.decide(&connection, &roles, &network).rule;
                let fast = compiled.decide(&connection, &roles, &network);
                assert_eq!(slow.map(|rule| rule.index()), fast.map(|rule| rule.index()));
            }
        }
    }
}

/// What rules mean, without where they stand.
fn meanings(rules: &Rules) -> Vec<String> {
    rules
        .iter()
        .map(|rule| {
            let names: Vec<_> = rule
                .databases()
                .map(|name| (name.text(), name.is_quoted()))
                .chain(rule.users().map(|name| (name.text(), name.is_quoted())))
                .collect();
            let (connection, method) = (rule.connection(), rule.method());
            format!(
                "{connection} {names:?} {:?} {method} {:?}",
                rule.address(),
                rule.options().given.len()
            )
        })
        .collect()
}

/// Formatting changes no meaning, and formatting twice changes nothing more.
pub fn format(data: &[u8]) {
    let (server, bytes) = server(data);
    let document = HbaDocument::parse(bytes);
    let formatted = document.format(&server);
    let before = document.interpret(&server);
    assert_eq!(meanings(&before), meanings(&formatted.interpret(&server)));
    assert_eq!(formatted.format(&server).to_bytes(), formatted.to_bytes());
}

/// A script of edits: each byte pair is one, and each changes what it says and nothing else.
pub fn edit(data: &[u8]) {
    let (server, rest) = server(data);
    let (script, bytes) = rest.split_at(rest.len().min(16));
    let mut document = HbaDocument::parse(bytes);
    let rule = NewRule::new(ConnectionType::HostSsl, Method::ScramSha256)
        .database(DatabaseSpec::name("a b"))
        .user(UserSpec::member("grp"))
        .address(AddressSpec::network([10, 0, 0, 0], 8));
    for pair in script.chunks_exact(2) {
        let numbers: Vec<u32> = document.lines(server.version).map(|line| line.number()).collect();
        if numbers.is_empty() {
            break;
        }
        let line = numbers[usize::from(pair[1]) % numbers.len()];
        let before = document.clone();
        let edit = document.edit(&server);
        let edit = match pair[0] % 14 {
            0 => edit.insert_before(line, &rule),
            1 => edit.insert_after(line, &rule),
            2 => edit.insert_effective(&rule),
            3 => edit.append(&rule),
            4 => edit.remove(line),
            5 => edit.comment_out(line),
            6 => edit.replace(line, &rule),
            7 => edit.set_method(line, Method::Reject),
            8 => edit.set_option(line, "map", "a b"),
            9 => edit.remove_option(line, "map"),
            10 => edit.set_users(line, [UserSpec::All, UserSpec::name("x#y")]),
            11 => edit.set_address(line, AddressSpec::SameNet),
            12 => edit.move_after(line, numbers[numbers.len() - 1]),
            _ => edit.move_before(line, numbers[0]),
        };
        let applied = edit.and_then(hba_parser::HbaEdit::apply);
        if applied.is_err() {
            assert_eq!(document.to_bytes(), before.to_bytes());
            continue;
        }
        let (old, new) = (before.interpret(&server), document.interpret(&server));
        // In 12 and 13 a line can be a part of a physical one that is too long.
        if old.diagnostics().iter().any(|d| d.code == hba_parser::Code::LineTooLong) {
            continue;
        }
        match pair[0] % 14 {
            0..=3 => assert_eq!(new.len(), old.len() + 1),
            7..=11 => assert_eq!(new.rows().count(), old.rows().count()),
            12.. => assert_eq!(sorted(&new), sorted(&old)),
            _ => {}
        }
    }
    edit_maps(&server, script, bytes);
}

/// The same for maps.
fn edit_maps(server: &Server, script: &[u8], bytes: &[u8]) {
    let mut document = IdentDocument::parse(bytes);
    let mapping =
        NewMapping::new("m", SystemUserSpec::regex("^(.*) @$"), RoleSpec::captured("x\\1#"));
    for pair in script.chunks_exact(2) {
        let numbers: Vec<u32> = document.lines(server.version).map(|line| line.number()).collect();
        let Some(last) = numbers.last() else { return };
        let line = numbers[usize::from(pair[1]) % numbers.len()];
        let before = document.clone();
        let edit = document.edit(server);
        let edit = match pair[0] % 10 {
            0 => edit.insert_before(line, &mapping),
            1 => edit.insert_after(line, &mapping),
            2 => edit.append(&mapping),
            3 => edit.remove(line),
            4 => edit.comment_out(line),
            5 => edit.replace(line, &mapping),
            6 => edit.set_map(line, "a b"),
            7 => edit.set_system_user(line, SystemUserSpec::name("+a")),
            8 => edit.set_database_user(line, RoleSpec::name("all")),
            _ => edit.move_after(line, *last),
        };
        let applied = edit.and_then(hba_parser::IdentEdit::apply);
        if applied.is_err() {
            assert_eq!(document.to_bytes(), before.to_bytes());
            continue;
        }
        let (old, new) = (before.interpret(server), document.interpret(server));
        if old.diagnostics().iter().all(|d| d.code != hba_parser::Code::LineTooLong) {
            match pair[0] % 10 {
                0..=2 => assert_eq!(new.len(), old.len() + 1),
                6..=9 => assert_eq!(new.rows().count(), old.rows().count()),
                _ => {}
            }
        }
    }
}

/// What rules mean, in no order.
fn sorted(rules: &Rules) -> Vec<String> {
    let mut meanings = meanings(rules);
    meanings.sort();
    meanings
}
