//! What an upgrade changes: lines that another major refuses, takes, or reads otherwise.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt;

use textfile::{Files, MemoryFiles};

use crate::{
    HbaDocument, IdentDocument, Server,
    diagnostics::{FileId, Location, Verdict},
    ident::{Mapping, Mappings},
    reading::Reading,
    rules::{DatabaseKind, Rule, Rules, UserKind},
    text::Text,
};

/// What another server makes of a file: see [`HbaDocument::upgrade`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Upgrade {
    /// Would the old server load the file?
    pub before: Verdict,
    /// Would the new one?
    pub after: Verdict,
    /// Lines that they do not read in the same way.
    pub changes: Vec<LineChange>,
}

/// A line that two servers do not read in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LineChange {
    /// The line.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub location: Location,
    /// What changes.
    pub kind: LineChangeKind,
    /// In words.
    pub message: String,
}

/// What changes about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum LineChangeKind {
    /// The new server refuses it, and with it the whole file.
    Refused,
    /// The old server refused it.
    Accepted,
    /// It means something else.
    Meaning,
    /// It is loaded with another warning, or without one.
    Warning,
    /// It is a line of its own for one of the servers only: they join lines otherwise, or include
    /// files.
    Lines,
}

impl fmt::Display for LineChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.location.line, self.message)
    }
}

impl HbaDocument {
    /// What changes if this file is read by `to` and not by `from`.
    ///
    /// ```
    /// use hba_parser::{HbaDocument, LineChangeKind, PgVersion, Server};
    ///
    /// let file = HbaDocument::parse(*b"\
    /// hostssl all all all cert clientcert=1
    /// local /app all peer
    /// ");
    /// let upgrade = file.upgrade(&Server::new(PgVersion::V13), &Server::new(PgVersion::V16));
    /// assert!(upgrade.before.is_loaded() && !upgrade.after.is_loaded());
    /// assert_eq!(upgrade.changes[0].kind, LineChangeKind::Refused);
    /// assert_eq!(upgrade.changes[0].message, "refused: invalid value for clientcert: \"1\"");
    /// assert_eq!(upgrade.changes[1].kind, LineChangeKind::Meaning);
    /// ```
    #[must_use]
    pub fn upgrade(&self, from: &Server, to: &Server) -> Upgrade {
        self.upgrade_at(b"pg_hba.conf", from, to, &MemoryFiles::default())
    }

    /// The same for the file at `path`, with the files that it includes.
    #[must_use]
    pub fn upgrade_at(
        &self,
        path: &[u8],
        from: &Server,
        to: &Server,
        files: &dyn Files,
    ) -> Upgrade {
        let before = self.interpret_at(path, from, files);
        let after = self.interpret_at(path, to, files);
        let changes = compare(&hba_lines(&before), &hba_lines(&after));
        Upgrade { before: before.verdict().clone(), after: after.verdict().clone(), changes }
    }
}

impl IdentDocument {
    /// What changes if this file is read by `to` and not by `from`.
    ///
    /// ```
    /// use hba_parser::{IdentDocument, PgVersion, Server};
    ///
    /// let file = IdentDocument::parse(*b"admins root all\n");
    /// let upgrade = file.upgrade(&Server::new(PgVersion::V15), &Server::new(PgVersion::V16));
    /// assert_eq!(
    ///     upgrade.changes[0].message,
    ///     "was: map admins, root as the role called all; becomes: map admins, root as any role"
    /// );
    /// ```
    #[must_use]
    pub fn upgrade(&self, from: &Server, to: &Server) -> Upgrade {
        self.upgrade_at(b"pg_ident.conf", from, to, &MemoryFiles::default())
    }

    /// The same for the file at `path`, with the files that it includes.
    #[must_use]
    pub fn upgrade_at(
        &self,
        path: &[u8],
        from: &Server,
        to: &Server,
        files: &dyn Files,
    ) -> Upgrade {
        let before = self.interpret_at(path, from, files);
        let after = self.interpret_at(path, to, files);
        let changes = compare(&ident_lines(&before), &ident_lines(&after));
        Upgrade { before: before.verdict().clone(), after: after.verdict().clone(), changes }
    }
}

/// What a server makes of a line.
struct LineState {
    location: Location,
    /// What it means; `None` if it is refused
    meaning: Option<String>,
    /// What the server says
    message: Option<String>,
}

/// The lines of all files, by where they begin.
type Lines = BTreeMap<(Text, usize), LineState>;

