//! The plan of a cluster, as it is written down: the same input makes the same plan, and another one
//! only where the snapshots say so.

mod clusters;
mod open_node;
mod written;

use cluster::{
    Error,
    inspect::Setting,
    plan::{Action, Plan},
    prepare,
    spec::{Mode, TopologyKind},
    transport::NodeFile,
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

/// A user mapping's password wins over the password file: the role keeps it, or nothing is done.
#[test]
fn a_password_of_a_user_mapping_is_the_roles() -> Result<(), Box<dyn std::error::Error>> {
    let with_mapping = |options: &str| -> Result<Cluster, Box<dyn std::error::Error>> {
        let mut cluster = Cluster::new(TopologyKind::Timescale, Mode::Scram, 3)?;
        let secret = scram::Secret::generate(&scram::Password::new("own"), 4096)?.to_text();
        for role in cluster.states.iter_mut().flat_map(|state| &mut state.roles) {
            role.stored_password = Some(secret.to_string().into());
        }
        for server in cluster.states.iter_mut().flat_map(|state| &mut state.foreign_servers) {
            server.mappings = vec![(None, options.parse()?)];
        }
        Ok(cluster)
    };
    let refused = |options: &str| -> Result<String, Box<dyn std::error::Error>> {
        let told = plan(&with_mapping(options)?).err().map(|error| error.to_string());
        Ok(told.unwrap_or_default())
    };
    let kept = plan(&with_mapping("user=repl password=own")?)?;
    let steps = || kept.stages.iter().flat_map(|stage| &stage.steps);
    assert!(!steps().any(|step| matches!(step.action, Action::SetPassword { .. })), "{kept:?}");
    let told = refused("user=repl password=another")?;
    assert!(told.contains("has a password that wins over the password file"), "{told}");
    let told = refused("user=stranger password=own")?;
    assert!(
        told.contains("logs in as \"stranger\", which is no role of the description"),
        "{told}"
    );
    Ok(())
}

/// What lies where the server's user cannot go is of no use to it.
#[test]
fn a_folder_that_keeps_the_server_out_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    for (mode, file) in [(Mode::Cert, "certs"), (Mode::Scram, "secret/passfile")] {
        let mut cluster = Cluster::new(TopologyKind::Timescale, mode, 3)?;
        let access = &mut cluster.states[0];
        for (name, value) in
            [("timescaledb.ssl_dir", "certs"), ("timescaledb.passfile", "secret/passfile")]
        {
            let setting = Setting { value: value.to_owned(), source: String::new() };
            access.settings.insert(name.to_owned(), setting);
        }
        let folder = access.in_data_directory(file.trim_end_matches("/passfile"));
        access.folders.insert(folder.clone());
        plan(&cluster)?;
        cluster.states[0].shut_folders.insert(folder.clone());
        let told = plan(&cluster).err().map(|error| error.to_string()).unwrap_or_default();
        let words =
            format!("node node-1: the server's user cannot enter the folder {}", folder.display());
        assert!(told.starts_with(&words), "{told}");
    }
    Ok(())
}

/// A data node that another cluster has as well, or whose server has its site's authority.
#[test]
fn another_authority_is_not_replaced_without_a_word() -> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = Cluster::new(TopologyKind::Timescale, Mode::Cert, 3)?;
    let told = |cluster: &Cluster| -> Result<Vec<String>, Error> {
        let words = "/data/root.crt holds another authority (CN=theirs), which is replaced";
        let warnings = plan(cluster)?.warnings.into_iter();
        let about = warnings.filter(|it| format!("/data/{}", it.message).starts_with(words));
        Ok(about.map(|it| it.node).collect())
    };
    let subject = pki::Subject::common_name("theirs");
    let validity = pki::Validity::days(datetime!(2026-01-01 0:00 UTC), 9);
    let theirs = pki::Authority::create(pki::KeyAlgorithm::EcdsaP256, &subject, validity)?;
    let state = &mut cluster.states[1];
    let bytes = theirs.root().to_pem().as_bytes().to_vec().into();
    let file = NodeFile { bytes, access: state.owner };
    state.files.insert(state.in_data_directory("root.crt"), Some(file));
    // A file that lies there and is not used is nobody's.
    assert!(told(&cluster)?.is_empty());
    for (name, value) in [("ssl", "on"), ("ssl_ca_file", "root.crt")] {
        let setting = Setting { value: value.to_owned(), source: String::new() };
        cluster.states[1].settings.insert(name.to_owned(), setting);
    }
    assert_eq!(told(&cluster)?, ["node-2"]);
    Ok(())
}

/// Who logs in by the password of the links' role is not shut out by another one.
#[test]
fn the_administrators_password_is_not_replaced() -> Result<(), Box<dyn std::error::Error>> {
    let coming_by = |line: &str, has: &str| -> Result<Cluster, Box<dyn std::error::Error>> {
        let mut cluster = Cluster::new(TopologyKind::Timescale, Mode::Scram, 3)?;
        let secret = scram::Secret::generate(&scram::Password::new(has), 4096)?.to_text();
        for state in &mut cluster.states {
            state.admin.user = "repl".to_owned();
            for role in &mut state.roles {
                role.superuser = true;
                role.stored_password = Some(secret.to_string().into());
            }
            let path = state.hba_file().to_owned();
            let file = state.files.get_mut(&path).and_then(Option::as_mut).ok_or("no file")?;
            file.bytes = [line.as_bytes(), &file.bytes].concat().into();
        }
        Ok(cluster)
    };
    for method in ["scram-sha-256", "md5", "password"] {
        let refused = plan(&coming_by(&format!("local all all {method}\n"), "mine")?);
        let told = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains("you come in as repl by its password"), "{method}: {told}");
        assert!(told.starts_with("node node-"), "{method}: {told}");
    }
    plan(&coming_by("local all all peer\n", "mine")?)?;
    Ok(())
}

/// What a foreign server calls its data node stays: there the access node finds the password by that name.
#[test]
fn an_access_node_finds_a_password_by_what_it_calls_the_node()
-> Result<(), Box<dyn std::error::Error>> {
    let mut cluster = Cluster::new(TopologyKind::Timescale, Mode::Scram, 3)?;
    for (state, other) in cluster.states.iter_mut().zip(["DN.example.com", "", ""]) {
        for server in &mut state.foreign_servers {
            // The server is known by its name.
            server.name = "node-2".to_owned();
            server.options = format!("host={other} port=6432 dbname=app").parse()?;
        }
    }
    let vault =
        prepare::prepare(&cluster.spec, &cluster.states, datetime!(2026-01-01 0:00 UTC))?.vault;
    let file = vault.get("node-1: password file").unwrap_or_default();
    assert!(std::str::from_utf8(file)?.contains("DN.example.com:6432:*:repl:"));
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
