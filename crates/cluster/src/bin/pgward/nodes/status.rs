//! `pgward status`.

use std::{collections::BTreeSet, fmt::Write as _};

use cluster::{
    run,
    status::{self, LinkStatus, NodeStatus},
};
use serde_json::json;

use super::{
    description::{Description, DescriptionArgument},
    runs::state_words,
    wait_for,
};
use crate::frame::{
    answer::Answer,
    console::Console,
    diagnostic::Diagnostic,
    failure::{Exit, Failure},
    table::{Cell, Table},
    text::{BAD, GOOD, ODD, STRONG, plain, styled},
};

/// `pgward status`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward status
  pgward status cluster.toml --format json

A quick look: which nodes answer, which sessions their links have now, which runs are on disk. It proves nothing: that is \
what pgward verify does.

Exit code 0: every node answers and every link has a session; 1: not every link has one, or a run is unfinished; 2: a node cannot \
be asked.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    description: DescriptionArgument,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let Description { spec, nodes, .. } = arguments.description.read(console)?;
    let progress = console.begin("look at the nodes");
    let looked = wait_for(async { Ok(status::status(&spec, &nodes).await?) });
    progress.end(if looked.is_ok() { "done" } else { "failed" });
    let status = looked?;
    let runs = run::status(&spec)?;
    let mut findings = Vec::new();
    if let Some(unfinished) = runs.unfinished().filter(|_| runs.busy.is_none()) {
        findings.push(
            Diagnostic::warning(format!("run {} is unfinished", unfinished.id))
                .fix("pgward resume goes on with it, pgward rollback takes it back"),
        );
    }
    let down = status.nodes.iter().filter_map(|node| node.error.as_ref());
    findings.extend(down.clone().map(|error| Diagnostic::error(error.clone())));
    let silent: BTreeSet<&str> = status
        .nodes
        .iter()
        .filter(|node| node.error.is_some())
        .map(|node| node.name.as_str())
        .collect();
    let lacks_session =
        |link: &LinkStatus| link.lacks_session() && !silent.contains(link.to.as_str());
    for link in status.links.iter().filter(|link| lacks_session(link)) {
        let words = if link.enabled { "the link has no session" } else { "the link is disabled" };
        findings.push(
            Diagnostic::warning(format!("{} -> {} ({}): {words}", link.from, link.to, link.name))
                .fix("the log of the node that connects says why"),
        );
    }
    let mut text = format!("{}\n{}", styled(STRONG, "NODES"), node_table(&status.nodes));
    let _ = writeln!(text, "\n{}", styled(STRONG, "LINKS"));
    let links = link_table(&status.links, &silent);
    if links.is_empty() {
        text.push_str("  no node that answers has a link to another\n");
    } else {
        let _ = write!(text, "{links}");
    }
    let _ = writeln!(text, "\n{}", styled(STRONG, "RUNS"));
    if let Some(busy) = &runs.busy {
        let _ = writeln!(text, "  at work now: {}", plain(busy));
    }
    if runs.runs.is_empty() {
        text.push_str("  there is none\n");
    }
    for run in &runs.runs {
        let (done, steps) = run
            .stages
            .iter()
            .fold((0, 0), |(done, steps), stage| (done + stage.done, steps + stage.steps));
        let state = state_words(run.state);
        let _ = writeln!(text, "  {}  {done} of {steps} steps are done; {state}", run.id);
    }
    let exit = match (status.nodes.iter().any(|node| node.error.is_some()), findings.is_empty()) {
        (true, _) => Exit::Failed,
        (false, false) => Exit::Findings,
        (false, true) => Exit::Fine,
    };
    let result = json!({
        "nodes": status.nodes,
        "links": status.links,
        "busy": runs.busy,
        "runs": runs.runs,
    });
    Ok(Answer::new(text, result).with_findings(findings).exit(exit))
}

fn node_table(nodes: &[NodeStatus]) -> Table {
    let mut table =
        Table::new(&["node", "", "PostgreSQL", "TLS", "running since", "configuration read"]);
    for node in nodes {
        let or_none = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
        let state = if node.error.is_none() {
            Cell::styled("answers", GOOD)
        } else {
            Cell::styled("NO ANSWER", BAD)
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

/// The links; a session at a node that does not answer is not seen.
fn link_table(links: &[LinkStatus], silent: &BTreeSet<&str>) -> Table {
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
            None if silent.contains(link.to.as_str()) => Cell::styled("not known", ODD),
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
