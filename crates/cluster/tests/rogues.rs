//! A rogue in a node's place, with a server certificate of the same authority: what do the links give
//! it? Nothing, in any mode in which that can be prevented, and verification tells where it cannot.

#[path = "links/follow.rs"]
mod follow;
#[path = "links/support.rs"]
mod native;
#[path = "standin/mod.rs"]
mod standin;

use std::sync::Arc;

use cluster::{
    spec::{ClusterSpec, Mode, TimescaleSpec, TopologyKind},
    verify::{Code, Verification},
};
use pg_version::PgVersion;
use pgtest::Shutdown;
use standin::{Ask, By, Ca, Node, PgdMesh, Rogue, TimescaleCluster, Visit, page::ROLE, secured};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Another node's certificate, by the cluster's own authority.
fn certificate(spec: &ClusterSpec, name: &str) -> standin::Result<standin::Certificate> {
    let (cert, key) = (spec.secrets.join("ca.crt"), spec.secrets.join("ca.key"));
    Ca::load(&cert, &key)?.server(name, &[&format!("DNS:{name}")])
}

fn warned(verification: &Verification, code: Code, node: &str) -> bool {
    verification.findings.iter().any(|found| found.code == code && found.node == node)
}

#[tokio::test(flavor = "multi_thread")]
async fn pgd_gives_a_rogue_nothing() -> Outcome {
    for (version, mode, verify_ca) in [
        (PgVersion::V17, Mode::Cert, false),
        (PgVersion::V18, Mode::Scram, false),
        // Weaker, and asked for; the channel is bound all the same.
        (PgVersion::V16, Mode::Scram, true),
    ] {
        let mesh = PgdMesh::open(version, 2, By::Ip).await?;
        let folder = tempfile::tempdir()?;
        let from = mesh.site().peers_from();
        let kind = TopologyKind::Pgd;
        let mut spec = secured::describe(kind, mode, ROLE, folder.path(), mesh.nodes(), &from)?;
        spec.i_know.verify_ca_lets_nodes_pose_as_others = verify_ca;
        secured::secure(&spec).await?;
        let verification = secured::look(&spec).await?;
        assert!(verification.proved(), "{verification:#?}");
        assert!(!warned(&verification, Code::PasswordGivenAway, "node-1"));

        let taken = &mesh.nodes()[1];
        taken.server().stop(Shutdown::Immediate)?;
        let certificate = certificate(&spec, "rogue")?;
        for ask in [Ask::Password, Ask::Nothing] {
            let rogue = Rogue::in_place_of(taken, &certificate, ask)?;
            for visit in rogue.wait(2)? {
                let nothing = matches!(visit, Visit::NoTls | Visit::Left { .. });
                assert!(nothing, "{version} {mode:?} {verify_ca} {ask:?}: {visit:?}");
            }
        }
    }
    Ok(())
}

async fn use_links(cluster: &TimescaleCluster) {
    let cluster = cluster.clone();
    // With a rogue at the other end it may end in any way.
    let _ = tokio::task::spawn_blocking(move || {
        cluster.session_as("postgres")?.query("CALL distributed_exec('SELECT 1')")?;
        Ok::<_, standin::Error>(())
    })
    .await;
}

