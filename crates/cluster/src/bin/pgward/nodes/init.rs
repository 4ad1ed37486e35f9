//! `pgward init`: a description to be filled in, with every key explained.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::render::word;
use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward init`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward init                                             write pgward.toml
  pgward init --topology timescale --mode cert --nodes 4
  pgward init - --link-role repl > cluster.toml

Edit the file, then see what would be done: pgward plan")]
pub(crate) struct Arguments {
    /// The file to write (- is standard output); one that is there stays
    #[arg(value_name = "FILE", default_value = "pgward.toml")]
    path: PathBuf,
    /// What kind of links the nodes have to one another
    #[arg(long, value_enum, default_value_t = Topology::Native)]
    topology: Topology,
    /// How a node proves to its peers who it is
    #[arg(long, value_enum, default_value_t = Mode::Cert)]
    mode: Mode,
    /// The role that the links log in as [default: replicator, pgd_replication or postgres]
    #[arg(long, value_name = "ROLE")]
    link_role: Option<String>,
    /// How many nodes to make room for
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=200))]
    nodes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Topology {
    /// PostgreSQL's own: subscriptions, standbys, postgres_fdw
    Native,
    /// EDB Postgres Distributed
    Pgd,
    /// TimescaleDB multi-node
    Timescale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// By a client certificate over TLS
    Cert,
    /// By a password (SCRAM-SHA-256) over TLS
    Scram,
    /// Not at all (timescale only)
    Trust,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    if arguments.mode == Mode::Trust && arguments.topology != Topology::Timescale {
        return Err(Failure::user("--mode trust is for --topology timescale only")
            .fix("choose --mode cert or --mode scram"));
    }
    let text = template(arguments);
    let path = &arguments.path;
    if path == Path::new("-") {
        let result = json!({ "file": null, "text": text });
        return Ok(Answer::file(text, result));
    }
    textfile::fs::create(path, text.as_bytes(), None)?;
    let named = match path.to_str() {
        Some("pgward.toml") => String::new(),
        Some(name) if !name.contains(|c: char| c.is_whitespace() || "'\"$`\\".contains(c)) => {
            format!(" {name}")
        }
        _ => " FILE".to_owned(),
    };
    console.note(&format!("fill in the nodes, then see what would be done: pgward plan{named}"));
    let said = format!("{}: a description of {} nodes\n", path.display(), arguments.nodes);
    Ok(Answer::new(said, json!({ "file": path.display().to_string(), "text": text })))
}

fn template(arguments: &Arguments) -> String {
    let role = arguments.link_role.as_deref().unwrap_or(match arguments.topology {
        Topology::Native => "replicator",
        Topology::Pgd => "pgd_replication",
        Topology::Timescale => "postgres",
    });
    let trust = match arguments.mode {
        Mode::Trust => "trust-lets-anybody-in = true",
        _ => "# trust-lets-anybody-in = false",
    };
    let mut out = TEMPLATE
        .replace("{topology}", &word(&arguments.topology))
        .replace("{mode}", &word(&arguments.mode))
        .replace("{link-role}", &toml::Value::from(role).to_string())
        .replace("{trust-key}", trust);
    let access = "node-1";
    out.push_str(&match arguments.topology {
        Topology::Timescale => TIMESCALE.replace("{access-node}", access),
        _ => String::new(),
    });
    for number in 1..=arguments.nodes {
        let node = if number == 1 { FIRST_NODE } else { NODE };
        out.push_str(&node.replace("{number}", &number.to_string()));
    }
    out
}

const TEMPLATE: &str = r#"# A cluster as pgward shall secure it. What is not said here is found by looking at the nodes.
# Paths are relative to this file's folder.

# What kind of links the nodes have to one another:
#   "native"     PostgreSQL's own: subscriptions, standbys, postgres_fdw
#   "pgd"        EDB Postgres Distributed: every node connects to every other
#   "timescale"  TimescaleDB multi-node: an access node connects to its data nodes
topology = "{topology}"

# How a node proves to its peers who it is:
#   "cert"   by a client certificate of the cluster's own authority, over TLS
#   "scram"  by a password (SCRAM-SHA-256, bound to the TLS channel), over TLS
#   "trust"  not at all; only for "timescale", and only with the key below [i-know]
mode = "{mode}"

# The role that the links log in as.
link-role = {link-role}

# Further roles that links log in as: those for which an access node connects to its data nodes, or
# that user mappings of postgres_fdw name.
# roles = ["app", "report"]

# The folder on this machine for what must stay secret: the authority's key, and what is needed to take
# a change back. It is made with mode 0700. Whoever reads it can become any node and any role.
secrets = "pgward-secrets"

