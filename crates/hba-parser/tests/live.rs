//! Edits, judged by real servers: after each one the view shows exactly what was edited.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hba_parser::{
    AddressSpec, Build, ConnectionType, DatabaseSpec, EditError, HbaDocument, IdentDocument,
    Mappings, Method, NewMapping, NewRule, PgVersion, RoleSpec, Rules, Server, SystemUserSpec,
    UserSpec,
};

/// Random numbers that are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    fn rule(&mut self) -> NewRule {
        const NAMES: &[&str] = &[
            "app", "all", "my db", "a,b", "x#y", "q\"uote", "+plus", "@at", "é", "sameuser", "x\\",
        ];
        let connection = ConnectionType::ALL[self.below(4)];
        let method =
            [Method::Trust, Method::Reject, Method::ScramSha256, Method::Md5][self.below(4)];
        let mut rule = NewRule::new(connection, method);
        for _ in 0..=self.below(3) {
            rule = rule.database(match self.below(4) {
                0 => DatabaseSpec::All,
                1 => DatabaseSpec::Replication,
                _ => DatabaseSpec::name(self.pick(NAMES)),
            });
            rule = rule.user(match self.below(4) {
                0 => UserSpec::All,
                1 => UserSpec::member(self.pick(NAMES)),
                _ => UserSpec::name(self.pick(NAMES)),
            });
        }
        if self.below(4) == 0 {
            rule = rule.comment("why");
        }
        if connection == ConnectionType::Local {
            return rule;
        }
        rule.address(match self.below(5) {
            0 => AddressSpec::All,
            1 => AddressSpec::SameNet,
            2 => AddressSpec::name("host.example.com"),
            3 => AddressSpec::network([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 64),
            _ => AddressSpec::network([10, u8::try_from(self.below(256)).unwrap(), 0, 0], 16),
        })
    }

    /// Makes a random edit at a random rule, and says how many more rules there are then.
    fn edit(&mut self, file: &mut HbaDocument, server: &Server) -> Result<isize, EditError> {
        let rules = file.interpret(server);
        let line = rules.get(self.below(rules.len())).unwrap().line();
        let other = rules.get(self.below(rules.len())).unwrap().line();
        let rule = self.rule();
        let edit = file.edit(server);
        let (edit, more) = match self.below(15) {
            0 => (edit.insert_before(line, &rule)?, 1),
            1 => (edit.insert_after(line, &rule)?, 1),
            2 => (edit.insert_effective(&rule)?, 1),
            3 => (edit.append(&rule)?, 1),
            4 => (edit.replace(line, &rule)?, 0),
            5 if rules.len() > 5 => (edit.remove(line)?, -1),
            6 if rules.len() > 5 => (edit.comment_out(line)?, -1),
            7 => (edit.move_before(line, other)?, 0),
            8 => (edit.move_after(line, other)?, 0),
            9 => (edit.set_method(line, Method::Reject)?, 0),
            10 => (edit.set_users(line, [UserSpec::name("a b"), UserSpec::All])?, 0),
            11 => (edit.set_address(line, AddressSpec::network([192, 0, 2, 0], 24))?, 0),
            12 => (edit.insert_first(&rule)?, 1),
            13 => {
                let edit = edit.set_databases(line, [DatabaseSpec::SameUser])?;
                (edit.set_users(line, [UserSpec::member("x")])?, 0)
            }
            _ => (edit.set_databases(line, [DatabaseSpec::name("x,y")])?, 0),
        };
        edit.apply()?;
        Ok(more)
    }
}

impl Random {
    fn mapping(&mut self) -> NewMapping {
        const NAMES: &[&str] =
            &["root", "all", "a b", "a,b", "x#y", "q\"uote", "+p", "@at", "é", "x\\"];
        let system_user = match self.below(3) {
            0 => SystemUserSpec::regex(r"^(.*)@x\.org$"),
            _ => SystemUserSpec::name(self.pick(NAMES)),
        };
        let role = match self.below(4) {
            0 => RoleSpec::captured(r"\1"),
            1 => RoleSpec::All,
            2 => RoleSpec::member(self.pick(NAMES)),
            _ => RoleSpec::name(self.pick(NAMES)),
        };
        let mapping = NewMapping::new(self.pick(NAMES), system_user, role);
        if self.below(4) == 0 { mapping.comment("why") } else { mapping }
    }

    /// Makes a random edit of a map, and says how many more mappings there are then.
    fn edit_map(&mut self, file: &mut IdentDocument, server: &Server) -> Result<isize, EditError> {
        let maps = file.interpret(server);
        let lines: Vec<u32> = maps.iter().map(|mapping| mapping.line()).collect();
        let (line, other) = (lines[self.below(lines.len())], lines[self.below(lines.len())]);
        let mapping = self.mapping();
        let edit = file.edit(server);
        let (edit, more) = match self.below(11) {
            0 => (edit.insert_before(line, &mapping)?, 1),
            1 => (edit.insert_after(line, &mapping)?, 1),
            2 => (edit.append(&mapping)?, 1),
            3 => (edit.replace(line, &mapping)?, 0),
            4 if lines.len() > 5 => (edit.remove(line)?, -1),
            5 if lines.len() > 5 => (edit.comment_out(line)?, -1),
            6 => (edit.move_before(line, other)?, 0),
            7 => (edit.move_after(line, other)?, 0),
            8 => (edit.set_map(line, "my map")?, 0),
            9 => (edit.set_system_user(line, SystemUserSpec::name("x y"))?, 0),
            _ => (edit.set_database_user(line, RoleSpec::name("all"))?, 0),
        };
        edit.apply()?;
        Ok(more)
    }
}

