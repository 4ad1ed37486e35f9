//! Why each line did or did not match.

use std::fmt;

use crate::{
    FieldName, Found, Key, Libpq, PassFile, Value,
    file::candidate,
    lines::{RawLine, raw_lines},
    matching::{password, password_start},
};

/// A lookup with the reason of each line.
///
/// It can be shown: it holds what was searched for, and no byte of the file but the password found,
/// which is not shown.
#[derive(Debug)]
pub struct Trace<'a> {
    searched: Option<[Value<'static>; 4]>,
    lines: Vec<TracedLine>,
    found: Option<Found<'a>>,
}

/// A line, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedLine {
    /// The line's number, counted from 1.
    pub line: usize,
    /// The last line that libpq reads as one with it; the same number, but for NUL bytes.
    pub last_line: usize,
    /// What libpq makes of it.
    pub outcome: Outcome,
}

/// What libpq makes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It matches; its password is taken.
    Match,
    /// A `#` in the first column.
    Comment,
    /// Nothing in it.
    Empty,
    /// A field asks for something else.
    Mismatch {
        /// Which field.
        field: FieldName,
        /// The byte, counted from 1, where the line differs from what is searched for.
        column: usize,
    },
    /// The line ends before this field does; what there is of it fits. Fewer than five fields, or
    /// the password is missing.
    Ended {
        /// In which field.
        field: FieldName,
    },
    /// libpq reads it and does not look at it: the file ends without a line feed just where its
    /// buffer is full, or after a NUL byte.
    Lost,
    /// An earlier line matched.
    NotReached,
}

impl<'a> Trace<'a> {
    /// The host, port, database and user that libpq searches for, defaults filled in; `None` if it
    /// does not search: there is no user.
    #[must_use]
    pub const fn searched(&self) -> Option<&[Value<'static>; 4]> {
        self.searched.as_ref()
    }

    /// Each line of the file, in order.
    #[must_use]
    pub fn lines(&self) -> &[TracedLine] {
        &self.lines
    }

    /// What was found.
    #[must_use]
    pub const fn found(&self) -> Option<&Found<'a>> {
        self.found.as_ref()
    }

    /// Gives up the reasons.
    #[must_use]
    pub fn into_found(self) -> Option<Found<'a>> {
        self.found
    }
}

/// One line of text for each line of the file:
///
/// ```
/// use passfile::{Key, Libpq, PassFile};
///
/// let file = PassFile::parse("# mine\ndb2:*:*:*:pw2\ndb1:*:app:pw1\n*:*:*:*:pw\n")?;
/// let trace = file.trace(&Key::new("bob").host("db1").dbname("app"), &Libpq::default());
/// assert_eq!(
///     trace.to_string(),
///     "searching for host \"db1\", port \"5432\", database \"app\", user \"bob\"
/// line 1: a comment
/// line 2: no match: the host is another one (from column 3)
/// line 3: no match: the user is another one (from column 11)
/// line 4: match
/// "
/// );
/// # Ok::<(), passfile::TooLarge>(())
/// ```
impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.searched {
            None => f.write_str("not searched: no user, or a NUL byte in what to search for\n")?,
            Some([host, port, dbname, user]) => writeln!(
                f,
                "searching for host {host:?}, port {port:?}, database {dbname:?}, user {user:?}"
            )?,
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for TracedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == self.last_line {
            write!(f, "line {}: {}", self.line, self.outcome)
        } else {
            let Self { line, last_line, outcome } = self;
            write!(f, "lines {line} to {last_line}, read as one for a NUL byte: {outcome}")
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("match"),
            Self::Comment => f.write_str("a comment"),
            Self::Empty => f.write_str("empty"),
            Self::Mismatch { field, column } => {
                write!(f, "no match: the {field} is another one (from column {column})")
            }
            Self::Ended { field } => write!(f, "no match: the line ends in the {field}"),
            Self::Lost => f.write_str(
                "not seen: the file ends without a line feed where libpq does not expect it",
            ),
            Self::NotReached => f.write_str("not reached"),
        }
    }
}

impl PassFile {
    /// [`PassFile::lookup`], and what became of each line.
    #[must_use]
    pub fn trace(&self, key: &Key<'_>, libpq: &Libpq) -> Trace<'_> {
        let tokens = key.tokens(libpq);
        let mut trace = Trace {
            searched: tokens.map(|tokens| tokens.map(|token| token.to_vec().into())),
            lines: Vec::with_capacity(self.line_count()),
            found: None,
        };
        for raw in raw_lines(&self.document) {
            let (line, last_line) = (raw.first + 1, raw.last + 1);
            let outcome = match &tokens {
                Some(tokens) if trace.found.is_none() => outcome(&raw, tokens, libpq),
                _ => Err(Outcome::NotReached),
            };
            let outcome = outcome.map_or_else(
                |outcome| outcome,
                |(start, end)| {
                    trace.found = Some(Found::new(line, password(raw.text, start, end)));
                    Outcome::Match
                },
            );
            trace.lines.push(TracedLine { line, last_line, outcome });
        }
        trace
    }
}

/// Where the password starts and ends, or why there is none.
fn outcome(
    raw: &RawLine<'_>,
    tokens: &[&[u8]; 4],
    libpq: &Libpq,
) -> Result<(usize, usize), Outcome> {
    let Some(text) = candidate(raw, libpq) else {
        return Err(match raw.text.first() {
            _ if !raw.seen => Outcome::Lost,
            Some(b'#') => Outcome::Comment,
            _ => Outcome::Empty,
        });
    };
    match password_start(text, tokens) {
        Ok(start) => Ok((start, text.len())),
        Err(mismatch) if mismatch.ended => Err(Outcome::Ended { field: mismatch.field }),
        Err(mismatch) => {
            Err(Outcome::Mismatch { field: mismatch.field, column: mismatch.offset + 1 })
        }
    }
}
