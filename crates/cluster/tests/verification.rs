//! Verification where not everything answers, where logs are written in other ways, and of what
//! changes while it looks.

use std::{fs, io::Write as _, time::Duration};

use cluster::{
    inspect, run,
    spec::{ClusterSpec, Mode, TopologyKind},
    verify::{Code, Evidence, Finding, LinkProof, MethodSource, Options, Severity, Verification},
};
use pg_version::PgVersion;
use pgtest::Shutdown;
use standin::{By, Node, PgdMesh, page::ROLE, secured};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

async fn describe(mesh: &PgdMesh, mode: Mode) -> Outcome<(ClusterSpec, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let kind = TopologyKind::Pgd;
    let spec = secured::describe(kind, mode, ROLE, folder.path(), mesh.nodes(), &from)?;
    Ok((spec, folder))
}

async fn secured_mesh(
    version: PgVersion,
    count: u8,
    mode: Mode,
) -> Outcome<(PgdMesh, ClusterSpec, tempfile::TempDir)> {
    let mesh = PgdMesh::open(version, count, By::Ip).await?;
    let (spec, folder) = describe(&mesh, mode).await?;
    secured::secure(&spec).await?;
    Ok((mesh, spec, folder))
}

fn link<'v>(verification: &'v Verification, from: &str, to: &str) -> Outcome<&'v LinkProof> {
    let mut links = verification.links.iter();
    Ok(links.find(|link| link.from == from && link.to == to).ok_or("no such link")?)
}

