//! What stands between fences.

use std::{path::Path, process::Command};

use cluster::spec::ClusterSpec;

use crate::{Document, Outcome, documents};

/// The fenced blocks with this word behind the fence: the line that each begins at, and its text.
pub(crate) fn blocks(document: &Document, word: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, bool, String)> = None;
    for (number, line) in document.text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let wanted = info.split([',', ' ']).next() == Some(word);
                open = Some((number + 2, wanted, String::new()));
            }
            (Some(_), Some(_)) => {
                if let Some((at, true, text)) = open.take() {
                    found.push((at, text));
                }
            }
            (None, Some((_, _, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a fence is not closed", document.path.display());
    found
}

#[test]
fn every_description_is_read() -> Outcome {
    let mut read = 0;
    for document in documents()? {
        for (line, text) in blocks(&document, "toml") {
            // A manifest's part, in a crate's README.
            if !text.contains("topology") {
                continue;
            }
            ClusterSpec::from_toml(&text, Path::new("/here"))
                .map_err(|error| format!("{}:{line}: {error}", document.path.display()))?;
            read += 1;
        }
    }
    assert!(read >= 5, "the guides have descriptions");
    Ok(())
}

/// Every command that a document shows is one, with options that it has.
#[test]
fn every_command_exists() -> Outcome {
    let mut seen = 0;
    for document in documents()? {
        for (at, text) in blocks(&document, "console") {
            for (offset, line) in text.lines().enumerate() {
                let Some(command) = line.strip_prefix("$ pgward ") else { continue };
                // A comment, or where the shell takes over.
                let mut words: Vec<&str> = command
                    .split_whitespace()
                    .take_while(|word| !["#", ">", "<", "|", "2>"].contains(word))
                    .map(|word| word.trim_matches('\''))
                    .collect();
                words.push("--help");
                let said = Command::new(env!("CARGO_BIN_EXE_pgward")).args(&words).output()?;
                assert!(
                    said.status.success(),
                    "{}:{}: {line}\n{}",
                    document.path.display(),
                    at + offset,
                    String::from_utf8_lossy(&said.stderr)
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "the documents have commands");
    Ok(())
}
