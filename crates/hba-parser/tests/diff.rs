//! What two files change in meaning: given both, what is told.

use hba_parser::{
    Connection, Encryption, HbaDocument, Method, PgVersion, RoleGraph, Rules, Server,
    UnknownNetwork,
};
use proptest::{collection::vec, prelude::*, sample::select};

fn read(text: &str) -> Rules {
    let rules = HbaDocument::parse(text).interpret(&Server::new(PgVersion::V17));
    assert!(rules.verdict().is_loaded(), "{:?}", rules.diagnostics());
    rules
}

#[track_caller]
fn check(before: &str, after: &str, told: &[&str]) {
    let difference = read(before).diff(&read(after));
    let changes: Vec<_> = difference.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, told);
    assert!(difference.complete);
}

#[test]
fn the_same_meaning_is_no_difference() {
    check("host all all all md5\n", "# c\nhost  all \"all\",all  all md5 \n", &[]);
    check("local a all peer\nlocal b all peer\n", "local b all peer\nlocal a all peer\n", &[]);
    check("local a,b all peer\n", "local a all peer\nlocal b all peer\n", &[]);
    check(
        "host all all 10.0.0.0/8 md5\n",
        "host all all 10.0.0.0/9 md5\nhost all all 10.128.0.0/9 md5\n",
        &[],
    );
    check("host all all all md5\n", "host all all all md5\nhost x y 10.0.0.1/32 trust\n", &[]);
    check("local all all peer\n", "local all all ident\nlocal all all trust\n", &[]);
}

#[test]
fn a_role_is_a_member_of_itself() {
    check(
        "local all grp peer\nlocal all +grp md5\n",
        "local all +grp md5\nlocal all grp peer\n",
        &["grp to other databases from the Unix socket: peer -> md5"],
    );
}

#[test]
fn a_database_that_is_named_can_be_the_users_own() {
    check("local sameuser all md5\n", "local sameuser all md5\nlocal alice alice trust\n", &[]);
    check(
        "local alice alice trust\nlocal sameuser all md5\n",
        "local alice alice trust\n",
        &["other users to the database with their name from the Unix socket: md5 -> rejected"],
    );
    check(
        "local sameuser all md5\n",
        "local alice all trust\nlocal sameuser all md5\n",
        &[
            "alice to alice from the Unix socket: md5 -> trust",
            "other users to alice from the Unix socket: rejected -> trust",
        ],
    );
    check("local samerole all md5\n", "local samerole all md5\nlocal web +web trust\n", &[]);
    check("local samerole all md5\n", "local samerole all md5\nlocal web web trust\n", &[]);
}

#[test]
fn one_name_of_a_long_list() {
    let names: Vec<String> = (0..3000).map(|name| format!("user{name}")).collect();
    let list = names.join(",");
    check(
        &format!("local all {list} reject\nlocal all {list} peer\n"),
        &format!("local all {} reject\nlocal all {list} peer\n", names[1..].join(",")),
        &["user0 to other databases from the Unix socket: rejected -> peer"],
    );
}

#[test]
fn who_gains_and_who_loses() {
    check(
        "local all all peer\n",
        "local all all peer\nhostssl app web,api 10.0.0.0/8 scram-sha-256\n",
        &["api, web to app from 10.0.0.0/8 (TLS): rejected -> scram-sha-256"],
    );
    check(
        "local all all peer\nhost all all 10.0.0.0/8 trust\n",
        "local all all peer\n",
        &["other users to other databases from 10.0.0.0/8: trust -> rejected"],
    );
    check(
        "host all all all trust\n",
        "host all all 127.0.0.1/32 reject\nhost all all all trust\n",
        &["other users to other databases from 127.0.0.1: trust -> rejected"],
    );
    check(
        "host all bob all md5\nhost all all all trust\n",
        "host all all all trust\nhost all bob all md5\n",
        &["bob to other databases from 0.0.0.0/0, ::/0: md5 -> trust"],
    );
    check(
        "local replication all peer\n",
        "local all all peer\n",
        &[
            "other users to physical replication from the Unix socket: peer -> rejected",
            "other users to other databases from the Unix socket: rejected -> peer",
        ],
    );
}

#[test]
fn options_that_the_view_hides_count() {
    let dn = "other users to other databases from 0.0.0.0/0 (TLS), ::/0 (TLS): cert \
              clientcert=verify-full -> cert clientcert=verify-full clientname=DN";
    check("hostssl all all all cert\n", "hostssl all all all cert clientname=DN\n", &[dn]);
    check("hostssl all all all cert\n", "hostssl all all all cert clientname=CN\n", &[]);
    let hidden = "other users to other databases from 0.0.0.0/0, ::/0: ldap ldapbasedn=x \
                  ldapbindpasswd=(secret) ldapscope=2 -> ldap ldapbasedn=x ldapbindpasswd=(secret) \
                  ldapscope=2";
    let ldap =
        |password: &str| format!("host all all all ldap ldapbasedn=x ldapbindpasswd={password}\n");
    check(&ldap("a"), &ldap("b"), &[hidden]);
}

