//! The topologies `pgd` and `timescale` on their stand-ins: from open to proved, and nothing to do the
//! second time.

#[path = "killed/anywhere.rs"]
mod anywhere;
#[path = "killed/process.rs"]
mod killed;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use cluster::{
    apply::Limits,
    inspect::inspect_all,
    rotate,
    run::{Outcome as RunOutcome, Runner},
    spec::{ClusterSpec, Mode, TimescaleSpec, TopologyKind, UserChain},
};
use pg_version::PgVersion;
use standin::{
    By, PgdMesh, TimescaleCluster,
    secured::{describe, look, secure},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// What may be seen of a file.
type Kept = (String, u32, (u32, u32));

/// Every file that a plan may write: what it holds, its mode and owner.
fn files(nodes: &[Arc<standin::Node>]) -> Outcome<BTreeMap<PathBuf, Kept>> {
    let mut files = BTreeMap::new();
    for node in nodes {
        for folder in [node.data_dir(), node.home_dir(), node.data_dir().join("timescaledb/certs")]
        {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if entry.path().is_file() && !name.starts_with("postmaster") && name != "log" {
                    let metadata = entry.metadata()?;
                    let owner = (metadata.uid(), metadata.gid());
                    let text = fs::read(entry.path())?.escape_ascii().to_string();
                    files.insert(entry.path(), (text, metadata.mode(), owner));
                }
            }
        }
    }
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn pgd() -> Outcome {
    for (version, mode, by) in [
        (PgVersion::V16, Mode::Cert, By::Name),
        (PgVersion::V17, Mode::Scram, By::Ip),
        (PgVersion::V18, Mode::Cert, By::Ip),
        (PgVersion::V18, Mode::Scram, By::Name),
    ] {
        let mesh = PgdMesh::open(version, 3, by).await?;
        let folder = tempfile::tempdir()?;
        let from = mesh.site().peers_from();
        let spec = describe(
            TopologyKind::Pgd,
            mode,
            "pgd_replication",
            folder.path(),
            mesh.nodes(),
            &from,
        )?;
        let before = look(&spec).await?;
        assert!(!before.proved(), "{before:#?}");
        let as_found = (files(mesh.nodes())?, as_seen(mesh.nodes())?);

        assert!(secure(&spec).await? > 0);
        let after = look(&spec).await?;
        assert!(after.proved(), "{version} {mode:?} {by:?}: {after:#?}");
        assert_eq!(after.links.len(), 6);
        let found = files(mesh.nodes())?;
        assert_eq!(secure(&spec).await?, 0, "{version} {mode:?} {by:?}");
        assert_eq!(files(mesh.nodes())?, found);
        for seen in mesh.write_and_see().await? {
            assert!(seen.missing_on.is_empty(), "{seen:?}");
        }
        // The document's own verification, and what it leaves open.
        for link in mesh.links()? {
            let session = link.session.ok_or("a link is down")?;
            assert!(session.ssl);
            assert_eq!(session.client_dn.is_some(), mode == Mode::Cert);
        }

        take_back(&spec).await?;
        let when = format!("{version} {mode:?} {by:?}");
        assert_eq!((files(mesh.nodes())?, as_seen(mesh.nodes())?), as_found, "{when}");
        for seen in mesh.write_and_see().await? {
            assert!(seen.missing_on.is_empty(), "{when}: {seen:?}");
        }
        for link in mesh.links()? {
            // It may have TLS still: nobody was cut off when the server stopped offering it.
            assert!(link.session.is_some(), "{when}: {link:?}");
        }
    }
    Ok(())
}

/// Takes back what was applied; nothing stays.
async fn take_back(spec: &ClusterSpec) -> Outcome {
    let outcome = Runner::new(spec, &standin::secured::nodes(spec)).rollback().await?;
    assert_eq!(outcome, RunOutcome::TakenBack { kept: Vec::new() });
    assert!(!spec.secrets.join("ca.key").exists());
    Ok(())
}

/// What else a plan may change: roles with what their passwords are checked by, memberships,
/// connection strings, who may use what, and the settings in force.
fn as_seen(nodes: &[Arc<standin::Node>]) -> Outcome<Vec<String>> {
    const QUERIES: [&str; 5] = [
        "SELECT string_agg(concat_ws('|', rolname, rolsuper, rolcanlogin, rolreplication, \
         coalesce(rolpassword, '-')), ' ' ORDER BY rolname) FROM pg_authid",
        "SELECT string_agg(concat_ws('|', roleid::regrole, member::regrole), ' ' \
         ORDER BY roleid, member) FROM pg_auth_members",
        "SELECT string_agg(concat_ws('|', subname, subconninfo), ' ' ORDER BY subname) \
         FROM pg_subscription",
        // What was granted and revoked leaves in words what was the default before.
        "SELECT string_agg(concat_ws('|', srvname, srvoptions, grantee, privilege_type), ' ' \
         ORDER BY srvname, grantee) FROM pg_foreign_server, \
         aclexplode(coalesce(srvacl, acldefault('S', srvowner)))",
        "SELECT string_agg(concat_ws('=', name, setting), ' ' ORDER BY name) FROM pg_settings \
         WHERE name LIKE 'ssl%' OR name = 'log_connections'",
    ];
    let mut seen = Vec::new();
    for node in nodes {
        for query in QUERIES {
            seen.push(format!("{}: {}", node.name(), node.value(query)?));
        }
        let interfaces = "SELECT string_agg(concat_ws('|', node_name, interface_connstr), ' ' \
                          ORDER BY node_name) FROM bdr.node_summary";
        if !node.value("SELECT to_regclass('bdr.node_summary')")?.is_empty() {
            seen.push(format!("{}: {}", node.name(), node.value(interfaces)?));
        }
        let folder = node.data_dir().join("timescaledb");
        seen.push(format!("{}: {}", node.name(), folder.exists()));
    }
    Ok(seen)
}

/// Several servers of one machine that run as one account have one `.pgpass`.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_one_home_share_their_password_file() -> Outcome {
    let home = tempfile::tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let mesh = PgdMesh::builder(PgVersion::V17, 3, By::Ip).home(home.path()).open().await?;
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let spec = describe(kind, Mode::Scram, role, folder.path(), mesh.nodes(), &from)?;
    let passfile = home.path().join(".pgpass");
    mesh.nodes()[0].write(&passfile, b"# theirs\nelsewhere:*:*:*:theirs\n", 0o600)?;
    let as_found = (files(mesh.nodes())?, as_seen(mesh.nodes())?);
    assert!(as_found.0.contains_key(&passfile));

    assert!(secure(&spec).await? > 0);
    let after = look(&spec).await?;
    assert!(after.proved(), "{after:#?}");
    let text = fs::read_to_string(&passfile)?;
    assert!(text.starts_with("# theirs\nelsewhere:*:*:*:theirs\n"));
    for node in mesh.nodes() {
        let line = format!("{}:{}:*:{role}:", node.address(), node.port());
        assert_eq!(text.matches(&line).count(), 1, "{line}");
    }
    assert_eq!(secure(&spec).await?, 0);

    // Gone, it is written once, with the passwords that the servers store.
    fs::remove_file(&passfile)?;
    assert!(secure(&spec).await? > 0);
    let after = look(&spec).await?;
    assert!(after.proved(), "{after:#?}");
    assert_eq!(secure(&spec).await?, 0);
    Ok(())
}

