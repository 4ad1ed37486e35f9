//! pg_ident.conf as a server understands it: `parse_ident_line` and `check_usermap`.

use alloc::vec::Vec;
use core::ops::Range;

use textfile::Files;

use crate::{
    PgVersion, Server,
    decide::Roles,
    diagnostics::{Code, Diagnostic, FileId, Location, LogEntry, Severity, Verdict, not_reloaded},
    patterns::Patterns,
    record::{Problem, Report, Shown},
    regex::Regex,
    rules::{Entry, LineReport, UserKind, log_entry},
    text::{Text, text},
    tokenize::{LineData, Tokenized, short, tokenize},
};

/// A pg_ident.conf as one server understands it: mappings, diagnostics, verdict.
///
/// Made by [`IdentDocument::interpret`](crate::IdentDocument::interpret). It owns what it holds.
#[derive(Debug)]
pub struct Mappings {
    tokens: Tokenized,
    mappings: Vec<MappingData>,
    entries: Vec<Entry>,
    patterns: Patterns,
    verdict: Verdict,
    server: Server,
}

#[derive(Debug)]
struct MappingData {
    line: u32,
    map: u32,
    system_user: u32,
    database_user: u32,
}

impl Mappings {
    pub(crate) fn read(bytes: &[u8], path: &[u8], server: &Server, files: &dyn Files) -> Self {
        let mut tokens = tokenize(bytes, path, server, files);
        let mut patterns = Patterns::new(server.version);
        let (mut mappings, mut entries) = (Vec::new(), Vec::new());
        let mut diagnostics = core::mem::take(&mut tokens.diagnostics);
        let mut refused = false;
        for index in 0..short(tokens.lines.len()) {
            let line = tokens.lines[index as usize].clone();
            if let Some(error) = line.error {
                refused = true;
                entries.push(Entry { line: index, rule: None, error: Some(error) });
                continue;
            }
            let location = Location { file: line.file, line: line.number, span: line.span };
            let mut report = LineReport { diagnostics: &mut diagnostics, location, shown: None };
            let parsed = parse(&tokens, index, &line, server).and_then(|mapping| {
                let mut users = Vec::from([mapping.system_user]);
                // Before 16 only the system user can be a regular expression.
                if server.version >= PgVersion::V16 {
                    users.push(mapping.database_user);
                }
                let mut compiled = Vec::new();
                for token in users {
                    let regex = patterns.compile(&tokens, token).map_err(|problem| {
                        // 12 to 15 say it without a line.
                        if server.version < PgVersion::V16 {
                            problem.without_context()
                        } else {
                            problem
                        }
                    })?;
                    compiled.push((token, regex));
                }
                Ok((mapping, compiled))
            });
            let rule = match parsed {
                Ok((mapping, compiled)) => {
                    for (token, regex) in compiled {
                        tokens.tokens[token as usize].regex = regex;
                    }
                    mappings.push(mapping);
                    Some(short(mappings.len() - 1))
                }
                Err(problem) => {
                    refused = true;
                    report.report(Severity::Error, problem);
                    None
                }
            };
            let error = report.shown.take().map(|shown| tokens.add_error(shown));
            entries.push(Entry { line: index, rule, error });
        }
        let verdict = match tokens.crash.clone() {
            Some(crash) => Verdict::ServerDown(crash),
            None if refused => Verdict::Refused,
            None => Verdict::Loaded,
        };
        tokens.diagnostics = diagnostics;
        Self { tokens, mappings, entries, patterns, verdict, server: server.clone() }
    }

