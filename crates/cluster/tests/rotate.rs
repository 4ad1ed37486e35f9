//! Rotation on real servers, under links that must stay up.
#![cfg(feature = "demo")]

use std::{collections::BTreeSet, fs, path::Path};

use cluster::{
    Error,
    demo::{DemoCluster, RowSeen, Servers},
    inspect::{self, NodeState},
    prepare::{self, Prepared},
    rotate,
    run::Runner,
    spec::{ClusterSpec, Mode},
    verify,
};
use pg_version::PgVersion;
use pki::Certificate;
use time::OffsetDateTime;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
type Rotate = fn(&ClusterSpec, &[NodeState], OffsetDateTime) -> Result<Prepared, Error>;

async fn states(cluster: &DemoCluster) -> Result<Vec<NodeState>, Error> {
    inspect::inspect_all(&cluster.spec, &cluster.nodes()).await
}

async fn apply_it(cluster: &DemoCluster, prepared: Prepared) -> Result<(), Error> {
    Runner::new(&cluster.spec, &cluster.nodes()).apply(prepared).await.map(drop)
}

async fn secured(version: PgVersion, mode: Mode) -> Outcome<(Servers, DemoCluster)> {
    let servers = Servers::default();
    servers.start(&pgtest::find(version)?, 3).await?;
    servers.join().await?;
    let cluster = servers.cluster(mode)?;
    let now = OffsetDateTime::now_utc();
    let prepared = prepare::prepare(&cluster.spec, &states(&cluster).await?, now)?;
    apply_it(&cluster, prepared).await?;
    Ok((servers, cluster))
}

async fn rotated(servers: &Servers, cluster: &DemoCluster, rotate: Rotate) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let prepared = rotate(&cluster.spec, &states(cluster).await?, now)?;
    assert!(!serde_json::to_string(&prepared.plan)?.contains("PRIVATE KEY"));
    apply_it(cluster, prepared).await?;
    let verification = verify::verify(&cluster.spec, &cluster.nodes(), now).await?;
    assert!(verification.proved(), "{verification:#?}");
    assert!(servers.write_rows().await?.iter().all(RowSeen::everywhere));
    // There is nothing more to do.
    let again = prepare::prepare(&cluster.spec, &states(cluster).await?, now)?;
    assert!(again.plan.is_empty(), "{:#?}", again.plan);
    Ok(())
}

/// What each node has at a path below its data directory.
fn each(states: &[NodeState], path: &str) -> Outcome<BTreeSet<Vec<u8>>> {
    let read = |state: &NodeState| fs::read(state.in_data_directory(path));
    Ok(states.iter().map(read).collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_the_authority_are_replaced_under_the_links() -> Outcome {
    let (servers, cluster) = secured(PgVersion::V18, Mode::Cert).await?;
    let found = states(&cluster).await?;
    let (keys, roots) = (each(&found, "pgward/server.key")?, each(&found, "pgward/root.crt")?);

    rotated(&servers, &cluster, rotate::certificates).await?;
    let new_keys = each(&found, "pgward/server.key")?;
    assert!(keys.is_disjoint(&new_keys), "every server has a new key");
    assert_eq!(each(&found, "pgward/root.crt")?, roots, "the authority is the same");

    rotated(&servers, &cluster, rotate::authority).await?;
    let new_roots = each(&found, "pgward/root.crt")?;
    assert!(roots.is_disjoint(&new_roots) && new_roots.len() == 1);
    let ca = fs::read(cluster.spec.secrets.join(cluster::authority::CERTIFICATE))?;
    let kept = [Certificate::from_pem(&ca)?];
    for root in &new_roots {
        assert_eq!(Certificate::all_from_pem(root)?, kept, "the old one is dropped");
    }

    // Whom the servers would not take any more is told before.
    let now = OffsetDateTime::now_utc();
    let shut_out = async || -> Outcome<Vec<String>> {
        let plan = rotate::authority(&cluster.spec, &states(&cluster).await?, now)?.plan;
        let warnings = plan.warnings.into_iter();
        let of_rules = warnings.filter(|it| it.message.contains("certificates"));
        Ok(of_rules.map(|it| format!("{}: {}", it.node, it.message)).collect())
    };
    assert_eq!(shut_out().await?, Vec::<String>::new());
    let rules = found[0].in_data_directory("pg_hba.conf");
    let mut text = fs::read_to_string(&rules)?;
    text += "hostssl all web 10.9.0.0/16 cert\n";
    fs::write(&rules, text)?;
    let told = shut_out().await?;
    let begin = format!("{}: \"hostssl all web 10.9.0.0/16 cert\" asks clients", found[0].name);
    assert!(told.len() == 1 && told[0].starts_with(&begin), "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_replaced_under_the_links() -> Outcome {
    let (servers, cluster) = secured(PgVersion::V16, Mode::Scram).await?;
    let found = states(&cluster).await?;
    let before = each(&found, "pgward/passfile")?;
    rotated(&servers, &cluster, rotate::passwords).await?;
    assert!(before.is_disjoint(&each(&found, "pgward/passfile")?));
    rotated(&servers, &cluster, rotate::authority).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_secured_is_rotated() -> Outcome {
    let servers = Servers::default();
    servers.start(&pgtest::find(PgVersion::V17)?, 2).await?;
    servers.join().await?;
    let cluster = servers.cluster(Mode::Cert)?;
    let now = OffsetDateTime::now_utc();
    let states = states(&cluster).await?;
    for rotate in [rotate::certificates as Rotate, rotate::authority] {
        let message = rotate(&cluster.spec, &states, now).err().map(|error| error.to_string());
        assert!(message.is_some_and(|m| m.contains("apply the description first")));
    }
    let message = rotate::passwords(&cluster.spec, &states, now).err().map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("have no passwords")));
    assert!(!Path::new(&cluster.spec.secrets).exists(), "planning writes nothing");
    Ok(())
}
