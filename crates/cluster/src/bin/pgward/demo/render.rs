//! What people read on the terminal.

use std::fmt::Write as _;

use cluster::{demo::DemoCluster, plan::Action};
use pgtest::Installation;

use super::Report;
use crate::nodes::render;

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

/// The end of the demonstration.
pub(crate) fn conclusion(report: &Report) -> String {
    let mut out = render::verification(&report.verification);
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
    let steps: usize = report.plan.stages.iter().map(|stage| stage.steps.len()).sum();
    let reloads = report.plan.stages.iter().flat_map(|stage| &stage.steps);
    let reloads = reloads.filter(|step| matches!(step.action, Action::Reload(_))).count();
    format!(
        "{}, {steps} steps with {reloads} reloads and no restart,",
        render::score(&report.verification)
    )
}
