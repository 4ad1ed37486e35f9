//! The group of PGD nodes, and what becomes of it when EDB's page on securing inter-node connections
//! is followed.

use pg_version::PgVersion;

use standin::{
    Ask, By, Ca, Node, PgdMesh, Result, Rogue, RowSeen, Site, Visit, Writer,
    page::{self, CERT, ROLE, SSL_ON, each, lines, provide_certificates, switch},
};

const MAJORS: [PgVersion; 3] = [PgVersion::V16, PgVersion::V17, PgVersion::V18];

/// The page's verification queries, as they are there, each made to one value.
const ENCRYPTED: &str = "SELECT count(*) FROM (SELECT pid, ssl, version, cipher, bits \
    FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)) AS q WHERE ssl";
const RULES: &str = "SELECT string_agg(DISTINCT auth_method, ',') FROM (\
    SELECT type, database, user_name, address, auth_method FROM pg_hba_file_rules \
    WHERE auth_method IN ('cert', 'scram-sha-256')) AS q";
const ACTIVE: &str = "SELECT count(*) FROM (\
    SELECT node_name, peer_state_name, peer_target_state_name FROM bdr.node_summary) AS q \
    WHERE peer_state_name = 'ACTIVE' AND peer_target_state_name = 'ACTIVE'";

fn everywhere(rows: &[RowSeen]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| row.missing_on.is_empty() && !row.seen_on.is_empty())
}

