//! Who must not get in, and how each was refused.

use maud::{Markup, html};

use super::{
    mark::{badge, scrolled},
    view::{State, View},
};
use crate::verify::{Code, Control, Evidence, Refusal, Severity};

pub(super) fn section(view: &View<'_>) -> Markup {
    let (refusals, controls) = (&view.verification.refusals, &view.verification.controls);
    html! {
        @if refusals.is_empty() {
            p { "Nothing was tried." }
        } @else {
            p.lead { "Each was tried as a role of the links, and must be refused." }
            (scrolled("Table of attempts", &tried(view, refusals)))
        }
        @if !controls.is_empty() {
            h3 { "What the links log in with, from here" }
            p.lead { "A refusal says something only where the right login succeeds." }
            (scrolled("The links' own login", &own(view, controls)))
        }
    }
}

fn target(database: Option<&str>) -> &str {
    database.unwrap_or("(replication)")
}

fn tried(view: &View<'_>, refusals: &[Refusal]) -> Markup {
    html! {
        table {
            caption.quiet { "Attempts that must fail" }
            thead { tr {
                @for heading in ["Node", "Tried", "Role", "Database", "The server's answer", "Known from", "Result"] {
                    th scope="col" { (heading) }
                }
            } }
            tbody { @for refusal in refusals { (attempt(view, refusal)) } }
        }
    }
}

fn attempt(view: &View<'_>, refusal: &Refusal) -> Markup {
    let state = State::good_if(refusal.proved());
    let code = if refusal.proved() { "" } else { Code::NotRefused.id() };
    html! {
        tr.entry data-nodes=(view.numbers(&[&refusal.node])) data-state=(state.filter()) data-codes=(code) {
            th scope="row" { bdi { (refusal.node) } }
            td { (refusal.trial.describe()) }
            td { bdi { (refusal.role) } }
            td { bdi { (target(refusal.database.as_deref())) } }
            td.long { bdi { (refusal.answer) } }
            td { @match refusal.evidence {
                Evidence::Tried => "the attempt",
                Evidence::Rules => "the rules",
            } }
            td { (badge(state, if refusal.proved() { "refused" } else { "not refused" })) }
        }
    }
}

fn own(view: &View<'_>, controls: &[Control]) -> Markup {
    html! {
        table {
            caption.quiet { "The links' own login, from this machine" }
            thead { tr {
                @for heading in ["Node", "Role", "Database", "From", "The server's answer", "Result"] {
                    th scope="col" { (heading) }
                }
            } }
            tbody { @for control in controls { (login(view, control)) } }
        }
    }
}

fn login(view: &View<'_>, control: &Control) -> Markup {
    let finding = control.finding();
    let state = match finding.as_ref().map(|finding| finding.severity) {
        None => State::Good,
        Some(Severity::Warning) => State::Odd,
        Some(Severity::Error) => State::Bad,
    };
    let word = match control.let_in {
        Some(true) => "let in",
        Some(false) => "refused",
        None => "not tried",
    };
    let code = finding.as_ref().map_or("", |finding| finding.code.id());
    html! {
        tr.entry data-nodes=(view.numbers(&[&control.node])) data-state=(state.filter()) data-codes=(code) {
            th scope="row" { bdi { (control.node) } }
            td { bdi { (control.role) } }
            td { bdi { (target(control.database.as_deref())) } }
            td { (control.from) }
            td.long { bdi { (control.answer) } }
            td { (badge(state, word)) }
        }
    }
}