/// ... and it is as it was when it is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_password_file_is_taken_back_once() -> Outcome {
    let home = tempfile::tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let mesh = PgdMesh::builder(PgVersion::V18, 2, By::Ip).home(home.path()).open().await?;
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let spec = describe(kind, Mode::Scram, role, folder.path(), mesh.nodes(), &from)?;
    let passfile = home.path().join(".pgpass");
    for theirs in [None, Some(b"elsewhere:*:*:*:theirs\n")] {
        if let Some(theirs) = theirs {
            mesh.nodes()[0].write(&passfile, theirs, 0o600)?;
        }
        let as_found = (files(mesh.nodes())?, as_seen(mesh.nodes())?);
        assert!(secure(&spec).await? > 0);
        take_back(&spec).await?;
        assert_eq!((files(mesh.nodes())?, as_seen(mesh.nodes())?), as_found);
        for seen in mesh.write_and_see().await? {
            assert!(seen.missing_on.is_empty(), "{seen:?}");
        }
    }
    Ok(())
}

/// ... but not while a link of another node than the one that wrote it still logs in by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_password_file_stays_for_a_node_that_needs_it() -> Outcome {
    let home = tempfile::tempdir()?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    let mesh = PgdMesh::builder(PgVersion::V18, 3, By::Ip).home(home.path()).open().await?;
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let spec = describe(kind, Mode::Scram, role, folder.path(), mesh.nodes(), &from)?;
    let as_found = (files(mesh.nodes())?, as_seen(mesh.nodes())?);
    assert!(secure(&spec).await? > 0);

    // Somebody gave a link another connection string, by which it still wants the password.
    let [_, two, three] = mesh.nodes() else { return Err("three nodes".into()) };
    let dsn = mesh.dsn(two, three)?;
    let alter = |dsn: &str| format!("SELECT bdr.alter_node_interface('node-3', $dsn${dsn}$dsn$)");
    two.sql(&alter(&format!("{dsn} application_name=theirs")))?;
    let outcome = Runner::new(&spec, &standin::secured::nodes(&spec)).rollback().await;
    let Err(cluster::Error::Left { left, .. }) = &outcome else { panic!("{outcome:?}") };
    let stays = left.iter().any(|left| {
        left.starts_with("node-1: ") && left.contains(".pgpass") && left.contains("back on node-2")
    });
    assert!(stays, "{left:#?}");
    mesh.cut_links()?;
    for seen in mesh.write_and_see().await? {
        assert!(seen.missing_on.is_empty(), "{seen:?}");
    }

    two.sql(&alter(&dsn))?;
    take_back(&spec).await?;
    assert_eq!((files(mesh.nodes())?, as_seen(mesh.nodes())?), as_found);
    Ok(())
}

