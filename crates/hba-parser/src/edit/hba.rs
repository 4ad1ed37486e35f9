//! Edits of pg_hba.conf.

use alloc::vec::Vec;

use super::{EditError, lines::LineEdits};
use crate::{
    Code, ConnectionType, HbaDocument, LineClass, Method, Server, Severity,
    build::{AddressSpec, BuildError, DatabaseSpec, NewRule, UserSpec, option_text},
    diagnostics::FileId,
    layout::{self, Layout},
    lexer::{self, Line},
    rules::Rules,
    scope::Scope,
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
    lines: LineEdits,
    /// What the server makes of the document, once it was asked for
    rules: Option<Rules>,
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
        let lines = LineEdits::new(self.bytes(), server.version);
        HbaEdit { document: self, server: server.clone(), lines, rules: None }
    }
}

/// How many fields are put into columns: all but the options.
const ALIGNED: usize = 5;

impl HbaEdit<'_> {
    fn line(&self, index: usize) -> Option<Line<'_>> {
        self.lines.line(self.document.bytes(), index)
    }

    /// The index of the rule with this number, and its text with the changes made so far.
    fn rule(&self, number: u32) -> Result<(usize, Vec<u8>), EditError> {
        let index = self.lines.index(number)?;
        let rule = self.line(index).is_some_and(|line| matches!(line.class(), LineClass::Rule(_)));
        if !rule {
            return Err(EditError::NotARule { line: number });
        }
        let text = self.lines.text(self.document.bytes(), index);
        Ok((index, text.ok_or(EditError::Conflict { line: number })?))
    }

    /// The rule as a line that stands like those near the place; with the comment of the line that it
    /// replaces, unless it has one of its own.
    fn laid_out(
        &self,
        place: usize,
        rule: &NewRule,
        replaced: Option<Line<'_>>,
    ) -> Result<Vec<u8>, EditError> {
        let mut text = rule.checked_fields(&self.server)?;
        if text.comment.is_none()
            && let Some(replaced) = replaced.filter(|line| line.physical_lines() == 1)
            && !matches!(replaced.class(), LineClass::Comment)
            && let Some(comment) = replaced.comment()
        {
            text.comment = Some(self.document.bytes()[comment.range()].to_vec());
        }
        let connection = ConnectionType::named(&text.connection).unwrap_or(ConnectionType::Host);
        let local = |connection| connection == ConnectionType::Local;
        let layout = layout::near(self.lines.len(), place, |index| {
            let line = self.line(index)?;
            let LineClass::Rule(kind) = line.class() else { return None };
            let layout = Layout::of(&line, &layout::rule_fields(&line, &self.server))?;
            Some((layout, local(kind) == local(connection)))
        });
        Ok(layout.map_or_else(
            || text.join(),
            |layout| layout.write(&text.fields(), ALIGNED, text.comment.as_deref()),
        ))
    }

    fn insert_at(mut self, place: usize, rule: &NewRule) -> Result<Self, EditError> {
        let text = self.laid_out(place, rule, None)?;
        self.lines.insert(place, text);
        Ok(self)
    }

    /// Inserts a rule before the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_before(self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.lines.index(line)?;
        self.insert_at(place, rule)
    }

    /// Inserts a rule after the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_after(self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.lines.index(line)? + 1;
        self.insert_at(place, rule)
    }

    /// Inserts a rule before the first rule or include record: whatever it matches, it decides.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_first(self, rule: &NewRule) -> Result<Self, EditError> {
        let mut lines = self.document.lines(self.server.version);
        let first = lines.position(|line| {
            matches!(line.class(), LineClass::Rule(_) | LineClass::Include(_) | LineClass::Invalid)
        });
        let place = first.unwrap_or(self.lines.len());
        self.insert_at(place, rule)
    }

    /// Inserts a rule where it takes effect: before the first rule that could match a connection
    /// that it is for, or else at the end. Included files are not looked into: the rule comes before
    /// an include record.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_effective(mut self, rule: &NewRule) -> Result<Self, EditError> {
        let rules = match self.rules.take() {
            Some(rules) => rules,
            None => self.document.interpret(&self.server),
        };
        let mut edit = self.insert_effective_among(rule, &rules)?;
        edit.rules = Some(rules);
        Ok(edit)
    }

    /// The same, in a file whose included files were read: `rules` is what
    /// [`interpret_at`](HbaDocument::interpret_at) made of this document.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn insert_effective_among(self, rule: &NewRule, rules: &Rules) -> Result<Self, EditError> {
        let line = rule.to_line(&self.server)?;
        let meant = HbaDocument::parse(line.into_bytes()).interpret(&self.server);
        let end = self.lines.len();
        let mut place = end;
        if let Some(meant) = meant.iter().next() {
            let meant = Scope::of(meant);
            let first = rules.iter().find(|rule| !meant.apart(rule));
            if let Some(first) = first.filter(|first| first.file() == FileId::MAIN) {
                place = self.lines.index(first.line()).unwrap_or(end);
            }
            // What an include record brings is not known, or it brings the first such rule.
            let includes = first.is_some_and(|first| first.file() != FileId::MAIN)
                || !rules.diagnostics().is_empty();
            if includes {
                let mut lines = self.document.lines(self.server.version);
                let include = lines.position(|line| matches!(line.class(), LineClass::Include(_)));
                place = place.min(include.unwrap_or(end));
            }
        }
        self.insert_at(place, rule)
    }

    /// Adds a rule at the end. Every rule before it comes first.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn append(self, rule: &NewRule) -> Result<Self, EditError> {
        let place = self.lines.len();
        self.insert_at(place, rule)
    }

    /// Inserts a comment, which gets its `# `, before the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::NotALine`]
    pub fn insert_comment(mut self, line: u32, comment: &str) -> Result<Self, EditError> {
        let place = self.lines.index(line)?;
        self.lines.insert_comment(place, comment)?;
        Ok(self)
    }

    /// Puts another rule in the place of the line with this number. A comment at its end stays, unless
    /// the rule has one of its own.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`], [`EditError::Conflict`]
    pub fn replace(mut self, line: u32, rule: &NewRule) -> Result<Self, EditError> {
        let index = self.lines.index(line)?;
        let text = self.laid_out(index, rule, self.line(index))?;
        self.lines.change(index, Some(text))?;
        Ok(self)
    }

    /// Removes the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn remove(mut self, line: u32) -> Result<Self, EditError> {
        let index = self.lines.index(line)?;
        self.lines.change(index, None)?;
        Ok(self)
    }

    /// Makes a comment of the line with this number. A line that a backslash continues is one
    /// comment.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn comment_out(mut self, line: u32) -> Result<Self, EditError> {
        let index = self.lines.index(line)?;
        self.lines.comment_out(self.document.bytes(), index)?;
        Ok(self)
    }

    /// Moves the line with this number before another one.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn move_before(mut self, line: u32, before: u32) -> Result<Self, EditError> {
        let (index, place) = (self.lines.index(line)?, self.lines.index(before)?);
        self.lines.move_to(self.document.bytes(), index, place)?;
        Ok(self)
    }

    /// Moves the line with this number after another one.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Conflict`]
    pub fn move_after(mut self, line: u32, after: u32) -> Result<Self, EditError> {
        let (index, place) = (self.lines.index(line)?, self.lines.index(after)? + 1);
        self.lines.move_to(self.document.bytes(), index, place)?;
        Ok(self)
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

    fn set_field(self, number: u32, field: Field, to: &[u8]) -> Result<Self, EditError> {
        let (index, text) = self.rule(number)?;
        let line = self.as_line(&text).ok_or(EditError::NotARule { line: number })?;
        let place = layout::rule_fields(&line, &self.server).get(field as usize).copied().flatten();
        let (start, end) = place.ok_or(EditError::NotARule { line: number })?;
        let edited = layout::splice(&text, start, end, to);
        self.change_rule(index, number, &text, edited)
    }

    /// Sets an option of the rule on the line with this number: where it already has it, there.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_option(
        self,
        number: u32,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Self, EditError> {
        let (index, text) = self.rule(number)?;
        let (name, value) = (name.as_ref(), value.as_ref());
        let option = option_text(name, value)?;
        let line = self.as_line(&text).ok_or(EditError::NotARule { line: number })?;
        // Of several with one name the last counts.
        let edited = match option_places(&line, name, &self.server).last() {
            Some((start, end)) => layout::splice(&text, *start, *end, &option),
            None => {
                let last = line.tokens().last().map_or(0, |token| token.span().end());
                layout::splice(&text, last, last, &[b" ", option.as_slice()].concat())
            }
        };
        // A line can end within quotes, and then what is added is part of what they hold.
        let there = self
            .as_line(&edited)
            .is_some_and(|line| line.tokens().any(|token| token.is(&[name, b"=", value].concat())));
        if !there {
            return Err(BuildError::ReadOtherwise.into());
        }
        self.change_rule(index, number, &text, edited)
    }

    /// Removes an option of the rule on the line with this number, however often it has it.
    ///
    /// # Errors
    /// [`EditError::NotARule`], [`EditError::NoSuchOption`], [`EditError::Invalid`]
    pub fn remove_option(self, number: u32, name: impl AsRef<[u8]>) -> Result<Self, EditError> {
        let (index, text) = self.rule(number)?;
        let name = name.as_ref();
        let line = self.as_line(&text).ok_or(EditError::NotARule { line: number })?;
        let places = option_places(&line, name, &self.server);
        if places.is_empty() {
            return Err(EditError::NoSuchOption { line: number, name: name.into() });
        }
        let mut edited = text.clone();
        for (mut start, end) in places.into_iter().rev() {
            // With the blanks, or the comma, before it.
            let separates = |byte: u8| lexer::is_blank(byte) || byte == b',';
            while start > 0 && separates(edited[start - 1]) {
                start -= 1;
            }
            let gap = edited.get(end).is_some_and(|byte| !lexer::is_blank(*byte));
            edited = layout::splice(&edited, start, end, if gap { b" " } else { b"" });
        }
        self.change_rule(index, number, &text, edited)
    }

    /// A rule's text as a line of its own.
    fn as_line<'t>(&self, text: &'t [u8]) -> Option<Line<'t>> {
        lexer::lines(text, self.server.version).next()
    }

    /// Changes a rule's line if the server takes it then.
    fn change_rule(
        mut self,
        index: usize,
        line: u32,
        before: &[u8],
        after: Vec<u8>,
    ) -> Result<Self, EditError> {
        if let Some(message) = self.problem(&after)
            && self.problem(before).is_none()
        {
            return Err(EditError::Invalid { line, message });
        }
        self.lines.amend(index, after)?;
        Ok(self)
    }

    /// What the server says to a line alone, if it refuses it for more than @files that are not
    /// there.
    fn problem(&self, text: &[u8]) -> Option<Text> {
        let rules = HbaDocument::parse(text).interpret(&self.server);
        let refused = rules.diagnostics().iter().find(|diagnostic| {
            diagnostic.severity == Severity::Error && diagnostic.code != Code::CannotOpen
        });
        refused.map(|diagnostic| diagnostic.message.clone())
    }

    /// Makes all edits.
    ///
    /// # Errors
    /// [`EditError::TooLarge`], [`EditError::Unsafe`]; the document is as it was.
    pub fn apply(self) -> Result<(), EditError> {
        self.document.text = self.lines.apply(&self.document.text)?;
        Ok(())
    }
}

fn local_rule() -> NewRule {
    NewRule::new(ConnectionType::Local, Method::Reject)
}

/// The tokens of a rule's line that give this option.
fn option_places(line: &Line<'_>, name: &[u8], server: &Server) -> Vec<(usize, usize)> {
    let fields = layout::rule_fields(line, server);
    let Some((method, _)) = fields.get(Field::Method as usize).copied().flatten() else {
        return Vec::new();
    };
    line.tokens()
        .filter(|token| token.span().start() > method)
        .filter(|token| {
            let text = token.to_vec();
            text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))
        })
        .map(|token| (token.span().start(), token.span().end()))
        .collect()
}
