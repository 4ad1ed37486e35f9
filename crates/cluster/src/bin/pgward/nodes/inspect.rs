//! `pgward inspect`.

use std::fmt::Write as _;

use cluster::{
    inspect::NodeState,
    topology::{self, Elsewhere, Found, Link},
    verify::Code,
};
use serde_json::{Value, json};

use super::{description::DescriptionArgument, plan::inspect_all};
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::Diagnostic,
    failure::Failure,
    table::{Cell, Table},
    text::{BAD, GOOD, ODD, STRONG, styled},
};

/// `pgward inspect`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward inspect
  pgward inspect cluster.toml --format json

Inspecting only reads. Printed is what pgward makes its plans from: each server's settings, files, \
roles and links.

Exit code 0: every node could be inspected; 1: a server refuses its own pg_hba.conf; 2: a node could \
not be inspected.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    let states = inspect_all(&description, console)?;
    let spec = &description.spec;
    let Found { links, elsewhere } = topology::of(spec.topology).find(spec, &states)?;

    let mut findings = Vec::new();
    for state in &states {
        for error in &state.hba_errors {
            let message = format!(
                "node {}: the server would not load line {} of its pg_hba.conf: {}",
                state.name, error.line, error.message
            );
            findings.push(
                Diagnostic::error(message)
                    .why("a reload is refused, and the server does not start with the file")
                    .fix("mend the line, then see pgward hba check"),
            );
        }
    }
    findings.extend(elsewhere.iter().map(leads_out));
    let mut text = format!("{}\n", styled(STRONG, "NODES"));
    let _ = write!(text, "{}", node_table(&states));
    let _ = writeln!(text, "\n{}", styled(STRONG, "LINKS"));
    let table = link_table(&links);
    if table.is_empty() {
        text.push_str("  no node has a link to another\n");
    } else {
        let _ = write!(text, "{table}");
    }
    let nodes: Vec<Value> = states.iter().map(node_json).collect();
    let links: Vec<Value> = links.iter().map(link_json).collect();
    let elsewhere: Vec<Value> = elsewhere.iter().map(elsewhere_json).collect();
    let result = json!({ "nodes": nodes, "links": links, "elsewhere": elsewhere });
    Ok(Answer::new(text, result).with_findings(findings))
}

/// What leads out of the cluster: it keeps nothing from being inspected, even where a plan would be
/// refused for it.
fn leads_out(elsewhere: &Elsewhere) -> Diagnostic {
    let Elsewhere { from, message, is_node, .. } = elsewhere;
    let code = if *is_node { Code::NotAsDescribed } else { Code::LinkElsewhere };
    Diagnostic::warning(format!("node {from}: {message}")).code(code.id())
}

fn node_table(states: &[NodeState]) -> Table {
    let mut table = Table::new(&[
        "node",
        "PostgreSQL",
        "TLS",
        "data directory",
        "pg_hba.conf",
        "administrator",
    ]);
    for state in states {
        let ssl = state.setting("ssl");
        let admin = match state.admin.address {
            None => format!("{} (Unix socket)", state.admin.user),
            Some(address) if state.admin.tls => {
                format!("{} (from {address}, TLS)", state.admin.user)
            }
            Some(address) => format!("{} (from {address})", state.admin.user),
        };
        table.row([
            state.name.clone().into(),
            state.server_version.clone().into(),
            if ssl == "on" { Cell::styled("on", GOOD) } else { Cell::styled(ssl, ODD) },
            state.data_directory().display().to_string().into(),
            state.hba_file().display().to_string().into(),
            admin.into(),
        ]);
    }
    table
}

fn link_table(links: &[Link]) -> Table {
    let mut table = Table::new(&["from", "to", "name", "role", "sslmode", "connection string", ""]);
    for link in links {
        let sslmode = link.conninfo.get("sslmode").unwrap_or("prefer");
        let style = if sslmode == "verify-full" { GOOD } else { ODD };
        table.row([
            link.from.clone().into(),
            link.to.clone().into(),
            link.name.clone().into(),
            link.user().unwrap_or("-").into(),
            Cell::styled(sslmode, style),
            link.conninfo.to_masked_text().into(),
            if link.enabled { "".into() } else { Cell::styled("disabled", BAD) },
        ]);
    }
    table
}

fn node_json(state: &NodeState) -> Value {
    let settings: serde_json::Map<String, Value> = state
        .settings
        .iter()
        .map(|(name, setting)| {
            (name.clone(), json!({ "value": setting.value, "source": setting.source }))
        })
        .collect();
    let errors = state.hba_errors.iter();
    let errors: Vec<Value> =
        errors.map(|error| json!({ "line": error.line, "message": error.message })).collect();
    let roles: Vec<Value> = state
        .roles
        .iter()
        .map(|role| {
            json!({
                "name": role.name,
                "login": role.can_login,
                "replication": role.replication,
                "superuser": role.superuser,
                "member-of": role.member_of,
            })
        })
        .collect();
    let files = state.files.iter();
    let files: Vec<Value> = files
        .map(|(path, file)| json!({ "path": path.display().to_string(), "there": file.is_some() }))
        .collect();
    json!({
        "name": state.name,
        "pg": state.version,
        "server-version": state.server_version,
        "data-directory": state.data_directory().display().to_string(),
        "hba-file": state.hba_file().display().to_string(),
        "config-file": state.config_file().display().to_string(),
        "ssl": state.setting("ssl") == "on",
        "administrator": {
            "user": state.admin.user,
            "database": state.admin.database,
            "address": state.admin.address,
            "tls": state.admin.tls,
        },
        "settings": settings,
        "hba-errors": errors,
        "roles": roles,
        "files": files,
    })
}

fn elsewhere_json(elsewhere: &Elsewhere) -> Value {
    json!({
        "from": elsewhere.from,
        "name": elsewhere.name,
        "conninfo": elsewhere.conninfo.to_masked_text(),
        "is-node": elsewhere.is_node,
        "message": elsewhere.message,
    })
}

fn link_json(link: &Link) -> Value {
    json!({
        "from": link.from,
        "to": link.to,
        "name": link.name,
        "role": link.user(),
        "database": link.database(),
        "enabled": link.enabled,
        "sslmode": link.conninfo.get("sslmode"),
        "conninfo": link.conninfo.to_masked_text(),
    })
}
