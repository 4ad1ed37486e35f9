//! pg_ident.conf as a server understands it: `parse_ident_line` and `check_usermap`.

use alloc::vec::Vec;
use core::ops::Range;

use textfile::Files;

use crate::{
    PgVersion, Server,
    decide::Roles,
    diagnostics::{Code, Diagnostic, FileId, Location, LogEntry, Verdict},
    reading::{Parsing, Reading},
    record::{Problem, Shown},
    regex::Regex,
    rules::UserKind,
    text::{Text, text},
    tokenize::{LineData, Tokenized, short},
};

/// A pg_ident.conf as one server understands it: mappings, diagnostics, verdict.
///
/// Made by [`IdentDocument::interpret`](crate::IdentDocument::interpret). It owns what it holds.
#[derive(Debug)]
pub struct Mappings {
    reading: Reading<MappingData>,
}

#[derive(Debug)]
pub(crate) struct MappingData {
    line: u32,
    map: u32,
    system_user: u32,
    database_user: u32,
}

impl Mappings {
    pub(crate) fn read(bytes: &[u8], path: &[u8], server: &Server, files: &dyn Files) -> Self {
        Self { reading: Reading::new(bytes, path, server, files, false, parse) }
    }

    /// Would the server load the file? An empty one it would.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        self.reading.verdict()
    }

    /// All problems, in the order in which the server logs them.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        self.reading.diagnostics()
    }

    /// The mappings in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Mapping<'_>> + Clone + '_ {
        (0..self.len()).map(|index| Mapping { mappings: self, index: short(index) })
    }

    /// How many mappings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reading.items.len()
    }

    /// Whether there is no mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reading.items.is_empty()
    }

    /// The paths of all files that were read, by [`FileId`].
    #[must_use]
    pub fn files(&self) -> &[Text] {
        self.reading.files()
    }

    /// The server that the file was read for.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.reading.server()
    }

    /// What `pg_ident_file_mappings` (15 and newer) shows.
    pub fn rows(&self) -> impl Iterator<Item = MappingRow<'_>> + '_ {
        self.reading.rows().map(|row| MappingRow {
            map_number: row.number,
            file: row.file,
            line_number: row.line,
            mapping: row.item.map(|index| Mapping { mappings: self, index }),
            error: row.error,
        })
    }

    /// What the server logs when it reads the file at reload.
    #[must_use]
    pub fn reload_log(&self) -> Vec<LogEntry> {
        self.reading.reload_log("pg_ident.conf")
    }

    /// The mapping with this index.
    pub(crate) fn at(&self, index: u32) -> Mapping<'_> {
        Mapping { mappings: self, index }
    }

    pub(crate) fn reading(&self) -> &Reading<MappingData> {
        &self.reading
    }

    /// May the system user `system_user` be the role `role`, by the map `map`? That is what the
    /// methods `ident`, `peer`, `gss`, `sspi`, `cert` and `oauth` ask: `check_usermap`.
    ///
    /// Without a map (`None`, or an empty name) both must have the same name. `roles` says who is a
    /// member of whom. [`Mappings::admits`] takes map and system user from a rule and what a client
    /// proved.
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
        self.check_with(map, system_user, role, roles, false)
    }

    /// The same, and upper and lower case are the same if `krb_caseins_users` says so.
    pub(crate) fn check_with(
        &self,
        map: Option<&[u8]>,
        system_user: &[u8],
        role: &[u8],
        roles: &dyn Roles,
        ignore_case: bool,
    ) -> MapDecision<'_> {
        let Some(map) = map.filter(|map| !map.is_empty()) else {
            return if is_same(system_user, role, ignore_case) {
                MapDecision::Allowed(None)
            } else {
                MapDecision::Denied
            };
        };
        for mapping in self.iter().filter(|mapping| mapping.map() == map) {
            match mapping.allows(system_user, role, roles, ignore_case) {
                Ok(true) => return MapDecision::Allowed(Some(mapping)),
                Ok(false) => {}
                Err(MapFailure) => return MapDecision::Failed(mapping),
            }
        }
        MapDecision::Denied
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

fn parse(parsing: &mut Parsing<'_>) -> Result<MappingData, Problem> {
    let (tokens, server) = (parsing.tokens, parsing.server);
    let line = &tokens.lines[parsing.line as usize];
    let mut fields = tokens.fields(line);
    let mut next = || field(tokens, line, fields.next(), server);
    let (map, system_user, database_user) = (next()?, next()?, next()?);
    if server.version >= PgVersion::V16 {
        parsing.compile(system_user)?;
        parsing.compile(database_user)?;
    } else {
        // Only the system user can be a regular expression, and the log names no line.
        parsing.compile(system_user).map_err(Problem::without_context)?;
    }
    Ok(MappingData { line: parsing.line, map, system_user, database_user })
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

fn is_same(one: &[u8], other: &[u8], ignore_case: bool) -> bool {
    one == other || (ignore_case && one.eq_ignore_ascii_case(other))
}

impl<'a> Mapping<'a> {
    fn data(&self) -> &'a MappingData {
        &self.mappings.reading.items[self.index as usize]
    }

    fn text(&self, token: u32) -> &'a [u8] {
        self.mappings.reading.tokens.token_text(token)
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> Location {
        self.mappings.reading.location(self.data().line)
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

    /// The expression that system users must match, if it is one: it begins with a slash, quoted or
    /// not.
    #[must_use]
    pub fn system_user_regex(&self) -> Option<&'a Regex> {
        self.mappings.reading.regex(self.data().system_user)
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
        let text = self.database_user();
        if self.mappings.server().version >= PgVersion::V16 && self.has_keyword_role() {
            match text {
                b"all" => return UserKind::All,
                [b'+', role @ ..] => return UserKind::Member(role),
                _ => {}
            }
        }
        match self.mappings.reading.regex(self.data().database_user) {
            Some(regex) => UserKind::Regex(regex),
            None => UserKind::Name(text),
        }
    }

    /// Whether the database user is one that 16 and newer take for a keyword.
    pub(crate) fn has_keyword_role(&self) -> bool {
        let quoted = self.mappings.reading.tokens.token(self.data().database_user).quoted;
        !quoted && matches!(self.database_user(), b"all" | [b'+', ..])
    }

    /// `check_ident_usermap`
    fn allows(
        &self,
        system_user: &[u8],
        role: &[u8],
        roles: &dyn Roles,
        ignore_case: bool,
    ) -> Result<bool, MapFailure> {
        let wanted = self.role_kind();
        if let Some(regex) = self.system_user_regex() {
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
                return Ok(is_same(&name, role, ignore_case));
            }
        } else if !is_same(self.system_user(), system_user, ignore_case) {
            return Ok(false);
        }
        Ok(match wanted {
            UserKind::All => true,
            UserKind::Member(group) => roles.is_member(role, group),
            UserKind::Regex(regex) => regex.is_match(role).unwrap_or(false),
            UserKind::Name(name) => is_same(name, role, ignore_case),
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
