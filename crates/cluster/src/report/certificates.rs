//! The certificates on a line of time, to the day that each expires.

use maud::{Markup, html};

use super::{
    mark::{badge, scrolled},
    view::{State, View},
};
use crate::verify::{CertificatePurpose, CertificateTerm, Code, WARN_DAYS};

/// The line: so many units long. It is logarithmic, for what ends soon is what matters.
const LENGTH: f64 = 400.0;
const HEIGHT: f64 = 22.0;
/// Days that have a mark on the line.
const TICKS: [(f64, &str); 5] =
    [(7.0, "1 w"), (30.0, "30 d"), (90.0, "90 d"), (365.0, "1 y"), (3650.0, "10 y")];

pub(super) fn section(view: &View<'_>) -> Markup {
    let mut terms: Vec<&CertificateTerm> = view.verification.certificates.iter().collect();
    terms.sort_by_key(|term| term.not_after);
    let longest = terms.iter().map(|term| term.days_left).max().unwrap_or(0).max(365);
    let scale = Scale { longest: days(longest) };
    let table = html! {
        table.terms {
            caption.quiet { "Certificates, by the day that they expire" }
            thead { tr {
                @for heading in ["Node", "For", "Subject", "Valid until"] { th scope="col" { (heading) } }
                th scope="col" { span.quiet { "Time left" } (scale.head()) }
                th scope="col" { "State" }
            } }
            tbody { @for term in &terms { (row(view, term, &scale)) } }
        }
    };
    html! {
        @if terms.is_empty() {
            p { "None could be read, or no link needs any." }
        } @else {
            p.lead {
                "From the day of the verification to the day that each expires, on a scale on which far \
                 days lie closer together. Fewer than " (WARN_DAYS) " days are worth a word."
            }
            (scrolled("Table of certificates", &table))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "days of a few thousand years")]
fn days(days: i64) -> f64 {
    days as f64
}

struct Scale {
    longest: f64,
}

impl Scale {
    /// Where so many days from now are on the line.
    fn at(&self, days: f64) -> f64 {
        (days.max(0.0) + 1.0).ln() / (self.longest + 1.0).ln() * LENGTH
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, &'static str)> + '_ {
        let there = TICKS.iter().filter(|(days, _)| *days <= self.longest);
        there.map(|(days, name)| (self.at(*days), *name))
    }

    fn head(&self) -> Markup {
        html! {
            svg.term viewBox=(format!("0 0 {LENGTH} {HEIGHT}")) width=(LENGTH) height=(HEIGHT)
                aria-hidden="true" focusable="false" {
                text x="0" y="15" { "now" }
                @for (x, name) in self.ticks() {
                    text.tick.last[x > LENGTH - 12.0] x=(format!("{x:.1}")) y="15" { (name) }
                }
            }
        }
    }

    fn bar(&self, term: &CertificateTerm, state: State) -> Markup {
        // What has expired has a bar to be seen, too.
        let width = self.at(days(term.days_left)).max(3.0);
        html! {
            svg.term viewBox=(format!("0 0 {LENGTH} {HEIGHT}")) width=(LENGTH) height=(HEIGHT)
                aria-hidden="true" focusable="false" {
                @for (x, _) in self.ticks() {
                    path.tick d=(format!("M{x:.1} 0V{HEIGHT}")) {}
                }
                rect.bar.(state.class()) x="0" y="5" width=(format!("{width:.1}")) height="12" rx="2" {}
            }
        }
    }
}

fn row(view: &View<'_>, term: &CertificateTerm, scale: &Scale) -> Markup {
    let state = match term.days_left {
        left if left < 0 => State::Bad,
        left if left < i64::from(WARN_DAYS) => State::Odd,
        _ => State::Good,
    };
    let left = match u64::try_from(term.days_left) {
        Err(_) => "expired".to_owned(),
        Ok(1) => "1 day left".to_owned(),
        Ok(left) => format!("{left} days left"),
    };
    let purpose = match (term.purpose, &term.role) {
        (CertificatePurpose::Authority, _) => "authority".to_owned(),
        (CertificatePurpose::Server, _) => "server".to_owned(),
        (CertificatePurpose::Client, Some(role)) => format!("login as {role}"),
        (CertificatePurpose::Client, None) => "login".to_owned(),
    };
    let code = match state {
        State::Odd => Code::EndsSoon.id(),
        State::Good => "",
        _ => Code::CertificateRefused.id(),
    };
    html! {
        tr.entry data-nodes=(view.numbers(&[&term.node])) data-state=(state.filter()) data-codes=(code) {
            th scope="row" { bdi { (term.node) } }
            td { bdi { (purpose) } }
            td.long { bdi { (term.subject) } div.faint { "by " bdi { (term.issuer) } } div.faint { bdi { (term.file) } } }
            td { time { (term.not_after.date()) } }
            td { (scale.bar(term, state)) }
            td { (badge(state, &left)) }
        }
    }
}
