//! Edits: what is written is read back by libpq, what is not touched stays byte for byte.

use std::ops::RangeInclusive;

use crate::{
    Entry, EntryError, Field, Libpq, NewEntry, PassFile, PgVersion,
    file::candidate,
    lines::raw_lines,
    matching::{coverage, lent_password},
};

/// What [`PassFile::set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The entry was there already.
    Unchanged {
        /// In this line, counted from 1.
        line: usize,
    },
    /// An entry with the same four fields had another password, or was lost to libpq at the end of
    /// the file.
    Replaced {
        /// In this line, counted from 1.
        line: usize,
    },
    /// There was no such entry, or none that libpq would have reached.
    Added {
        /// As this line, counted from 1.
        line: usize,
    },
}

/// Why an edit was not made; the file is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// No line can say what was to be written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The file has no such line.
    #[error("the file has {lines} lines: there is no line {line}")]
    NoSuchLine {
        /// The number that was given, counted from 1.
        line: usize,
        /// How many lines there are.
        lines: usize,
    },
    /// libpq would take the line for the end of an earlier one.
    #[error(
        "line {line} has a NUL byte in it: libpq would append the next line to it; remove it first"
    )]
    AfterNul {
        /// The line with the NUL, counted from 1.
        line: usize,
    },
    /// The document refuses: the edited file would have 4 GiB or more.
    #[error(transparent)]
    Document(textfile::EditError),
}

impl PassFile {
    /// Sees to it that libpq finds this password for this entry's connections: the first line with
    /// the same four fields gets the password, or a new line is put where libpq reaches it, before
    /// the first that would be taken instead. An entry that nothing hides is appended.
    ///
    /// Further lines with the same four fields can never be used; they are removed, so that no
    /// password of old stays behind. Doing it twice changes nothing the second time.
    ///
    /// ```
    /// use passfile::{Change, NewEntry, PassFile};
    ///
    /// let mut file = PassFile::parse("db1:*:*:bob:old\n*:*:*:*:any\n")?;
    /// let entry = NewEntry::new("new").host("db1").user("bob");
    /// assert_eq!(file.set(&entry)?, Change::Replaced { line: 1 });
    /// assert_eq!(file.set(&entry)?, Change::Unchanged { line: 1 });
    /// assert_eq!(file.set(&NewEntry::new("x").host("db2"))?, Change::Added { line: 2 });
    /// assert_eq!(*file.to_bytes(), *b"db1:*:*:bob:new\ndb2:*:*:*:x\n*:*:*:*:any\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EditError`]; the file is as it was.
    pub fn set(&mut self, entry: &NewEntry<'_>) -> Result<Change, EditError> {
        entry.to_line()?;
        let before = self.document.byte_len();
        if raw_lines(&self.document).any(|raw| !raw.seen) {
            self.end_last_line()?;
        }
        let seen = self.document.byte_len() == before;
        let (first, equal) = self.standing(entry);
        let Some(first) = first else {
            return Ok(Change::Added { line: self.push(entry)? });
        };
        let count = self.line_count();
        let change = match equal.first() {
            Some(&line) if line == first && seen && self.says(line, entry) => {
                Change::Unchanged { line }
            }
            Some(&line) if line == first => {
                self.replace(line, entry)?;
                Change::Replaced { line }
            }
            _ => {
                self.insert(first, entry)?;
                Change::Added { line: first }
            }
        };
        let edited = self.line_count();
        // By now they stand one line further down, or further up: a replaced line takes those with it
        // that libpq reads as one with it.
        for line in equal.iter().rev().filter(|line| **line != first) {
            self.remove(line + edited - count)?;
        }
        Ok(change)
    }

    /// The first line that libpq takes for all of the entry's connections, and the lines that are for
    /// the very same ones.
    fn standing(&self, entry: &NewEntry<'_>) -> (Option<usize>, Vec<usize>) {
        let libpq = Libpq::default();
        let fields = entry.fields();
        let (mut first, mut equal) = (None, Vec::new());
        for raw in raw_lines(&self.document) {
            let Some(text) = candidate(&raw, &libpq) else { continue };
            let Some(coverage) = coverage(text, fields) else { continue };
            let (line, end) = (raw.first + 1, text.len());
            first.get_or_insert(line);
            // A line with unescaped colons may be meant for another connection, too: not one whose
            // fields between the colons are empty, which none can be.
            let split = Entry::split(line, raw.text, end);
            let is_empty = |field: &Field<'_>| matches!(field, Field::Exactly(value) if value.as_bytes().is_empty());
            let meant = split.is_none_or(|other| {
                other.fields() == *fields || other.fields().iter().any(is_empty)
            });
            if coverage.same && meant {
                equal.push(line);
            }
        }
        (first, equal)
    }

