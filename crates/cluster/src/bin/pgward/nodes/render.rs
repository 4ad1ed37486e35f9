//! Plans and proofs as people read them.

use std::{collections::BTreeSet, fmt::Write as _};

use cluster::{
    plan::{Action, Content, FileChange, Plan},
    verify::{Finding, LinkProof, MethodSource, Severity as Weight, Verification},
};

use pki::Certificate;

use crate::frame::{
    answer::tally,
    diagnostic::{Diagnostic, Severity},
    table::{Cell, Table},
    text::{BAD, FAINT, GOOD, ODD, STRONG, count, diff, plain, plain_lines, styled},
};

/// The word that an enum has on the command line.
pub(super) fn word(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A plan: files as diffs, then the work in its order.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    if plan.is_empty() {
        out.push_str("nothing to do: the cluster is as described\n");
    } else {
        let _ = writeln!(out, "{}\n", styled(STRONG, "PLAN"));
    }
    for change in &plan.files {
        file_change(&mut out, change, &certificates(plan, change));
    }
    for link in &plan.links {
        let name = plain(&link.name);
        let _ = writeln!(
            out,
            "{}",
            styled(STRONG, format_args!("link {name} ({} -> {})", link.from, link.to))
        );
        out.push_str(&diff(&format!("-{}\n+{}\n", plain(&link.before), plain(&link.after))));
        out.push('\n');
    }
    for (number, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(
            out,
            "{}",
            styled(STRONG, format_args!("{}. {}", number + 1, plain(&stage.title)))
        );
        for step in &stage.steps {
            let _ = writeln!(out, "   {}: {}", plain(&step.node), plain(&step.action.to_string()));
        }
    }
    for warning in &plan.warnings {
        let message = plain(&warning.message);
        let word = match warning.code {
            Some(code) => format!("warning[{code}]:"),
            None => "warning:".to_owned(),
        };
        let _ = writeln!(out, "{} {}: {message}", styled(ODD, word), plain(&warning.node));
    }
    out
}

fn file_change(out: &mut String, change: &FileChange, certificates: &[Certificate]) {
    let new = if change.new { "new file" } else { "file" };
    let place =
        format!("{new} {} on {}", plain(&change.path.to_string_lossy()), plain(&change.node));
    let Some(text) = &change.diff else {
        let _ = writeln!(out, "{}: a secret, not shown\n", styled(STRONG, place));
        return;
    };
    let _ = writeln!(out, "{}", styled(STRONG, place));
    // A certificate's letters say nothing to a reader; whose it is does.
    for certificate in certificates {
        let subject = certificate.subject().to_string();
        let ends = certificate.validity().not_after.date();
        let _ = writeln!(out, "  the certificate of {}, valid until {ends}", plain(&subject));
    }
    if certificates.is_empty() {
        out.push_str(&diff(text));
    }
    out.push('\n');
}

/// The certificates that a file will hold, if it will hold nothing else.
fn certificates(plan: &Plan, change: &FileChange) -> Vec<Certificate> {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let mut written = steps.filter(|step| step.node == change.node).filter_map(|step| match &step
        .action
    {
        Action::WriteFile { path, content: Content::Public(bytes), .. } if *path == change.path => {
            Some(bytes)
        }
        _ => None,
    });
    let read = |bytes: &Vec<u8>| Certificate::all_from_pem(bytes).unwrap_or_default();
    written.next_back().map(read).unwrap_or_default()
}

