//! Which line of each node's `pg_hba.conf` decides about the links.

use maud::{Markup, html};

use super::{
    mark::{badge, mark, scrolled},
    view::{State, View},
};
use crate::verify::{Decision, RuleSeen};

pub(super) fn section(view: &View<'_>) -> Markup {
    let decisions = &view.verification.decisions;
    let mut nodes: Vec<&str> = Vec::new();
    for decision in decisions {
        if !nodes.contains(&decision.node.as_str()) {
            nodes.push(&decision.node);
        }
    }
    html! {
        @if decisions.is_empty() {
            p { "No rules could be looked at, or no link needs any." }
        } @else {
            p.lead { "The first rule that matches decides. For each role of the links, from each of their networks: the line that does." }
            @for node in nodes { (of_node(view, node)) }
        }
    }
}

/// Decisions that differ in nothing but the database.
struct Same<'v> {
    decision: &'v Decision,
    databases: Vec<&'v str>,
}

fn of_node(view: &View<'_>, node: &str) -> Markup {
    let mut rows: Vec<Same<'_>> = Vec::new();
    for decision in view.verification.decisions.iter().filter(|decision| decision.node == node) {
        let database = decision.database.as_deref().unwrap_or("(replication)");
        let is_same = |same: &&mut Same<'_>| {
            let of = |one: &Decision| Decision { database: None, ..one.clone() };
            of(same.decision) == of(decision)
        };
        match rows.iter_mut().find(is_same) {
            Some(same) => same.databases.push(database),
            None => rows.push(Same { decision, databases: vec![database] }),
        }
    }
    let state = State::good_if(rows.iter().all(|same| same.decision.proved()));
    let table = html! {
        table {
            caption.quiet { "Rules of " (node) }
            thead { tr {
                @for heading in ["Role", "From", "To", "Over TLS", "Without TLS", "Result"] {
                    th scope="col" { (heading) }
                }
            } }
            tbody { @for same in &rows { (row(same)) } }
        }
    };
    html! {
        details.entry data-nodes=(view.numbers(&[node])) data-state=(state.filter()) data-codes=""
            open[state != State::Good] {
            summary {
                span.who { bdi { (node) } }
                (badge(state, if state == State::Good { "as the description wants" } else { "not as the description wants" }))
            }
            (scrolled(&format!("Rules of {node}"), &table))
        }
    }
}

fn row(same: &Same<'_>) -> Markup {
    let Same { decision, databases } = same;
    let state = State::good_if(decision.proved());
    html! {
        tr {
            th scope="row" { bdi { (decision.role) } }
            td {
                @match &decision.network {
                    Some(network) => { (network) div.faint { "asked for " (decision.address) } },
                    None => (decision.address),
                }
            }
            td { bdi { (databases.join(", ")) } }
            td.long { (rule(decision.over_tls.as_ref())) }
            td.long { (rule(decision.plain_text.as_ref())) }
            td {
                (badge(state, if decision.proved() { "as wanted" } else { "not as wanted" }))
                @for missing in &decision.missing { div.wrong { (mark(State::Bad)) (missing) } }
            }
        }
    }
}

fn rule(rule: Option<&RuleSeen>) -> Markup {
    html! {
        @match rule {
            Some(rule) => {
                "line " (rule.line) ": " code { (rule.text) }
                div.faint { bdi { (rule.file) } }
            },
            None => "no rule: refused",
        }
    }
}
