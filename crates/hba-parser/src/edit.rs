//! Edits that change only the lines they name.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use textfile::Document;

use crate::{
    ConnectionType, HbaDocument, IdentDocument, LineClass, Method, Server,
    build::{AddressSpec, BuildError, DatabaseSpec, NewRule, UserSpec, option_text, quote},
    diagnostics::FileId,
    layout,
    lexer::{self, Line},
    rules::Rules,
    scope,
    text::Text,
};

/// Edits of a document, collected and then made at once: [`HbaEdit::apply`].
///
/// Line numbers are those of the document before any edit, as the server counts: they stay valid
/// however many edits are collected. New rules take the columns and line ends of their neighbours;
/// everything else stays byte for byte.
///
/// ```
/// use hba_parser::{AddressSpec, ConnectionType, DatabaseSpec, HbaDocument, Method, NewRule, PgVersion, Server, UserSpec};
///
/// let mut file = HbaDocument::parse(*b"\
/// ## TYPE  DATABASE  USER  ADDRESS       METHOD
/// local   all       all                 peer    # us
/// host    all       all   127.0.0.1/32  trust
/// ");
/// let server = Server::new(PgVersion::V16);
/// let rule = NewRule::new(ConnectionType::HostSsl, Method::Cert)
///     .database(DatabaseSpec::name("app"))
///     .user(UserSpec::name("web"))
///     .address(AddressSpec::host([127, 0, 0, 1]));
/// file.edit(&server)
///     .insert_effective(&rule)?
///     .set_method(3, Method::ScramSha256)?
///     .apply()?;
/// assert_eq!(file.to_string(), "\
/// ## TYPE  DATABASE  USER  ADDRESS       METHOD
/// local   all       all                 peer    # us
/// hostssl app       web   127.0.0.1/32  cert
/// host    all       all   127.0.0.1/32  scram-sha-256
/// ");
/// # Ok::<(), hba_parser::EditError>(())
/// ```
#[derive(Debug)]
pub struct HbaEdit<'d> {
    document: &'d mut HbaDocument,
    server: Server,
    changes: Changes,
}

/// What is to become of lines, by their index among the lines of a file.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// New lines before a line; past the last one at the end
    before: BTreeMap<usize, Vec<Vec<u8>>>,
    /// New texts of lines, without the last line end; `None` removes
    lines: BTreeMap<usize, Option<Vec<u8>>>,
}

/// Why an edit was not made. The document is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// There is no line with this number.
    NoSuchLine {
        /// The number.
        line: u32,
    },
    /// The line is no rule.
    NotARule {
        /// Its number.
        line: u32,
    },
    /// The line has no such option, or has it from an @file.
    NoSuchOption {
        /// Its number.
        line: u32,
        /// The option.
        name: Text,
    },
    /// The rule cannot be written.
    Build(BuildError),
    /// The edited line would be no valid rule any more.
    Invalid {
        /// Its number.
        line: u32,
        /// What the server would say.
        message: Text,
    },
    /// A text with a line end or a NUL byte is not one line.
    NotALine,
    /// Two edits change the same line.
    Conflict {
        /// Its number.
        line: u32,
    },
    /// The file has NUL bytes, and after the edit the server would see other lines than are meant.
    Unsafe,
    /// The file would have 4 GiB or more.
    TooLarge(textfile::EditError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { line } => write!(f, "there is no line {line}"),
            Self::NotARule { line } => write!(f, "line {line} is no rule"),
            Self::NoSuchOption { line, name } => {
                write!(f, "line {line} has no option {name} of its own")
            }
            Self::Build(error) => error.fmt(f),
            Self::Invalid { line, message } => {
                write!(f, "line {line} would be refused after the edit: {message}")
            }
            Self::NotALine => f.write_str("a text with a line end or a NUL byte is not one line"),
            Self::Conflict { line } => write!(f, "two edits change line {line}"),
            Self::Unsafe => f.write_str(
                "the file has NUL bytes that would glue lines together: remove them first",
            ),
            Self::TooLarge(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for EditError {}

impl From<BuildError> for EditError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<textfile::EditError> for EditError {
    fn from(error: textfile::EditError) -> Self {
        Self::TooLarge(error)
    }
}

/// A field of a rule that an edit can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Connection = 0,
    Databases = 1,
    Users = 2,
    Address = 3,
    Method = 4,
}

impl HbaDocument {
    /// Begins to edit the document for this server: its major decides what a line is, and rules are
    /// checked against all of it.
    pub fn edit(&mut self, server: &Server) -> HbaEdit<'_> {
        HbaEdit { document: self, server: server.clone(), changes: Changes::default() }
    }
}

