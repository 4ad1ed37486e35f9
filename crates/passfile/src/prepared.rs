//! Repeated lookups.

use std::fmt;

use crate::{
    Found, Key, Libpq, PassFile,
    entry::Entry,
    file::candidate,
    index::Index,
    lines::{Text, raw_lines},
    matching::{field_length, lent_password, password_start, strip_line_end},
};

/// A password file prepared for many lookups by one libpq: each takes the same short time however
/// many lines there are.
///
/// ```
/// use passfile::{Key, Libpq, PassFile};
///
/// let file = PassFile::parse("db1:*:*:bob:one\n*:*:*:bob:other\n")?;
/// let prepared = file.prepare(Libpq::default());
/// let line = |host| prepared.lookup(&Key::new("bob").host(host)).map(|found| found.line());
/// assert_eq!((line("db1"), line("db2")), (Some(1), Some(2)));
/// # Ok::<(), passfile::TooLarge>(())
/// ```
///
/// It finds what [`PassFile::lookup`] finds, always. Some files and values take as long as there:
/// lines with further unescaped colons are gone through where a value with a colon in it is
/// searched for (an IPv6 address), and a file with NUL bytes is read as libpq reads it.
pub struct Prepared {
    file: PassFile,
    libpq: Libpq,
    index: Index,
    /// Lines whose unescaped colons are more than needed: where they end a field depends on what is
    /// searched for.
    ambiguous: Vec<usize>,
    /// Whether libpq's lines are not the file's.
    joined: bool,
}

impl PassFile {
    /// Prepares the file for many lookups. To edit it again, take it [back](Prepared::into_file).
    #[must_use]
    pub fn prepare(self, libpq: Libpq) -> Prepared {
        let mut index = Index::default();
        let mut ambiguous = Vec::new();
        let mut joined = false;
        for raw in raw_lines(&self.document) {
            joined |= matches!(raw.text, Text::Joined(_));
            let Some(end) = candidate(&raw, &libpq).map(<[u8]>::len) else { continue };
            let Some(entry) = Entry::split(raw.first + 1, raw.text, end) else { continue };
            if field_length(entry.rest()) < entry.rest().len() {
                ambiguous.push(entry.line());
            }
            index.add(&entry);
        }
        Prepared { file: self, libpq, index, ambiguous, joined }
    }
}

impl Prepared {
    /// What [`PassFile::lookup`] says.
    #[must_use]
    pub fn lookup(&self, key: &Key<'_>) -> Option<Found<'_>> {
        if self.joined {
            return self.file.lookup(key, &self.libpq);
        }
        let tokens = key.tokens(&self.libpq)?;
        let first = self.index.first(0, tokens);
        // Without a colon in what is searched for, no colon of a line can be part of it.
        if tokens.iter().any(|token| token.contains(&b':')) {
            let earlier = |line: &usize| first.is_none_or(|first| *line < first);
            let ambiguous = self.ambiguous.iter().copied().take_while(earlier);
            if let Some(found) = ambiguous.into_iter().find_map(|line| self.take(line, &tokens)) {
                return Some(found);
            }
        }
        self.take(first?, &tokens)
    }

    /// The password of a line, if it matches.
    fn take(&self, line: usize, tokens: &[&[u8]; 4]) -> Option<Found<'_>> {
        let bytes = self.file.document.line(line - 1)?.bytes();
        let text = strip_line_end(bytes, self.libpq.version());
        let start = password_start(text, tokens).ok()?;
        Some(Found::new(line, lent_password(&text[start..])))
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &PassFile {
        &self.file
    }

    /// The libpq that it was prepared for.
    #[must_use]
    pub const fn libpq(&self) -> &Libpq {
        &self.libpq
    }

    /// Gives the file back.
    #[must_use]
    pub fn into_file(self) -> PassFile {
        self.file
    }
}

/// Sizes only.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("file", &self.file)
            .field("libpq", &self.libpq)
            .finish_non_exhaustive()
    }
}
