//! What holds for every file: no byte is lost, no byte panics, edits change what they name.

use hba_parser::{
    AddressSpec, Build, ConnectionType, DatabaseSpec, HbaDocument, IdentDocument, Method, NewRule,
    PgVersion, RoleGraph, Rules, Server, UnknownNetwork, UserSpec, lexer,
};
use proptest::{collection::vec, prelude::*, sample::select};

fn version() -> impl Strategy<Value = PgVersion> {
    select(PgVersion::ALL.to_vec())
}

/// Any bytes, with those that mean something among them more often than not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => select(vec![
            "local", "host", "hostssl", "all", "\"all\"", "+grp", "sameuser", "replication",
            "/^a", "/(", "\"/a{1,2}\"", "10.0.0.0/8", "10.0.0.1", "255.0.0.0", "::1/128", "samenet",
            ".example.com", "trust", "md5", "cert", "ldap", "radius", "oauth", "peer", "ident",
            "map=m", "clientcert=verify-ca", "clientcert=1", "ldapurl=ldap://h/dc=x?uid?sub",
            "ldapserver=\"a b\"", "radiusservers=\"1.2.3.4,::1\"", "radiussecrets=\"a\"", "@f",
            "include", "include_dir", "# comment", "a,b", "\"\"", "\"", ",", "\\\n", "\\\r\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(vec!["\n", "\r\n", "\0", "\t", "\r", "\\", "\u{e9}", "\u{feff}"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    let glue = select(vec![" ", " ", " ", "\n", "", "  "]);
    vec((piece, glue), 0..60).prop_map(|pieces| {
        let mut out = Vec::new();
        for (piece, glue) in pieces {
            out.extend(piece);
            out.extend(glue.as_bytes());
        }
        out
    })
}

/// A name that some database or role could have, also one that needs quotes.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,8}",
        "[ -~]{1,12}".prop_filter("a slash makes it an expression", |name| !name.starts_with('/')),
        select(vec![
            "all",
            "sameuser",
            "replication",
            "+x",
            "@x",
            "a b",
            "x#y",
            "é",
            "a\"b",
            "x\\"
        ])
        .prop_map(String::from),
    ]
}

fn rule() -> impl Strategy<Value = NewRule> {
    let database = prop_oneof![
        Just(DatabaseSpec::All),
        Just(DatabaseSpec::SameUser),
        Just(DatabaseSpec::Replication),
        name().prop_map(DatabaseSpec::name),
    ];
    let user = prop_oneof![
        Just(UserSpec::All),
        name().prop_map(UserSpec::name),
        name().prop_map(UserSpec::member),
    ];
    let address = prop_oneof![
        Just(AddressSpec::All),
        Just(AddressSpec::SameNet),
        (any::<[u8; 4]>(), 0..=32_u8)
            .prop_map(|(address, bits)| AddressSpec::network(address, bits)),
        (any::<[u8; 16]>(), 0..=128_u8)
            .prop_map(|(address, bits)| AddressSpec::network(address, bits)),
        "[a-z]{1,8}(\\.[a-z]{2,5}){0,2}".prop_map(AddressSpec::name),
    ];
    let connection = select(ConnectionType::ALL.to_vec());
    let method = select(vec![Method::Trust, Method::Reject, Method::ScramSha256, Method::Md5]);
    (connection, vec(database, 1..4), vec(user, 1..4), address, method).prop_map(
        |(connection, databases, users, address, method)| {
            let rule = NewRule::new(connection, method);
            let rule = databases.into_iter().fold(rule, NewRule::database);
            let rule = users.into_iter().fold(rule, NewRule::user);
            if connection == ConnectionType::Local { rule } else { rule.address(address) }
        },
    )
}

