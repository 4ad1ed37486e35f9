//! The guides' descriptions, with the places of a stand-in's nodes put in: what the guide says is done
//! by the program, and it ends as the guide says.

use std::{path::Path, process::Stdio, sync::Arc};

use pg_version::PgVersion;
use tokio::process::Command;

use crate::{Document, Outcome, blocks::blocks};
use standin::{By, Node, PgdMesh, TimescaleCluster};

/// The guide's description, for nodes that are somewhere else than it says.
fn description(guide: &str, nodes: &[Arc<Node>], peers_from: &str, mode: &str) -> Outcome<String> {
    let document = Document::read(Path::new("docs").join(guide))?;
    let (_, text) = blocks(&document, "toml").into_iter().next().ok_or("no description")?;
    let mut spec: toml::Table = text.parse()?;
    spec.insert("mode".to_owned(), mode.into());
    let described = spec.get_mut("nodes").and_then(toml::Value::as_array_mut);
    let described = described.ok_or("no nodes")?;
    assert_eq!(described.len(), nodes.len(), "{guide}");
    for node in described {
        let node = node.as_table_mut().ok_or("no table")?;
        let name = node["name"].as_str().ok_or("no name")?;
        let real = nodes.iter().find(|real| real.name() == name).ok_or("no such node")?.clone();
        node.remove("host");
        node.remove("files");
        node.insert("address".to_owned(), real.address().to_string().into());
        node.insert("port".to_owned(), i64::from(real.port()).into());
        node.insert("peers-from".to_owned(), vec![peers_from].into());
        node.insert("sql".to_owned(), real.admin_conninfo().into());
    }
    Ok(toml::to_string(&spec)?)
}

/// The guide's commands. All of them must end with exit code 0.
async fn follow(description: &str, expected: &[&str]) -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("cluster.toml"), description)?;
    let commands: [&[&str]; 4] = [
        &["plan", "cluster.toml"],
        &["apply", "cluster.toml", "--yes"],
        &["verify", "cluster.toml"],
        &["verify", "cluster.toml", "--reconnect"],
    ];
    for arguments in commands {
        let said = Command::new(env!("CARGO_BIN_EXE_pgward"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .await?;
        let (out, talk) =
            (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.status.success(), "{arguments:?}\n{out}\n{talk}");
        for text in expected.iter().filter(|_| arguments[0] != "plan") {
            assert!(out.contains(text), "{arguments:?}: no {text}\n{out}\n{talk}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn timescale() -> Outcome {
    for mode in ["cert", "scram"] {
        let cluster = TimescaleCluster::open(PgVersion::V15, 2).await?;
        let nodes: Vec<_> = cluster.nodes().cloned().collect();
        let from = cluster.site().peers_from();
        let description = description("timescale.md", &nodes, &from, mode)?;
        follow(&description, &["PROVED: 4 of 4 links, "]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pgd() -> Outcome {
    for mode in ["cert", "scram"] {
        let mesh = PgdMesh::open(PgVersion::V17, 3, By::Ip).await?;
        let from = mesh.site().peers_from();
        let description = description("pgd.md", mesh.nodes(), &from, mode)?;
        follow(&description, &["PROVED: 6 of 6 links, "]).await?;
    }
    Ok(())
}