/// What was proved.
pub(crate) fn verification(verification: &Verification) -> String {
    let mut out = format!("{}\n", styled(STRONG, "LINKS"));
    let mut links = Table::new(&[
        "from",
        "to",
        "role",
        "method",
        "hba line",
        "TLS",
        "cipher",
        "certificate",
        "works",
        "",
    ]);
    verification.links.iter().for_each(|link| links.row(link_row(link)));
    let _ = write!(out, "{links}");
    if links.is_empty() {
        out.push_str("  there is none\n");
    }
    for link in &verification.links {
        for missing in &link.missing {
            let _ = writeln!(out, "  {} -> {}: {}", link.from, link.to, plain(missing));
        }
    }
    let by_rules = verification.links.iter().filter(|l| l.method_from == MethodSource::Rules);
    let silent: BTreeSet<&str> = by_rules.map(|link| link.to.as_str()).collect();
    if !silent.is_empty() {
        let nodes: Vec<&str> = silent.into_iter().collect();
        let _ = writeln!(
            out,
            "  * as the rules decide: the log of {} does not tell the method (from 14 on it does, with \
             log_connections and logging_collector on)",
            nodes.join(", "),
        );
    }

    let _ =
        writeln!(out, "\n{}, verified by the cluster's CA and by name", styled(STRONG, "SERVERS"));
    let mut servers = Table::new(&["node", "certificate", "verified as", "days left", ""]);
    for server in &verification.servers {
        servers.row([
            server.node.clone().into(),
            server.subject.clone().unwrap_or_default().into(),
            server.verified_as.join(", ").into(),
            server.days_left.map(|days| days.to_string()).unwrap_or_default().into(),
            verdict(server.proved()),
        ]);
    }
    let _ = write!(out, "{servers}");

    let _ = writeln!(out, "\n{}", styled(STRONG, "WHO MUST NOT GET IN"));
    let mut refusals = Table::new(&["node", "as", "to", "tried", "the server's answer", ""]);
    for refusal in &verification.refusals {
        let proved = refusal.proved();
        refusals.row([
            refusal.node.clone().into(),
            refusal.role.clone().into(),
            refusal.database.clone().unwrap_or_else(|| "(replication)".to_owned()).into(),
            refusal.trial.describe().into(),
            refusal.answer.clone().into(),
            if proved { Cell::styled("refused", GOOD) } else { Cell::styled("NOT REFUSED", BAD) },
        ]);
    }
    let _ = write!(out, "{refusals}");
    out
}

fn link_row(link: &LinkProof) -> [Cell; 10] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let star = if link.method_from == MethodSource::Rules { "*" } else { "" };
    [
        link.from.clone().into(),
        link.to.clone().into(),
        link.user.clone().into(),
        format!("{}{star}", or_none(&link.method)).into(),
        link.hba_line.map_or_else(|| "-".to_owned(), |line| line.to_string()).into(),
        or_none(&link.tls).into(),
        or_none(&link.cipher).into(),
        or_none(&link.certificate).into(),
        if link.replicating { "yes".into() } else { Cell::styled("NO", BAD) },
        verdict(link.proved()),
    ]
}

fn verdict(proved: bool) -> Cell {
    if proved { Cell::styled("proved", GOOD) } else { Cell::styled("NOT PROVED", BAD) }
}

/// `6 of 6 links, 12 of 12 attempts refused`
pub(crate) fn score(verification: &Verification) -> String {
    let good = verification.links.iter().filter(|link| link.proved()).count();
    let refused = verification.refusals.iter().filter(|refusal| refusal.proved()).count();
    format!(
        "{good} of {}, {refused} of {} refused",
        count(verification.links.len(), "link", "links"),
        count(verification.refusals.len(), "attempt", "attempts"),
    )
}

/// What verification found, as problems.
pub(crate) fn findings(findings: &[Finding]) -> Vec<Diagnostic> {
    findings.iter().map(finding).collect()
}

fn finding(finding: &Finding) -> Diagnostic {
    let severity = match finding.severity {
        Weight::Error => Severity::Error,
        Weight::Warning => Severity::Warning,
    };
    Diagnostic::new(severity, words(finding))
        .code(finding.code.id())
        .why(finding.code.why())
        .fix(finding.code.fix())
}

/// Where it is and what was found, without its code.
pub(super) fn words(finding: &Finding) -> String {
    let place = match &finding.link {
        Some((from, to)) => format!("{from} -> {to}"),
        None => format!("node {}", finding.node),
    };
    let mut message = format!("{place}: {}", plain_lines(&finding.what));
    if let Some(detail) = &finding.detail {
        message.push('\n');
        message.push_str(plain_lines(detail).trim_end());
    }
    message
}

/// What was proved, and the last line of it.
pub(super) fn proof(verified: &Verification) -> String {
    verification(verified) + &conclusion(verified)
}

/// The last line of a verification.
fn conclusion(verification: &Verification) -> String {
    let proved = verification.proved();
    let word = if proved { styled(GOOD, "PROVED") } else { styled(BAD, "NOT PROVED") };
    let found = tally(&findings(&verification.findings));
    let found = if found.is_empty() { found } else { format!("; {found}") };
    let mut out = format!("\n{word}: {}{found}\n", score(verification));
    if verification.links.is_empty() {
        let _ = writeln!(
            out,
            "{}",
            styled(FAINT, "no node has a link to another: that proves nothing")
        );
    }
    out
}