# How certificates are made.
[certificates]
# How long the authority's own is valid, in days.
# ca-days = 3650
# How long those of nodes and roles are valid, in days; never longer than the authority's.
# leaf-days = 397
# What keys are made: "ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072" or "rsa-4096".
# key = "ecdsa-p256"
# Who signs the certificates of roles: "root", or "access-node" as TimescaleDB's page has it; the access
# node can make a certificate for any role then.
# user-chain = "root"

# What is weaker than what pgward does by itself. Each is reported by every verification.
[i-know]
# mode = "trust": whoever is at a peer's address is any role.
{trust-key}
# sslmode=verify-ca in links with passwords: whoever has any certificate of the same authority can pose
# as a node.
# verify-ca-lets-nodes-pose-as-others = false
# Passwords without TLS between the nodes: everybody on the way reads what is replicated.
# plain-text-can-be-read = false
"#;

const TIMESCALE: &str = r#"
[timescale]
# The node that connects to all others.
access-node = "{access-node}"
# Whether data nodes connect to one another, too (move_chunk, copy_chunk).
# copy-chunk = false
"#;

const FIRST_NODE: &str = r#"
# A node: a PostgreSQL server. One such table for each.
[[nodes]]
# What it is called here and in its certificate.
name = "node-{number}"
# The host name that peers know it by, if another than its name.
# host = "node-{number}.example.com"
# The address and port that peers connect to.
address = "192.0.2.{number}"
# port = 5432
# The networks that its peers' connections come from, as this node sees them: a subnet, or "192.0.2.7/32"
# for a single address.
peers-from = ["192.0.2.0/24"]
# How an administrator (a superuser) connects to it from here: a libpq connection string. Prefer the Unix
# socket: a rule of the network that trusts everybody stays if you come in by it yourself. In a group
# of PGD it leads to the database that is replicated. A password that it lacks is looked for in your
# password file (PGPASSFILE, ~/.pgpass).
sql = "host=192.0.2.{number} user=postgres dbname=postgres"
# How its files are reached: "local" for this machine; {ssh="postgres@192.0.2.{number}"} for the
# system's ssh, where sql then holds as seen from the node; {bundle="bundles"} for a node out of
# reach, for which a folder is made that somebody carries there.
# files = "local"
"#;

const NODE: &str = r#"
[[nodes]]
name = "node-{number}"
# host = "node-{number}.example.com"
address = "192.0.2.{number}"
# port = 5432
peers-from = ["192.0.2.0/24"]
sql = "host=192.0.2.{number} user=postgres dbname=postgres"
# files = "local"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::spec::ClusterSpec;

    fn each() -> impl Iterator<Item = Arguments> {
        let topologies = [Topology::Native, Topology::Pgd, Topology::Timescale];
        let modes = [Mode::Cert, Mode::Scram, Mode::Trust];
        topologies
            .into_iter()
            .flat_map(move |topology| modes.into_iter().map(move |mode| (topology, mode)))
            .filter(|(topology, mode)| *mode != Mode::Trust || *topology == Topology::Timescale)
            .map(|(topology, mode)| Arguments {
                path: "-".into(),
                topology,
                mode,
                link_role: None,
                nodes: 3,
            })
    }

    #[test]
    fn every_template_is_a_description() {
        for arguments in each() {
            let text = template(&arguments);
            let spec = ClusterSpec::from_toml(&text, Path::new("/here"));
            let spec = spec.unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(spec.nodes.len(), 3);
            assert_eq!(spec.secrets, Path::new("/here/pgward-secrets"));
        }
    }

    /// What is commented out is the default: a description with it says the same.
    #[test]
    fn what_is_commented_out_is_the_default() {
        for arguments in each() {
            let text = template(&arguments);
            let active: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(key) if key.contains(" = ") && !key.starts_with("mode") => key,
                    _ => line,
                })
                .filter(|line| !line.starts_with("host = ") && !line.starts_with("roles = "))
                .map(|line| format!("{line}\n"))
                .collect();
            let read = |text: &str| ClusterSpec::from_toml(text, Path::new("."));
            assert_eq!(read(&active), read(&text), "{active}");
        }
    }

    #[test]
    fn every_key_is_explained() {
        fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(object) => {
                    for (key, value) in object {
                        found.push(key.clone());
                        keys(value, found);
                    }
                }
                serde_json::Value::Array(values) => values.iter().for_each(|v| keys(v, found)),
                _ => {}
            }
        }
        let arguments = each().find(|arguments| arguments.topology == Topology::Timescale).unwrap();
        let text = template(&arguments);
        let spec = ClusterSpec::from_toml(&text, Path::new(".")).unwrap();
        let mut found = Vec::new();
        keys(&serde_json::to_value(&spec).unwrap(), &mut found);
        assert!(found.len() > 20, "{found:?}");
        for key in found {
            let explained = text.contains(&format!("{key} = "))
                || text.contains(&format!("[{key}]"))
                || text.contains(&format!("[[{key}]]"));
            assert!(explained, "{key} is not explained");
        }
    }
}