    /// Would the server load the file? An empty one it would.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// All problems, in the order in which the server logs them.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.tokens.diagnostics
    }

    /// The mappings in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Mapping<'_>> + Clone + '_ {
        (0..self.mappings.len()).map(|index| Mapping { mappings: self, index: short(index) })
    }

    /// How many mappings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Whether there is no mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// The paths of all files that were read, by [`FileId`].
    #[must_use]
    pub fn files(&self) -> &[Text] {
        &self.tokens.files
    }

    /// The server that the file was read for.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What `pg_ident_file_mappings` (15 and newer) shows.
    pub fn rows(&self) -> impl Iterator<Item = MappingRow<'_>> + '_ {
        let mut number = 0;
        self.entries.iter().map(move |entry| {
            let line = &self.tokens.lines[entry.line as usize];
            let error = entry.error.map(|error| &self.tokens.errors[error as usize]);
            number += u32::from(error.is_none());
            MappingRow {
                map_number: error.is_none().then_some(number),
                file: line.file,
                line_number: line.number,
                mapping: entry.rule.map(|index| Mapping { mappings: self, index }),
                error,
            }
        })
    }

    /// What the server logs when it reads the file at reload.
    #[must_use]
    pub fn reload_log(&self) -> Vec<LogEntry> {
        let diagnostics = &self.tokens.diagnostics;
        let mut log: Vec<_> =
            diagnostics.iter().map(|diagnostic| log_entry(diagnostic, self.files())).collect();
        if self.verdict == Verdict::Refused {
            let message = not_reloaded(&self.server, &self.files()[0], "pg_ident.conf");
            log.push(LogEntry { message, hint: None, context: None });
        }
        log
    }

    /// May the system user `system_user` be the role `role`, by the map `map`? That is what the
    /// methods `ident`, `peer`, `gss`, `sspi`, `cert` and `oauth` ask: `check_usermap`.
    ///
    /// Without a map (`None`, or an empty name) both must have the same name. `roles` says who is a
    /// member of whom.
    ///
    /// ```
    /// use hba_parser::{IdentDocument, MapDecision, PgVersion, RoleGraph, Server};
    ///
    /// let file = IdentDocument::parse(*b"corp /^(.*)@example\\.com$ \\1\n");
    /// let maps = file.interpret(&Server::new(PgVersion::V16));
    /// let roles = RoleGraph::default();
    /// let decision = maps.check(Some(b"corp"), b"bob@example.com", b"bob", &roles);
    /// assert!(matches!(decision, MapDecision::Allowed(Some(mapping)) if mapping.line() == 1));
    /// assert!(!maps.check(None, b"bob@example.com", b"bob", &roles).is_allowed());
    /// ```
    #[must_use]
    pub fn check(
        &self,
        map: Option<&[u8]>,
        system_user: &[u8],
        role: &[u8],
        roles: &dyn Roles,
    ) -> MapDecision<'_> {
        let Some(map) = map.filter(|map| !map.is_empty()) else {
            return if system_user == role {
                MapDecision::Allowed(None)
            } else {
                MapDecision::Denied
            };
        };
        for mapping in self.iter().filter(|mapping| mapping.map() == map) {
            match mapping.allows(system_user, role, roles) {
                Ok(true) => return MapDecision::Allowed(Some(mapping)),
                Ok(false) => {}
                Err(MapFailure) => return MapDecision::Failed(mapping),
            }
        }
        MapDecision::Denied
    }

    /// Each line that is not empty, and the mapping that it is.
    pub(crate) fn line_states(&self) -> impl Iterator<Item = (Location, Option<Mapping<'_>>)> {
        self.entries.iter().map(|entry| {
            let line = &self.tokens.lines[entry.line as usize];
            let location = Location { file: line.file, line: line.number, span: line.span };
            (location, entry.rule.map(|index| Mapping { mappings: self, index }))
        })
    }

    fn regex(&self, token: u32) -> Option<&Regex> {
        self.patterns.get(self.tokens.token(token).regex?)
    }
}

/// What [`Mappings::check`] says.
#[derive(Clone, Copy, Debug)]
pub enum MapDecision<'a> {
    /// Yes: by this mapping, or without a map by having the same name.
    Allowed(Option<Mapping<'a>>),
    /// No mapping allows it.
    Denied,
    /// No: this mapping has a `\1`, and its regular expression captured nothing. Mappings after it
    /// do not count.
    Failed(Mapping<'a>),
}

impl MapDecision<'_> {
    /// Whether it is yes.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// The field of a map has a list, or is not there.
fn field(
    tokens: &Tokenized,
    line: &LineData,
    field: Option<Range<u32>>,
    server: &Server,
) -> Result<u32, Problem> {
    let Some(field) = field else {
        let shown = "missing entry at end of line";
        if server.version >= PgVersion::V16 {
            return Err(Problem::new(Code::MissingIdentEntry, shown, line.span));
        }
        let path = &tokens.files[line.file.index()];
        let number = alloc::format!("{}", line.number);
        let message = text!("missing entry in file \"", path, "\" at end of line ", number);
        return Err(Problem::new(Code::MissingIdentEntry, message, line.span)
            .without_context()
            .shown(Shown::Other(shown.into())));
    };
    if field.len() > 1 {
        let message = "multiple values in ident field";
        let span = tokens.token(field.start).span;
        return Err(Problem::new(Code::MultipleIdentValues, message, span));
    }
    Ok(field.start)
}

fn parse(
    tokens: &Tokenized,
    index: u32,
    line: &LineData,
    server: &Server,
) -> Result<MappingData, Problem> {
    let mut fields = tokens.fields(line);
    let mut next = || field(tokens, line, fields.next(), server);
    Ok(MappingData { line: index, map: next()?, system_user: next()?, database_user: next()? })
}

/// A row of the view `pg_ident_file_mappings`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MappingRow<'a> {
    /// `map_number` (16 and newer): mappings without an error, counted from 1.
    pub map_number: Option<u32>,
    /// `file_name` (16 and newer).
    pub file: FileId,
    /// `line_number`
    pub line_number: u32,
    /// The mapping; `None` where the line is refused.
    pub mapping: Option<Mapping<'a>>,
    /// `error`
    pub error: Option<&'a Text>,
}

