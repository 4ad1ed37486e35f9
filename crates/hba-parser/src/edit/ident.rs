//! Edits of pg_ident.conf.

use alloc::vec::Vec;

use super::{EditError, lines::LineEdits};
use crate::{
    BuildError, Code, IdentDocument, NewMapping, PgVersion, RoleSpec, Server, Severity,
    SystemUserSpec,
    build::quote,
    layout::{self, Layout},
    lexer::{self, Line},
    text::Text,
};

/// Edits of a document, collected and then made at once: [`IdentEdit::apply`].
///
/// Line numbers are those of the document before any edit, as the server counts: they stay valid
/// however many edits are collected. New mappings take the columns and line ends of their neighbours;
/// everything else stays byte for byte. Which mapping comes first hardly matters: any that allows is
/// enough.
///
/// ```
/// use hba_parser::{IdentDocument, NewMapping, PgVersion, RoleSpec, Server, SystemUserSpec};
///
/// let mut file = IdentDocument::parse(*b"\
/// ## MAP     SYSTEM      ROLE
/// admins    root        postgres   # the machine's own
/// corp      alice       alice
/// ");
/// let server = Server::new(PgVersion::V16);
/// let bob = NewMapping::new("corp", SystemUserSpec::name("bob b"), RoleSpec::name("bob"));
/// file.edit(&server)
///     .insert_after(3, &bob)?
///     .set_database_user(2, RoleSpec::name("admin"))?
///     .comment_out(3)?
///     .apply()?;
/// assert_eq!(file.to_string(), "\
/// ## MAP     SYSTEM      ROLE
/// admins    root        admin      # the machine's own
/// ## corp      alice       alice
/// corp      \"bob b\"     bob
/// ".replace("## corp", "# corp"));
/// # Ok::<(), hba_parser::EditError>(())
/// ```
#[derive(Debug)]
pub struct IdentEdit<'d> {
    document: &'d mut IdentDocument,
    server: Server,
    lines: LineEdits,
}

/// A field of a mapping that an edit can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Map = 0,
    SystemUser = 1,
    DatabaseUser = 2,
}

/// How many fields a mapping has: all are put into columns.
const FIELDS: usize = 3;

impl IdentDocument {
    /// Begins to edit the document for this server: its major decides what a line is, and mappings
    /// are checked against it.
    pub fn edit(&mut self, server: &Server) -> IdentEdit<'_> {
        let lines = LineEdits::new(self.bytes(), server.version);
        IdentEdit { document: self, server: server.clone(), lines }
    }

    /// Adds a mapping at the end: names are quoted where they must be. A system user that begins with
    /// a slash is a regular expression, and from 16 on a database user, too. [`IdentEdit::append`]
    /// takes a mapping that says what is meant.
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
        // What a backslash at the end of the file would join is kept apart in any major.
        let mut lines = LineEdits::new(self.bytes(), PgVersion::V18);
        lines.insert(lines.len(), fields.join(&b' '));
        self.text = lines.apply(&self.text)?;
        Ok(())
    }

    /// Removes the line with this number, as a server of this major counts.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Unsafe`]
    pub fn remove(&mut self, number: u32, server: &Server) -> Result<(), EditError> {
        self.edit(server).remove(number)?.apply()
    }
}

