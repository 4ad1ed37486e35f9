//! What is wrong with a description, and where.

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place_words(*place))]
pub struct SpecError {
    /// Where, if it was read from text.
    pub place: Option<Place>,
    /// What, and what to do about it.
    pub message: String,
    /// The words of the description by which the place is found.
    near: Option<String>,
}

fn place_words(place: Option<Place>) -> String {
    place
        .map_or_else(String::new, |place| format!("line {}, column {}: ", place.line, place.column))
}

impl SpecError {
    /// Something that is wrong with the value of `near`.
    pub(super) fn new(message: impl Into<String>, near: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), near: Some(near.into()) }
    }

    pub(super) fn from_toml(error: &toml::de::Error, text: &str) -> Self {
        let place = error.span().map(|span| Place::of(text, span.start));
        let message = error.message().trim_end().replace('\n', ", ");
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