fn of(verification: &Verification, code: Code) -> Vec<&Finding> {
    verification.findings.iter().filter(|found| found.code == code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_a_finding() -> Outcome {
    let (mesh, spec, _folder) = secured_mesh(PgVersion::V16, 3, Mode::Cert).await?;
    let third = mesh.nodes()[2].clone();
    let judge = |verification: &Verification, why: &str| -> Outcome {
        assert!(!verification.proved());
        let silent = of(verification, Code::NodeSilent);
        assert_eq!(silent.len(), 1, "{silent:?}");
        assert_eq!(silent[0].node, "node-3");
        assert!(silent[0].what.contains(why), "{silent:?}");
        for (from, to) in [("node-1", "node-2"), ("node-2", "node-1")] {
            assert!(link(verification, from, to)?.proved(), "{verification:#?}");
        }
        for from in ["node-1", "node-2"] {
            let missing = &link(verification, from, "node-3")?.missing;
            assert_eq!(missing, &["node node-3 cannot be asked about it"]);
        }
        Ok(())
    };

    third.server().stop(Shutdown::Fast)?;
    judge(&secured::look(&spec).await?, "cannot connect")?;
    third.server().start()?;

    // It takes connections, and says nothing.
    let pid = third.server().pid().ok_or("no server")?;
    let pid = rustix::process::Pid::from_raw(pid.try_into()?).ok_or("no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    let looked = look_shortly(&spec).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    judge(&looked?, "gave up after ")
}

/// Verifies with as little patience as is enough for the nodes that do answer: a busy machine takes
/// longer.
async fn look_shortly(spec: &ClusterSpec) -> Outcome<Verification> {
    let mut patience = Duration::from_secs(3);
    loop {
        let options = Options::default().patience(patience);
        let verification = secured::look_with(spec, options).await?;
        let proved = verification.links.iter().filter(|link| link.proved()).count();
        if proved == 2 || patience > standin::PATIENCE {
            return Ok(verification);
        }
        patience *= 3;
    }
}

/// A node without what the description says is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_secured_is_found_wanting() -> Outcome {
    let mesh = PgdMesh::builder(PgVersion::V18, 2, By::Ip).link_user("postgres").open().await?;
    for mode in [Mode::Cert, Mode::Scram] {
        let (mut spec, _folder) = describe(&mesh, mode).await?;
        let verification = secured::look(&spec).await?;
        assert!(!verification.proved());
        for code in [Code::OtherMethod, Code::NoTls, Code::RoleUnfit, Code::SslOff] {
            assert!(!of(&verification, code).is_empty(), "{code}: {verification:#?}");
        }
        // One that links lead to is not described; what the other tells is told.
        spec.nodes.pop();
        let verification = secured::look(&spec).await?;
        let unfit = of(&verification, Code::NotAsDescribed);
        assert_eq!(unfit.len(), 1, "{verification:#?}");
        assert!(unfit[0].what.contains("PGD node node-2"), "{unfit:?}");
    }
    // No schema bdr in this database.
    let (mut spec, _folder) = describe(&mesh, Mode::Cert).await?;
    spec.nodes[1].sql = spec.nodes[1].sql.replace("dbname=pgddb", "dbname=postgres");
    let verification = secured::look(&spec).await?;
    assert_eq!(of(&verification, Code::NotAsDescribed)[0].node, "node-2");
    assert_eq!(link(&verification, "node-1", "node-2")?.method.as_deref(), Some("trust"));
    Ok(())
}

fn configure(mesh: &PgdMesh, node: &Node, conf: &str, restart: bool) -> Outcome {
    node.edit_conf(conf)?;
    if restart {
        node.server().restart()?;
    } else {
        node.reload()?;
    }
    mesh.cut_links()?;
    Ok(mesh.wait_linked()?)
}

async fn proof(spec: &ClusterSpec) -> Outcome<(LinkProof, Verification)> {
    let verification = secured::look(spec).await?;
    assert!(verification.proved(), "{verification:#?}");
    Ok((link(&verification, "node-2", "node-1")?.clone(), verification))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_of_the_log_is_read() -> Outcome {
    let (mesh, spec, _folder) = secured_mesh(PgVersion::V17, 2, Mode::Cert).await?;
    let one = &mesh.nodes()[0];
    let by_log = async |format: &str| -> Outcome {
        // The logging collector writes when it comes to it, a moment after the session began.
        let deadline = std::time::Instant::now() + standin::PATIENCE;
        let link = loop {
            let (link, _) = proof(&spec).await?;
            if link.method_from == MethodSource::Log {
                break link;
            }
            assert!(std::time::Instant::now() < deadline, "{link:#?}");
        };
        let evidence = link.evidence.ok_or("no evidence")?;
        assert!(evidence.starts_with(&format!("the server's log ({format}): ")), "{evidence}");
        assert!(evidence.contains("identity=\"CN=pgd_replication\" method=cert"), "{evidence}");
        assert!(link.hba_file.is_some_and(|file| file.ends_with("/pg_hba.conf")));
        Ok(())
    };
    by_log("stderr").await?;

    // The file that has the beginnings is not the one that is written to.
    configure(&mesh, one, "log_filename = 'first.log'\n", false)?;
    // Nothing of the session's first moment is in the next file.
    let old = "SELECT clock_timestamp() > backend_start + '3 s'::interval FROM pg_stat_replication";
    one.wait(old, "t")?;
    one.edit_conf("log_filename = 'second.log'\n")?;
    one.reload()?;
    one.wait("SELECT pg_current_logfile()", "log/second.log")?;
    by_log("stderr").await?;

    // Somebody has compressed the file with the beginning: what later ones have of the session may be
    // its own words.
    let first = one.data_dir().join("log/first.log");
    let pid = format!("[{}]", one.value("SELECT pid FROM pg_stat_replication")?);
    let text = fs::read_to_string(&first)?;
    let words: Vec<&str> = text.split_inclusive('\n').filter(|line| line.contains(&pid)).collect();
    assert!(words.iter().any(|line| line.contains("connection authenticated")), "{text}");
    let mut second =
        fs::OpenOptions::new().append(true).open(one.data_dir().join("log/second.log"))?;
    second.write_all(words.concat().as_bytes())?;
    fs::write(&first, b"\x1f\x8b\x08\x00compressed\n")?;
    let (link, _) = proof(&spec).await?;
    assert_eq!(link.method_from, MethodSource::Rules, "{link:#?}");

    // Much was logged before, and since.
    let much = "DO $$ BEGIN FOR n IN 1..4000 LOOP RAISE LOG '% %', n, repeat('x', 400); END LOOP; \
                END $$";
    one.sql(much)?;
    mesh.cut_links()?;
    mesh.wait_linked()?;
    one.sql(much)?;
    by_log("stderr").await?;

    for format in ["csvlog", "jsonlog"] {
        configure(&mesh, one, &format!("log_destination = '{format}'\n"), false)?;
        by_log(format).await?;
        one.sql(much)?;
        // A message over several lines, with what looks like the end of a record.
        one.sql("DO $$ BEGIN RAISE LOG E'\"\n2026-01-01 00:00:00.000 UTC,,,1,,\n\"'; END $$")?;
        by_log(format).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_the_rules_tell_and_it_is_marked() -> Outcome {
    let (mesh, spec, _folder) = secured_mesh(PgVersion::V17, 2, Mode::Scram).await?;
    let one = &mesh.nodes()[0];
    for (conf, restart) in [
        ("log_line_prefix = '%m '\n", false),
        // Nothing tells when it was.
        ("log_line_prefix = '%p '\n", false),
        ("log_line_prefix = '%m [%p] '\nlog_connections = off\n", false),
        ("log_connections = on\nlogging_collector = off\n", true),
    ] {
        configure(&mesh, one, conf, restart)?;
        let (link, verification) = proof(&spec).await?;
        assert_eq!(link.method_from, MethodSource::Rules, "{conf}: {link:#?}");
        assert!(of(&verification, Code::OldSession).is_empty(), "{conf}: {verification:#?}");
    }
    // What the rules say now, they need not have said then.
    one.reload()?;
    let (_, verification) = proof(&spec).await?;
    let doubts = of(&verification, Code::OldSession);
    assert_eq!(doubts.len(), 1, "{verification:#?}");
    assert_eq!(doubts[0].severity, Severity::Warning);
    let again = secured::look_with(&spec, Options::default().reconnect(true)).await?;
    assert!(again.proved() && of(&again, Code::OldSession).is_empty(), "{again:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_to_connect_anew() -> Outcome {
    let (mesh, spec, _folder) = secured_mesh(PgVersion::V18, 2, Mode::Cert).await?;
    let one = &mesh.nodes()[0];
    let sessions = |verification: &Verification| -> Vec<Option<String>> {
        verification.links.iter().map(|link| link.session.clone()).collect()
    };
    let before = secured::look(&spec).await?;
    assert_eq!(sessions(&secured::look(&spec).await?), sessions(&before), "it only looks");
    let after = secured::look_with(&spec, Options::default().reconnect(true)).await?;
    assert!(after.proved(), "{after:#?}");
    for (old, new) in sessions(&before).iter().zip(sessions(&after)) {
        assert!(old.is_some() && new.is_some() && *old != new, "{old:?} {new:?}");
    }

    // They work, and would not come back.
    one.edit_conf("ssl_ca_file = ''\n")?;
    one.reload()?;
    // The other link comes back in this time, also on a busy machine.
    let options = Options::default().reconnect(true).patience(Duration::from_secs(12));
    let verification = secured::look_with(&spec, options).await?;
    let down = of(&verification, Code::LinkDown);
    assert_eq!(down.len(), 1, "{verification:#?}");
    assert_eq!(down[0].what, "node-1: the link did not connect anew");
    assert!(link(&verification, "node-1", "node-2")?.proved(), "{verification:#?}");
    Ok(())
}

/// A server goes by the authority that it read last: putting back its file alone changes nothing for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_put_back_is_read_again() -> Outcome {
    let (mesh, spec, _folder) = secured_mesh(PgVersion::V16, 2, Mode::Cert).await?;
    fs::remove_file(mesh.nodes()[0].data_dir().join("root.crt"))?;
    let plan = secured::plan(&spec).await?.plan;
    let steps: Vec<String> = plan
        .stages
        .iter()
        .flat_map(|stage| &stage.steps)
        .map(|step| format!("{}: {}", step.node, step.action))
        .collect();
    assert_eq!(steps.len(), 2, "{steps:#?}");
    assert!(
        steps[0].starts_with("node-1: new file ") && steps[0].contains("root.crt"),
        "{steps:#?}"
    );
    assert!(steps[1].starts_with("node-1: reload the configuration"), "{steps:#?}");
    Ok(())
}

/// What the links' slots are called where nothing but PGD's documentation tells it.
#[tokio::test(flavor = "multi_thread")]
async fn slots_are_called_as_documented() -> Outcome {
    let mesh = PgdMesh::open(PgVersion::V17, 2, By::Ip).await?;
    let (spec, _folder) = describe(&mesh, Mode::Cert).await?;
    let states = inspect::inspect_all(&spec, &secured::nodes(&spec)).await?;
    let slots = &states[0].bdr.as_ref().ok_or("no bdr")?.slots;
    let uuid = mesh.nodes()[0].value("SELECT node_uuid FROM bdr.local_node_summary")?;
    let hash = mesh.nodes()[0].value("SELECT to_hex(hashtext('pgddb'))")?;
    let used = mesh.nodes()[1].value("SELECT slot_name FROM pg_replication_slots")?;
    assert_eq!(slots, &[format!("bdr_node_{}_{hash}", uuid.replace('-', "")), used]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_since_is_told() -> Outcome {
    let mesh = PgdMesh::open(PgVersion::V17, 2, By::Ip).await?;
    let (spec, _folder) = describe(&mesh, Mode::Scram).await?;
    secured::secure(&spec).await?;
    let changed = async || -> Outcome<Vec<Finding>> {
        let found = secured::look(&spec).await?.findings;
        Ok(found.into_iter().filter(|found| found.code == Code::Drifted).collect())
    };
    assert_eq!(changed().await?, []);

    let one = &mesh.nodes()[0];
    one.edit_hba("host all all 10.0.0.0/8 trust # their own\n", "")?;
    one.edit_conf("# a comment\nssl_min_protocol_version = 'TLSv1.3'\nprimary_conninfo = 'password=hunter2'\n")?;
    let pgpass = one.home_dir().join(".pgpass");
    one.write(&pgpass, b"*:*:*:*:hunter2\n", 0o640)?;
    std::fs::remove_file(one.data_dir().join("root.crt"))?;
    one.sql(
        "SELECT bdr.alter_node_interface(node_name, interface_connstr || ' connect_timeout=3') \
             FROM bdr.node_summary WHERE node_name = 'node-2'",
    )?;

    let found = changed().await?;
    assert!(found.iter().all(|f| f.code == Code::Drifted && f.node == "node-1"), "{found:#?}");
    assert!(found.iter().all(|f| f.severity == Severity::Warning), "{found:#?}");
    let root = one.data_dir().display().to_string();
    let home = one.home_dir().display().to_string();
    let mut words: Vec<String> =
        found.iter().map(|f| f.what.replace(&root, "DATA").replace(&home, "HOME")).collect();
    words.sort();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(one.data_dir())?);
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(one.data_dir())?);
    assert_eq!(
        words,
        [
            "DATA/pg_hba.conf was changed: pgd_replication, other users to other databases from \
             10.0.0.0/8: rejected -> trust"
                .to_owned(),
            "DATA/postgresql.conf was changed: primary_conninfo is set, was not set; \
             ssl_min_protocol_version is \"TLSv1.3\", was not set"
                .to_owned(),
            "DATA/root.crt is gone".to_owned(),
            "HOME/.pgpass has mode and owner 0640 {owner}:{group}, and had 0600 {owner}:{group}"
                .replace("{owner}", &owner.to_string())
                .replace("{group}", &group.to_string()),
            "HOME/.pgpass was changed; what it held before is not at hand to be compared"
                .to_owned(),
            "node-2: connect_timeout is 3, was not there".to_owned(),
        ]
    );
    let details: String = found.iter().filter_map(|f| f.detail.as_deref()).collect();
    assert!(details.contains("+host all all 10.0.0.0/8 trust # their own"), "{details}");
    assert!(details.contains("+primary_conninfo = '********'"), "{details}");
    assert!(!format!("{found:?}").contains("hunter2"));

    let states = inspect::inspect_all(&spec, &secured::nodes(&spec)).await?;
    assert_eq!(run::accept_changes(&spec, &states)?.len(), words.len());
    assert_eq!(changed().await?, []);
    assert_eq!(run::accept_changes(&spec, &states)?, []);
    Ok(())
}

/// From an address that nobody is let in from, refusals prove nothing; the rules do.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_of_the_peers_proves_nothing() -> Outcome {
    let Some(site) = standin::Site::namespaces()? else { return Ok(()) };
    let mesh = PgdMesh::builder(PgVersion::V17, 2, By::Ip).site(&site).open().await?;
    let (mut spec, _folder) = describe(&mesh, Mode::Cert).await?;
    let addresses: Vec<_> = spec.nodes.iter().map(|node| node.address.into()).collect();
    for node in &mut spec.nodes {
        node.peers_from.clone_from(&addresses);
    }
    secured::secure(&spec).await?;
    let verification = secured::look(&spec).await?;
    assert!(verification.proved(), "{verification:#?}");
    assert!(!verification.controls.is_empty() && !verification.refusals.is_empty());
    assert!(verification.controls.iter().all(|c| !c.expected && c.let_in == Some(false)));
    assert!(verification.refusals.iter().all(|r| r.evidence == Evidence::Rules));
    assert!(!of(&verification, Code::OwnAddress).is_empty());

    // Nobody gets in from here, and the peers get in without a certificate.
    let (one, two) = (&mesh.nodes()[0], &mesh.nodes()[1]);
    one.edit_hba(&format!("host all all {}/32 trust\n", two.address()), "")?;
    one.reload()?;
    let verification = secured::look(&spec).await?;
    assert!(!verification.proved());
    let open = of(&verification, Code::NotRefused);
    assert!(open.iter().any(|found| found.what.contains("plain text: ")), "{open:#?}");
    assert!(open.iter().all(|found| found.node == "node-1"), "{open:#?}");

    // From a peer's address everything is tried.
    for node in &mut spec.nodes {
        node.peers_from = vec![site.peers_from().parse()?];
    }
    secured::secure(&spec).await?;
    let verification = secured::look(&spec).await?;
    assert!(verification.proved(), "{verification:#?}");
    assert!(verification.controls.iter().all(|c| c.expected && c.let_in == Some(true)));
    assert!(verification.refusals.iter().all(|r| r.evidence == Evidence::Tried));
    assert!(verification.refusals.iter().any(|r| r.database.is_none()), "physical replication");
    Ok(())
}