    /// Whether a line has the entry's password, for every major.
    fn says(&self, line: usize, entry: &NewEntry<'_>) -> bool {
        [PgVersion::OLDEST, PgVersion::NEWEST].into_iter().all(|version| {
            let raw = raw_lines(&self.document).find(|raw| raw.first + 1 == line);
            raw.is_some_and(|raw| {
                let Some(text) = candidate(&raw, &Libpq::new(version)) else { return false };
                let found = coverage(text, entry.fields())
                    .map(|coverage| lent_password(&text[coverage.password..]));
                found.is_some_and(|found| found == *entry.password())
            })
        })
    }

    /// Appends an entry; its line's number.
    ///
    /// # Errors
    /// [`EditError`]; the file is as it was.
    pub fn push(&mut self, entry: &NewEntry<'_>) -> Result<usize, EditError> {
        let line = self.line_count() + 1;
        self.insert(line, entry)?;
        Ok(line)
    }

    /// Puts an entry before this line, counted from 1; at the end for the number after the last.
    ///
    /// # Errors
    /// [`EditError`]; the file is as it was.
    pub fn insert(&mut self, line: usize, entry: &NewEntry<'_>) -> Result<(), EditError> {
        let text = entry.to_line()?;
        if line == 0 || line > self.line_count() + 1 {
            return Err(self.no_such_line(line));
        }
        self.refuse_after_nul(line)?;
        self.document.insert(line - 1, &*text).map_err(|error| self.failed(error))?;
        self.end_last_line()
    }

    /// Puts an entry in the place of this line, whatever that was, counted from 1.
    ///
    /// # Errors
    /// [`EditError`]; the file is as it was.
    pub fn replace(&mut self, line: usize, entry: &NewEntry<'_>) -> Result<(), EditError> {
        let text = entry.to_line()?;
        let lines = self.joined_with(line)?;
        self.refuse_after_nul(*lines.start())?;
        self.document.replace(lines.start() - 1, &*text).map_err(|error| self.failed(error))?;
        self.remove_lines(lines.start() + 1..=*lines.end())?;
        self.end_last_line()
    }

    /// Removes this line, counted from 1. A line that libpq appends to it (after a NUL) goes with it.
    ///
    /// # Errors
    /// [`EditError::NoSuchLine`].
    pub fn remove(&mut self, line: usize) -> Result<(), EditError> {
        let lines = self.joined_with(line)?;
        self.remove_lines(lines)?;
        self.end_last_line()
    }

    /// Moves a line so that it becomes line `to`, both counted from 1: of two lines that match, libpq
    /// takes the first.
    ///
    /// # Errors
    /// [`EditError`]; the file is as it was.
    pub fn move_line(&mut self, from: usize, to: usize) -> Result<(), EditError> {
        for line in [from, to] {
            if line == 0 || line > self.line_count() {
                return Err(self.no_such_line(line));
            }
        }
        if from == to {
            return Ok(());
        }
        // Neither may the line leave one with a NUL, nor come after one, nor have one.
        self.refuse_after_nul(from)?;
        self.refuse_after_nul(from + 1)?;
        self.refuse_after_nul(if to < from { to } else { to + 1 })?;
        self.end_last_line()?;
        self.document.move_line(from - 1, to - 1).map_err(|error| self.failed(error))
    }

    /// Ends the last line: libpq loses an unended one of certain lengths, which no edit may bring
    /// about.
    fn end_last_line(&mut self) -> Result<(), EditError> {
        self.document.end_last_line().map_err(|error| self.failed(error))
    }

    fn remove_lines(&mut self, lines: RangeInclusive<usize>) -> Result<(), EditError> {
        for line in lines.rev() {
            self.document.remove(line - 1).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// The lines that libpq reads as one with this one.
    fn joined_with(&self, line: usize) -> Result<RangeInclusive<usize>, EditError> {
        raw_lines(&self.document)
            .map(|raw| raw.first + 1..=raw.last + 1)
            .find(|lines| lines.contains(&line))
            .ok_or_else(|| self.no_such_line(line))
    }

    /// Whether a line of this number would be appended to the one before.
    fn refuse_after_nul(&self, line: usize) -> Result<(), EditError> {
        let before = line.checked_sub(2).and_then(|before| self.document.line(before));
        match before {
            Some(before) if memchr::memchr(0, before.bytes()).is_some() => {
                Err(EditError::AfterNul { line: line - 1 })
            }
            _ => Ok(()),
        }
    }

    fn no_such_line(&self, line: usize) -> EditError {
        EditError::NoSuchLine { line, lines: self.line_count() }
    }

    fn failed(&self, error: textfile::EditError) -> EditError {
        match error {
            textfile::EditError::NoSuchLine { index } => self.no_such_line(index + 1),
            other => EditError::Document(other),
        }
    }
}
