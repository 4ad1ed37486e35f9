//! Edits: what is given, what is done, what is shown then.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hba_parser::{
    AddressSpec, BuildError, ConnectionType, DatabaseSpec, EditError, HbaDocument, HbaEdit,
    IdentDocument, IdentEdit, Method, NewMapping, NewRule, PgVersion, RoleSpec, Server,
    SystemUserSpec, UserSpec,
};

fn server() -> Server {
    Server::new(PgVersion::V16)
}

/// Edits a pg_hba.conf of 16.
#[track_caller]
fn check(given: &str, edit: fn(HbaEdit<'_>) -> Result<HbaEdit<'_>, EditError>, shown: &str) {
    let mut file = HbaDocument::parse(given);
    edit(file.edit(&server())).unwrap().apply().unwrap();
    assert_eq!(file.to_string(), shown);
}

#[track_caller]
fn refused(given: &str, edit: fn(HbaEdit<'_>) -> Result<HbaEdit<'_>, EditError>) -> EditError {
    let mut file = HbaDocument::parse(given);
    let error = edit(file.edit(&server())).map(|_| ()).unwrap_err();
    assert_eq!(file.to_string(), given);
    error
}

/// Edits a pg_ident.conf of 16.
#[track_caller]
fn check_maps(
    given: &str,
    edit: fn(IdentEdit<'_>) -> Result<IdentEdit<'_>, EditError>,
    shown: &str,
) {
    let mut file = IdentDocument::parse(given);
    edit(file.edit(&server())).unwrap().apply().unwrap();
    assert_eq!(file.to_string(), shown);
}

fn trust() -> NewRule {
    NewRule::new(ConnectionType::Local, Method::Trust).all()
}

#[test]
fn several_fields_of_a_line_can_be_set_at_once() {
    check(
        "host  all  all  10.0.0.0/8  md5  # why\n",
        |edit| {
            edit.set_connection(1, ConnectionType::HostSsl)?
                .set_databases(1, [DatabaseSpec::name("app")])?
                .set_method(1, Method::Cert)?
                .set_option(1, "map", "m")?
                .set_option(1, "map", "n")
        },
        "hostssl app  all  10.0.0.0/8  cert map=n # why\n",
    );
}

#[test]
fn a_line_that_is_replaced_or_gone_is_changed_by_nothing_else() {
    let conflict = EditError::Conflict { line: 1 };
    let file = "local all all peer\n";
    assert_eq!(refused(file, |edit| edit.remove(1)?.remove(1)), conflict);
    assert_eq!(refused(file, |edit| edit.remove(1)?.set_method(1, Method::Trust)), conflict);
    assert_eq!(refused(file, |edit| edit.set_method(1, Method::Trust)?.remove(1)), conflict);
    assert_eq!(refused(file, |edit| edit.replace(1, &trust())?.comment_out(1)), conflict);
}

#[test]
fn a_comment_stays_with_the_line_that_is_replaced() {
    check(
        "local  all  all  peer   # us\n",
        |edit| edit.replace(1, &trust()),
        "local  all  all  trust  # us\n",
    );
    check(
        "local all all peer # us\n",
        |edit| edit.replace(1, &trust().comment("them")),
        "local all all trust # them\n",
    );
    check("# local all all peer\n", |edit| edit.replace(1, &trust()), "local all all trust\n");
}

#[test]
fn what_a_backslash_at_the_end_of_the_file_would_join_is_kept_apart() {
    let file = "local a all trust\nlocal b all trust \\";
    check(
        file,
        |edit| edit.append(&trust()),
        "local a all trust\nlocal b all trust \\\n\nlocal all all trust\n",
    );
    check(file, |edit| edit.move_before(2, 1), "local b all trust \\\n\nlocal a all trust\n");
    check(
        file,
        |edit| edit.set_method(2, Method::Reject)?.append(&trust()),
        "local a all trust\nlocal b all reject \\\n\nlocal all all trust\n",
    );
    check(
        file,
        |edit| edit.remove(2)?.append(&trust()),
        "local a all trust\nlocal all all trust\n",
    );
    // For 13 it is a character like others.
    let mut file = HbaDocument::parse(file);
    file.edit(&Server::new(PgVersion::V13)).append(&trust()).unwrap().apply().unwrap();
    assert_eq!(file.to_string(), "local a all trust\nlocal b all trust \\\nlocal all all trust\n");
}

#[test]
fn a_continued_line_is_edited_as_a_whole() {
    let file = "local \\\n  all all peer\nlocal x all trust\n";
    check(file, |edit| edit.remove(1), "local x all trust\n");
    check(file, |edit| edit.comment_out(1), "# local \\\n  all all peer\nlocal x all trust\n");
    check(file, |edit| edit.move_after(1, 3), "local x all trust\nlocal \\\n  all all peer\n");
    check(
        file,
        |edit| edit.set_method(1, Method::Trust),
        "local \\\n  all all trust\nlocal x all trust\n",
    );
    check(
        file,
        |edit| edit.insert_after(1, &trust()),
        "local \\\n  all all peer\nlocal all all trust\nlocal x all trust\n",
    );
}

#[test]
fn an_option_is_removed_however_often_it_is_there() {
    check(
        "local all all peer map=a  map=b,map=c # why\n",
        |edit| edit.remove_option(1, "map"),
        "local all all peer # why\n",
    );
    let error = refused("local all all peer # map=a\n", |edit| edit.remove_option(1, "map"));
    assert_eq!(error, EditError::NoSuchOption { line: 1, name: "map".into() });
}

#[test]
fn an_option_does_not_vanish_in_quotes_that_nobody_closed() {
    let error = refused("local all all peer map=\"a\n", |edit| edit.set_option(1, "x", "y"));
    assert_eq!(error, EditError::Build(BuildError::ReadOtherwise));
    check(
        "local all all peer map=\"a\n",
        |edit| edit.set_option(1, "map", "b"),
        "local all all peer map=b\n",
    );
}

#[test]
fn a_file_without_a_last_line_end_gets_one_where_it_is_needed() {
    check(
        "local x all trust",
        |edit| edit.append(&trust()),
        "local x all trust\nlocal all all trust\n",
    );
    check(
        "a\r\nlocal x all trust",
        |edit| edit.append(&trust()),
        "a\r\nlocal x all trust\r\nlocal all all trust\r\n",
    );
    check("# a\nlocal x all trust", |edit| edit.move_before(2, 1), "local x all trust\n# a\n");
    check("# a\nlocal x all trust", |edit| edit.replace(2, &trust()), "# a\nlocal all all trust");
    check("", |edit| edit.append(&trust()), "local all all trust\n");
}

#[test]
fn many_edits_of_one_file_keep_to_its_numbers() {
    check(
        "1\n2\n3\n4\n",
        |edit| {
            edit.insert_before(1, &trust().comment("a"))?
                .insert_before(1, &trust().comment("b"))?
                .insert_after(4, &trust().comment("c"))?
                .remove(2)?
                .move_before(4, 1)?
                .insert_comment(3, "three")
        },
        "local all all trust # a\nlocal all all trust # b\n4\n1\n# three\n3\nlocal all all trust # c\n",
    );
}

#[test]
fn a_physical_line_that_is_too_long_for_old_majors_is_edited_as_a_whole() {
    let server = Server::new(PgVersion::V13);
    let long = format!("local {} all trust\n", "a".repeat(50_000));
    let file = HbaDocument::parse(format!("{long}local all all peer\n"));
    assert_eq!(file.lines(PgVersion::V13).count(), 4);
    for part in 1..=3 {
        let mut edited = file.clone();
        edited.edit(&server).remove(part).unwrap().apply().unwrap();
        assert_eq!(edited.to_string(), "local all all peer\n");
        let mut edited = file.clone();
        edited.edit(&server).insert_before(part, &trust()).unwrap().apply().unwrap();
        assert_eq!(edited.to_string(), format!("local all all trust\n{long}local all all peer\n"));
        let mut edited = file.clone();
        edited.edit(&server).move_after(part, 4).unwrap().apply().unwrap();
        assert_eq!(edited.to_string(), format!("local all all peer\n{long}"));
    }
}

#[test]
fn a_nul_byte_that_would_swallow_a_line_refuses_the_edit() {
    // 14 and newer glue the next line on.
    let mut file = HbaDocument::parse(*b"# x\0y\n# z\nlocal all all peer\n");
    let line = file.lines(PgVersion::V16).last().unwrap().number();
    let before = file.to_bytes().into_owned();
    assert_eq!(file.edit(&server()).remove(1).unwrap().apply(), Ok(()));
    assert_ne!(file.to_bytes(), before);
    let mut file = HbaDocument::parse(before.clone());
    assert_eq!(file.edit(&server()).insert_before(line, &trust()).unwrap().apply(), Ok(()));
    let rules = file.interpret(&server());
    assert_eq!(rules.len(), 2, "{file}");
    let mut file = HbaDocument::parse(*b"local a all trust\nlocal b\0 all trust\n");
    assert_eq!(file.edit(&server()).append(&trust()).unwrap().apply(), Err(EditError::Unsafe));
}

#[test]
fn an_edit_that_the_server_would_refuse_is_none() {
    let file = "hostssl all all all cert clientcert=verify-full\n";
    let error = refused(file, |edit| edit.set_connection(1, ConnectionType::Host));
    assert!(matches!(error, EditError::Invalid { line: 1, .. }), "{error:?}");
    assert!(refused(file, |edit| edit.set_method(1, Method::Peer)).to_string().contains("peer"));
    let error = refused("# none\n", |edit| edit.set_method(1, Method::Trust));
    assert_eq!(error, EditError::NotARule { line: 1 });
    // A line that is refused already may be mended step by step.
    check(
        "host all all all pear\n",
        |edit| edit.set_method(1, Method::Peer)?.set_method(1, Method::Md5),
        "host all all all md5\n",
    );
    check(
        "host all all 10.0.0.1  255.0.0.0  md5\n",
        |edit| {
            edit.set_address(1, AddressSpec::All)?
                .set_users(1, [UserSpec::name("é"), UserSpec::All])
        },
        "host all é,all all                  md5\n",
    );
}

#[test]
fn maps_are_edited_as_rules_are() {
    check_maps(
        "# maps\ncorp\talice\talice\t# us\nroot\troot\tpostgres\n",
        |edit| {
            let bob = NewMapping::new("corp", SystemUserSpec::name("bob"), RoleSpec::name("all"));
            edit.insert_before(2, &bob)?
                .replace(3, &bob)?
                .set_map(2, "my map")?
                .set_system_user(2, SystemUserSpec::regex("^a(.*)$"))?
                .set_database_user(2, RoleSpec::captured("\\1"))?
                .insert_comment(3, "bob")
        },
        "# maps\ncorp\tbob\t\"all\"\n\"my map\"\t/^a(.*)$\t\\1\t# us\n# bob\ncorp\tbob\t\"all\"\n",
    );
    check_maps("m a b\nm c d", |edit| edit.move_before(2, 1), "m c d\nm a b\n");
    check_maps("m a b\nm c d\n", |edit| edit.remove(1)?.comment_out(2), "# m c d\n");
    check_maps(
        "",
        |edit| {
            edit.append(
                &NewMapping::new("m", SystemUserSpec::name("@a"), RoleSpec::All).comment("c"),
            )
        },
        "m \"@a\" all # c\n",
    );
}

#[test]
fn a_mapping_that_would_be_read_otherwise_is_not_written() {
    let error = |mapping: NewMapping, version| mapping.check(&Server::new(version)).unwrap_err();
    let name = SystemUserSpec::name;
    let old = PgVersion::V15;
    for role in [RoleSpec::All, RoleSpec::member("x"), RoleSpec::regex("x")] {
        let mapping = NewMapping::new("m", name("root"), role);
        assert_eq!(mapping.check(&server()), Ok(()));
        assert_eq!(error(mapping, old), BuildError::ReadOtherwise);
    }
    let mapping = NewMapping::new("m", SystemUserSpec::regex("(.*)"), RoleSpec::name("\\1"));
    assert_eq!(error(mapping, PgVersion::V16), BuildError::ReadOtherwise);
    let mapping = NewMapping::new("m", name("x"), RoleSpec::captured("\\1"));
    assert_eq!(error(mapping, PgVersion::V16), BuildError::ReadOtherwise);
    let mapping = NewMapping::new("", name("x"), RoleSpec::All);
    assert_eq!(error(mapping, PgVersion::V16), BuildError::NoMap);
    let mapping = NewMapping::new("m", name("/x"), RoleSpec::All);
    assert!(matches!(error(mapping, old), BuildError::NameIsRegex { .. }));
    let mapping = NewMapping::new("m", SystemUserSpec::regex("("), RoleSpec::All);
    assert!(matches!(error(mapping, PgVersion::V16), BuildError::Refused { .. }));
    let mut file = IdentDocument::parse(*b"m /(.*) x\n# none\n");
    let edit = file.edit(&server()).set_database_user(1, RoleSpec::name("\\1"));
    assert_eq!(edit.map(|_| ()).unwrap_err(), EditError::Build(BuildError::ReadOtherwise));
    let edit = file.edit(&server()).set_map(2, "m");
    assert_eq!(edit.map(|_| ()).unwrap_err(), EditError::NotAMapping { line: 2 });
}