fn compare(before: &Lines, after: &Lines) -> Vec<LineChange> {
    let mut changes = Vec::new();
    let mut add = |location, kind, message| changes.push(LineChange { location, kind, message });
    for (place, old) in before {
        let Some(new) = after.get(place) else {
            add(old.location, LineChangeKind::Lines, "is no line of its own any more".into());
            continue;
        };
        let said = |state: &LineState| state.message.clone().unwrap_or_default();
        match (&old.meaning, &new.meaning) {
            (Some(_), None) => {
                add(new.location, LineChangeKind::Refused, format!("refused: {}", said(new)));
            }
            (None, Some(meaning)) => {
                let message = format!("was refused: {}; becomes: {meaning}", said(old));
                add(new.location, LineChangeKind::Accepted, message);
            }
            (Some(was), Some(becomes)) if was != becomes => {
                let message = format!("was: {was}; becomes: {becomes}");
                add(new.location, LineChangeKind::Meaning, message);
            }
            (Some(_), Some(_)) if old.message != new.message => {
                let message = match &new.message {
                    Some(message) => format!("is loaded with a warning: {message}"),
                    None => format!("is loaded without the warning: {}", said(old)),
                };
                add(new.location, LineChangeKind::Warning, message);
            }
            _ => {}
        }
    }
    for (place, new) in after {
        if !before.contains_key(place) {
            let message = match &new.meaning {
                Some(meaning) => format!("becomes a line of its own: {meaning}"),
                None => "becomes a line of its own, and is refused".into(),
            };
            add(new.location, LineChangeKind::Lines, message);
        }
    }
    changes
}

fn hba_lines(rules: &Rules) -> Lines {
    lines(rules.reading(), |index| rules.get(index as usize).map(|rule| rule_meaning(&rule)))
}

fn ident_lines(maps: &Mappings) -> Lines {
    lines(maps.reading(), |index| Some(mapping_meaning(&maps.at(index))))
}

/// The lines of a file and of those that it includes; `meaning` tells what an item means.
fn lines<T>(reading: &Reading<T>, meaning: impl Fn(u32) -> Option<String>) -> Lines {
    // What is said first about a line. The log says more than the view.
    let mut said: BTreeMap<(FileId, u32), &Text> = BTreeMap::new();
    for diagnostic in reading.diagnostics() {
        let Location { file, line, .. } = diagnostic.location;
        let including = diagnostic.context.last().copied();
        for place in [Some((file, line)), including].into_iter().flatten() {
            said.entry(place).or_insert(&diagnostic.message);
        }
    }
    let states = reading.line_states().map(|(location, item)| {
        let place = (reading.path(location.file).clone(), location.span.start());
        let message = said.get(&(location.file, location.line));
        let message = message.map(|message| format!("{message}"));
        (place, LineState { location, meaning: item.and_then(&meaning), message })
    });
    states.collect()
}

/// What a rule means, in words that are the same only if the meaning is.
fn rule_meaning(rule: &Rule<'_>) -> String {
    let databases: Vec<String> = rule
        .databases()
        .map(|database| {
            let text = Text::from(database.text());
            match database.kind() {
                DatabaseKind::All => "all databases".into(),
                DatabaseKind::SameUser => "the database with the user's name".into(),
                DatabaseKind::SameRole => "the database with the name of the user's role".into(),
                DatabaseKind::Replication => "physical replication".into(),
                DatabaseKind::Regex(_) => format!("databases matching {text}"),
                DatabaseKind::Name(_) => format!("the database called {text}"),
            }
        })
        .collect();
    let users: Vec<String> = rule
        .users()
        .map(|user| {
            let text = Text::from(user.text());
            match user.kind() {
                UserKind::All => "all users".into(),
                UserKind::Member(role) => format!("members of {}", Text::from(role)),
                UserKind::Regex(_) => format!("users matching {text}"),
                UserKind::Name(_) => format!("the user called {text}"),
            }
        })
        .collect();
    let mut out = format!("{} {}, {}", rule.connection(), databases.join(", "), users.join(", "));
    for part in [rule.shown_address(), rule.shown_netmask()].into_iter().flatten() {
        out.push_str(&format!(" {part}"));
    }
    out.push_str(&format!(" {}", rule.method()));
    for option in &rule.options().given {
        out.push_str(&format!(" {}={}", option.name, option.shown_value()));
    }
    if let Some(cert) = rule.options().client_cert {
        out.push_str(&format!(", client certificate {}", cert.as_str()));
    }
    out
}

/// What a mapping means, in words that are the same only if the meaning is.
fn mapping_meaning(mapping: &Mapping<'_>) -> String {
    let role = Text::from(mapping.database_user());
    let role = match mapping.role_kind() {
        UserKind::All => "any role".into(),
        UserKind::Member(role) => format!("members of {}", Text::from(role)),
        UserKind::Regex(_) => format!("roles matching {role}"),
        UserKind::Name(_) => format!("the role called {role}"),
    };
    let (map, user) = (Text::from(mapping.map()), Text::from(mapping.system_user()));
    format!("map {map}, {user} as {role}")
}
