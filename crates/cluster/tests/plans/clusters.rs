//! What inspection would find on open clusters whose nodes are not all alike.

use std::{collections::BTreeMap, error::Error, net::Ipv4Addr, path::PathBuf};

use cluster::{
    conninfo::ConnInfo,
    inspect::{BdrState, ForeignServer, Homes, NodeState, Role, Subscription},
    spec::{ClusterSpec, Mode, NodeSpec, TimescaleSpec, TopologyKind},
    transport::{FilesSpec, SshSpec},
};
use pg_version::PgVersion;

use crate::open_node::open_node;

const ROLE: &str = "repl";
const OTHER_ROLE: &str = "Reports 2";
const DATABASE: &str = "app";
const CONF: &str = "listen_addresses = '*'\nwal_level = logical\n";

/// A description, and what inspection would find.
pub(crate) struct Cluster {
    pub(crate) spec: ClusterSpec,
    pub(crate) states: Vec<NodeState>,
}

impl Cluster {
    /// A cluster of so many nodes.
    pub(crate) fn new(
        topology: TopologyKind,
        mode: Mode,
        nodes: u8,
    ) -> Result<Self, Box<dyn Error>> {
        let timescale = (topology == TopologyKind::Timescale)
            .then(|| TimescaleSpec { access_node: name(1), copy_chunk: false });
        let roles = match topology {
            TopologyKind::Pgd => Vec::new(),
            TopologyKind::Native | TopologyKind::Timescale => vec![OTHER_ROLE.to_owned()],
        };
        let spec = ClusterSpec {
            topology,
            mode,
            link_role: ROLE.to_owned(),
            roles,
            secrets: PathBuf::from("/nowhere/that/is/there"),
            certificates: Default::default(),
            i_know: Default::default(),
            timescale,
            nodes: (1..=nodes).map(node).collect::<Result<_, _>>()?,
        };
        let states = (1..=nodes).map(|number| state(&spec, number)).collect::<Result<_, _>>()?;
        Ok(Self { spec, states })
    }
}

fn name(number: u8) -> String {
    format!("node-{number}")
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, number)
}

fn node(number: u8) -> Result<NodeSpec, Box<dyn Error>> {
    Ok(NodeSpec {
        name: name(number),
        host: number.is_multiple_of(2).then(|| format!("db{number}.example.com")),
        address: address(number).into(),
        port: 5432,
        peers_from: vec!["10.1.0.0/16".parse()?],
        sql: "host=127.0.0.1".to_owned(),
        files: FilesSpec::Ssh(SshSpec::new(name(number))),
    })
}

/// Every third is of another major, and speaks TLS already.
fn is_other(number: u8) -> bool {
    number % 3 == 2
}

fn state(spec: &ClusterSpec, number: u8) -> Result<NodeState, Box<dyn Error>> {
    let version = match (spec.topology, is_other(number)) {
        (TopologyKind::Timescale, _) => PgVersion::V15,
        (_, true) => PgVersion::V12,
        (_, false) => PgVersion::V17,
    };
    // The last node of a native cluster follows the first.
    let last = u8::try_from(spec.nodes.len())?;
    let in_recovery = spec.topology == TopologyKind::Native && number == last;
    let others: Vec<u8> = (1..=last).filter(|other| *other != number).collect();
    let settings = [
        ("log_connections", if is_other(number) { "off" } else { "on" }),
        ("max_prepared_transactions", "0"),
        ("primary_slot_name", if in_recovery { "standby" } else { "" }),
        ("ssl", if is_other(number) { "on" } else { "off" }),
        ("wal_retrieve_retry_interval", if number == 1 { "100" } else { "5000" }),
    ];
    Ok(NodeState {
        roles: roles(spec, number),
        in_recovery,
        primary_conninfo: in_recovery.then(|| conninfo(number, 1)).transpose()?,
        subscriptions: match spec.topology {
            TopologyKind::Native if !in_recovery => subscriptions(number, &others)?,
            _ => Vec::new(),
        },
        foreign_servers: match spec.topology {
            TopologyKind::Native if !in_recovery => foreign_servers(number, &others)?,
            TopologyKind::Timescale if number == 1 => data_nodes(&others)?,
            _ => Vec::new(),
        },
        bdr: match spec.topology {
            TopologyKind::Pgd => Some(bdr(number, last)?),
            _ => None,
        },
        homes: Homes {
            environment: Some("/home".into()),
            account: Some(format!("/home/{number}").into()),
        },
        ..open_node(&name(number), version, DATABASE, CONF, &settings)
    })
}

