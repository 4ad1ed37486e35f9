//! Something that verification found.

use serde::Serialize;

use super::code::Code;

/// Something that verification found, with what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// Whether it keeps the cluster from being proved.
    pub severity: Severity,
    /// On which node.
    pub node: String,
    /// Which link, if it is about one: from, to.
    pub link: Option<(String, String)>,
    /// What was found, with names, files and lines.
    pub what: String,
    /// More of it, in lines: a unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whether a finding keeps the cluster from being proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, and somebody should look at it.
    Warning,
}

impl Finding {
    /// Something that keeps the cluster from being proved.
    pub(crate) fn error(code: Code, node: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            code,
            severity: Severity::Error,
            node: node.to_owned(),
            link: None,
            what,
            detail: None,
        }
    }

    /// Something that somebody should look at.
    pub(crate) fn warning(code: Code, node: &str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, node, what) }
    }

    /// The same as something that somebody should look at.
    pub(crate) fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The same with more to be read.
    pub(crate) fn with_detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The same about a link.
    pub(crate) fn of_link(self, from: &str, to: &str) -> Self {
        Self { link: Some((from.to_owned(), to.to_owned())), ..self }
    }
}
