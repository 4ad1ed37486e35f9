//! The links: a matrix of them, and each with its evidence.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    mark::{arrow, badge, mark, scrolled},
    picture::{self, word},
    view::{Pair, State, View, codes, count, link_state},
};
use crate::verify::{LinkProof, MethodSource};

/// More links than this are printed without the evidence that nobody has opened.
const PLENTY: usize = 100;

pub(super) fn section(view: &View<'_>) -> Markup {
    let links = &view.verification.links;
    let (nodes, pairs) = (view.drawn(), view.pairs());
    html! {
        @if links.is_empty() {
            p { "There is none." }
        } @else {
            // Where it is the picture, it is there already.
            @if picture::is_drawn(&nodes, &pairs) { (matrix(view, &nodes, &pairs)) }
            h3 { "Each link with its evidence" }
            div.evidence.plenty[links.len() > PLENTY] {
                @for (index, link) in links.iter().enumerate() { (evidence(view, index, link)) }
            }
        }
    }
}

/// Rows connect, columns are connected to.
pub(super) fn matrix(view: &View<'_>, nodes: &[usize], pairs: &[Pair<'_>]) -> Markup {
    // They are in this order.
    let find = |from: usize, to: usize| {
        let place = pairs.binary_search_by_key(&(from, to), |pair| (pair.from, pair.to));
        place.ok().map(|place| &pairs[place])
    };
    // A primary with its standbys is one column.
    let starts: BTreeSet<usize> = pairs.iter().map(|pair| pair.from).collect();
    let ends: BTreeSet<usize> = pairs.iter().map(|pair| pair.to).collect();
    let among = |some: &BTreeSet<usize>| -> Vec<usize> {
        nodes.iter().copied().filter(|node| some.contains(node)).collect()
    };
    let (rows, columns) = (among(&starts), among(&ends));
    let (many, long) = (columns.len() > 6, rows.len() > 12);
    let all = rows.len() == nodes.len() && columns.len() == nodes.len();
    let table = html! {
        table.matrix.many[many].long[long] {
            caption {
                "Which node (row) logs in to which (column)"
                @if !all { "; without those that have no such link" }
            }
            thead { tr {
                td.corner { span aria-hidden="true" { "from ↓ to →" } }
                @for to in &columns { th scope="col" { span { bdi { (view.names[*to]) } } } }
            } }
            tbody { @for from in &rows { tr {
                th scope="row" { bdi { (view.names[*from]) } }
                @for to in &columns {
                    td { @if let Some(pair) = find(*from, *to) { (cell(view, pair)) } }
                }
            } } }
        }
    };
    scrolled("Matrix of links", &table)
}

fn cell(view: &View<'_>, pair: &Pair<'_>) -> Markup {
    let (from, to) = (view.names[pair.from], view.names[pair.to]);
    let words = format!("{from} to {to}: {}", word(pair.state));
    html! {
        a.entry href={ "#link-" (pair.worst()) } title=(words)
            data-nodes=(view.numbers(&[from, to])) data-state=(pair.state.filter())
            data-codes=(codes(pair.links.iter().flat_map(|(_, link)| view.about(link)))) {
            (mark(pair.state))
            @if pair.links.len() > 1 { span.times aria-hidden="true" { (pair.links.len()) } }
            span.quiet {
                (word(pair.state))
                @if pair.links.len() > 1 { ", " (count(pair.links.len(), "link", "links")) }
            }
        }
    }
}

fn evidence(view: &View<'_>, index: usize, link: &LinkProof) -> Markup {
    let state = link_state(link);
    let about: Vec<_> = view.about(link).collect();
    let mut how: Vec<String> = Vec::new();
    how.extend(link.method.clone());
    how.extend(link.tls.clone());
    html! {
        details.entry.link data-nodes=(view.numbers(&[&link.from, &link.to]))
            data-state=(state.filter()) data-codes=(codes(about.iter().copied())) {
            // A place that takes the focus: where one goes, one stands.
            summary #{ "link-" (index) } {
                span.who { (arrow(&link.from, &link.to)) }
                (badge(state, word(state)))
                span.how { bdi { (how.join(", ")) } }
            }
            @if !link.missing.is_empty() {
                ul.missing { @for missing in &link.missing { li { (mark(State::Bad)) (missing) } } }
            }
            dl {
                (fact("Link", &link.name))
                (fact("Role", &link.user))
                (fact_of("Method", link.method.as_ref().map(|method| {
                    format!("{method}, {}", source(link.method_from))
                })))
                (fact_of("Rule that decided", place(link)))
                (fact_of("TLS", link.tls.as_ref().map(|tls| match &link.cipher {
                    Some(cipher) => format!("{tls}, {cipher}"),
                    None => tls.clone(),
                })))
                (fact_of("Client certificate", link.certificate.clone()))
                (fact("Works", if link.replicating { "yes" } else { "no" }))
                (fact_of("Session", link.session.clone()))
                (fact_of("Evidence", link.evidence.clone()))
            }
            @if !about.is_empty() {
                p.about { "Findings: "
                    @for (index, finding) in about.iter().enumerate() {
                        @if index > 0 { ", " }
                        a href={ "#" (finding.code) } { (finding.code) }
                    }
                }
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { bdi { (value) } } } }
}

fn fact_of(name: &str, value: Option<String>) -> Markup {
    fact(name, &value.unwrap_or_else(|| "none".to_owned()))
}

fn place(link: &LinkProof) -> Option<String> {
    let line = link.hba_line?;
    Some(match &link.hba_file {
        Some(file) => format!("line {line} of {file}"),
        None => format!("line {line}"),
    })
}

const fn source(source: MethodSource) -> &'static str {
    match source {
        MethodSource::Log => "as the server's log tells",
        MethodSource::Rules => "as the rules decide (the log does not tell)",
        MethodSource::Unknown => "not known from anything",
    }
}
