//! A rotation is a run like any other: taken back, servers and links have their old certificates.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, OnceLock},
};

use cluster::{
    Error,
    apply::Event,
    inspect,
    prepare::Prepared,
    rotate,
    run::{self, Outcome},
    spec::{ClusterSpec, Mode},
    verify::Finding,
};
use pg_version::PgVersion;
use pgtest::Shutdown;
use time::OffsetDateTime;

use crate::support::{Bench, Tested};

type Rotate = fn(&ClusterSpec, &[inspect::NodeState], OffsetDateTime) -> Result<Prepared, Error>;

/// When each link that a node has connected, and the certificate by which it did.
fn links(bench: &Bench) -> Tested<BTreeSet<String>> {
    let query = "SELECT string_agg(concat_ws(' ', pid, backend_start, client_serial), ',') \
                 FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    bench.names().iter().map(|node| Ok(bench.query(node, query)?.unwrap_or_default())).collect()
}

fn serials(links: &BTreeSet<String>) -> BTreeSet<String> {
    links.iter().filter_map(|link| link.rsplit(' ').next()).map(str::to_owned).collect()
}

/// What somebody changes of what the first run left is told by its lines, whatever runs came after.
async fn changes_are_told(bench: &Bench, when: &str) -> Tested {
    let changes = async || -> Tested<Vec<Finding>> {
        let states = inspect::inspect_all(bench.spec(), &bench.cluster.nodes()).await?;
        Ok(run::changes(bench.spec(), &states)?)
    };
    assert_eq!(changes().await?, [], "{when}");
    let hba = bench.data("node-1")?.join("pg_hba.conf");
    let text = fs::read_to_string(&hba)?;
    fs::write(&hba, format!("{text}host all all 192.0.2.0/24 trust\n"))?;
    bench.query("node-1", "ALTER ROLE replicator CONNECTION LIMIT 77")?;
    let told = changes().await?;
    assert_eq!(told.len(), 2, "{when}: {told:#?}");
    let diff = told[0].detail.as_deref().unwrap_or_default();
    assert!(diff.contains("\n+host all all 192.0.2.0/24 trust\n"), "{when}: {told:#?}");
    assert!(told[0].what.contains("rejected -> trust"), "{when}: {told:#?}");
    let role = "the role replicator: CONNECTION LIMIT 77, was CONNECTION LIMIT -1";
    assert_eq!(told[1].what, role, "{when}");
    fs::write(&hba, text)?;
    bench.query("node-1", "ALTER ROLE replicator CONNECTION LIMIT -1")?;
    assert_eq!(changes().await?, [], "{when}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_taken_back() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    changes_are_told(&bench, "applied").await?;
    let found = bench.state()?;
    let before = links(&bench)?;
    for rotate in [rotate::certificates as Rotate, rotate::authority] {
        let states = inspect::inspect_all(bench.spec(), &bench.cluster.nodes()).await?;
        let prepared = rotate(bench.spec(), &states, OffsetDateTime::now_utc())?;
        assert_eq!(bench.runner().apply(prepared).await?, Outcome::Applied);
        bench.is_proved().await?;
        let rotated = links(&bench)?;
        assert!(serials(&rotated).is_disjoint(&serials(&before)), "{rotated:?} {before:?}");
        changes_are_told(&bench, "rotated").await?;

        assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
        bench.is_as_found(&found, "taken back").await?;
        // The servers show the old certificates, and the links have connected by theirs.
        bench.is_proved().await?;
        let back = links(&bench)?;
        assert!(back.is_disjoint(&rotated) && back.is_disjoint(&before));
        assert_eq!(serials(&back), serials(&before));
        changes_are_told(&bench, "taken back").await?;
    }
    Ok(())
}

/// A server goes away at a stage of a rotation of the authority, so that not all can be taken back: with
/// what each node is left with, all links work when it is there again, and then the rest is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_rotated_still_connects() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 3).await?;
    assert_eq!(bench.apply().await?, Outcome::Applied);
    let found = bench.state()?;
    for moment in ["present the new certificates", "trust the new authority only"] {
        let states = inspect::inspect_all(bench.spec(), &bench.cluster.nodes()).await?;
        let prepared = rotate::authority(bench.spec(), &states, OffsetDateTime::now_utc())?;
        let (gone, stopped) = (bench.clone(), Arc::new(OnceLock::new()));
        let seen = stopped.clone();
        let runner = bench.watched(move |event| {
            if matches!(event, Event::Stage { title } if title == moment) {
                let stop = |server: &mut pgtest::Server| server.stop(Shutdown::Immediate);
                seen.get_or_init(|| gone.servers.with("node-2", stop));
            }
        });
        let failed = runner.apply(prepared).await;
        assert!(matches!(stopped.get(), Some(Ok(Ok(())))), "{moment}: {stopped:?}");
        let Err(Error::TakenBack { left, .. }) = &failed else { panic!("{moment}: {failed:?}") };
        assert!(left.iter().any(|left| left.starts_with("node-2")), "{moment}: {left:?}");

        bench.servers.with("node-2", pgtest::Server::start)??;
        // Each link has to connect anew: what a session came in by long ago proves nothing.
        for node in bench.names() {
            bench
                .query(&node, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication")?;
        }
        bench.replicates().await?;
        assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() }, "{moment}");
        bench.is_as_found(&found, moment).await?;
        bench.is_proved().await?;
    }
    Ok(())
}