fn roles(spec: &ClusterSpec, number: u8) -> Vec<Role> {
    let role = |name: &str| Role {
        name: name.to_owned(),
        can_login: true,
        replication: name == ROLE,
        superuser: name == "postgres",
        password_expired: false,
        valid_until: None,
        attributes: "INHERIT NOCREATEDB".to_owned(),
        member_of: Vec::new(),
        stored_password: (name == ROLE && is_other(number))
            .then(|| format!("md5{}", "0".repeat(32)).into()),
    };
    // PGD's nodes get the role; elsewhere an administrator has made it.
    let made = spec.topology != TopologyKind::Pgd || is_other(number);
    let names = ["postgres"].into_iter().chain(made.then_some(ROLE));
    names.chain(spec.roles.iter().map(String::as_str)).map(role).collect()
}

/// How one node connects to another. Some have a password in it, some speak TLS, some use names.
fn conninfo(from: u8, to: u8) -> Result<ConnInfo, Box<dyn Error>> {
    let host =
        if to.is_multiple_of(2) { format!("db{to}.example.com") } else { address(to).to_string() };
    let more = match (is_other(from), is_other(to)) {
        (true, _) => " password=hunter2 application_name='a b'",
        (false, true) => " sslmode=require",
        (false, false) => "",
    };
    let user = if from.is_multiple_of(2) { "somebody" } else { ROLE };
    Ok(format!("host={host} port=5432 dbname={DATABASE} user={user}{more}").parse()?)
}

fn bdr(number: u8, last: u8) -> Result<BdrState, Box<dyn Error>> {
    let interface = |to: u8| Ok::<_, Box<dyn Error>>((name(to), conninfo(number, to)?));
    Ok(BdrState {
        database: DATABASE.to_owned(),
        local_node: Some(name(number)),
        slots: vec![format!("bdr_node_{number}"), format!("bdr_app_{number}")],
        interfaces: (1..=last).map(interface).collect::<Result<_, _>>()?,
        kinds: BTreeMap::new(),
    })
}

fn subscriptions(number: u8, others: &[u8]) -> Result<Vec<Subscription>, Box<dyn Error>> {
    let subscription = |other: &u8| {
        Ok(Subscription {
            name: format!("From {}", name(*other)),
            database: DATABASE.to_owned(),
            conninfo: conninfo(number, *other)?,
            slot: Some(format!("from_{other}")),
            enabled: !is_other(*other),
            owner_needs_password: None,
        })
    };
    others.iter().map(subscription).collect()
}

fn foreign_servers(number: u8, others: &[u8]) -> Result<Vec<ForeignServer>, Box<dyn Error>> {
    let server = |other: &u8| {
        let mut options = conninfo(number, *other)?;
        options.remove("user");
        options.remove_secrets();
        let as_role = |role: &str, more: &str| -> Result<ConnInfo, Box<dyn Error>> {
            Ok(format!("user='{role}'{more}").parse()?)
        };
        // On 12 a server has certificates for one role.
        let others_role = if is_other(number) { ROLE } else { OTHER_ROLE };
        Ok(ForeignServer {
            name: format!("server {other}"),
            wrapper: "postgres_fdw".to_owned(),
            database: DATABASE.to_owned(),
            options,
            mappings: vec![
                (None, as_role(ROLE, "")?),
                (Some("postgres".to_owned()), as_role(others_role, " password=hunter3")?),
            ],
            usable_by: Vec::new(),
            tables: ["guest", "postgres"]
                .map(|reader| (reader.to_owned(), "public.far".to_owned()))
                .into(),
            distributed_exec: None,
        })
    };
    others.iter().map(server).collect()
}

fn data_nodes(others: &[u8]) -> Result<Vec<ForeignServer>, Box<dyn Error>> {
    let server = |other: &u8| {
        Ok(ForeignServer {
            name: format!("dn{other}"),
            wrapper: "timescaledb_fdw".to_owned(),
            database: DATABASE.to_owned(),
            options: format!("host={} port=5432 dbname={DATABASE}", address(*other)).parse()?,
            mappings: Vec::new(),
            usable_by: Vec::new(),
            tables: Vec::new(),
            distributed_exec: Some("CALL \"public\".distributed_exec".to_owned()),
        })
    };
    others.iter().map(server).collect()
}