/// A group that runs as postgres, without the role that the document wants. Secured, it is one that has
/// an authority of its own, as after the document's second way: then it is turned to certificates of
/// another.
#[tokio::test(flavor = "multi_thread")]
async fn pgd_gets_its_role_and_another_authority() -> Outcome {
    let mesh = PgdMesh::builder(PgVersion::V18, 2, By::Ip).link_user("postgres").open().await?;
    let from = mesh.site().peers_from();
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    for (mode, folder) in [Mode::Scram, Mode::Cert].into_iter().zip(&folders) {
        let spec = describe(kind, mode, role, folder.path(), mesh.nodes(), &from)?;
        secure(&spec).await?;
        let after = look(&spec).await?;
        assert!(after.proved(), "{after:#?}");
        for seen in mesh.write_and_see().await? {
            assert!(seen.missing_on.is_empty(), "{seen:?}");
        }
    }
    Ok(())
}

/// A group whose workers learn of another connection string later than it is put back: no link of it
/// ever connects anew by itself, and all of them are as they were.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_has_not_followed_yet_is_taken_back() -> Outcome {
    const LATER: &str = "CREATE OR REPLACE FUNCTION \
         bdr.alter_node_interface(node_name text, interface_dsn text) RETURNS boolean \
         LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS \
         'UPDATE bdr_standin.node AS node SET interface_connstr = $2 WHERE node.node_name = $1 \
          RETURNING true'";
    let mesh = PgdMesh::open(PgVersion::V17, 2, By::Ip).await?;
    for node in mesh.nodes() {
        node.sql(LATER)?;
    }
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let spec = describe(kind, Mode::Cert, role, folder.path(), mesh.nodes(), &from)?;
    let as_found = (files(mesh.nodes())?, as_seen(mesh.nodes())?);
    let limits = Limits { answer: Duration::from_secs(4), ..Limits::default() };
    let runner = Runner::new(&spec, &standin::secured::nodes(&spec)).limits(limits);
    let outcome = runner.apply(standin::secured::plan(&spec).await?).await;
    let Err(cluster::Error::TakenBack { left, .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!((files(mesh.nodes())?, as_seen(mesh.nodes())?), as_found);
    for seen in mesh.write_and_see().await? {
        assert!(seen.missing_on.is_empty(), "{seen:?}");
    }
    Ok(())
}

async fn timescale(
    mode: Mode,
    chain: UserChain,
    plain: bool,
) -> Outcome<(TimescaleCluster, ClusterSpec, tempfile::TempDir)> {
    let cluster = TimescaleCluster::open(PgVersion::V15, 2).await?;
    let folder = tempfile::tempdir()?;
    let nodes: Vec<_> = cluster.nodes().cloned().collect();
    let from = cluster.site().peers_from();
    let mut spec =
        describe(TopologyKind::Timescale, mode, "postgres", folder.path(), &nodes, &from)?;
    spec.roles.push("testrole".to_owned());
    spec.certificates.user_chain = chain;
    spec.i_know.plain_text_can_be_read = plain;
    spec.i_know.trust_lets_anybody_in = mode == Mode::Trust;
    let access_node = cluster.access().name().to_owned();
    spec.timescale = Some(TimescaleSpec { access_node, copy_chunk: mode == Mode::Cert });
    spec.check()?;
    Ok((cluster, spec, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn timescale_in_every_mode() -> Outcome {
    for (mode, chain, plain) in [
        (Mode::Cert, UserChain::Root, false),
        (Mode::Cert, UserChain::AccessNode, false),
        (Mode::Scram, UserChain::Root, false),
        (Mode::Scram, UserChain::Root, true),
        (Mode::Trust, UserChain::Root, false),
    ] {
        let (cluster, spec, _folder) = timescale(mode, chain, plain).await?;
        // Two databases with the same data nodes, where it makes a difference: each has links of its own.
        let both = chain == UserChain::Root && mode != Mode::Trust && !plain;
        let weather = both.then(|| cluster.another_database("weather")).transpose()?;
        let databases = if both { 2 } else { 1 };
        let all: Vec<_> = cluster.nodes().cloned().collect();
        let as_found = (files(&all)?, as_seen(&all)?);
        // What the access node would send on makes no statement: an administrator may have that.
        let access = cluster.access();
        access.sql("ALTER ROLE postgres SET search_path = ''")?;
        let prepared = || access.value("SELECT count(*) FROM _timescaledb_catalog.remote_txn");
        let before = prepared()?;
        assert!(secure(&spec).await? > 0);
        let after = look(&spec).await?;
        assert!(after.proved(), "{mode:?} {chain:?} {plain}: {after:#?}");
        assert_eq!(prepared()?, before, "looking leaves no record of a transaction");
        access.sql("ALTER ROLE postgres RESET search_path")?;
        assert_eq!(after.links.len(), 4 * databases, "two roles, two data nodes");
        if let Some(mut weather) = weather {
            weather.query("SET SESSION AUTHORIZATION testrole")?;
            weather.query("CALL distributed_exec('SELECT 1')")?;
        }
        let found = files(&all)?;
        assert_eq!(secure(&spec).await?, 0, "{mode:?} {chain:?} {plain}");
        assert_eq!(files(&all)?, found);
        if mode == Mode::Cert {
            // Data nodes of this machine share the access node's certificates.
            let states = inspect_all(&spec, &standin::secured::nodes(&spec)).await?;
            rotate::authority(&spec, &states, time::OffsetDateTime::now_utc())?;
        }
        for role in ["postgres", "testrole"] {
            for arrival in cluster.write_and_see(role).await? {
                assert_eq!(arrival.rows, arrival.expected, "{role}: {arrival:?}");
            }
        }

        // A database that is gone has nothing to be taken back, and is named.
        let gone = both && mode == Mode::Scram;
        if gone {
            access.sql("DROP DATABASE weather WITH (FORCE)")?;
        }
        let outcome = Runner::new(&spec, &standin::secured::nodes(&spec)).rollback().await?;
        let RunOutcome::TakenBack { kept } = outcome else { panic!("{outcome:?}") };
        assert!(kept.iter().all(|kept| gone && kept.contains("weather is gone")), "{kept:#?}");
        assert_eq!(kept.is_empty(), !gone, "{mode:?} {chain:?}");
        assert_eq!((files(&all)?, as_seen(&all)?), as_found, "{mode:?} {chain:?} {plain}");
        for arrival in cluster.write_and_see("postgres").await? {
            assert_eq!(arrival.rows, arrival.expected, "{mode:?} {chain:?}: {arrival:?}");
        }
    }
    Ok(())
}

/// Addresses that are really different, so that the rules for them are proved.
#[tokio::test(flavor = "multi_thread")]
async fn pgd_between_hosts() -> Outcome {
    let Some(site) = standin::Site::namespaces()? else { return Ok(()) };
    let mesh = PgdMesh::builder(PgVersion::V18, 3, By::Ip).site(&site).open().await?;
    let folder = tempfile::tempdir()?;
    let addresses: Vec<IpAddr> = mesh.nodes().iter().map(|node| node.address()).collect();
    assert!(addresses.iter().all(|address| !address.is_loopback()));
    let from = mesh.site().peers_from();
    let spec = describe(
        TopologyKind::Pgd,
        Mode::Cert,
        "pgd_replication",
        folder.path(),
        mesh.nodes(),
        &from,
    )?;
    secure(&spec).await?;
    let after = look(&spec).await?;
    assert!(after.proved(), "{after:#?}");
    Ok(())
}

/// A cluster of either kind that is killed.
enum Killed<'a> {
    Pgd(&'a PgdMesh),
    Timescale(&'a TimescaleCluster),
}

struct Victim<'a> {
    spec: &'a ClusterSpec,
    nodes: Vec<Arc<standin::Node>>,
    cluster: Killed<'a>,
}

impl anywhere::Found for Victim<'_> {
    type State = (BTreeMap<PathBuf, Kept>, Vec<String>);

    fn spec(&self) -> &ClusterSpec {
        self.spec
    }

    fn state(&self) -> Outcome<Self::State> {
        Ok((files(&self.nodes)?, as_seen(&self.nodes)?))
    }

    async fn works(&self) -> Outcome {
        match self.cluster {
            Killed::Pgd(mesh) => {
                for seen in mesh.write_and_see().await? {
                    assert!(seen.missing_on.is_empty(), "{seen:?}");
                }
            }
            Killed::Timescale(cluster) => {
                for arrival in cluster.write_and_see("postgres").await? {
                    assert_eq!(arrival.rows, arrival.expected, "{arrival:?}");
                }
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pgd_killed_after_records() -> Outcome {
    // The pause between a link's attempts is one that is cut short, too.
    let mesh = PgdMesh::builder(PgVersion::V17, 2, By::Ip);
    let mesh = mesh.setting("wal_retrieve_retry_interval", "1h").open().await?;
    let folder = tempfile::tempdir()?;
    let (nodes, from) = (mesh.nodes().to_vec(), mesh.site().peers_from());
    let (kind, role) = (TopologyKind::Pgd, "pgd_replication");
    let spec = describe(kind, Mode::Scram, role, folder.path(), &nodes, &from)?;
    let cluster = Killed::Pgd(&mesh);
    anywhere::killed_anywhere(&Victim { spec: &spec, nodes, cluster }, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn timescale_killed_after_records() -> Outcome {
    let (cluster, spec, _folder) = timescale(Mode::Cert, UserChain::AccessNode, false).await?;
    let nodes = cluster.nodes().cloned().collect();
    let cluster = Killed::Timescale(&cluster);
    anywhere::killed_anywhere(&Victim { spec: &spec, nodes, cluster }, 0).await
}
