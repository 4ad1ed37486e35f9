//! What people read on the terminal.

use std::fmt::Write as _;

use cluster::{
    demo::DemoCluster,
    plan::{Action, FileChange, Plan},
    verify::{LinkProof, MethodSource, Verification},
};
use pgtest::Installation;

use super::demo::Report;

/// The cluster before.
pub(crate) fn opening(installation: &Installation, cluster: &DemoCluster) -> String {
    let mut out =
        format!("\nPostgreSQL {}: {}\n", installation.full_version(), cluster.topology_words());
    for node in &cluster.spec.nodes {
        let _ =
            writeln!(out, "  {} at {}:{}, open to everybody", node.name, node.address, node.port);
    }
    out.push('\n');
    out
}

/// A plan: files as diffs, then the work in its order.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = String::from("PLAN\n\n");
    for change in &plan.files {
        file_change(&mut out, change);
    }
    for link in &plan.links {
        let _ = writeln!(out, "link {} ({} -> {})", link.name, link.from, link.to);
        let _ = writeln!(out, "-{}\n+{}\n", link.before, link.after);
    }
    for (number, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(out, "{}. {}", number + 1, stage.title);
        for step in &stage.steps {
            let _ = writeln!(out, "   {}: {}", step.node, step.action);
        }
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {}: {}", warning.node, warning.message);
    }
    if plan.is_empty() {
        out.push_str("nothing to do\n");
    }
    out.push('\n');
    out
}

fn file_change(out: &mut String, change: &FileChange) {
    let new = if change.new { "new file" } else { "file" };
    let place = format!("{new} {} on {}", change.path.display(), change.node);
    match &change.diff {
        None => {
            let _ = writeln!(out, "{place}: a secret, not shown\n");
        }
        // A certificate says nothing to a reader; its name does.
        Some(_) if change.new => {
            let _ = writeln!(out, "{place}\n");
        }
        Some(diff) => {
            let _ = writeln!(out, "{place}\n{diff}");
        }
    }
}

/// What was proved.
fn verification(verification: &Verification) -> String {
    let mut out = String::from("LINKS\n");
    let mut rows = vec![
        [
            "from",
            "to",
            "role",
            "method",
            "hba line",
            "TLS",
            "cipher",
            "certificate",
            "replicates",
            "",
        ]
        .map(str::to_owned),
    ];
    rows.extend(verification.links.iter().map(link_row));
    table(&mut out, &rows);
    for link in &verification.links {
        for missing in &link.missing {
            let _ = writeln!(out, "  {} -> {}: {missing}", link.from, link.to);
        }
    }
    if verification.links.iter().any(|link| link.method_from == MethodSource::Rules) {
        out.push_str(
            "  * by the rules: this server's log does not tell the method (12 and 13 never do)\n",
        );
    }

    out.push_str("\nSERVERS, verified by the cluster's CA and by name\n");
    let mut rows = vec![["node", "certificate", "verified as", "days left", ""].map(str::to_owned)];
    for server in &verification.servers {
        rows.push([
            server.node.clone(),
            server.subject.clone().unwrap_or_default(),
            server.verified_as.join(", "),
            server.days_left.map(|days| days.to_string()).unwrap_or_default(),
            verdict(server.proved()),
        ]);
    }
    table(&mut out, &rows);

    out.push_str("\nWHO MUST NOT GET IN\n");
    let mut rows = vec![["node", "tried", "the server's answer", ""].map(str::to_owned)];
    for refusal in &verification.refusals {
        rows.push([
            refusal.node.clone(),
            refusal.trial.describe().to_owned(),
            refusal.answer.clone(),
            if refusal.proved() { "refused" } else { "NOT REFUSED" }.to_owned(),
        ]);
    }
    table(&mut out, &rows);
    out
}

fn link_row(link: &LinkProof) -> [String; 10] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let star = if link.method_from == MethodSource::Rules { "*" } else { "" };
    [
        link.from.clone(),
        link.to.clone(),
        link.user.clone(),
        format!("{}{star}", or_none(&link.method)),
        link.hba_line.map_or_else(|| "-".to_owned(), |line| line.to_string()),
        or_none(&link.tls),
        or_none(&link.cipher),
        or_none(&link.certificate),
        if link.replicating { "yes" } else { "NO" }.to_owned(),
        verdict(link.proved()),
    ]
}

fn verdict(proved: bool) -> String {
    if proved { "proved" } else { "NOT PROVED" }.to_owned()
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::from("  ");
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The end of the demonstration.
pub(crate) fn conclusion(report: &Report) -> String {
    let mut out = verification(&report.verification);
    out.push_str("\nA ROW WRITTEN ON EACH NODE\n");
    for row in &report.rows {
        let _ = writeln!(
            out,
            "  {}: seen on {} of {} ({} ms)",
            row.written_on,
            row.seen_on.join(", "),
            row.expected_on.join(", "),
            row.milliseconds
        );
    }
    out.push_str("\nTIMES\n");
    for phase in &report.phases {
        let _ = writeln!(out, "  {:<28} {:>6.2} s", phase.name, phase.seconds);
    }
    let _ = writeln!(
        out,
        "\n{}: {} in {:.2} s from the open cluster (inspect to the last row seen)",
        if report.proved { "PROVED" } else { "NOT PROVED" },
        summary(report),
        report.secured_in_seconds
    );
    for server in &report.kept {
        let _ = writeln!(
            out,
            "\n{}\n  psql '{}'\n  stop: {}",
            server.node,
            server.conninfo.replace('\'', r"'\''"),
            server.stop
        );
    }
    out
}

fn summary(report: &Report) -> String {
    let verification = &report.verification;
    let good = verification.links.iter().filter(|link| link.proved()).count();
    let refused = verification.refusals.iter().filter(|refusal| refusal.proved()).count();
    let steps: usize = report.plan.stages.iter().map(|stage| stage.steps.len()).sum();
    let reloads = report.plan.stages.iter().flat_map(|stage| &stage.steps);
    let reloads = reloads.filter(|step| matches!(step.action, Action::Reload(_))).count();
    format!(
        "{good} of {} links, {refused} of {} attempts refused, {steps} steps with {reloads} reloads and \
         no restart,",
        verification.links.len(),
        verification.refusals.len()
    )
}
