//! What is in the page, without a browser.

use std::collections::BTreeSet;

use cluster::{report, verify::Code};

use super::sample;

/// The values of an attribute, in the order of the page.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let start = format!(" {attribute}=\"");
    page.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_verdict_comes_first() {
    let page = report::html(&sample::mesh(3));
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
    let title = "<title>PROVED: 6 of 6 links, 9 of 9 attempts refused: pgward verify</title>";
    assert!(page.contains(title));
    let page = report::html(&sample::troubled());
    assert!(page.contains("<title>NOT PROVED: 15 of 20 links, 11 of 12 attempts refused"));
}

#[test]
fn findings_have_the_words_of_explain() {
    let verification = sample::troubled();
    let page = report::html(&verification);
    let text = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let codes: BTreeSet<Code> = verification.findings.iter().map(|finding| finding.code).collect();
    for code in codes {
        for words in [code.id(), code.title(), code.why(), code.fix()] {
            assert!(page.contains(&text(words)), "{code}: {words}");
        }
    }
    for finding in &verification.findings {
        assert!(page.contains(&text(&finding.what)), "{finding:?}");
    }
}

/// A mesh of many nodes is no picture any more; a primary with its standbys is.
#[test]
fn many_links_are_a_matrix() {
    for (verification, drawn) in [
        (sample::mesh(2), true),
        (sample::mesh(8), true),
        (sample::mesh(9), false),
        (sample::star(16), true),
        (sample::star(17), false),
        (sample::mesh(50), false),
    ] {
        let page = report::html(&verification);
        let nodes = verification.nodes.len();
        assert_eq!(page.contains("<svg class=\"cluster"), drawn, "{nodes} nodes");
        assert_eq!(page.matches("<table class=\"matrix").count(), 1, "{nodes} nodes");
        assert_eq!(page.matches("<details class=\"entry link\"").count(), verification.links.len());
    }
}

/// A row or a column of a matrix that would be empty is none.
#[test]
fn a_primary_with_its_standbys_is_one_column() {
    for (verification, columns, rows) in [(sample::star(50), 1, 49), (sample::mesh(9), 9, 9)] {
        let page = report::html(&verification);
        let (_, matrix) = page.split_once("<table class=\"matrix").unwrap_or_default();
        let matrix = matrix.split("</table>").next().unwrap_or_default();
        let heads = ["col", "row"].map(|of| matrix.matches(&format!("<th scope=\"{of}\"")).count());
        assert_eq!(heads, [columns, rows]);
    }
}

#[test]
fn every_anchor_leads_somewhere() {
    for verification in [sample::mesh(3), sample::mesh(12), sample::troubled(), sample::evil()] {
        let page = report::html(&verification);
        let ids = values(&page, "id");
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "each id once");
        for href in values(&page, "href") {
            let id = href.strip_prefix('#').unwrap_or_else(|| panic!("{href} leads away"));
            assert!(unique.contains(id), "{href}");
        }
    }
}

/// No page has a source elsewhere, a style or a handler in its tags, or a text that is taken for one.
#[test]
fn nothing_that_a_node_says_is_more_than_text() {
    let page = report::html(&sample::evil());
    let plain = report::html(&sample::mesh(2));
    for tag in ["<script", "<style", "</style", "</script", "<title", "<meta"] {
        assert_eq!(page.matches(tag).count(), plain.matches(tag).count(), "{tag}");
    }
    // The text is there, and only as text.
    assert!(page.matches("&lt;script&gt;alert('x')&lt;/script&gt;").count() > 60);
    for word in
        ["<img", "onerror=\"", " style=\"", " src=\"", " onclick=\"", "http://", "https://", "url("]
    {
        assert!(!page.contains(word), "{word}");
    }
}

/// The policy has the hashes of the very style and script.
#[test]
fn the_policy_allows_what_is_there() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest as _, Sha256};

    let page = report::html(&sample::mesh(2));
    let policy = page
        .split("Content-Security-Policy\" content=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (open, close, source) in
        [("<style>", "</style>", "style-src"), ("<script>", "</script>", "script-src")]
    {
        let inner =
            page.split(open).nth(1).and_then(|rest| rest.split(close).next()).unwrap_or_default();
        let hash = STANDARD.encode(Sha256::digest(inner));
        assert!(policy.contains(&format!("{source} 'sha256-{hash}'")), "{policy}");
    }
}

#[test]
fn a_page_is_known_again() {
    assert!(report::is_page(report::html(&sample::mesh(2)).as_bytes()));
    for other in ["", "topology = \"native\"\n", "<!DOCTYPE html><html><head></head></html>"] {
        assert!(!report::is_page(other.as_bytes()), "{other}");
    }
}

/// Fifty nodes that are all linked are 2450 links: a page that a browser still opens at once.
#[test]
fn a_large_cluster_is_no_large_page() {
    let page = report::html(&sample::mesh(50));
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
}

/// A name that turns the direction of writing would turn the verdict beside it, too.
#[test]
fn no_name_turns_the_page_round() {
    let mut verification = sample::mesh(2);
    let name = "שלום\u{202e}dne\u{2066}";
    for link in &mut verification.links {
        link.name = name.to_owned();
    }
    verification.nodes[0].server_version = Some(name.to_owned());
    let page = report::html(&verification);
    assert!(page.contains("שלום\\u{202e}dne\\u{2066}"));
    assert!(!page.contains(['\u{202e}', '\u{2066}']));
}