impl HbaEdit<'_> {
    fn lines(&self) -> Vec<Line<'_>> {
        self.document.lines(self.server.version).collect()
    }

    /// The index of the line with this number among the lines.
    fn index(&self, number: u32) -> Result<usize, EditError> {
        let mut lines = self.document.lines(self.server.version);
        lines.position(|line| line.number() == number).ok_or(EditError::NoSuchLine { line: number })
    }

    /// The index of the rule with this number, and its text without its line end.
    fn rule(&self, number: u32) -> Result<(usize, Line<'_>), EditError> {
        let index = self.index(number)?;
        let line = self.document.lines(self.server.version).nth(index);
        let line = line.ok_or(EditError::NoSuchLine { line: number })?;
        match line.class() {
            LineClass::Rule(_) => Ok((index, line)),
            _ => Err(EditError::NotARule { line: number }),
        }
    }

    /// The rule as a line that stands like those near the place.
    fn laid_out(&self, place: usize, rule: &NewRule) -> Result<Vec<u8>, EditError> {
        let text = rule.checked_fields(&self.server)?;
        let connection = ConnectionType::named(&text.connection).unwrap_or(ConnectionType::Host);
        let layout = layout::near(&self.lines(), place, connection, &self.server);
        Ok(layout.map_or_else(|| text.join(), |layout| layout.write(&text)))
    }

    fn insert_at(&mut self, place: usize, text: Vec<u8>) {
        self.changes.before.entry(place).or_default().push(text);
    }

    fn change(&mut self, index: usize, line: u32, text: Option<Vec<u8>>) -> Result<(), EditError> {
        if self.changes.lines.insert(index, text).is_some() {
            return Err(EditError::Conflict { line });
        }
        Ok(())
    }

    /// Inserts a rule before the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_before(mut self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.index(line)?;
        let text = self.laid_out(place, rule)?;
        self.insert_at(place, text);
        Ok(self)
    }

    /// Inserts a rule after the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_after(mut self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.index(line)? + 1;
        let text = self.laid_out(place, rule)?;
        self.insert_at(place, text);
        Ok(self)
    }

    /// Inserts a rule before the first rule or include record: whatever it matches, it decides.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_first(mut self, rule: &NewRule) -> Result<Self, EditError> {
        let lines = self.lines();
        let first = lines.iter().position(|line| {
            matches!(line.class(), LineClass::Rule(_) | LineClass::Include(_) | LineClass::Invalid)
        });
        let place = first.unwrap_or(lines.len());
        let text = self.laid_out(place, rule)?;
        self.insert_at(place, text);
        Ok(self)
    }

    /// Inserts a rule where it takes effect: before the first rule that could match a connection
    /// that it is for, or else at the end. Included files are not looked into: the rule comes before
    /// an include record.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_effective(self, rule: &NewRule) -> Result<Self, EditError> {
        let rules = self.document.interpret(&self.server);
        self.insert_effective_among(rule, &rules)
    }

    /// The same, in a file whose included files were read: `rules` is what
    /// [`interpret_at`](HbaDocument::interpret_at) made of this document.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_effective_among(
        mut self,
        rule: &NewRule,
        rules: &Rules,
    ) -> Result<Self, EditError> {
        let line = rule.to_line(&self.server)?;
        let meant = HbaDocument::parse(line.into_bytes()).interpret(&self.server);
        let lines = self.lines();
        let index_of = |number: u32| lines.iter().position(|line| line.number() == number);
        let mut place = lines.len();
        if let Some(meant) = meant.iter().next() {
            let first = rules.iter().find(|rule| !scope::apart(rule, &meant));
            place = match first {
                Some(first) if first.file() == FileId::MAIN => {
                    index_of(first.line()).unwrap_or(lines.len())
                }
                Some(_) => place,
                None => lines.len(),
            };
            // What an include record brings is not known, or it brings the first such rule.
            let includes = first.is_some_and(|first| first.file() != FileId::MAIN)
                || !rules.diagnostics().is_empty();
            let include =
                lines.iter().position(|line| matches!(line.class(), LineClass::Include(_)));
            if includes && let Some(include) = include {
                place = place.min(include);
            }
        }
        let text = self.laid_out(place, rule)?;
        self.insert_at(place, text);
        Ok(self)
    }

    /// Adds a rule at the end. Every rule before it comes first.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn append(mut self, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.lines().len();
        let text = self.laid_out(place, rule)?;
        self.insert_at(place, text);
        Ok(self)
    }

    /// Inserts a comment, which gets its `# `, before the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::NotALine`]
    pub fn insert_comment(mut self, line: u32, comment: &str) -> Result<Self, EditError> {
        if comment.contains(['\n', '\r', '\0']) || comment.ends_with('\\') {
            return Err(EditError::NotALine);
        }
        let place = self.index(line)?;
        self.insert_at(place, ["# ", comment].concat().into_bytes());
        Ok(self)
    }

    /// Puts another rule in the place of the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`], [`EditError::Conflict`]
    pub fn replace(mut self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let index = self.index(line)?;
        let text = self.laid_out(index, rule)?;
        self.change(index, line, Some(text))?;
        Ok(self)
    }

    /// Removes the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn remove(mut self, line: u32) -> Result<Self, EditError> {
        let index = self.index(line)?;
        self.change(index, line, None)?;
        Ok(self)
    }

    /// Makes a comment of the line with this number. A line that a backslash continues is one
    /// comment.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn comment_out(mut self, line: u32) -> Result<Self, EditError> {
        let index = self.index(line)?;
        let text = self.text_of(index).map(|text| [b"# ", text.as_slice()].concat());
        self.change(index, line, text)?;
        Ok(self)
    }

    /// Moves the line with this number before another one.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn move_before(self, line: u32, before: u32) -> Result<Self, EditError> {
        let place = self.index(before)?;
        self.move_to(line, place)
    }

    /// Moves the line with this number after another one.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn move_after(self, line: u32, after: u32) -> Result<Self, EditError> {
        let place = self.index(after)? + 1;
        self.move_to(line, place)
    }

    fn move_to(mut self, line: u32, place: usize) -> Result<Self, EditError> {
        let index = self.index(line)?;
        if let Some(text) = self.text_of(index)
            && place != index
            && place != index + 1
        {
            self.change(index, line, None)?;
            self.insert_at(place, text);
        }
        Ok(self)
    }

    /// A line's bytes without its last line end, with the changes made so far.
    fn text_of(&self, index: usize) -> Option<Vec<u8>> {
        let line = self.document.lines(self.server.version).nth(index)?;
        Some(without_line_end(line.bytes()).to_vec())
    }

    /// Changes the connection type of the rule on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Invalid`] if the rule would be none then
    pub fn set_connection(self, line: u32, to: ConnectionType) -> Result<Self, EditError> {
        self.set_field(line, Field::Connection, to.as_str().as_bytes())
    }

    /// Changes the databases of the rule on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_databases(
        self,
        line: u32,
        to: impl IntoIterator<Item = DatabaseSpec>,
    ) -> Result<Self, EditError> {
        let rule = to.into_iter().fold(local_rule(), NewRule::database).user(UserSpec::All);
        let text = rule.checked_fields(&self.server)?.databases;
        self.set_field(line, Field::Databases, &text)
    }

    /// Changes the users of the rule on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_users(
        self,
        line: u32,
        to: impl IntoIterator<Item = UserSpec>,
    ) -> Result<Self, EditError> {
        let rule = to.into_iter().fold(local_rule().database(DatabaseSpec::All), NewRule::user);
        let text = rule.checked_fields(&self.server)?.users;
        self.set_field(line, Field::Users, &text)
    }

    /// Changes the address of the rule on the line with this number, with its mask if it has one.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_address(self, line: u32, to: AddressSpec) -> Result<Self, EditError> {
        let rule = NewRule::new(ConnectionType::Host, Method::Reject).all().address(to);
        let text = rule.checked_fields(&self.server)?.address.unwrap_or_default();
        self.set_field(line, Field::Address, &text)
    }

    /// Changes the method of the rule on the line with this number. Its options stay, and must be
    /// good for the new method.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Invalid`] if the rule would be none then
    pub fn set_method(self, line: u32, to: Method) -> Result<Self, EditError> {
        self.set_field(line, Field::Method, to.as_str().as_bytes())
    }

    fn set_field(mut self, number: u32, field: Field, text: &[u8]) -> Result<Self, EditError> {
        let (index, line) = self.rule(number)?;
        let fields = layout::fields(&line, &self.server);
        let place = fields.get(field as usize).copied().flatten();
        let (start, end) = place.ok_or(EditError::NotARule { line: number })?;
        let offset = line.span().start();
        let bytes = without_line_end(line.bytes());
        let edited = layout::splice(bytes, start - offset, end - offset, text);
        self.change_rule(index, number, edited)?;
        Ok(self)
    }

    /// Sets an option of the rule on the line with this number: where it already has it, there.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_option(
        mut self,
        number: u32,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Self, EditError> {
        let (index, line) = self.rule(number)?;
        let name = name.as_ref();
        let text = option_text(name, value.as_ref())?;
        let offset = line.span().start();
        let bytes = without_line_end(line.bytes());
        let edited = match option_place(&line, name, &self.server) {
            Some((start, end)) => layout::splice(bytes, start - offset, end - offset, &text),
            None => {
                let last = line.tokens().last().map_or(offset, |token| token.span().end());
                let text = [b" ", text.as_slice()].concat();
                layout::splice(bytes, last - offset, last - offset, &text)
            }
        };
        self.change_rule(index, number, edited)?;
        Ok(self)
    }

    /// Removes an option of the rule on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::NoSuchOption`], [`EditError::Invalid`]
    pub fn remove_option(mut self, number: u32, name: impl AsRef<[u8]>) -> Result<Self, EditError> {
        let (index, line) = self.rule(number)?;
        let name = name.as_ref();
        let missing = EditError::NoSuchOption { line: number, name: name.into() };
        let (start, end) = option_place(&line, name, &self.server).ok_or(missing)?;
        let offset = line.span().start();
        let bytes = without_line_end(line.bytes());
        let (mut start, end) = (start - offset, end - offset);
        // With the blanks, or the comma, before it.
        while start > 0 && (lexer::is_blank(bytes[start - 1]) || bytes[start - 1] == b',') {
            start -= 1;
        }
        let gap = bytes.get(end).is_some_and(|byte| !lexer::is_blank(*byte));
        let edited = layout::splice(bytes, start, end, if gap { b" " } else { b"" });
        self.change_rule(index, number, edited)?;
        Ok(self)
    }

    /// Changes a rule's line if the server takes it then.
    fn change_rule(&mut self, index: usize, line: u32, text: Vec<u8>) -> Result<(), EditError> {
        let before = self.problems(self.text_of(index).unwrap_or_default());
        let after = self.problems(text.clone());
        if let Some(message) = after
            && before.is_none()
        {
            return Err(EditError::Invalid { line, message });
        }
        self.change(index, line, Some(text))
    }

    /// What the server says to a line alone, if it refuses it for more than @files that are not
    /// there.
    fn problems(&self, text: Vec<u8>) -> Option<Text> {
        let rules = HbaDocument::parse(text).interpret(&self.server);
        let refused = rules.diagnostics().iter().find(|diagnostic| {
            diagnostic.severity == crate::Severity::Error
                && diagnostic.code != crate::Code::CannotOpen
        });
        refused.map(|diagnostic| diagnostic.message.clone())
    }

    /// Makes all edits.
    ///
    /// # Errors
    /// [`EditError::TooLarge`], [`EditError::Unsafe`]; the document is as it was.
    pub fn apply(self) -> Result<(), EditError> {
        let version = self.server.version;
        let lines: Vec<Line<'_>> = self.document.lines(version).collect();
        let mut text = self.document.text.clone();
        self.changes.apply(&lines, &mut text)?;
        let edited = HbaDocument { text };
        if self.document.bytes().contains(&0) {
            let added: usize = self.changes.before.values().map(Vec::len).sum();
            let removed = self.changes.lines.values().filter(|change| change.is_none()).count();
            let expected = lines.len() + added - removed;
            if edited.lines(version).count() != expected {
                return Err(EditError::Unsafe);
            }
        }
        *self.document = edited;
        Ok(())
    }
}

