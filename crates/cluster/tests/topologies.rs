//! The topologies `pgd` and `timescale` on their stand-ins: from open to proved, and nothing to do the
//! second time.

#[path = "standin/mod.rs"]
mod standin;

use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, sync::Arc};

use cluster::spec::{ClusterSpec, Mode, TimescaleSpec, TopologyKind, UserChain};
use pg_version::PgVersion;
use standin::{
    By, PgdMesh, TimescaleCluster,
    secured::{describe, look, secure},
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Every file that a plan may write.
fn files(nodes: &[Arc<standin::Node>]) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for node in nodes {
        for folder in [node.data_dir(), node.home_dir(), node.data_dir().join("timescaledb/certs")]
        {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if entry.path().is_file() && !name.starts_with("postmaster") && name != "log" {
                    files.insert(entry.path(), fs::read(entry.path())?);
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
    }
    Ok(())
}

/// A group that runs as postgres, without the role that the document wants.
#[tokio::test(flavor = "multi_thread")]
async fn pgd_gets_its_role() -> Outcome {
    let mesh = PgdMesh::builder(PgVersion::V18, 2, By::Ip).link_user("postgres").open().await?;
    let folder = tempfile::tempdir()?;
    let from = mesh.site().peers_from();
    let spec = describe(
        TopologyKind::Pgd,
        Mode::Scram,
        "pgd_replication",
        folder.path(),
        mesh.nodes(),
        &from,
    )?;
    secure(&spec).await?;
    let after = look(&spec).await?;
    assert!(after.proved(), "{after:#?}");
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
    spec.timescale =
        Some(TimescaleSpec { access_node: cluster.access().name().to_owned(), copy_chunk: false });
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
        assert!(secure(&spec).await? > 0);
        let after = look(&spec).await?;
        assert!(after.proved(), "{mode:?} {chain:?} {plain}: {after:#?}");
        assert_eq!(after.links.len(), 4, "two roles, two data nodes");
        let all: Vec<_> = cluster.nodes().cloned().collect();
        let found = files(&all)?;
        assert_eq!(secure(&spec).await?, 0, "{mode:?} {chain:?} {plain}");
        assert_eq!(files(&all)?, found);
        for role in ["postgres", "testrole"] {
            for arrival in cluster.write_and_see(role).await? {
                assert_eq!(arrival.rows, arrival.expected, "{role}: {arrival:?}");
            }
        }
    }
    Ok(())
}

/// Addresses that are really different, so that the rules for them are proved.
#[tokio::test(flavor = "multi_thread")]
async fn pgd_between_hosts() -> Outcome {
    let Some(site) = standin::Site::namespaces()? else {
        eprintln!("no network namespaces can be made here: the rules for addresses go unproved");
        return Ok(());
    };
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
