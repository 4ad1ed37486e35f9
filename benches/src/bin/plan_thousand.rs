//! How long it takes to plan for a thousand nodes in a mesh of a million links, and how much memory.
//! What inspection would find is made up: no server runs. Figures for people; nothing is asserted
//! about them.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../../../crates/cluster/tests/plans/open_node.rs"]
mod open_node;

use std::{collections::BTreeMap, net::Ipv4Addr, process::ExitCode, time::Instant};

use benches::{How, Outcome};
use clap::{Parser, ValueEnum};
use cluster::{
    inspect::{BdrState, NodeState, Role, Subscription},
    prepare::{self, Prepared},
    spec::{CertificatePolicy, ClusterSpec, IKnow, Mode, NodeSpec, TopologyKind},
    transport::{FilesSpec, SshSpec},
};
use pg_version::PgVersion;
use time::OffsetDateTime;

use self::open_node::open_node;

/// Measures planning for a large mesh.
#[derive(Parser)]
struct Arguments {
    /// How many nodes the mesh has
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..=4000))]
    nodes: u16,
    /// How often each is done
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The one kind of cluster and mode, in place of all: its peak of memory is then its own
    #[arg(long, requires = "mode")]
    topology: Option<Kind>,
    /// The mode
    #[arg(long, requires = "topology")]
    mode: Option<How>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Pgd,
    Native,
}

fn main() -> ExitCode {
    benches::ended(measure(&Arguments::parse()))
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let all = [
        (Kind::Pgd, How::Cert),
        (Kind::Pgd, How::Scram),
        (Kind::Native, How::Cert),
        (Kind::Native, How::Scram),
    ];
    let cases = match (arguments.topology, arguments.mode) {
        (Some(kind), Some(how)) => vec![(kind, how)],
        _ => all.to_vec(),
    };
    println!(
        "{:<8}{:<8}{:>10}{:>10}{:>12}{:>10}{:>10}",
        "", "", "links", "steps", "least, s", "most, s", "peak, MiB"
    );
    for (kind, how) in cases {
        let topology = match kind {
            Kind::Pgd => TopologyKind::Pgd,
            Kind::Native => TopologyKind::Native,
        };
        let mode = Mode::from(how);
        let spec = describe(arguments.nodes, topology, mode);
        let mut times = Vec::new();
        let (mut links, mut steps) = (0, 0);
        for _ in 0..arguments.runs {
            let states = inspected(&spec);
            let start = Instant::now();
            let Prepared { plan, vault } =
                prepare::prepare(&spec, &states, OffsetDateTime::now_utc())?;
            times.push(start.elapsed().as_secs_f64());
            links = plan.links.len();
            steps = plan.stages.iter().map(|stage| stage.steps.len()).sum();
            drop((plan, vault));
        }
        times.sort_by(f64::total_cmp);
        let (least, most) = (times[0], times[times.len() - 1]);
        let (kind, how) = (format!("{topology:?}"), format!("{mode:?}"));
        let peak = peak_of_memory()?;
        println!("{kind:<8}{how:<8}{links:>10}{steps:>10}{least:>12.2}{most:>10.2}{peak:>10}");
    }
    Ok(())
}

/// The most memory that this process has had, in MiB: proc(5), `VmHWM`.
fn peak_of_memory() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let number: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(number / 1024)
}

fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low)
}

fn name(number: u16) -> String {
    format!("node-{number}")
}

fn describe(nodes: u16, topology: TopologyKind, mode: Mode) -> ClusterSpec {
    let node = |number: u16| NodeSpec {
        name: name(number),
        host: Some(format!("{}.db.example.com", name(number))),
        address: address(number).into(),
        port: 5432,
        peers_from: "10.1.0.0/16".parse().into_iter().collect(),
        sql: "host=127.0.0.1".to_owned(),
        // Each has a machine of its own.
        files: FilesSpec::Ssh(SshSpec::new(name(number))),
    };
    ClusterSpec {
        topology,
        mode,
        link_role: "pgd_replication".to_owned(),
        roles: Vec::new(),
        secrets: std::env::temp_dir().join(format!("plan-thousand-{}", std::process::id())),
        certificates: CertificatePolicy::default(),
        i_know: IKnow::default(),
        timescale: None,
        nodes: (1..=nodes).map(node).collect(),
    }
}

/// What inspection would find on open nodes that all connect to all.
fn inspected(spec: &ClusterSpec) -> Vec<NodeState> {
    (1..).zip(&spec.nodes).map(|(number, node)| state(spec, number, node)).collect()
}

fn state(spec: &ClusterSpec, number: u16, node: &NodeSpec) -> NodeState {
    let role = |name: &str, superuser| Role {
        name: name.to_owned(),
        can_login: true,
        replication: true,
        superuser,
        attributes: String::new(),
        member_of: Vec::new(),
        stored_password: None,
        password_expired: false,
        valid_until: None,
    };
    let conninfo = |other: &NodeSpec| {
        let text = format!(
            "host={} port={} dbname=pgddb user={}",
            other.address, other.port, spec.link_role
        );
        text.parse().unwrap_or_default()
    };
    let is_pgd = spec.topology == TopologyKind::Pgd;
    let bdr = is_pgd.then(|| BdrState {
        database: "pgddb".to_owned(),
        local_node: Some(node.name.clone()),
        slots: vec![format!("bdr_node_{number}"), format!("bdr_pgddb_{number}")],
        interfaces: spec.nodes.iter().map(|node| (node.name.clone(), conninfo(node))).collect(),
        kinds: BTreeMap::new(),
    });
    let others = spec.nodes.iter().filter(|other| other.name != node.name && !is_pgd);
    let subscriptions = others.map(|other| Subscription {
        name: format!("from_{}", other.name),
        database: "pgddb".to_owned(),
        conninfo: conninfo(other),
        slot: Some(format!("{}_from_{}", node.name, other.name)),
        enabled: true,
        owner_needs_password: None,
    });
    let conf = "listen_addresses = '*'\nwal_level = logical\nlog_connections = on\n";
    let settings = [("log_connections", "on"), ("ssl", "off")];
    NodeState {
        roles: vec![role("postgres", true), role(&spec.link_role, false)],
        subscriptions: subscriptions.collect(),
        bdr,
        ..open_node(&node.name, PgVersion::V17, "pgddb", conf, &settings)
    }
}
