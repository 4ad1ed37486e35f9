//! The same apply as on this machine, with every node behind an sshd of its own: files by SFTP, SQL
//! through forwarded sockets.

use std::sync::Arc;

use cluster::{
    conninfo::ConnInfo,
    demo::{DemoCluster, RowSeen, Servers},
    inspect::{self, Node},
    prepare,
    run::Runner,
    spec::{ClusterSpec, Mode},
    transport::{FilesSpec, Transport, bundle::Connector},
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;

use crate::sshd::Sshd;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The nodes as they are reached by ssh, and the description that says so.
async fn by_ssh(cluster: &DemoCluster, sshds: &[Sshd]) -> Outcome<(ClusterSpec, Vec<Node>)> {
    let mut spec = cluster.spec.clone();
    let mut nodes = Vec::new();
    for (node, sshd) in spec.nodes.iter_mut().zip(sshds) {
        // Only a bundle asks the server before anything is asked of it.
        let connect: Connector = Arc::new(|| Box::pin(async { Err(cluster::Error::Cancelled) }));
        let files = FilesSpec::Ssh(sshd.spec());
        let transport = Transport::open(&files, &node.name, connect).await?;
        let there: ConnInfo = node.sql.parse()?;
        let here = transport.sql(&there).await?;
        node.sql = here.to_text().to_string();
        assert_ne!(here.get("host"), there.get("host"));
        nodes.push(Node { spec: node.clone(), files: transport.files() });
    }
    Ok((spec, nodes))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_behind_ssh_are_secured_as_local_ones() -> Outcome {
    for mode in [Mode::Cert, Mode::Scram] {
        let servers = Servers::default();
        servers.start(&pgtest::find(PgVersion::V18)?, 3).await?;
        servers.join().await?;
        let cluster = servers.cluster(mode)?;
        let sshds = [Sshd::start(), Sshd::start(), Sshd::start()];
        let (spec, nodes) = by_ssh(&cluster, &sshds).await?;

        let now = OffsetDateTime::now_utc();
        let states = inspect::inspect_all(&spec, &nodes).await?;
        let prepared = prepare::prepare(&spec, &states, now)?;
        assert!(!prepared.plan.is_empty());
        // What is found by ssh is what is found here: the plan is the same, but for what is made
        // anew for each.
        let local = inspect::inspect_all(&cluster.spec, &cluster.nodes()).await?;
        for (by_ssh, local) in states.iter().zip(&local) {
            let paths = |state: &inspect::NodeState| {
                let files = state.files.iter();
                files
                    .map(|(path, file)| {
                        let file = file.as_ref().map(|file| (file.bytes.clone(), file.access));
                        (path.clone(), file)
                    })
                    .collect::<Vec<_>>()
            };
            assert_eq!(paths(by_ssh), paths(local));
            assert_eq!(by_ssh.owner, local.owner);
        }
        Runner::new(&spec, &nodes).apply(prepared).await?;

        let verification = verify::verify(&spec, &nodes, now).await?;
        assert!(verification.proved(), "{mode:?}: {verification:#?}");
        let states = inspect::inspect_all(&spec, &nodes).await?;
        assert!(prepare::prepare(&spec, &states, now)?.plan.is_empty());
        assert!(servers.write_rows().await?.iter().all(RowSeen::everywhere));
        for sshd in &sshds {
            assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "one login a node");
        }
    }
    Ok(())
}
