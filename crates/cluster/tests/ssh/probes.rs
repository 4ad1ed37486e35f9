//! What strangers get is tried from the peers' own machines, where `ssh` leads there and the rules for
//! the links do not hold for the machine that pgward runs on.

use std::sync::Arc;

use crate::sshd::{Setup, Sshd};
use cluster::{
    conninfo::ConnInfo,
    inspect::{self, Node},
    prepare,
    run::Runner,
    spec::{Mode, TopologyKind},
    transport::{FilesSpec, Transport, bundle::Connector},
    verify::{self, Code, Evidence},
};
use pg_version::PgVersion;
use standin::{By, PgdMesh, page::ROLE, secured};
use time::OffsetDateTime;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_tried_from_the_peers_machines() -> Outcome {
    let Some(site) = standin::Site::namespaces()? else { return Ok(()) };
    for mode in [Mode::Cert, Mode::Scram] {
        let mesh = PgdMesh::builder(PgVersion::V17, 2, By::Ip).site(&site).open().await?;
        let folder = tempfile::tempdir()?;
        let from = mesh.site().peers_from();
        let mut spec =
            secured::describe(TopologyKind::Pgd, mode, ROLE, folder.path(), mesh.nodes(), &from)?;
        // Only the nodes themselves are peers, and pgward is on none of them.
        let addresses: Vec<_> = spec.nodes.iter().map(|node| node.address).collect();
        let (mut nodes, mut sshds) = (Vec::new(), Vec::new());
        for (described, node) in spec.nodes.iter_mut().zip(mesh.nodes()) {
            described.peers_from = addresses.iter().copied().map(Into::into).collect();
            let namespace = node.namespace().ok_or("no namespace")?.name();
            let within = ["ip", "netns", "exec", &namespace].map(str::to_owned).into();
            let sshd = Sshd::with(&Setup { within, ..Setup::default() });
            let connect: Connector =
                Arc::new(|| Box::pin(async { Err(cluster::Error::Cancelled) }));
            let files = FilesSpec::Ssh(sshd.spec());
            let way = Transport::open(&files, &described.name, connect).await?;
            let sql: ConnInfo = described.sql.parse()?;
            described.sql = way.sql(&sql).await?.to_text().to_string();
            nodes.push(Node { spec: described.clone(), files: way.files() });
            sshds.push(sshd);
        }
        let now = OffsetDateTime::now_utc();
        let states = inspect::inspect_all(&spec, &nodes).await?;
        let prepared = prepare::prepare(&spec, &states, now)?;
        Runner::new(&spec, &nodes).apply(prepared).await?;

        let verification = verify::verify(&spec, &nodes, now).await?;
        assert!(verification.proved(), "{verification:#?}");
        assert!(!verification.controls.is_empty() && !verification.refusals.is_empty());
        for control in &verification.controls {
            assert!(addresses.contains(&control.from), "{control:?}");
            assert_eq!(control.let_in, Some(true), "{control:?}");
        }
        for refusal in &verification.refusals {
            assert_eq!(refusal.evidence, Evidence::Tried, "{refusal:?}");
            assert_ne!(refusal.answer, "not tried from here", "{refusal:?}");
        }
        let own = verification.findings.iter().find(|found| found.code == Code::OwnAddress);
        assert_eq!(own, None);
    }
    Ok(())
}