#[test]
fn members_with_a_name_of_their_own_are_told_of() {
    check(
        "local all +web peer\n",
        "local all alice reject\nlocal all +web peer\n",
        &["alice as a member of web to other databases from the Unix socket: peer -> rejected"],
    );
    // All of them lose it, and so does she.
    check(
        "local all +web peer\nlocal x alice peer\n",
        "local x alice peer\n",
        &["members of web to x, other databases from the Unix socket: peer -> rejected"],
    );
}

#[test]
fn a_small_change_in_a_large_file_is_found() {
    let large: String = (0..3000)
        .map(|rule| format!("host db{rule} user{rule} 10.{}.{}.0/24 md5\n", rule / 256, rule % 256))
        .collect();
    check(
        &large,
        &large.replace("db1500 user1500 10.5.220.0/24 md5", "db1500 user1500 10.5.220.0/24 trust"),
        &["user1500 to db1500 from 10.5.220.0/24: md5 -> trust"],
    );
    check(
        &large,
        &format!("{large}host all admin 192.0.2.0/24 scram-sha-256\n"),
        &["admin to other databases from 192.0.2.0/24: rejected -> scram-sha-256"],
    );
}

/// A rule of names that are few, so that rules meet.
fn line() -> impl Strategy<Value = String> {
    let tokens = |of: &[&'static str]| vec(select(of.to_vec()), 1..3).prop_map(|t| t.join(","));
    let databases = tokens(&["all", "a", "b", "x", "sameuser", "samerole", "replication"]);
    let users = tokens(&["all", "a", "b"]);
    let address = select(vec!["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "all"]);
    let start = prop_oneof![
        3 => Just(("local", "")),
        1 => (select(vec!["host", "hostssl"]), address),
    ];
    let method = select(vec!["reject", "md5", "trust"]);
    (start, databases, users, method).prop_map(
        |((connection, address), databases, users, method)| {
            format!("{connection} {databases} {users} {address} {method}\n")
        },
    )
}

proptest! {
    /// A difference is told of exactly where some connection is decided otherwise. (Without expressions:
    /// a name that two of them match is not tried.)
    #[test]
    fn decisions_differ_where_a_difference_is_told(
        shared in vec(line(), 1..4), one in vec(line(), 0..2), other in vec(line(), 0..2), last in any::<bool>(),
    ) {
        let file = |own: &[String]| {
            let lines = if last { [&shared, own].concat() } else { [own, &shared].concat() };
            read(&lines.concat())
        };
        let (before, after) = (file(&one), file(&other));
        // Users with and without a name in the rules, in a role that has none there.
        let users = ["a", "b", "x", "other"];
        let databases = ["a", "b", "x", "other", "role", "another"];
        let mut roles = RoleGraph::default();
        users.iter().for_each(|user| roles.grant("role", user));
        let access = |rules: &Rules, connection: &Connection<'_>| {
            let rule = rules.decide(connection, &roles, &UnknownNetwork).rule.map(|rule| rule.method());
            rule.filter(|method| *method != Method::Reject)
        };
        let mut differs = Vec::new();
        for (user, database) in users.iter().flat_map(|user| databases.map(|database| (user, database))) {
            let (user, database) = (user.as_bytes(), database.as_bytes());
            let tcp = |address: [u8; 4], encryption| Connection::tcp(address.into(), encryption, database, user);
            for connection in [
                Connection::local(database, user),
                tcp([10, 1, 1, 1], Encryption::None),
                tcp([10, 200, 1, 1], Encryption::Tls),
                tcp([10, 1, 1, 1], Encryption::Tls),
                tcp([10, 200, 1, 1], Encryption::None),
                tcp([11, 1, 1, 1], Encryption::None),
                tcp([11, 1, 1, 1], Encryption::Tls),
                Connection::tcp([0; 16].into(), Encryption::None, database, user),
                Connection::tcp([0; 16].into(), Encryption::Tls, database, user),
            ] {
                for connection in [connection, connection.physical_replication()] {
                    if access(&before, &connection) != access(&after, &connection) {
                        differs.push(connection);
                    }
                }
            }
        }
        let difference = before.diff(&after);
        prop_assert!(difference.complete);
        prop_assert_eq!(
            difference.changes.is_empty(), differs.is_empty(),
            "{:?} {:?}", difference.changes, differs.first()
        );
    }
}
