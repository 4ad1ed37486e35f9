//! A cluster none of whose nodes has files in reach: planned over SQL, carried there in bundles,
//! proved over SQL.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use cluster::{
    conninfo::ConnInfo,
    demo::{RowSeen, Servers},
    inspect::{self, Node, NodeState, THIS_MACHINE},
    prepare::{self, Prepared},
    rotate,
    run::Runner,
    spec::{ClusterSpec, Mode, NodeSpec},
    transport::{
        BundleNode, BundleSpec, Transport,
        bundle::{Connector, Manifest, Phase, verify as standing_of},
    },
    verify,
};
use pg_version::PgVersion;
use time::OffsetDateTime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{Outcome, administrator::follow};

async fn connect(sql: &str, database: Option<&str>) -> Result<Client, cluster::Error> {
    let mut conninfo: ConnInfo = sql
        .parse()
        .map_err(|source| cluster::Error::ConnInfo { what: "sql".to_owned(), source })?;
    if let Some(database) = database {
        conninfo.set("dbname", database);
    }
    let (client, connection) = tokio_postgres::connect(&conninfo.to_text(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn open(spec: &NodeSpec, folder: &std::path::Path) -> Outcome<BundleNode> {
    let sql = spec.sql.clone();
    let connector: Connector = Arc::new(move || {
        let sql = sql.clone();
        Box::pin(async move { connect(&sql, None).await })
    });
    Ok(BundleNode::open(BundleSpec::new(folder), spec.name.clone(), connector).await?)
}

/// Does what a plan has for the machine that it was made on, as `pgward apply` does.
async fn here(spec: &ClusterSpec, nodes: &[Node], prepared: &Prepared) -> Outcome {
    let Prepared { mut plan, vault } = prepared.clone();
    for stage in &mut plan.stages {
        stage.steps.retain(|step| step.node == THIS_MACHINE);
    }
    plan.stages.retain(|stage| !stage.steps.is_empty());
    Runner::new(spec, nodes).apply(Prepared { plan, vault }).await?;
    Ok(())
}

/// `psql`, for whoever follows the README.
fn psql(runtime: &tokio::runtime::Handle, sql: &str, database: Option<&str>, script: &str) -> bool {
    let run = async {
        let client = connect(sql, database).await?;
        let messages = client.simple_query(script).await?;
        Ok::<_, cluster::Error>(messages.iter().any(|it| matches!(it, SimpleQueryMessage::Row(_))))
    };
    match runtime.block_on(run) {
        Ok(has_row) => has_row,
        Err(error) => panic!("{error}: {script}"),
    }
}

/// Servers that replicate, and a bundle for each of them.
struct Carried {
    servers: Servers,
    spec: ClusterSpec,
    folder: tempfile::TempDir,
    folders: Vec<PathBuf>,
    manifests: Vec<Manifest>,
    last: u16,
}

impl Carried {
    async fn pack(mode: Mode) -> Outcome<Self> {
        let servers = Servers::default();
        servers.start(&pgtest::find(PgVersion::V17)?, 3).await?;
        servers.join().await?;
        let spec = servers.cluster(mode)?.spec;
        let carried = Self::pack_for(&servers, &spec, prepare::prepare).await?;
        assert!(carried.last >= 3, "{}", carried.last);
        Ok(carried)
    }

    /// Bundles of another plan for the same servers.
    async fn pack_for(
        servers: &Servers,
        spec: &ClusterSpec,
        make: impl Fn(&ClusterSpec, &[NodeState], OffsetDateTime) -> Result<Prepared, cluster::Error>,
    ) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let now = OffsetDateTime::now_utc();
        let (mut nodes, mut bundles) = (Vec::new(), Vec::new());
        for node in &spec.nodes {
            let bundle = open(node, folder.path()).await?;
            nodes.push(Node {
                spec: node.clone(),
                files: Transport::Bundle(bundle.clone()).files(),
            });
            bundles.push(bundle);
        }
        let states = inspect::inspect_all(spec, &nodes).await?;
        let prepared = make(spec, &states, now)?;
        here(spec, &nodes, &prepared).await?;

        let (plan, vault) = (prepared.plan, prepared.vault);
        let packed = tokio::task::spawn_blocking(move || {
            let mut folders: Vec<PathBuf> = Vec::new();
            for bundle in &bundles {
                bundle.record(&plan, &vault).map_err(|error| error.to_string())?;
                folders.extend(bundle.finish(now).map_err(|error| error.to_string())?);
            }
            Ok::<_, String>(folders)
        });
        let folders = packed.await??;
        assert_eq!(folders.len(), 3);
        let manifests: Vec<Manifest> =
            folders.iter().map(|folder| Manifest::read(folder)).collect::<Result<_, _>>()?;
        let last = manifests.iter().flat_map(|it| &it.phases).map(|work| work.phase).max();
        let last = last.ok_or("no phase")?.0;
        Ok(Self { servers: servers.clone(), spec: spec.clone(), folder, folders, manifests, last })
    }

    /// The nodes, as who plans for them has them.
    async fn nodes(&self) -> Outcome<Vec<Node>> {
        let mut nodes = Vec::new();
        for node in &self.spec.nodes {
            let bundle = open(node, self.folder.path()).await?;
            nodes.push(Node { spec: node.clone(), files: Transport::Bundle(bundle).files() });
        }
        Ok(nodes)
    }

    /// Does every phase again, wherever its README lets one; what there is stays as it is.
    async fn again(&self, back: bool) -> Outcome {
        let before = self.found()?;
        let mut stopped = 0;
        for phase in 1..=self.last {
            let phase = if back { self.last + 1 - phase } else { phase };
            for node in 0..self.folders.len() {
                stopped += usize::from(self.on(node, phase, back).await.is_err());
            }
        }
        assert!(stopped >= self.folders.len(), "{stopped}");
        assert_eq!(self.found()?, before);
        let seen = self.servers.write_rows().await?;
        assert!(seen.iter().all(RowSeen::everywhere), "{seen:?}");
        Ok(())
    }

    /// Does a phase on one node, or takes it back.
    async fn on(&self, node: usize, phase: u16, back: bool) -> Outcome {
        let (folder, sql) = (self.folders[node].clone(), self.spec.nodes[node].sql.clone());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            follow(&folder, Phase(phase), back, &mut |database, script| {
                psql(&runtime, &sql, database, script)
            });
        })
        .await?;
        Ok(())
    }

    async fn on_all(&self, phase: u16, back: bool) -> Outcome {
        for node in 0..self.folders.len() {
            self.on(node, phase, back).await?;
        }
        // In between all links work.
        let seen = self.servers.write_rows().await?;
        assert!(seen.iter().all(RowSeen::everywhere), "{phase} {back}: {seen:?}");
        Ok(())
    }

    /// What an administrator has: files, and what the links connect by.
    fn found(&self) -> Outcome<Vec<String>> {
        let mut found = Vec::new();
        for node in &self.spec.nodes {
            let data = self.servers.with(&node.name, |server| server.data_dir())?;
            for name in ["postgresql.conf", "pg_hba.conf", "postgresql.auto.conf"] {
                let path = data.join(name);
                let access = std::fs::metadata(&path)?;
                let (mode, uid) = (access.mode(), access.uid());
                found.push(format!("{mode:o} {uid} {}", std::fs::read_to_string(path)?));
            }
            let links = "SELECT string_agg(subconninfo, ' ' ORDER BY subname) FROM pg_subscription";
            found.extend(self.servers.query(&node.name, links)?);
            let roles = "SELECT string_agg(concat(rolname, rolpassword), ' ' ORDER BY rolname) \
                         FROM pg_authid";
            found.extend(self.servers.query(&node.name, roles)?);
            for name in ["root.crt", "server.crt", "client.crt", "passfile"] {
                let held = std::fs::read(data.join("pgward").join(name)).ok();
                found.push(format!(
                    "{} {name}: {:?}",
                    node.name,
                    held.map(|it| it.escape_ascii().to_string())
                ));
            }
        }
        Ok(found)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_out_of_reach_are_secured_by_hand_and_proved() -> Outcome {
    for mode in [Mode::Cert, Mode::Scram] {
        let carried = Carried::pack(mode).await?;
        let now = OffsetDateTime::now_utc();
        for phase in 1..=carried.last {
            carried.on_all(phase, false).await?;
        }
        let Carried { spec, manifests, .. } = &carried;
        for (manifest, node) in manifests.iter().zip(&spec.nodes) {
            let client = connect(&node.sql, None).await?;
            let standing = standing_of(manifest, &client).await?;
            let with_files = manifest.entries().map(|(phase, _)| phase).max();
            assert_eq!(standing.reached, with_files, "{standing:?}");
            assert!(standing.refused.is_empty(), "{standing:?}");
        }

        // Seen anew, over SQL alone: every link is proved, and nothing is left to do.
        let nodes = carried.nodes().await?;
        let mut verification = verify::verify(spec, &nodes, now).await?;
        // A session that was cut is back when the launcher has come round.
        let patience = tokio::time::Instant::now() + Duration::from_secs(120);
        while !verification.proved() && tokio::time::Instant::now() < patience {
            verification = verify::verify(spec, &nodes, now).await?;
        }
        assert!(verification.proved(), "{mode:?}: {verification:#?}");
        let states = inspect::inspect_all(spec, &nodes).await?;
        let again = prepare::prepare(spec, &states, now)?;
        assert!(again.plan.is_empty(), "{:#?}", again.plan);
    }
    Ok(())
}

/// The administrator changes their mind, wherever they have come to.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_carried_there_is_taken_back() -> Outcome {
    let carried = Carried::pack(Mode::Scram).await?;
    let found = carried.found()?;
    for reached in 1..=carried.last {
        for phase in 1..=reached {
            carried.on_all(phase, false).await?;
        }
        assert_ne!(carried.found()?, found);
        for phase in (1..=reached).rev() {
            carried.on_all(phase, true).await?;
        }
        assert_eq!(carried.found()?, found, "{reached}");
    }
    Ok(())
}

/// A bundle that is done twice, and one of a later plan: what the first has kept stays, so that both can
/// be taken back.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_two_plans() -> Outcome {
    let first = Carried::pack(Mode::Cert).await?;
    let found = first.found()?;
    for phase in 1..=first.last {
        first.on_all(phase, false).await?;
    }
    first.again(false).await?;
    let secured = first.found()?;
    // The authority stays for as long as a node has its certificates.
    let nodes = first.nodes().await?;
    let refused = Runner::new(&first.spec, &nodes).rollback().await;
    let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("take the bundles back"), "{refused}");
    assert!(first.spec.secrets.join("ca.key").exists());

    let second = Carried::pack_for(&first.servers, &first.spec, rotate::certificates).await?;
    for phase in 1..=second.last {
        second.on_all(phase, false).await?;
    }
    assert_ne!(second.found()?, secured, "other certificates");
    second.again(false).await?;
    // What was made for the cluster as it was before is for no other.
    first.again(false).await?;
    for phase in (1..=second.last).rev() {
        second.on_all(phase, true).await?;
    }
    assert_eq!(first.found()?, secured);
    for phase in (1..=first.last).rev() {
        first.on_all(phase, true).await?;
    }
    assert_eq!(first.found()?, found);
    first.again(true).await?;
    Runner::new(&first.spec, &nodes).rollback().await?;
    assert!(!first.spec.secrets.join("ca.key").exists());
    Ok(())
}

/// A node was skipped: who goes on with another is told so, and shuts nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_skipped_is_shut_out_by_none() -> Outcome {
    let carried = Carried::pack(Mode::Cert).await?;
    carried.on_all(1, false).await?;
    for phase in 2..carried.last {
        for node in [0, 1] {
            carried.on(node, phase, false).await?;
        }
    }
    let refused = carried.on(0, carried.last, false).await;
    assert!(refused.is_err(), "the third node still connects as before");
    let seen = carried.servers.write_rows().await?;
    assert!(seen.iter().all(RowSeen::everywhere), "{seen:?}");
    // When that is done, too, it goes on.
    for phase in 2..carried.last {
        carried.on(2, phase, false).await?;
    }
    carried.on_all(carried.last, false).await
}
