//! A verification as one page of HTML: for people to look at, to print, to hand on.
//!
//! The page is one file and needs nothing from elsewhere; its content security policy forbids it to
//! load anything, and allows no script and no style but its own, by their hashes. Every text of a node
//! is escaped. Without scripts everything is there to be read; with them the page can be filtered.
//! What a verification does not hold is not in the page: no key and no password.

mod access;
mod certificates;
mod findings;
mod links;
mod mark;
mod nodes;
mod picture;
mod rules;
mod summary;
mod view;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use self::view::View;
use crate::verify::Verification;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What every page says of who made it.
const GENERATOR: &str = concat!("pgward ", env!("CARGO_PKG_VERSION"));

/// The page.
///
/// ```no_run
/// # async fn f(spec: &cluster::spec::ClusterSpec, nodes: &[cluster::inspect::Node]) -> Result<(), Box<dyn std::error::Error>> {
/// let now = time::OffsetDateTime::now_utc();
/// let verification = cluster::verify::verify(spec, nodes, now).await?;
/// std::fs::write("report.html", cluster::report::html(&verification))?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn html(verification: &Verification) -> String {
    let view = View::of(verification);
    still(page(&view).into_string())
}

/// Shows the characters that turn the direction of writing (Unicode's annex 9, 2.1 to 2.5), which then do
/// nothing: one that is not ended would turn what stands beside a name round, out of its element, too.
fn still(page: String) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !page.contains(turns) {
        return page;
    }
    let shown = |character: char| match turns(character) {
        true => character.escape_unicode().to_string(),
        false => character.to_string(),
    };
    page.chars().map(shown).collect()
}

/// Whether these bytes are such a page, of this version or another: one that may be replaced by a newer
/// one.
#[must_use]
pub fn is_page(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]);
    start.starts_with(DOCTYPE.0) && start.contains("<meta name=\"generator\" content=\"pgward ")
}

fn page(view: &View<'_>) -> Markup {
    let sections: [(&str, &str, Markup); 7] = [
        ("cluster", "The cluster", picture::section(view)),
        ("findings", "Findings", findings::section(view)),
        ("links", "Links", links::section(view)),
        ("nodes", "Nodes", nodes::section(view)),
        ("access", "Who must not get in", access::section(view)),
        ("rules", "Who pg_hba.conf lets in", rules::section(view)),
        ("certificates", "Certificates", certificates::section(view)),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="generator" content=(GENERATOR);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (summary::verdict(view)) ": pgward verify" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the results" }
                (mark::symbols())
                header { (summary::header(view)) }
                nav aria-label="Sections" {
                    ul {
                        @for (id, title, _) in &sections {
                            li { a href={ "#" (id) } { (title) } }
                        }
                    }
                }
                main #main tabindex="-1" {
                    (summary::filter(view))
                    @for (id, title, section) in &sections {
                        section #(id) aria-labelledby={ (id) "-title" } {
                            h2 #{ (id) "-title" } { (title) }
                            (section)
                            p.none hidden { "Nothing here fits the filter." }
                        }
                    }
                }
                footer {
                    p {
                        "Made by " (GENERATOR) " from " code { "pgward verify" } ". What a code means: "
                        code { "pgward explain CODE" } "."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// What the browser may do with the page: nothing, but for its own style and script.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
