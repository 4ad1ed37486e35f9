//! The file: any bytes, read as libpq does.

use std::fmt;

use textfile::{Document, TooLarge};
use zeroize::Zeroizing;

use crate::{
    Entry, Key, Libpq,
    lines::{RawLine, raw_lines},
    matching::{password, password_start, strip_line_end},
    secret::Password,
};

/// A password file.
///
/// It holds the file's bytes as they are and wipes them on drop; what it lends borrows from it.
/// Nothing is refused: a line that libpq ignores is kept and ignored. Edits are in
/// [`PassFile::set`], [`PassFile::push`] and their like.
///
/// `Debug` shows sizes only.
#[derive(Clone)]
pub struct PassFile {
    pub(crate) document: Document,
}

/// The entry that libpq would take the password from.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    line: usize,
    password: Password<'a>,
}

impl<'a> Found<'a> {
    pub(crate) const fn new(line: usize, password: Password<'a>) -> Self {
        Self { line, password }
    }

    /// The line's number in the file, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The password. If it is [empty](Password::is_empty), libpq connects without one: the search is
    /// over all the same.
    #[must_use]
    pub const fn password(&self) -> &Password<'a> {
        &self.password
    }

    /// Gives up the rest.
    #[must_use]
    pub fn into_password(self) -> Password<'a> {
        self.password
    }
}

impl PassFile {
    /// A file without a line.
    #[must_use]
    pub fn new() -> Self {
        Self { document: Document::new_secret(Vec::new()).unwrap_or_else(|_| Document::new([])) }
    }

    /// Takes the bytes of a file. A `Vec` becomes the file's own: nothing is copied, and it is wiped
    /// on drop.
    ///
    /// # Errors
    /// [`TooLarge`] with 4 GiB or more.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLarge> {
        Ok(Self { document: Document::new_secret(bytes.into())? })
    }

    /// Looks a connection up as libpq's `passwordFromFile` does: the first line that matches, in the
    /// order of the file, also if its password is empty.
    ///
    /// A line is compared along the values searched for, not split on colons first: `::1:5432:*:*:pw`
    /// matches the host `::1`, though in that line every colon should be escaped.
    ///
    /// ```
    /// use passfile::{Key, Libpq, PassFile};
    ///
    /// let file = PassFile::parse("# production\n*:*:*:bob:pw # not a comment\n")?;
    /// let found = file.lookup(&Key::new("bob").host("db1"), &Libpq::default()).ok_or("none")?;
    /// assert_eq!(found.line(), 2);
    /// assert_eq!(found.password().expose(), b"pw # not a comment");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lookup(&self, key: &Key<'_>, libpq: &Libpq) -> Option<Found<'_>> {
        self.find(&key.tokens(libpq)?, libpq)
    }

    /// The first line that matches these values.
    pub(crate) fn find(&self, tokens: &[&[u8]; 4], libpq: &Libpq) -> Option<Found<'_>> {
        raw_lines(&self.document).find_map(|raw| {
            let text = candidate(&raw, libpq)?;
            let start = password_start(text, tokens).ok()?;
            let end = text.len();
            Some(Found::new(raw.first + 1, password(raw.text, start, end)))
        })
    }

    /// The lines with all five fields that libpq looks at, in their order.
    pub fn entries<'f>(&'f self, libpq: &Libpq) -> impl Iterator<Item = Entry<'f>> + use<'f> {
        let libpq = libpq.clone();
        raw_lines(&self.document).filter_map(move |raw| {
            let end = candidate(&raw, &libpq)?.len();
            Entry::split(raw.first + 1, raw.text, end)
        })
    }

    /// How many lines the file has.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.document.len()
    }

    /// The file's bytes without a copy, unless it was edited.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.document.as_bytes()
    }

    /// A copy of the file's bytes, wiped on drop. What no edit touched is byte for byte what was
    /// read.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.document.byte_len()));
        self.document.write_to(&mut bytes);
        bytes
    }
}

/// The text of a line that libpq compares with a connection: not a comment, not empty, seen at all.
#[inline]
pub(crate) fn candidate<'r>(raw: &'r RawLine<'_>, libpq: &Libpq) -> Option<&'r [u8]> {
    if !raw.seen || raw.text.starts_with(b"#") {
        return None;
    }
    let text = strip_line_end(&raw.text, libpq.version());
    (!text.is_empty()).then_some(text)
}

impl Default for PassFile {
    fn default() -> Self {
        Self::new()
    }
}

/// Sizes only.
impl fmt::Debug for PassFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassFile")
            .field("lines", &self.document.len())
            .field("bytes", &self.document.byte_len())
            .finish_non_exhaustive()
    }
}
