//! `pgward status`.

use std::fmt::Write as _;

use cluster::status::{self, LinkStatus, NodeStatus};

use super::{
    description::{Description, DescriptionArgument},
    wait_for,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::Diagnostic,
    failure::{Exit, Failure},
    table::{Cell, Table},
    text::{BAD, GOOD, ODD, STRONG, styled},
};

/// `pgward status`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A quick look: which nodes answer, and which sessions their links have now. It proves nothing: that is \
what pgward verify does.

Exit code 0: every node answers and every link has a session; 1: not every link has one; 2: a node does \
not answer.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let Description { spec, nodes } = arguments.description.read()?;
    let progress = console.begin("look at the nodes");
    let looked = wait_for(async { Ok(status::status(&spec, &nodes).await?) });
    progress.end(if looked.is_ok() { "done" } else { "failed" });
    let status = looked?;
    let mut findings = Vec::new();
    let down = status.nodes.iter().filter_map(|node| node.error.as_ref());
    findings.extend(down.clone().map(|error| Diagnostic::error(error.clone())));
    for link in status.links.iter().filter(|link| link.lacks_session()) {
        let words = if link.enabled { "the link has no session" } else { "the link is disabled" };
        findings.push(
            Diagnostic::warning(format!("{} -> {} ({}): {words}", link.from, link.to, link.name))
                .fix("the log of the node that connects says why"),
        );
    }
    let mut text = format!("{}\n{}", styled(STRONG, "NODES"), node_table(&status.nodes));
    let _ = writeln!(text, "\n{}", styled(STRONG, "LINKS"));
    let links = link_table(&status.links);
    if links.is_empty() {
        text.push_str("  no node that answers has a link to another\n");
    } else {
        let _ = write!(text, "{links}");
    }
    let exit = match (status.nodes.iter().any(|node| node.error.is_some()), findings.is_empty()) {
        (true, _) => Exit::Failed,
        (false, false) => Exit::Findings,
        (false, true) => Exit::Fine,
    };
    Ok(Answer::new(text, &status).with_findings(findings).exit(exit))
}

fn node_table(nodes: &[NodeStatus]) -> Table {
    let mut table =
        Table::new(&["node", "", "PostgreSQL", "TLS", "running since", "configuration read"]);
    for node in nodes {
        let or_none = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
        let state = if node.error.is_none() {
            Cell::styled("answers", GOOD)
        } else {
            Cell::styled("DOWN", BAD)
        };
        let tls = match node.tls {
            Some(true) => Cell::styled("on", GOOD),
            Some(false) => Cell::styled("off", ODD),
            None => "".into(),
        };
        table.row([
            node.name.clone().into(),
            state,
            or_none(&node.server_version),
            tls,
            or_none(&node.started),
            or_none(&node.configuration_loaded),
        ]);
    }
    table
}

fn link_table(links: &[LinkStatus]) -> Table {
    let mut table =
        Table::new(&["from", "to", "name", "sslmode", "session as", "TLS", "certificate", "state"]);
    for link in links {
        let style = if link.sslmode == "verify-full" { GOOD } else { ODD };
        let session = link.session.as_ref();
        let tls = match session.map(|session| session.tls.as_deref()) {
            Some(Some(tls)) => Cell::styled(tls, GOOD),
            Some(None) => Cell::styled("none", ODD),
            None => "-".into(),
        };
        let state = match session {
            Some(session) => Cell::from(session.state.clone()),
            None if link.lacks_session() => Cell::styled("NO SESSION", BAD),
            None => Cell::from("on demand"),
        };
        table.row([
            link.from.clone().into(),
            link.to.clone().into(),
            link.name.clone().into(),
            Cell::styled(link.sslmode.clone(), style),
            session.map_or("-", |session| session.user.as_str()).into(),
            tls,
            session
                .and_then(|session| session.certificate.clone())
                .unwrap_or_else(|| "-".into())
                .into(),
            state,
        ]);
    }
    table
}
