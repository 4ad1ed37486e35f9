//! EDB's page followed to the letter: all of its own queries are green.

use cluster::{
    spec::{Mode, TopologyKind},
    verify::Code,
};
use pg_version::PgVersion;

use crate::Outcome;
use standin::{By, Ca, PgdMesh, page, secured};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_the_letter() -> Outcome {
    for version in [PgVersion::V16, PgVersion::V18] {
        let mesh = PgdMesh::builder(version, 2, By::Ip).link_user("postgres").open().await?;
        page::follow(&mesh, &Ca::create("pgd")?)?;
        let folder = tempfile::tempdir()?;
        let spec = secured::describe(
            TopologyKind::Pgd,
            Mode::Cert,
            page::ROLE,
            folder.path(),
            mesh.nodes(),
            &mesh.site().peers_from(),
        )?;
        let verification = secured::look(&spec).await?;
        assert!(!verification.proved());
        assert_eq!(verification.links.len(), 2);
        for link in &verification.links {
            assert_eq!(link.method.as_deref(), Some("trust"), "{version}: {link:?}");
            assert!(link.replicating && link.tls.is_some(), "{version}: {link:?}");
        }
        for code in [
            Code::OtherMethod,
            Code::NoClientCertificate,
            Code::NoCaFile,
            Code::Shadowed,
            Code::PlainTextOpen,
            Code::TrustOpen,
            Code::NotRefused,
        ] {
            let on = |node: &str| {
                verification.findings.iter().any(|found| found.code == code && found.node == node)
            };
            assert!(on("node-1") && on("node-2"), "{version} {code}: {verification:#?}");
        }
    }
    Ok(())
}