fn local_rule() -> NewRule {
    NewRule::new(ConnectionType::Local, Method::Reject)
}

/// The last token of a rule's line that gives this option.
fn option_place(line: &Line<'_>, name: &[u8], server: &Server) -> Option<(usize, usize)> {
    let method = layout::fields(line, server).get(Field::Method as usize).copied().flatten()?;
    let mut found = None;
    for token in line.tokens().filter(|token| token.span().start() > method.0) {
        let text = token.to_vec();
        if text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")) {
            found = Some((token.span().start(), token.span().end()));
        }
    }
    found
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Changes {
    /// Makes the changes from the last line to the first, so that indices stay valid.
    fn apply(&self, lines: &[Line<'_>], text: &mut Document) -> Result<(), EditError> {
        let places = self.before.keys().chain(self.lines.keys()).copied();
        let mut places: Vec<usize> = places.collect();
        places.sort_unstable();
        places.dedup();
        for place in places.into_iter().rev() {
            let line = lines.get(place);
            if let Some(line) = line
                && let Some(change) = self.lines.get(&place)
            {
                let first = line.first_physical_line() as usize;
                let count = line.physical_lines() as usize;
                // The last physical line stays: its line end is the whole line's.
                for _ in 1..count {
                    text.remove(first)?;
                }
                match change {
                    Some(new) => text.replace(first, new)?,
                    None => text.remove(first)?,
                }
            }
            if let Some(new) = self.before.get(&place) {
                let at = line.map_or(text.len(), |line| line.first_physical_line() as usize);
                // What a backslash at the end of the file would join, an empty line takes.
                let joined = line.is_none() && lines.last().is_some_and(is_open_ended);
                if joined {
                    text.insert(at, "")?;
                }
                for new in new.iter().rev() {
                    text.insert(at + usize::from(joined), new)?;
                }
            }
        }
        text.compact();
        Ok(())
    }
}

/// Whether the line would go on if the file did.
fn is_open_ended(line: &Line<'_>) -> bool {
    line.is_continued() && without_line_end(line.bytes()).ends_with(b"\\")
}

impl IdentDocument {
    /// Adds a mapping at the end: names are quoted where they must be. A system user that begins with
    /// a slash is a regular expression, and from 16 on a database user, too.
    ///
    /// ```
    /// use hba_parser::IdentDocument;
    ///
    /// let mut file = IdentDocument::parse(*b"# maps\n");
    /// file.append("my map", "root", "postgres")?;
    /// assert_eq!(file.to_string(), "# maps\n\"my map\" root postgres\n");
    /// # Ok::<(), hba_parser::EditError>(())
    /// ```
    ///
    /// # Errors
    /// [`EditError::NotALine`] if a name has a line end or a NUL byte, [`EditError::TooLarge`]
    pub fn append(
        &mut self,
        map: impl AsRef<[u8]>,
        system_user: impl AsRef<[u8]>,
        database_user: impl AsRef<[u8]>,
    ) -> Result<(), EditError> {
        let mut fields = Vec::new();
        for field in [map.as_ref(), system_user.as_ref(), database_user.as_ref()] {
            if field.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
                return Err(EditError::NotALine);
            }
            fields.push(quote(field, true));
        }
        self.text.push(fields.join(&b' '))?;
        self.text.compact();
        Ok(())
    }

    /// Removes the line with this number, as a server of this major counts.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`]
    pub fn remove(&mut self, number: u32, server: &Server) -> Result<(), EditError> {
        let line = self.line(number, server.version);
        let line = line.ok_or(EditError::NoSuchLine { line: number })?;
        let (first, count) = (line.first_physical_line(), line.physical_lines());
        for _ in 0..count {
            self.text.remove(first as usize)?;
        }
        self.text.compact();
        Ok(())
    }
}
