//! What is wrong with a description, and where.

use std::fmt;

/// A place in a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

/// What is wrong with a description.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place_words(*place))]
pub struct SpecError {
    /// Where, if it was read from text.
    pub place: Option<Place>,
    /// What, and what to do about it.
    pub message: String,
    /// The words of the description by which the place is found.
    near: Option<String>,
}

/// Without the words by which the place is found: they may hold a password.
impl fmt::Debug for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpecError")
            .field("place", &self.place)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

fn place_words(place: Option<Place>) -> String {
    place
        .map_or_else(String::new, |place| format!("line {}, column {}: ", place.line, place.column))
}

/// What serde says, in the words of TOML in place of Rust's.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 5] = [
        ("unknown variant ", "unknown value "),
        ("expected u16", "expected a number from 0 to 65535"),
        ("expected a sequence", "expected a list, in [ ]"),
        ("expected a map", "expected a table"),
        ("invalid type: map", "invalid type: table"),
    ];
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    WORDS.into_iter().fold(message.to_owned(), replace)
}

impl SpecError {
    /// Something that is wrong with the value of `near`.
    pub(super) fn new(message: impl Into<String>, near: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), near: Some(near.into()) }
    }

    pub(super) fn from_toml(error: &toml::de::Error, text: &str) -> Self {
        let place = error.span().map(|span| Place::of(text, span.start));
        let message = in_words(&error.message().trim_end().replace('\n', ", "));
        Self { place, message, near: None }
    }

    /// The same error with the place where its words stand.
    pub(super) fn placed_in(mut self, text: &str) -> Self {
        let offset = self.near.as_deref().and_then(|near| {
            // A comment may have the words, too.
            let mut start = 0;
            text.split_inclusive('\n').find_map(|line| {
                let at = line.split('#').next().and_then(|code| code.find(near));
                let found = at.map(|at| start + at);
                start += line.len();
                found
            })
        });
        self.place = offset.map(|offset| Place::of(text, offset));
        self
    }
}