/// A line of pg_ident.conf.
#[derive(Clone, Copy)]
pub struct Mapping<'a> {
    mappings: &'a Mappings,
    index: u32,
}

/// A mapping's `\1` has nothing to stand for, or its expression is too hard.
struct MapFailure;

impl<'a> Mapping<'a> {
    fn data(&self) -> &'a MappingData {
        &self.mappings.mappings[self.index as usize]
    }

    fn text(&self, token: u32) -> &'a [u8] {
        self.mappings.tokens.token_text(token)
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> Location {
        let line = &self.mappings.tokens.lines[self.data().line as usize];
        Location { file: line.file, line: line.number, span: line.span }
    }

    /// The number of its line as the server counts.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.location().line
    }

    /// The map's name.
    #[must_use]
    pub fn map(&self) -> &'a [u8] {
        self.text(self.data().map)
    }

    /// The system user, as it is written but without quotes.
    #[must_use]
    pub fn system_user(&self) -> &'a [u8] {
        self.text(self.data().system_user)
    }

    /// The database user, as it is written but without quotes.
    #[must_use]
    pub fn database_user(&self) -> &'a [u8] {
        self.text(self.data().database_user)
    }

    /// Whether any role is allowed: from 16 on the database user `all` without quotes means that.
    #[must_use]
    pub fn allows_every_role(&self) -> bool {
        matches!(self.role_kind(), UserKind::All)
    }

    /// Which roles are meant: from 16 on `all`, `+role` and expressions are special, as they are in
    /// pg_hba.conf.
    #[must_use]
    pub fn role_kind(&self) -> UserKind<'a> {
        let token = self.data().database_user;
        let text = self.database_user();
        let special = self.mappings.server.version >= PgVersion::V16;
        if special && !self.mappings.tokens.token(token).quoted {
            match text {
                b"all" => return UserKind::All,
                [b'+', role @ ..] => return UserKind::Member(role),
                _ => {}
            }
        }
        match self.mappings.regex(token) {
            Some(regex) => UserKind::Regex(regex),
            None => UserKind::Name(text),
        }
    }

    /// `check_ident_usermap`
    fn allows(
        &self,
        system_user: &[u8],
        role: &[u8],
        roles: &dyn Roles,
    ) -> Result<bool, MapFailure> {
        let wanted = self.role_kind();
        if let Some(regex) = self.mappings.regex(self.data().system_user) {
            let captures = match regex.captures(system_user) {
                Ok(Some(captures)) => captures,
                Ok(None) => return Ok(false),
                Err(_) => return Err(MapFailure),
            };
            // `all` has no `\1`, and what has another meaning is not looked into.
            if let UserKind::Name(name) = wanted
                && let Some(place) = name.windows(2).position(|pair| pair == b"\\1")
            {
                let Some(Some(captured)) = captures.get(1).cloned() else {
                    return Err(MapFailure);
                };
                let name = [&name[..place], &system_user[captured], &name[place + 2..]].concat();
                return Ok(name == role);
            }
        } else if self.system_user() != system_user {
            return Ok(false);
        }
        Ok(match wanted {
            UserKind::All => true,
            UserKind::Member(group) => roles.is_member(role, group),
            UserKind::Regex(regex) => regex.is_match(role).unwrap_or(false),
            UserKind::Name(name) => name == role,
        })
    }
}

impl core::fmt::Debug for Mapping<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mapping")
            .field("line", &self.line())
            .field("map", &Text::from(self.map()))
            .field("system_user", &Text::from(self.system_user()))
            .field("database_user", &Text::from(self.database_user()))
            .finish()
    }
}
