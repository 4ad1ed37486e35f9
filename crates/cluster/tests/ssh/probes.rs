//! What strangers get is tried from the peers' own machines, where `ssh` leads there and the rules for
//! the links do not hold for the machine that pgward runs on.

use std::{net::IpAddr, sync::Arc};

use crate::{
    follow,
    sshd::{Setup, Sshd},
};
use cluster::{
    conninfo::ConnInfo,
    inspect::{self, Node},
    prepare,
    run::Runner,
    spec::{ClusterSpec, Mode, TopologyKind},
    transport::{FilesSpec, Transport, bundle::Connector},
    verify::{self, Code, Evidence, Verification},
};
use pg_version::PgVersion;
use pgtest::{Namespace, Server};
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
        let namespaces: Vec<_> =
            mesh.nodes().iter().map(|node| node.namespace().cloned()).collect();
        let (nodes, _sshds) = through_ssh(&mut spec, &namespaces).await?;
        proved_from_the_peers(&spec, &nodes).await?;
    }
    Ok(())
}

/// A standby connects to no database: what strangers get of physical replication is tried from its machine.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_tried_from_a_standbys_machine() -> Outcome {
    let Some(site) = standin::Site::namespaces()? else { return Ok(()) };
    let installation = pgtest::find(PgVersion::V18)?;
    let places = site.places(2)?;
    let open = format!("host all,replication all {} trust\n", site.peers_from());
    let namespaces: Vec<_> = places.iter().map(|place| place.namespace.clone()).collect();
    let init = |address: IpAddr, namespace: &Option<Namespace>| -> Outcome<Server> {
        let namespace = namespace.as_ref().ok_or("no namespace")?;
        let builder = Server::builder(&installation).addr(address).namespace(namespace);
        let server = builder.setting("logging_collector", "on").init()?;
        let hba = server.data_dir().join("pg_hba.conf");
        server.write_file(&hba, std::fs::read_to_string(&hba)? + &open, 0o600)?;
        Ok(server)
    };
    let mut primary = init(places[0].address, &namespaces[0])?;
    primary.start()?;
    primary.query("CREATE ROLE replicator LOGIN REPLICATION")?;
    let standby = follow::follow(&mut primary, init(places[1].address, &namespaces[1])?, "", None)?;
    let folder = tempfile::tempdir()?;
    let described = [("primary", &primary), ("standby", &standby)].map(|(name, server)| {
        format!(
            "[[nodes]]\nname = \"{name}\"\naddress = \"{}\"\nport = {}\npeers-from = [\"{}\"]\n\
             sql = \"host={} port={} user=postgres dbname=postgres\"\n",
            server.addr(),
            server.port(),
            site.peers_from(),
            server.socket_dir().display(),
            server.port()
        )
    });
    let head =
        "topology = \"native\"\nmode = \"scram\"\nlink-role = \"replicator\"\nsecrets = \"s\"\n";
    let mut spec = ClusterSpec::from_toml(&(head.to_owned() + &described.concat()), folder.path())?;
    let (nodes, _sshds) = through_ssh(&mut spec, &namespaces).await?;
    let verification = proved_from_the_peers(&spec, &nodes).await?;
    assert_eq!(verification.links.len(), 1, "{verification:#?}");
    assert!(verification.controls.iter().all(|control| control.database.is_none()));
    Ok(())
}

/// Reaches every node by an `sshd` on its own machine. Only the nodes themselves are peers, and pgward is on
/// none of them.
async fn through_ssh(
    spec: &mut ClusterSpec,
    namespaces: &[Option<Namespace>],
) -> Outcome<(Vec<Node>, Vec<Sshd>)> {
    let addresses: Vec<_> = spec.nodes.iter().map(|node| node.address).collect();
    let (mut nodes, mut sshds) = (Vec::new(), Vec::new());
    for (described, namespace) in spec.nodes.iter_mut().zip(namespaces) {
        described.peers_from = addresses.iter().copied().map(Into::into).collect();
        let namespace = namespace.as_ref().ok_or("no namespace")?.name();
        let within = ["ip", "netns", "exec", &namespace].map(str::to_owned).into();
        let sshd = Sshd::with(&Setup { within, ..Setup::default() });
        let connect: Connector = Arc::new(|| Box::pin(async { Err(cluster::Error::Cancelled) }));
        let files = FilesSpec::Ssh(sshd.spec());
        let way = Transport::open(&files, &described.name, connect).await?;
        let sql: ConnInfo = described.sql.parse()?;
        described.sql = way.sql(&sql).await?.to_text().to_string();
        nodes.push(Node { spec: described.clone(), files: way.files() });
        sshds.push(sshd);
    }
    Ok((nodes, sshds))
}

/// Secures the cluster; everything is tried from the nodes' own addresses.
async fn proved_from_the_peers(spec: &ClusterSpec, nodes: &[Node]) -> Outcome<Verification> {
    let addresses: Vec<_> = spec.nodes.iter().map(|node| node.address).collect();
    let now = OffsetDateTime::now_utc();
    let states = inspect::inspect_all(spec, nodes).await?;
    let prepared = prepare::prepare(spec, &states, now)?;
    Runner::new(spec, nodes).apply(prepared).await?;

    let verification = verify::verify(spec, nodes, now).await?;
    assert!(verification.proved(), "{verification:#?}");
    assert!(!verification.controls.is_empty() && !verification.refusals.is_empty());
    for control in &verification.controls {
        assert!(addresses.contains(&control.from), "{control:?}");
        assert_eq!(control.let_in, Some(true), "{control:?}");
    }
    // Of a database that no link connects to, only the rules tell.
    let to_it = |database: &Option<String>| {
        verification.controls.iter().any(|control| control.database == *database)
    };
    for refusal in verification.refusals.iter().filter(|refusal| to_it(&refusal.database)) {
        assert_eq!(refusal.evidence, Evidence::Tried, "{refusal:?}");
        assert_ne!(refusal.answer, "not tried from here", "{refusal:?}");
    }
    let own = verification.findings.iter().find(|found| found.code == Code::OwnAddress);
    assert_eq!(own, None);
    Ok(verification)
}
