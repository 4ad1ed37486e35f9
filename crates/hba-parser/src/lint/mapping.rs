//! What one mapping says that should not have been written.

use alloc::{format, vec::Vec};

use super::{Finding, Findings, Lint, rule::is_anchored};
use crate::{PgVersion, ident::Mappings, text::Text};

impl Mappings {
    /// Looks for what loads and should not have been written.
    ///
    /// ```
    /// use hba_parser::{IdentDocument, Lint, PgVersion, Server};
    ///
    /// let file = IdentDocument::parse(*b"admins root all\n");
    /// let findings = |version| file.interpret(&Server::new(version)).lint();
    /// assert_eq!(findings(PgVersion::V16)[0].lint, Lint::MapToEveryRole);
    /// assert_eq!(findings(PgVersion::V15)[0].lint, Lint::MapKeywordBefore16);
    /// ```
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Findings { found: Vec::new() };
        for mapping in self.iter() {
            let at = mapping.location();
            if mapping.allows_every_role() {
                let message = format!(
                    "system user {} may be any role: all is a keyword from 16 on",
                    Text::from(mapping.system_user())
                );
                findings.add(Lint::MapToEveryRole, at, message);
            }
            let role = mapping.database_user();
            let keyword = mapping.has_keyword_role() || role.starts_with(b"/");
            if keyword && self.server().version < PgVersion::V16 {
                let shown = Text::from(role);
                let message = format!("{shown} is a name here, and no name any more from 16 on");
                findings.add(Lint::MapKeywordBefore16, at, message);
            }
            let system_user = mapping.system_user();
            let (Some(regex), Some(compiled)) =
                (system_user.strip_prefix(b"/"), mapping.system_user_regex())
            else {
                if mapping.database_user() == b"postgres" && system_user != b"postgres" {
                    let message = format!("{} may be postgres", Text::from(system_user));
                    findings.add(Lint::MapToPostgres, at, message);
                }
                continue;
            };
            if !is_anchored(regex) {
                let message = format!("{} matches anywhere in a name", Text::from(system_user));
                findings.add(Lint::UnanchoredMapRegex, at, message);
            }
            let refers = mapping.database_user().windows(2).any(|pair| pair == b"\\1");
            if refers && compiled.groups() == 0 {
                let message = "\\1 stands for nothing: the expression has no parentheses";
                findings.add(Lint::NothingCaptured, at, message);
            }
        }
        findings.found
    }
}
