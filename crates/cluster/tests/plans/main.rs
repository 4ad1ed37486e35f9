//! The plan of a cluster, as it is written down: the same input makes the same plan, and another one
//! only where the snapshots say so.

mod clusters;
mod open_node;
mod written;

use cluster::{
    Error,
    plan::Plan,
    prepare,
    spec::{Mode, TopologyKind},
};
use time::macros::datetime;

use self::{clusters::Cluster, written::written};

const MODES: [(Mode, &str); 2] = [(Mode::Cert, "certificates"), (Mode::Scram, "passwords")];

fn plan(cluster: &Cluster) -> Result<Plan, Error> {
    let prepared =
        prepare::prepare(&cluster.spec, &cluster.states, datetime!(2026-01-01 0:00 UTC))?;
    Ok(prepared.plan)
}

/// The plan in lines; made twice, so that nothing in it is a matter of luck.
fn lines(cluster: &Cluster) -> Result<String, Box<dyn std::error::Error>> {
    let [one, other] = [written(&plan(cluster)?)?, written(&plan(cluster)?)?];
    assert_eq!(one, other);
    Ok(one)
}

#[test]
fn a_group_of_pgd_nodes() -> Result<(), Box<dyn std::error::Error>> {
    for (mode, with) in MODES {
        let cluster = Cluster::new(TopologyKind::Pgd, mode, 3)?;
        insta::assert_snapshot!(format!("pgd_with_{with}"), lines(&cluster)?);
    }
    Ok(())
}

#[test]
fn subscriptions_standbys_and_foreign_servers() -> Result<(), Box<dyn std::error::Error>> {
    for (mode, with) in MODES {
        let cluster = Cluster::new(TopologyKind::Native, mode, 3)?;
        insta::assert_snapshot!(format!("native_with_{with}"), lines(&cluster)?);
    }
    Ok(())
}

#[test]
fn an_access_node_and_its_data_nodes() -> Result<(), Box<dyn std::error::Error>> {
    for (mode, with) in MODES {
        let cluster = Cluster::new(TopologyKind::Timescale, mode, 3)?;
        insta::assert_snapshot!(format!("timescale_with_{with}"), lines(&cluster)?);
    }
    Ok(())
}

/// Whatever role a way to a PGD node names, it is left for the links' own: that has the passwords.
#[test]
fn a_pgd_group_has_passwords_for_one_role() -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = Cluster::new(TopologyKind::Pgd, Mode::Scram, 3)?;
    // node-2 connects to the others as this one.
    cluster.spec.roles = vec!["somebody".to_owned()];
    let vault =
        prepare::prepare(&cluster.spec, &cluster.states, datetime!(2026-01-01 0:00 UTC))?.vault;
    for node in ["node-1", "node-2", "node-3"] {
        let file = vault.get(&format!("{node}: password file")).unwrap_or_default();
        let file = std::str::from_utf8(file)?;
        // By the host name, the node's name and the address of each: the first has no host name.
        assert_eq!(file.matches(":*:repl:").count(), file.lines().count(), "{node}");
        assert!(file.lines().count() >= 6, "{node}");
    }
    Ok(())
}