/// The view's rows, as the server has them.
fn theirs(session: &mut pgtest::Session) -> Vec<String> {
    let sql = "SELECT concat_ws('|', line_number, type, database, user_name, coalesce(address, '-'), \
               auth_method, coalesce(error, '-')) FROM pg_hba_file_rules";
    session.query(sql).unwrap().column().into_iter().map(str::to_owned).collect()
}

/// The same as we have them. PostgreSQL's text for an array needs quotes around some names: what it
/// is without them is compared by the recorded views.
fn ours(rules: &Rules) -> Vec<String> {
    let array = |names: Vec<&[u8]>| {
        let quoted = names.into_iter().map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let plain = |c: char| !matches!(c, '{' | '}' | ',' | '"' | '\\') && !c.is_whitespace();
            if !name.is_empty() && name.chars().all(plain) && !name.eq_ignore_ascii_case("null") {
                name
            } else {
                format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
            }
        });
        format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
    };
    let rows = rules.rows().map(|row| {
        let rule = row.rule.unwrap();
        let address = rule.shown_address().map_or("-".to_owned(), |address| address.to_string());
        let error = row.error.map_or("-".to_owned(), ToString::to_string);
        let databases = array(rule.databases().map(|name| name.text()).collect());
        let users = array(rule.users().map(|name| name.text()).collect());
        let (connection, method) = (rule.connection(), rule.method());
        format!("{}|{connection}|{databases}|{users}|{address}|{method}|{error}", row.line_number)
    });
    rows.collect()
}

#[test]
fn servers_see_each_edit_and_nothing_else() {
    const EDITS: usize = 500;
    for version in [PgVersion::V13, PgVersion::V18] {
        let installation = pgtest::find(version).unwrap();
        let server = pgtest::Server::builder(&installation).setting("ssl", "off").start().unwrap();
        let mut session = server.session().unwrap();
        let mut here = Server::new(version).with_build(Build::MINIMAL);
        // As the file says that no certificate is needed, warnings about TLS would only be noise.
        here.ssl = true;
        let mut random = Random(7);
        let start = "# TYPE  DATABASE  USER  ADDRESS  METHOD\n\nlocal   all       all            peer # us\n\
                     host\tall\tall\tall\tmd5\r\nlocal \"a b\",c all trust\n# end";
        let mut file = HbaDocument::parse(start);
        let (mut made, mut refused) = (0, 0);
        while made < EDITS {
            let before = file.interpret(&here).len();
            let lines = file.to_bytes().iter().filter(|byte| **byte == b'\n').count();
            let Ok(more) = random.edit(&mut file, &here) else {
                refused += 1;
                assert!(refused < EDITS, "hardly an edit is taken");
                continue;
            };
            made += 1;
            let rules = file.interpret(&here);
            assert!(rules.verdict().is_loaded(), "{file}");
            assert_eq!(rules.len(), before.checked_add_signed(more).unwrap(), "{file}");
            let now = file.to_bytes().iter().filter(|byte| **byte == b'\n').count();
            // The first rule after a last line without a line end ends that line, too.
            assert!(now.abs_diff(lines) <= 2, "{file}");
            server.write_file("pg_hba.conf", file.to_bytes(), 0o600).unwrap();
            let mut expected = ours(&rules);
            // The server's TLS is off: it warns, and the rules are the same.
            for row in &mut expected {
                if row.contains("|hostssl|") {
                    let rule = row.strip_suffix('-').unwrap();
                    *row = format!("{rule}hostssl record cannot match because SSL is disabled");
                }
            }
            assert_eq!(theirs(&mut session), expected, "{version}: {file}");
        }
    }
}

/// The rows of the view of maps as we have them.
fn our_maps(maps: &Mappings) -> Vec<String> {
    let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
    let rows = maps.rows().map(|row| {
        let mapping = row.mapping.unwrap();
        let (map, user) = (text(mapping.map()), text(mapping.system_user()));
        format!("{}|{map}|{user}|{}", row.line_number, text(mapping.database_user()))
    });
    rows.collect()
}

#[test]
fn servers_see_each_edit_of_a_map_and_nothing_else() {
    const EDITS: usize = 200;
    for version in [PgVersion::V15, PgVersion::V18] {
        let installation = pgtest::find(version).unwrap();
        let server = pgtest::Server::builder(&installation).start().unwrap();
        let mut session = server.session().unwrap();
        let here = Server::new(version);
        let mut random = Random(11);
        let mut file = IdentDocument::parse(*b"# maps\nm\troot\talice # us\r\n\"a b\" c d\n# end");
        let (mut made, mut refused) = (0, 0);
        while made < EDITS {
            let before = file.interpret(&here).len();
            let Ok(more) = random.edit_map(&mut file, &here) else {
                refused += 1;
                assert!(refused < 5 * EDITS, "hardly an edit is taken");
                continue;
            };
            made += 1;
            let maps = file.interpret(&here);
            assert!(maps.verdict().is_loaded(), "{file}");
            assert_eq!(maps.len(), before.checked_add_signed(more).unwrap(), "{file}");
            server.write_file("pg_ident.conf", file.to_bytes(), 0o600).unwrap();
            let sql = "SELECT concat_ws('|', line_number, map_name, sys_name, pg_username, error) \
                       FROM pg_ident_file_mappings";
            let rows = session.query(sql).unwrap();
            assert_eq!(rows.column(), our_maps(&maps), "{version}: {file}");
        }
    }
}
