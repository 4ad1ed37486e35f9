//! PostgreSQL's regular expressions, judged as PostgreSQL judges them.
//!
//! These files use *advanced* regular expressions: neither POSIX's nor Rust's nor Perl's. `\m`, `\y`,
//! `[[:<:]]`, `(?i)` only at the start, back references, lookaround; the longest match, not the
//! first alternative's. [`Regex::new`] says what `regcomp` says, in its words; [`Regex::is_match`]
//! takes time linear in the text unless there are back references or lookaround.
//!
//! Servers read these files before they know a database, and so its encoding: a character is a byte,
//! and nothing beyond ASCII is a letter or has another case (collation C).
//!
//! ```
//! use hba_parser::{PgVersion, regex::{Regex, RegexError}};
//!
//! let regex = Regex::new(br"^(app|web)_\d+$", PgVersion::V16)?;
//! assert!(regex.is_match(b"web_7")?);
//! assert!(!regex.is_match(b"web_7\n")?);
//! assert_eq!(regex.captures(b"app_12")?.unwrap()[1], Some(0..3));
//!
//! let error = Regex::new(b"a{2,1}", PgVersion::V16).unwrap_err();
//! assert_eq!(error, RegexError::BadBrace);
//! assert_eq!(error.to_string(), "invalid repetition count(s)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! Where PostgreSQL's limit is its memory or stack, these are ours, and the answer is
//! [`RegexError::TooComplex`], in the server's own words: parentheses nested 400 deep, 100,000
//! steps after repetitions are written out. Back references that cost more than 200,000 attempts
//! are given up with [`MatchError`]; a server goes on for as long as it takes.

mod charset;
mod dissect;
mod lex;
mod parse;
mod program;

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use pg_version::PgVersion;

use self::{
    dissect::{Compiled, Dissector},
    program::{Lookaround, Matcher, Program},
};

/// A compiled regular expression.
pub struct Regex {
    tree: Compiled,
    looks: Vec<Lookaround>,
    captures: u32,
    ignore_case: bool,
    newline_anchors: bool,
}

impl Regex {
    /// Compiles an expression: what stands behind the `/` of a token. Before 14 some escapes were
    /// not allowed within brackets.
    ///
    /// # Errors
    /// What `regcomp` says.
    pub fn new(pattern: &[u8], version: PgVersion) -> Result<Self, RegexError> {
        let parsed = parse::parse(pattern, version < PgVersion::V14)?;
        let looks = parsed
            .looks
            .iter()
            .map(|(look, ast)| Ok(Lookaround { look: *look, program: Program::new(ast)? }));
        Ok(Self {
            tree: Compiled::new(&parsed.tree, None)?,
            looks: looks.collect::<Result<_, RegexError>>()?,
            captures: parsed.captures,
            ignore_case: parsed.ignore_case,
            newline_anchors: parsed.newline_anchors,
        })
    }

    /// Whether it matches anywhere in `text`.
    ///
    /// # Errors
    /// [`MatchError`] if back references cost too much.
    pub fn is_match(&self, text: &[u8]) -> Result<bool, MatchError> {
        if self.tree.has_backrefs() {
            return Ok(self.captures(text)?.is_some());
        }
        Ok(self.matcher(text).is_match(self.tree.program()))
    }

    /// The leftmost match (number 0) and what each parenthesis captured.
    ///
    /// # Errors
    /// [`MatchError`] if back references cost too much.
    pub fn captures(&self, text: &[u8]) -> Result<Option<Vec<Option<Range<usize>>>>, MatchError> {
        let mut matcher = self.matcher(text);
        if !matcher.is_match(self.tree.program()) {
            return Ok(None);
        }
        Dissector::new(&mut matcher, self.ignore_case, self.captures).find(&self.tree)
    }

    /// How many parentheses capture.
    pub(crate) fn groups(&self) -> u32 {
        self.captures
    }

    fn matcher<'r, 't>(&'r self, text: &'t [u8]) -> Matcher<'r, 't> {
        Matcher::new(text, &self.looks, self.newline_anchors)
    }

    /// How many steps its programs have: what it costs in memory.
    pub(crate) fn steps(&self) -> usize {
        self.tree.len() + self.looks.iter().map(|look| look.program.len()).sum::<usize>()
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regex").field("captures", &self.captures).finish_non_exhaustive()
    }
}

/// Why an expression is none: shown in the words of PostgreSQL's `regerror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegexError {
    /// `REG_BADPAT`
    BadPattern,
    /// `REG_ECOLLATE`
    CollatingElement,
    /// `REG_ECTYPE`
    CharacterClass,
    /// `REG_EESCAPE`
    Escape,
    /// `REG_ESUBREG`
    BackReference,
    /// `REG_EBRACK`
    Bracket,
    /// `REG_EPAREN`
    Paren,
    /// `REG_EBRACE`
    Brace,
    /// `REG_BADBR`
    BadBrace,
    /// `REG_ERANGE`
    Range,
    /// `REG_BADRPT`
    BadRepetition,
    /// `REG_BADOPT`
    BadOption,
    /// `REG_ETOOBIG`
    TooComplex,
    /// `REG_ASSERT`
    Assertion,
}

impl RegexError {
    /// The words of `regerror`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadPattern => "invalid regexp (reg version 0.8)",
            Self::CollatingElement => "invalid collating element",
            Self::CharacterClass => "invalid character class",
            Self::Escape => "invalid escape \\ sequence",
            Self::BackReference => "invalid backreference number",
            Self::Bracket => "brackets [] not balanced",
            Self::Paren => "parentheses () not balanced",
            Self::Brace => "braces {} not balanced",
            Self::BadBrace => "invalid repetition count(s)",
            Self::Range => "invalid character range",
            Self::BadRepetition => "quantifier operand invalid",
            Self::BadOption => "invalid embedded option",
            Self::TooComplex => "regular expression is too complex",
            Self::Assertion => "\"cannot happen\" -- you found a bug",
        }
    }
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for RegexError {}

/// Why it is not known whether an expression matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MatchError {
    /// Back references cost more than 200,000 attempts.
    TooManyAttempts,
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the regular expression's back references take too long to try out")
    }
}

impl core::error::Error for MatchError {}