/// A session in plain text from where the test is, with nothing to show.
fn plain_text(node: &Node) -> bool {
    let connect = node.server().connect_tcp();
    connect.user(ROLE).database("pgddb").open().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_the_letter_is_green_and_open() -> Result {
    for (version, by) in MAJORS.into_iter().zip([By::Name, By::Ip, By::Name]) {
        let mesh = PgdMesh::builder(version, 3, by).link_user("postgres").open().await?;
        page::follow(&mesh, &Ca::create("pgd")?)?;

        // All that the page asks says yes ...
        each(&mesh, |node| {
            node.wait(ENCRYPTED, "2")?;
            assert_eq!(node.value(RULES)?, "cert", "{version}");
            assert_eq!(node.value(ACTIVE)?, "3", "{version}");
            Ok(())
        })?;
        assert!(everywhere(&mesh.write_and_see().await?), "{version}");
        // ... and nobody has shown a certificate, or had to.
        for link in mesh.links()? {
            let session = link.session.ok_or_else(|| late("a link is down"))?;
            assert!(session.ssl && session.client_dn.is_none(), "{version}: {session:?}");
            assert_eq!(session.login.user.as_deref(), Some(ROLE));
            let told = (version >= PgVersion::V17).then_some("trust");
            assert_eq!(session.login.method.as_deref(), told, "{version}: {session:?}");
        }
        assert!(mesh.nodes().iter().all(|node| plain_text(node)), "{version}");
    }
    Ok(())
}

fn late(what: &str) -> standin::Error {
    standin::Error::Late(what.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_first_without_ssl_ca_file_fail_at_the_next_connection() -> Result {
    for version in [PgVersion::V16, PgVersion::V18] {
        let mesh = PgdMesh::open(version, 3, By::Name).await?;
        provide_certificates(&mesh, &Ca::create("pgd")?)?;
        each(&mesh, |node| {
            node.edit_conf(SSL_ON)?;
            node.reload()
        })?;
        switch(&mesh, CERT)?;
        each(&mesh, |node| node.wait(ENCRYPTED, "2"))?;
        let before = pids(&mesh)?;
        each(&mesh, |node| {
            node.edit_hba(&lines(&mesh, "cert"), "")?;
            node.reload()
        })?;
        // What is connected stays so, by trust.
        assert!(everywhere(&mesh.write_and_see().await?), "{version}");
        assert_eq!(pids(&mesh)?, before, "{version}");

        let marks: Vec<usize> =
            mesh.nodes().iter().map(|node| node.mark()).collect::<Result<_>>()?;
        mesh.cut_links()?;
        for (node, mark) in mesh.nodes().iter().zip(&marks) {
            let reason = "client certificates can only be checked if a root certificate store";
            node.wait_for_log(reason, *mark)?;
        }
        assert!(mesh.links()?.iter().all(|link| link.session.is_none()), "{version}");
        let rows = mesh.write_and_see_within(std::time::Duration::ZERO).await?;
        assert!(rows.iter().all(|row| row.seen_on.is_empty()), "{version}: {rows:?}");
        each(&mesh, |node| {
            assert_eq!(node.value(ACTIVE)?, "3", "{version}");
            Ok(())
        })?;

        each(&mesh, |node| {
            node.edit_conf("ssl_ca_file = 'root.crt'\n")?;
            node.reload()
        })?;
        mesh.wait_linked()?;
        for link in mesh.links()? {
            let session = link.session.ok_or_else(|| late("a link is down"))?;
            assert_eq!(session.client_dn.as_deref(), Some("/CN=pgd_replication"), "{version}");
            assert_eq!(session.login.method.as_deref(), Some("cert"), "{version}");
            assert_eq!(session.login.identity.as_deref(), Some("CN=pgd_replication"), "{version}");
            assert_eq!(session.login.line, Some(1), "{version}");
        }
        assert!(everywhere(&mesh.write_and_see().await?), "{version}");
        // Without TLS the new lines do not match, and the old ones let everybody in.
        assert!(mesh.nodes().iter().all(|node| plain_text(node)), "{version}");
    }
    Ok(())
}

fn pids(mesh: &PgdMesh) -> Result<Vec<String>> {
    let query = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_replication";
    mesh.nodes().iter().map(|node| node.value(query)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_that_others_may_read_is_ignored() -> Result {
    let mesh = PgdMesh::open(PgVersion::V17, 2, By::Ip).await?;
    provide_certificates(&mesh, &Ca::create("pgd")?)?;
    each(&mesh, |node| {
        node.sql("ALTER ROLE pgd_replication PASSWORD 'xyzzy'")?;
        node.write(node.home_dir().join(".pgpass"), b"*:*:*:pgd_replication:xyzzy\n", 0o644)?;
        node.edit_conf(SSL_ON)?;
        node.edit_hba(&lines(&mesh, "scram-sha-256"), "")?;
        node.reload()
    })?;
    let marks: Vec<usize> = mesh.nodes().iter().map(|node| node.mark()).collect::<Result<_>>()?;
    switch(&mesh, "sslmode=verify-full sslrootcert=root.crt")?;
    for (node, mark) in mesh.nodes().iter().zip(&marks) {
        node.wait_for_log(".pgpass\" has group or world access", *mark)?;
        node.wait_for_log("fe_sendauth: no password supplied", *mark)?;
        assert_eq!(node.value(ACTIVE)?, "2");
    }
    each(&mesh, |node| {
        node.write(node.home_dir().join(".pgpass"), b"*:*:*:pgd_replication:xyzzy\n", 0o600)
    })?;
    mesh.wait_linked()?;
    for link in mesh.links()? {
        let session = link.session.ok_or_else(|| late("a link is down"))?;
        assert_eq!(session.login.method.as_deref(), Some("scram-sha-256"));
        assert!(session.ssl);
    }
    assert!(everywhere(&mesh.write_and_see().await?));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn alter_node_interface_is_as_documented() -> Result {
    let parameters = "connect_timeout=7 application_name=mesh";
    let builder = PgdMesh::builder(PgVersion::V16, 3, By::Ip).parameters(parameters);
    let mesh = builder.open().await?;
    let [one, two, three] = mesh.nodes() else { return Err(late("three nodes")) };
    let found = mesh.dsn(one, two)?;
    assert!(found.ends_with(parameters), "{found}");
    assert_eq!(one.value("SELECT node_name FROM bdr.local_node_summary")?, "node-1");
    let columns = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute \
                   WHERE attrelid = 'bdr.node_summary'::regclass AND attnum > 0";
    assert_eq!(
        one.value(columns)?,
        "node_name node_group_name interface_connstr peer_state_name peer_target_state_name \
         node_seq_id node_local_dbname node_id node_group_id node_kind_name node_uuid"
    );

    // Nothing of it without the commit.
    let mut session = one.session()?;
    session.query("BEGIN")?;
    let alter = "SELECT bdr.alter_node_interface('node-2', 'host=nowhere')";
    assert_eq!(session.query(alter)?.value(), Some("t"));
    session.query("ROLLBACK")?;
    assert_eq!(mesh.dsn(one, two)?, found);
    assert!(everywhere(&mesh.write_and_see().await?));

    // The whole string, on this node only.
    session.query(alter)?;
    assert_eq!(mesh.dsn(one, two)?, "host=nowhere");
    assert_eq!(mesh.dsn(two, two)?, found);
    assert_eq!(mesh.dsn(three, two)?, found);
    one.wait_for_log("nowhere", 0)?;
    let down: Vec<(String, String)> = mesh
        .links()?
        .into_iter()
        .filter(|link| link.session.is_none())
        .map(|link| (link.from, link.to))
        .collect();
    assert_eq!(down, [("node-1".to_owned(), "node-2".to_owned())]);
    assert_eq!(one.value(ACTIVE)?, "3");
    session.query(&format!("SELECT bdr.alter_node_interface('node-2', '{found}')"))?;
    mesh.wait_linked()?;

    let refused = |sql: &str| match one.sql(sql) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let unknown = refused("SELECT bdr.alter_node_interface('node-9', 'host=nowhere')");
    assert!(unknown.contains("node-9"), "{unknown}");
    let malformed = refused("SELECT bdr.alter_node_interface('node-2', 'no such thing')");
    assert!(malformed.contains("connection string"), "{malformed}");
    assert_eq!(mesh.dsn(one, two)?, found);
    one.sql("CREATE ROLE nobody_special")?;
    let anybody = refused(
        "SET SESSION AUTHORIZATION nobody_special; \
         SELECT bdr.alter_node_interface('node-2', 'host=nowhere')",
    );
    assert!(anybody.contains("permission denied"), "{anybody}");
    one.sql(&format!(
        "SET SESSION AUTHORIZATION pgd_replication; \
         SELECT bdr.alter_node_interface('node-2', '{found}')"
    ))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_bdr_superuser_is_no_walsender_by_that() -> Result {
    let mesh = PgdMesh::open(PgVersion::V18, 2, By::Ip).await?;
    let [one, two] = mesh.nodes() else { return Err(late("two nodes")) };
    let mark = one.mark()?;
    two.sql("CREATE ROLE other LOGIN IN ROLE bdr_superuser")?;
    let dsn = mesh.dsn(one, two)?.replace("user=pgd_replication", "user=other");
    one.sql(&format!("SELECT bdr.alter_node_interface('node-2', '{dsn}')"))?;
    one.wait_for_log("permission denied to start WAL sender", mark)?;
    two.sql("ALTER ROLE other REPLICATION")?;
    mesh.wait_linked()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_in_namespaces_see_each_other_by_address() -> Result {
    let sites = [(Site::namespaces()?, By::Name), (Site::namespaces_v6()?, By::Ip)];
    for (site, by) in sites {
        let Some(site) = site else { continue };
        let mesh = PgdMesh::builder(PgVersion::V18, 3, by).site(&site).open().await?;
        for link in mesh.links()? {
            let session = link.session.ok_or_else(|| late("a link is down"))?;
            let from = mesh.nodes().iter().find(|node| node.name() == link.from);
            let from = from.ok_or_else(|| late("no such node"))?;
            assert_eq!(session.client_addr, from.address().to_string());
        }
        assert!(everywhere(&mesh.write_and_see().await?));
        // From the test's own process, too.
        assert!(mesh.nodes().iter().all(|node| plain_text(node)));

        // A rule for one peer's address.
        let [one, two, three] = mesh.nodes() else { return Err(late("three nodes")) };
        let mark = one.mark()?;
        let host = if three.address().is_ipv4() { 32 } else { 128 };
        one.edit_hba(&format!("host all all {}/{host} reject\n", three.address()), "")?;
        one.reload()?;
        mesh.cut_links()?;
        one.wait_for_log(
            &format!("pg_hba.conf rejects connection for host \"{}\"", three.address()),
            mark,
        )?;
        let two_links = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        two.wait(two_links, "2")?;
        one.wait(two_links, "1")?;
        let down: Vec<(String, String)> = mesh
            .links()?
            .into_iter()
            .filter(|link| link.session.is_none())
            .map(|link| (link.from, link.to))
            .collect();
        assert_eq!(down, [("node-3".to_owned(), "node-1".to_owned())]);
    }
    Ok(())
}

/// The last node's place is taken by somebody with a certificate of the same CA.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_gets_the_password_where_only_the_ca_is_checked() -> Result {
    let mesh = PgdMesh::open(PgVersion::V17, 2, By::Name).await?;
    let [one, two] = mesh.nodes() else { return Err(late("two nodes")) };
    let ca = Ca::create("pgd")?;
    provide_certificates(&mesh, &ca)?;
    each(&mesh, |node| {
        node.sql("ALTER ROLE pgd_replication PASSWORD 'xyzzy'")?;
        node.write(node.home_dir().join(".pgpass"), b"*:*:*:pgd_replication:xyzzy\n", 0o600)?;
        node.edit_conf(SSL_ON)?;
        node.edit_hba(&lines(&mesh, "scram-sha-256"), "")?;
        node.reload()
    })?;
    let open = mesh.dsn(one, two)?;
    let with = |parameters: &str| {
        let dsn = format!("{open} sslrootcert=root.crt {parameters}");
        one.sql(&format!("SELECT bdr.alter_node_interface('node-2', '{dsn}')")).map(drop)
    };
    two.server().stop(pgtest::Shutdown::Immediate)?;
    let stranger = ca.server("stranger", &["DNS:stranger.invalid"])?;
    let user = || "pgd_replication".to_owned();
    let (left, linked) = (Visit::Left { user: user() }, Visit::Linked { user: user() });
    let password = Visit::Password { user: user(), password: "xyzzy".to_owned() };
    // The rogue is called on again and again; only what came after the link was switched counts.
    for (parameters, asked, told) in [
        ("sslmode=verify-ca", password, linked),
        ("sslmode=verify-ca channel_binding=require", left.clone(), left.clone()),
        ("sslmode=verify-ca require_auth=scram-sha-256", left.clone(), left),
        ("sslmode=verify-full", Visit::NoTls, Visit::NoTls),
    ] {
        with(parameters)?;
        for (ask, expected) in [(Ask::Password, asked), (Ask::Nothing, told)] {
            let rogue = Rogue::in_place_of(two, &stranger, ask)?;
            let visits = rogue.wait(3)?;
            assert_eq!(visits.last(), Some(&expected), "{parameters} {ask:?}: {visits:?}");
        }
    }
    // It goes as it came.
    two.server().start()?;
    mesh.wait_linked()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_sees_how_long_a_link_was_down() -> Result {
    let mesh = PgdMesh::open(PgVersion::V18, 3, By::Ip).await?;
    let writer = Writer::start(&mesh, std::time::Duration::from_millis(20))?;
    let [one, two, three] = mesh.nodes() else { return Err(late("three nodes")) };
    two.wait("SELECT count(*) > 4 FROM note", "t")?;
    // Two cannot come back until it is let in again.
    one.edit_hba("host all all all reject\n", "")?;
    one.reload()?;
    let mark = one.mark()?;
    one.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_replication \
         WHERE application_name LIKE '%node_2'",
    )?;
    one.wait_for_log("pg_hba.conf rejects", mark)?;
    let more = |rows: u32| {
        let count = one.value(&format!("SELECT count(*) + {rows} FROM note"))?;
        one.wait(&format!("SELECT count(*) >= {count} FROM note"), "t")
    };
    more(1)?;
    let written = std::time::Instant::now();
    more(5)?;
    let outage = written.elapsed();
    let hba = one.data_dir().join("pg_hba.conf");
    let text = std::fs::read_to_string(&hba).unwrap_or_default();
    one.write(&hba, text.replacen("host all all all reject\n", "", 1).as_bytes(), 0o600)?;
    one.reload()?;
    let seen = writer.finish()?;
    let [cut, whole] = &seen[..] else { return Err(late("two other nodes")) };
    assert_eq!((cut.node.as_str(), whole.node.as_str()), (two.name(), three.name()));
    for node in &seen {
        assert!(node.written > 9 && node.arrived == node.written, "{node:?}");
    }
    // A row that was written before did not arrive until after.
    assert!(cut.longest_delay >= outage && cut.largest_gap >= outage, "{outage:?}: {cut:?}");
    Ok(())
}
