//! Open servers that are described, secured and looked at.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{
    inspect::{self, Node, NodeState},
    prepare::{self, Prepared},
    run::Runner,
    spec::{CertificatePolicy, ClusterSpec, IKnow, Mode, NodeSpec, TopologyKind},
    transport::{FilesSpec, LocalFiles},
    verify::{self, Verification},
};
use pgtest::{Installation, Server};
use time::OffsetDateTime;

use crate::follow::follow;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub(crate) fn spec_of(
    mode: Mode,
    roles: &[&str],
    secrets: &Path,
    servers: &[(&str, &Server)],
) -> ClusterSpec {
    let node = |(name, server): &(&str, &Server)| NodeSpec {
        name: (*name).to_owned(),
        host: None,
        address: server.addr(),
        port: server.port(),
        peers_from: "127.0.0.1/32".parse().into_iter().collect(),
        sql: format!(
            "host={} port={} user=postgres dbname=postgres",
            server.socket_dir().display(),
            server.port()
        ),
        files: FilesSpec::Local,
    };
    ClusterSpec {
        topology: TopologyKind::Native,
        mode,
        link_role: roles[0].to_owned(),
        roles: roles[1..].iter().map(|role| (*role).to_owned()).collect(),
        secrets: secrets.join("secrets"),
        certificates: CertificatePolicy::default(),
        i_know: IKnow::default(),
        timescale: None,
        nodes: servers.iter().map(node).collect(),
    }
}

pub(crate) fn nodes(spec: &ClusterSpec) -> Vec<Node> {
    let node = |spec: &NodeSpec| Node { spec: spec.clone(), files: Arc::new(LocalFiles) };
    spec.nodes.iter().map(node).collect()
}

pub(crate) async fn states(spec: &ClusterSpec) -> Outcome<Vec<NodeState>> {
    Ok(inspect::inspect_all(spec, &nodes(spec)).await?)
}

pub(crate) async fn plan(spec: &ClusterSpec) -> Outcome<Prepared> {
    Ok(prepare::prepare(spec, &states(spec).await?, OffsetDateTime::now_utc())?)
}

pub(crate) async fn secure(spec: &ClusterSpec) -> Outcome {
    Runner::new(spec, &nodes(spec)).apply(plan(spec).await?).await?;
    Ok(())
}

pub(crate) async fn look(spec: &ClusterSpec) -> Outcome<Verification> {
    Ok(verify::verify(spec, &nodes(spec), OffsetDateTime::now_utc()).await?)
}

/// From open to proved; the second time there is nothing to do.
pub(crate) async fn secured_and_proved(spec: &ClusterSpec, links: usize) -> Outcome {
    assert!(!look(spec).await?.proved());
    secure(spec).await?;
    let after = look(spec).await?;
    assert!(after.proved(), "{after:#?}");
    assert_eq!(after.links.len(), links);
    let again = plan(spec).await?.plan;
    assert!(again.is_empty(), "{again:#?}");
    Ok(())
}

pub(crate) fn server(installation: &Installation, last: u8) -> Outcome<Server> {
    let server = Server::builder(installation)
        .addr([127, 0, 0, last])
        .setting("logging_collector", "on")
        .setting("wal_retrieve_retry_interval", "100ms")
        .start()?;
    Ok(server)
}

/// A standby of a server, which is restarted.
pub(crate) fn standby(
    installation: &Installation,
    primary: &mut Server,
    last: u8,
    conninfo: &str,
    slot: Option<&str>,
) -> Outcome<Server> {
    let standby = Server::builder(installation)
        .addr([127, 0, 0, last])
        .setting("logging_collector", "on")
        .setting("wal_retrieve_retry_interval", "100ms")
        .init()?;
    follow(primary, standby, conninfo, slot)
}

/// Waits until a query's only value is `expected`.
pub(crate) fn wait(server: &Server, query: &str, expected: &str) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(120);
    while server.query(query)?.value() != Some(expected) {
        assert!(Instant::now() < deadline, "{query}: {}", server.log_text()?);
        std::thread::yield_now();
    }
    Ok(())
}

pub(crate) const STREAMING: &str =
    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