impl IdentEdit<'_> {
    fn line(&self, index: usize) -> Option<Line<'_>> {
        self.lines.line(self.document.bytes(), index)
    }

    /// The mapping as a line that stands like those near the place; with the comment of the line that
    /// it replaces, unless it has one of its own.
    fn laid_out(
        &self,
        place: usize,
        mapping: &NewMapping,
        replaced: Option<Line<'_>>,
    ) -> Result<Vec<u8>, EditError> {
        let mut text = mapping.checked_fields(&self.server)?;
        if text.comment.is_none()
            && let Some(replaced) = replaced.filter(|line| line.physical_lines() == 1)
            && replaced.tokens().next().is_some()
            && let Some(comment) = replaced.comment()
        {
            text.comment = Some(self.document.bytes()[comment.range()].to_vec());
        }
        let layout = layout::near(self.lines.len(), place, |index| {
            let line = self.line(index)?;
            let fields = layout::mapping_fields(&line);
            let whole = fields.len() == FIELDS;
            Some((Layout::of(&line, &fields).filter(|_| whole)?, true))
        });
        let comment = text.comment.as_deref();
        let fields: Vec<_> = text.fields.iter().map(|field| Some(field.as_slice())).collect();
        Ok(match layout {
            Some(layout) => layout.write(&fields, FIELDS, comment),
            None => fields.into_iter().flatten().chain(comment).collect::<Vec<_>>().join(&b' '),
        })
    }

    fn insert_at(mut self, place: usize, mapping: &NewMapping) -> Result<Self, EditError> {
        let text = self.laid_out(place, mapping, None)?;
        self.lines.insert(place, text);
        Ok(self)
    }

    /// Inserts a mapping before the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_before(self, line: u32, mapping: &NewMapping) -> Result<Self, EditError> {
        let place = self.lines.index(line)?;
        self.insert_at(place, mapping)
    }

    /// Inserts a mapping after the line with this number.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`]
    pub fn insert_after(self, line: u32, mapping: &NewMapping) -> Result<Self, EditError> {
        let place = self.lines.index(line)? + 1;
        self.insert_at(place, mapping)
    }

    /// Adds a mapping at the end.
    ///
    /// # Errors
    /// [`EditError::Build`]
    pub fn append(self, mapping: &NewMapping) -> Result<Self, EditError> {
        let place = self.lines.len();
        self.insert_at(place, mapping)
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

    /// Puts another mapping in the place of the line with this number. A comment at its end stays,
    /// unless the mapping has one of its own.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`], [`EditError::Build`], [`EditError::Conflict`]
    pub fn replace(mut self, line: u32, mapping: &NewMapping) -> Result<Self, EditError> {
        let index = self.lines.index(line)?;
        let text = self.laid_out(index, mapping, self.line(index))?;
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

    /// Makes a comment of the line with this number.
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

    /// Changes the map of the mapping on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotAMapping`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_map(self, line: u32, to: impl AsRef<[u8]>) -> Result<Self, EditError> {
        let mapping = NewMapping::new(to, SystemUserSpec::name("x"), RoleSpec::name("x"));
        self.set_field(line, Field::Map, &mapping)
    }

    /// Changes the system user of the mapping on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotAMapping`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_system_user(self, line: u32, to: SystemUserSpec) -> Result<Self, EditError> {
        let mapping = NewMapping::new("x", to, RoleSpec::name("x"));
        self.set_field(line, Field::SystemUser, &mapping)
    }

    /// Changes the database user of the mapping on the line with this number.
    ///
    /// # Errors
    /// [`EditError::NotAMapping`], [`EditError::Build`], [`EditError::Invalid`]
    pub fn set_database_user(self, line: u32, to: RoleSpec) -> Result<Self, EditError> {
        let system_user = match to {
            RoleSpec::Captured(_) => SystemUserSpec::regex("(x)"),
            _ => SystemUserSpec::name("x"),
        };
        let mapping = NewMapping::new("x", system_user, to.clone());
        let edit = self.set_field(line, Field::DatabaseUser, &mapping)?;
        // What `\1` means depends on the line's system user.
        let index = edit.lines.index(line)?;
        let text = edit.lines.text(edit.document.bytes(), index).unwrap_or_default();
        let maps = IdentDocument::parse(text).interpret(&edit.server);
        if maps.iter().next().is_some_and(|mapping| !to.is_read_as(&mapping)) {
            return Err(BuildError::ReadOtherwise.into());
        }
        Ok(edit)
    }

    /// Changes a field to that of a mapping.
    fn set_field(
        mut self,
        number: u32,
        field: Field,
        mapping: &NewMapping,
    ) -> Result<Self, EditError> {
        let to = &mapping.checked_fields(&self.server)?.fields[field as usize];
        let index = self.lines.index(number)?;
        let none = EditError::NotAMapping { line: number };
        let text = self.lines.text(self.document.bytes(), index);
        let text = text.ok_or(EditError::Conflict { line: number })?;
        let line = lexer::lines(&text, self.server.version).next().ok_or(none.clone())?;
        let fields = layout::mapping_fields(&line);
        let place =
            fields.get(field as usize).copied().flatten().filter(|_| fields.len() >= FIELDS);
        let (start, end) = place.ok_or(none)?;
        let after = layout::splice(&text, start, end, to);
        if let Some(message) = self.problem(&after)
            && self.problem(&text).is_none()
        {
            return Err(EditError::Invalid { line: number, message });
        }
        self.lines.amend(index, after)?;
        Ok(self)
    }

    /// What the server says to a line alone, if it refuses it for more than @files that are not
    /// there.
    fn problem(&self, text: &[u8]) -> Option<Text> {
        let maps = IdentDocument::parse(text).interpret(&self.server);
        let refused = maps.diagnostics().iter().find(|diagnostic| {
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
