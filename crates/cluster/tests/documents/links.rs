//! Links between documents.

use std::collections::BTreeMap;

use crate::{Outcome, documents, workspace};

/// The targets of a document's links, without code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other part stands between backticks.
        let plain: String = line
            .split('`')
            .enumerate()
            .map(|(index, part)| if index % 2 == 0 { part } else { "code" })
            .collect();
        let mut rest = plain.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
        }
    }
    found
}

/// The anchors that a document's headings have on GitHub and the like.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) else { continue };
        let kept = |c: &char| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ';
        let anchor: String = heading.trim_start_matches('#').trim().chars().filter(kept).collect();
        found.push(anchor.to_lowercase().replace(' ', "-"));
    }
    found
}

#[test]
fn every_link_leads_somewhere() -> Outcome {
    let documents = documents()?;
    let texts: BTreeMap<_, _> =
        documents.iter().map(|found| (workspace().join(&found.path), &found.text)).collect();
    let mut seen = 0;
    for document in &documents {
        let here = workspace().join(&document.path);
        for target in targets(&document.text) {
            // Others' pages are theirs; a name of the code is rustdoc's to check.
            if target.contains("://") || target.contains("::") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = match path {
                "" => here.clone(),
                path => here.parent().unwrap_or(&here).join(path),
            };
            let to = to.canonicalize().map_err(|error| {
                format!("{}: the link to {target}: {error}", document.path.display())
            })?;
            if !anchor.is_empty() {
                let text = texts.get(&to).ok_or("a link to a heading of no document")?;
                assert!(
                    anchors(text).iter().any(|known| known == anchor),
                    "{}: no heading is called {target}",
                    document.path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "the documents have links");
    Ok(())
}
