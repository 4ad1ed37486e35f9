//! Lines and tokens, as `hba.c` splits them. Allocates nothing and stands alone.
//!
//! [`lines`] splits the bytes of a file into the lines that a server of a major sees, which are not
//! always those that an editor shows: a backslash at the end of a line joins it with the next one
//! (from 14 on), a NUL byte cuts a line short (12, 13) or glues the next one on (14 on), and 12 and
//! 13 split lines of 20,479 bytes and more. [`Line::tokens`] splits a line into tokens.
//!
//! ```
//! use hba_parser::{PgVersion, lexer};
//!
//! let file = b"host \"my db\",all bob \\\n 10.0.0.0/8 md5 # comment\n";
//! let line = lexer::lines(file, PgVersion::V16).next().unwrap();
//! assert_eq!(line.physical_lines(), 2);
//! let tokens: Vec<_> = line.tokens().map(|token| token.to_vec()).collect();
//! let expected: [&[u8]; 6] = [b"host", b"my db", b"all", b"bob", b"10.0.0.0/8", b"md5"];
//! assert_eq!(tokens, expected);
//! let fields: Vec<_> = line.tokens().map(|token| token.field()).collect();
//! assert_eq!(fields, [0, 1, 1, 2, 3, 4]);
//! ```
mod cursor;
mod line;
mod reader;
mod token;

use textfile::Span;

pub(crate) use self::{
    cursor::{Cursor, Lexed, is_blank},
    line::Mark,
    reader::without_line_end,
};
pub use self::{
    line::{Line, Lines, lines},
    token::{Token, Tokens},
};

/// A span of a file, which a document keeps below 4 GiB; what a caller lexes beyond that gets spans
/// that end there.
pub(crate) fn span(start: usize, end: usize) -> Span {
    let short = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(short(start), short(end))
}