/// An access node never looks for whom a certificate is. That cannot be set otherwise, and
/// verification says so.
#[tokio::test(flavor = "multi_thread")]
async fn timescale_is_open_to_a_node_in_anothers_place_and_it_is_said() -> Outcome {
    for (mode, ask, code) in [
        (Mode::Cert, Ask::Nothing, Code::ServerNotVerified),
        (Mode::Scram, Ask::Password, Code::PasswordGivenAway),
    ] {
        let cluster = TimescaleCluster::open(PgVersion::V15, 1).await?;
        let folder = tempfile::tempdir()?;
        let nodes: Vec<Arc<Node>> = cluster.nodes().cloned().collect();
        let (from, kind) = (cluster.site().peers_from(), TopologyKind::Timescale);
        let mut spec = secured::describe(kind, mode, "postgres", folder.path(), &nodes, &from)?;
        spec.timescale =
            Some(TimescaleSpec { access_node: "access".to_owned(), copy_chunk: false });
        secured::secure(&spec).await?;
        let verification = secured::look(&spec).await?;
        assert!(verification.proved(), "{verification:#?}");
        assert!(warned(&verification, code, "access"), "{verification:#?}");

        let taken = &cluster.data()[0];
        taken.server().stop(Shutdown::Immediate)?;
        // One of another authority gets nothing, ...
        let stranger = Ca::create("another")?.server("rogue", &["DNS:rogue"])?;
        let rogue = Rogue::in_place_of(taken, &stranger, ask)?;
        use_links(&cluster).await;
        assert!(rogue.wait(1)?.iter().all(|visit| *visit == Visit::NoTls), "{:?}", rogue.visits());
        drop(rogue);
        // ... nor does one with a role's certificate, ...
        let (cert, key) = (spec.secrets.join("ca.crt"), spec.secrets.join("ca.key"));
        let client = Ca::load(&cert, &key)?.client("postgres")?;
        let rogue = Rogue::in_place_of(taken, &client, ask)?;
        use_links(&cluster).await;
        assert!(rogue.wait(1)?.iter().all(|visit| *visit == Visit::NoTls), "{:?}", rogue.visits());
        drop(rogue);
        // ... but who has a node's does.
        let rogue = Rogue::in_place_of(taken, &certificate(&spec, "rogue")?, ask)?;
        use_links(&cluster).await;
        let visits = rogue.wait(1)?;
        let given = |visit: &Visit| {
            matches!(visit, Visit::Password { .. } if mode == Mode::Scram)
                || matches!(visit, Visit::Linked { .. } if mode == Mode::Cert)
        };
        assert!(visits.iter().any(given), "{mode:?}: {visits:?}");
    }
    Ok(())
}

/// A standby, a subscription and a foreign server, all of one node in whose place the rogue is.
#[tokio::test(flavor = "multi_thread")]
async fn native_links_give_a_rogue_nothing() -> Outcome {
    for (version, mode) in
        [(PgVersion::V15, Mode::Scram), (PgVersion::V18, Mode::Scram), (PgVersion::V18, Mode::Cert)]
    {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let mut first = native::server(&installation, 26)?;
        first.query("ALTER SYSTEM SET wal_level = logical")?;
        first.query("CREATE ROLE replicator LOGIN REPLICATION")?;
        first.query("CREATE TABLE numbers (i int PRIMARY KEY)")?;
        first.query("GRANT SELECT ON numbers TO replicator")?;
        first.query("CREATE PUBLICATION p FOR TABLE numbers")?;
        let second = native::standby(&installation, &mut first, 27, "", None)?;
        let third = native::server(&installation, 28)?;
        let (host, port) = (first.addr(), first.port());
        for statement in [
            "CREATE ROLE replicator LOGIN REPLICATION".to_owned(),
            "CREATE TABLE numbers (i int PRIMARY KEY)".to_owned(),
            format!(
                "CREATE SUBSCRIPTION s \
                 CONNECTION 'host={host} port={port} dbname=postgres user=replicator' PUBLICATION p"
            ),
            "CREATE EXTENSION postgres_fdw".to_owned(),
            format!(
                "CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '{host}', port '{port}', dbname 'postgres')"
            ),
            "CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'replicator')".to_owned(),
            "CREATE FOREIGN TABLE theirs (i int) SERVER other OPTIONS (table_name 'numbers')"
                .to_owned(),
        ] {
            third.query(&statement)?;
        }
        native::wait(&first, native::STREAMING, "2")?;
        let servers = [("first", &first), ("second", &second), ("third", &third)];
        let spec = native::spec_of(mode, &["replicator"], folder.path(), &servers);
        native::secured_and_proved(&spec, 3).await?;

        let address = (first.addr(), first.port());
        first.stop(Shutdown::Immediate)?;
        let certificate = certificate(&spec, "second")?;
        for ask in [Ask::Password, Ask::Nothing] {
            let rogue = Rogue::at(address, None, &certificate, ask)?;
            // The standby and the subscription come by themselves, again and again.
            rogue.wait(4)?;
            let seen = rogue.visits().len();
            let refused = third.query("SELECT i FROM theirs").err().map(|error| error.to_string());
            let words = "certificate for \"second\"";
            assert!(refused.as_ref().is_some_and(|it| it.contains(words)), "{refused:?}");
            for visit in rogue.wait(seen + 1)? {
                let nothing = matches!(visit, Visit::NoTls | Visit::Left { .. });
                assert!(nothing, "{version} {mode:?} {ask:?}: {visit:?}");
            }
        }
    }
    Ok(())
}
