//! The findings, by their codes: what each means, why it matters, what to do, and where it was found.

use maud::{Markup, html};

use super::{
    mark::{arrow, badge},
    view::{View, finding_state},
};
use crate::verify::{Code, Finding, Severity};

pub(super) fn section(view: &View<'_>) -> Markup {
    let findings = &view.verification.findings;
    // In the order of the findings, the errors first.
    let mut codes: Vec<Code> = Vec::new();
    for finding in findings {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    html! {
        @if findings.is_empty() {
            p { "There is none: nothing was found that is not as the description wants it." }
        }
        @for code in codes {
            article.code #(code) aria-labelledby={ (code) "-title" } {
                h3 #{ (code) "-title" } { span.id { (code) } " " (code.title()) }
                ul.places {
                    @for finding in findings.iter().filter(|finding| finding.code == code) {
                        (place(view, finding))
                    }
                }
                dl {
                    div { dt { "Why it matters" } dd { (code.why()) } }
                    div { dt { "What to do" } dd { (code.fix()) } }
                }
            }
        }
    }
}

fn place(view: &View<'_>, finding: &Finding) -> Markup {
    let mut nodes = vec![finding.node.as_str()];
    if let Some((from, to)) = &finding.link {
        nodes.extend([from.as_str(), to]);
    }
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    html! {
        li.entry data-nodes=(view.numbers(&nodes)) data-state=(finding_state(finding).filter())
            data-codes=(finding.code) {
            (badge(finding_state(finding), word)) " "
            span.who {
                @match &finding.link {
                    Some((from, to)) => (arrow(from, to)),
                    None => bdi { (finding.node) },
                }
            }
            p.what { (finding.what) }
            @if let Some(detail) = &finding.detail {
                details { summary { "Details" } pre tabindex="0" { (detail) } }
            }
        }
    }
}
