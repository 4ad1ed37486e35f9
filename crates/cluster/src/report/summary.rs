//! The head of the page: what was proved, when, of what; and the filter.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    mark::mark,
    view::{State, View, count},
};
use crate::{
    spec::{Mode, TopologyKind},
    verify::{Code, LinkProof, Refusal, Severity},
};

/// `PROVED: 6 of 6 links, 12 of 12 attempts refused`
pub(super) fn verdict(view: &View<'_>) -> String {
    let verification = view.verification;
    let good = verification.links.iter().filter(|link| LinkProof::proved(link)).count();
    let refused = verification.refusals.iter().filter(|one| Refusal::proved(one)).count();
    format!(
        "{}: {good} of {}, {refused} of {} refused",
        if verification.proved() { "PROVED" } else { "NOT PROVED" },
        count(verification.links.len(), "link", "links"),
        count(verification.refusals.len(), "attempt", "attempts"),
    )
}

pub(super) fn header(view: &View<'_>) -> Markup {
    let verification = view.verification;
    let state = State::good_if(verification.proved());
    let (word, score) = verdict(view)
        .split_once(": ")
        .map(|(word, score)| (word.to_owned(), score.to_owned()))
        .unwrap_or_default();
    let of = |severity| {
        let findings = verification.findings.iter();
        findings.filter(|finding| finding.severity == severity).count()
    };
    let at = verification.at.to_offset(time::UtcOffset::UTC);
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    html! {
        p.product { "pgward" }
        h1 { "Verification of the cluster" }
        p.verdict.(state.class()) {
            (mark(state)) strong { (word) } " " span { (score) }
        }
        @if verification.links.is_empty() {
            p { "No node has a link to another: that proves nothing." }
        }
        dl.facts {
            div { dt { "Verified" } dd {
                time datetime={ (date) "T" (format!("{hour:02}:{minute:02}")) "Z" } {
                    (date) " " (format!("{hour:02}:{minute:02}")) " UTC"
                }
            } }
            div { dt { "Nodes" } dd { (verification.nodes.len()) } }
            div { dt { "Links" } dd { (topology(verification.topology)) } }
            div { dt { "They log in by" } dd { (mode(verification.mode)) } }
            div { dt { "Findings" } dd {
                (count(of(Severity::Error), "error", "errors")) ", "
                (count(of(Severity::Warning), "warning", "warnings"))
            } }
        }
    }
}

const fn topology(kind: TopologyKind) -> &'static str {
    match kind {
        TopologyKind::Native => "native replication and foreign servers",
        TopologyKind::Pgd => "EDB Postgres Distributed",
        TopologyKind::Timescale => "TimescaleDB multi-node",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Cert => "client certificates",
        Mode::Scram => "SCRAM-SHA-256 passwords",
        Mode::Trust => "nothing (trust)",
    }
}

/// The filter. It is shown by the script that makes it work.
pub(super) fn filter(view: &View<'_>) -> Markup {
    let codes: BTreeSet<Code> =
        view.verification.findings.iter().map(|finding| finding.code).collect();
    html! {
        div.filter #filter role="search" aria-label="Filter" hidden {
            div.field {
                label for="by-node" { "Node" }
                select #by-node {
                    option value="" { "all" }
                    @for (index, name) in view.names.iter().enumerate() {
                        option value=(index) { (name) }
                    }
                }
            }
            div.field {
                label for="by-state" { "State" }
                select #by-state {
                    option value="" { "all" }
                    option value="good" { "as it should be" }
                    option value="odd" { "to be looked at" }
                    option value="bad" { "not as it should be" }
                }
            }
            div.field {
                label for="by-code" { "Code" }
                select #by-code disabled[codes.is_empty()] {
                    option value="" { "all" }
                    @for code in &codes {
                        option value=(code.id()) { (code.id()) " " (code.title()) }
                    }
                }
            }
            div.field.buttons {
                button #reset type="button" { "Show all" }
                button #open type="button" { "Open every detail" }
                button #close type="button" { "Close" span.quiet { " every detail" } }
            }
            p #shown role="status" {}
        }
    }
}
