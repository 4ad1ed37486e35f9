//! The nodes, and whether each server is who its peers take it for.

use maud::{Markup, html};

use super::{
    mark::{badge, mark, scrolled},
    picture::node_word,
    view::{State, View},
};

pub(super) fn section(view: &View<'_>) -> Markup {
    let table = html! {
        table {
            caption.quiet { "Nodes and their servers' certificates" }
            thead { tr {
                @for heading in ["Node", "Address", "PostgreSQL", "Its certificate", "Verified as", "State"] {
                    th scope="col" { (heading) }
                }
            } }
            tbody { @for index in view.drawn() { (row(view, index)) } }
        }
    };
    html! {
        p.lead { "Each server is verified as the links do: by the cluster's authority, by name and by address." }
        (scrolled("Table of nodes", &table))
    }
}

fn row(view: &View<'_>, index: usize) -> Markup {
    let name = view.names[index];
    let state = view.node_state(name);
    let node = view.verification.nodes.iter().find(|node| node.name == name);
    let server = view.verification.servers.iter().find(|server| server.node == name);
    let missing = server.map(|server| server.missing.as_slice()).unwrap_or_default();
    html! {
        tr.entry #{ "node-" (index) } data-nodes=(index) data-state=(state.filter()) data-codes="" {
            th scope="row" { bdi { (name) } }
            td { @if let Some(node) = node { (node.address) ":" (node.port) } }
            td { (node.and_then(|node| node.server_version.as_deref()).unwrap_or("does not answer")) }
            td { bdi { (server.and_then(|server| server.subject.as_deref()).unwrap_or("none shown")) } }
            td {
                @if let Some(server) = server {
                    @for name in &server.verified_as { div { bdi { (name) } } }
                }
                @for missing in missing { div.wrong { (mark(State::Bad)) (missing) } }
            }
            td { (badge(state, node_word(state))) }
        }
    }
}