/// What each rule means, without where it stands.
fn meanings(rules: &Rules) -> Vec<String> {
    let meaning = |rule: hba_parser::Rule<'_>| {
        let databases: Vec<_> =
            rule.databases().map(|name| (name.text().to_vec(), name.is_quoted())).collect();
        let users: Vec<_> =
            rule.users().map(|name| (name.text().to_vec(), name.is_quoted())).collect();
        format!(
            "{} {databases:?} {users:?} {:?} {} {:?}",
            rule.connection(),
            rule.address(),
            rule.method(),
            rule.shown_options()
        )
    };
    rules.iter().map(meaning).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_is_lost(bytes in vec(any::<u8>(), 0..400)) {
        let (rules, maps) = (HbaDocument::parse(bytes.clone()), IdentDocument::parse(bytes.clone()));
        prop_assert_eq!(rules.to_bytes(), &bytes[..]);
        prop_assert_eq!(maps.to_bytes(), &bytes[..]);
    }

    #[test]
    fn lines_cover_the_file(bytes in bytes(), version in version()) {
        let mut end = 0;
        for line in lexer::lines(&bytes, version) {
            prop_assert_eq!(line.span().start(), end);
            prop_assert!(line.span().end() > end);
            end = line.span().end();
            let mut last = line.span().start();
            for token in line.tokens() {
                prop_assert!(token.span().start() >= last);
                prop_assert!(token.span().end() <= end);
                last = token.span().end();
            }
        }
        prop_assert_eq!(end, bytes.len());
    }

    #[test]
    fn every_file_has_an_answer(bytes in bytes(), version in version()) {
        let server = Server::new(version);
        let document = HbaDocument::parse(bytes.clone());
        let rules = document.interpret(&server);
        let _ = (rules.rows().count(), rules.reload_log(), rules.lint());
        let _ = document.upgrade(&server, &Server::new(PgVersion::V18).with_build(Build::MINIMAL));
        let maps = IdentDocument::parse(bytes).interpret(&server);
        let _ = (maps.rows().count(), maps.lint());
        let _ = maps.check(Some(b"m"), b"root", b"alice", &RoleGraph::default());
    }

    #[test]
    fn formatting_changes_no_meaning(bytes in bytes(), version in version()) {
        let server = Server::new(version);
        let document = HbaDocument::parse(bytes);
        let formatted = document.format(&server);
        let (before, after) = (document.interpret(&server), formatted.interpret(&server));
        prop_assert_eq!(meanings(&before), meanings(&after));
        let lines = |rules: &Rules| rules.iter().map(|rule| rule.line()).collect::<Vec<_>>();
        prop_assert_eq!(lines(&before), lines(&after));
        let again = formatted.format(&server);
        prop_assert_eq!(again.to_bytes(), formatted.to_bytes());
    }

    #[test]
    fn a_rule_that_is_written_is_read_as_it_was_meant(rule in rule(), version in version()) {
        // `check` compares with what was meant; a rule of these parts is always good.
        let server = Server::new(version);
        let line = rule.to_line(&server).unwrap();
        let read = HbaDocument::parse(line.into_bytes()).interpret(&server);
        prop_assert!(read.verdict().is_loaded());
    }

    #[test]
    fn an_insertion_adds_one_rule_and_changes_no_line(
        bytes in bytes().prop_filter("a NUL byte can make it refused", |bytes| !bytes.contains(&0)),
        rule in rule(),
        place in any::<prop::sample::Index>(),
        version in version(),
    ) {
        let server = Server::new(version);
        let before = HbaDocument::parse(bytes);
        let lines: Vec<_> = before.lines(version).map(|line| line.number()).collect();
        prop_assume!(!lines.is_empty());
        let line = lines[place.index(lines.len())];
        let mut after = before.clone();
        after.edit(&server).insert_before(line, &rule).unwrap().apply().unwrap();
        let old = before.to_bytes();
        let new = after.to_bytes();
        let at = before.line(line, version).unwrap().span().start();
        let added = new.len() - old.len();
        prop_assert_eq!(&new[..at], &old[..at]);
        prop_assert_eq!(&new[at + added..], &old[at..]);
        let (old, new) = (before.interpret(&server), after.interpret(&server));
        let mut expected = meanings(&old);
        let index = old.iter().filter(|rule| rule.line() < line).count();
        let meant = HbaDocument::parse(rule.to_line(&server).unwrap().into_bytes());
        expected.insert(index, meanings(&meant.interpret(&server)).remove(0));
        prop_assert_eq!(meanings(&new), expected);
    }

    #[test]
    fn a_removal_takes_one_line(
        bytes in bytes().prop_filter("a NUL byte can make it refused", |bytes| !bytes.contains(&0)),
        place in any::<prop::sample::Index>(),
        version in version(),
    ) {
        let server = Server::new(version);
        let before = HbaDocument::parse(bytes);
        let lines: Vec<_> = before.lines(version).map(|line| line.number()).collect();
        prop_assume!(!lines.is_empty());
        let line = lines[place.index(lines.len())];
        let mut after = before.clone();
        after.edit(&server).remove(line).unwrap().apply().unwrap();
        let span = before.line(line, version).unwrap().span();
        let mut expected = before.to_bytes().to_vec();
        expected.drain(span.range());
        prop_assert_eq!(after.to_bytes(), &expected[..]);
    }

    #[test]
    fn an_edit_changes_the_line_that_it_names_and_no_other(
        bytes in bytes().prop_filter("a NUL byte can make it refused", |bytes| !bytes.contains(&0)),
        rule in rule(),
        (place, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        which in 0..10,
        version in version(),
    ) {
        let server = Server::new(version);
        let before = HbaDocument::parse(bytes);
        let lines: Vec<_> = before.lines(version).map(|line| line.number()).collect();
        prop_assume!(!lines.is_empty());
        let (index, to) = (place.index(lines.len()), other.index(lines.len()));
        let (line, to_line) = (lines[index], lines[to]);
        let mut after = before.clone();
        let edit = after.edit(&server);
        let edit = match which {
            0 => edit.replace(line, &rule),
            1 => edit.comment_out(line),
            2 => edit.set_method(line, Method::Reject),
            3 => edit.set_connection(line, ConnectionType::HostSsl),
            4 => edit.set_users(line, [UserSpec::name("x y"), UserSpec::All]),
            5 => edit.set_databases(line, [DatabaseSpec::Replication]),
            6 => edit.set_option(line, "map", "a,b"),
            7 => edit.remove_option(line, "map"),
            8 => edit.set_address(line, AddressSpec::SameHost),
            _ => edit.move_before(line, to_line),
        };
        let Ok(edit) = edit else { return Ok(()) };
        edit.apply().unwrap();
        // Lines without their ends: the last one may have got one.
        let texts = |document: &HbaDocument| -> Vec<Vec<u8>> {
            let text = |bytes: &[u8]| bytes.trim_ascii_end().to_vec();
            document.lines(version).map(|line| text(line.bytes())).collect()
        };
        let (mut old, mut new) = (texts(&before), texts(&after));
        if which == 9 {
            let moved = old.remove(index);
            old.insert(if index < to { to - 1 } else { to }, moved);
            // What a backslash at the end of the file would join, an empty line takes.
            let ends = |text: &Vec<u8>| text.strip_suffix(b"\\").unwrap_or(text).trim_ascii_end().to_vec();
            prop_assert_eq!(new.iter().map(ends).collect::<Vec<_>>(), old.iter().map(ends).collect::<Vec<_>>());
        } else {
            prop_assert_eq!(new.len(), old.len());
            old.remove(index);
            new.remove(index);
            prop_assert_eq!(new, old);
        }
    }

    #[test]
    fn the_index_decides_as_the_rules_do(
        rules in vec(rule(), 1..30),
        user in name(),
        database in name(),
        address in any::<[u8; 4]>(),
        physical in any::<bool>(),
    ) {
        use hba_parser::{Connection, Encryption};
        let server = Server::new(PgVersion::V16);
        let mut file = Vec::new();
        for rule in rules {
            file.extend(rule.to_line(&server).unwrap().into_bytes());
            file.push(b'\n');
        }
        let document = HbaDocument::parse(file);
        let rules = document.interpret(&server);
        let compiled = document.interpret(&server).compile();
        let roles = RoleGraph::default();
        for mut connection in [
            Connection::local(database.as_bytes(), user.as_bytes()),
            Connection::tcp(address.into(), Encryption::Tls, database.as_bytes(), user.as_bytes()),
            Connection::tcp(address.into(), Encryption::None, b"x", b"y"),
        ] {
            connection.physical_replication = physical;
            let slow = rules.decide(&connection, &roles, &UnknownNetwork).rule;
            let fast = compiled.decide(&connection, &roles, &UnknownNetwork);
            prop_assert_eq!(slow.map(|rule| rule.line()), fast.map(|rule| rule.line()));
        }
    }

    #[test]
    fn a_rule_that_lints_call_unreachable_never_decides(
        rules in vec(rule(), 1..30),
        names in vec(name(), 1..6),
        addresses in vec(any::<[u8; 4]>(), 1..6),
    ) {
        use hba_parser::{Connection, Encryption, Lint};
        let server = Server::new(PgVersion::V16);
        let lines: Vec<_> =
            rules.iter().map(|rule| rule.to_line(&server).unwrap().to_string()).collect();
        let rules = HbaDocument::parse(lines.join("\n")).interpret(&server);
        let unreachable: Vec<u32> = rules
            .lint()
            .iter()
            .filter(|found| matches!(found.lint, Lint::Unreachable | Lint::UnreachableTogether))
            .map(|found| found.location.line)
            .collect();
        let mut databases: Vec<Vec<u8>> = names.iter().map(|name| name.clone().into_bytes()).collect();
        let mut users = databases.clone();
        databases.extend(rules.iter().flat_map(|rule| rule.databases()).map(|name| name.text().to_vec()));
        users.extend(rules.iter().flat_map(|rule| rule.users()).map(|name| name.text().to_vec()));
        let networks = rules.iter().filter_map(|rule| match rule.address() {
            Some(hba_parser::Address::Network(network, _)) => Some(network),
            _ => None,
        });
        let addresses: Vec<_> = addresses.into_iter().map(Into::into).chain(networks).collect();
        // Where a role is not there, not even `+role` matches it.
        let mut roles = RoleGraph::default();
        users.iter().for_each(|user| roles.create(user));
        let decided = |connection: &Connection<'_>| {
            rules.decide(connection, &roles, &UnknownNetwork).rule.map(|rule| rule.line())
        };
        for (index, database) in databases.iter().enumerate() {
            let user = &users[index % users.len()];
            let address = addresses[index % addresses.len()];
            for connection in [
                Connection::local(database, user),
                Connection::tcp(address, Encryption::None, database, user),
                Connection::tcp(address, Encryption::Tls, database, user),
                Connection::tcp(address, Encryption::Gss, database, user).physical_replication(),
            ] {
                let line = decided(&connection);
                prop_assert!(line.is_none_or(|line| !unreachable.contains(&line)), "{:?}", line);
            }
        }
    }
}
