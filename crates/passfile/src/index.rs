//! The first line of each combination of fields, found without going through the lines.

use std::collections::HashMap;

use crate::Entry;

/// Entries by their first four fields. Which of those are `*` is a set of bits, 16 in all.
#[derive(Default)]
pub(crate) struct Index {
    /// The combinations of `*` that occur.
    wild: u16,
    lines: HashMap<Box<[u8]>, usize>,
}

impl Index {
    /// Adds an entry, unless an earlier one has the same fields.
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        let (wild, values) = Self::fields(entry);
        let mut key = Vec::new();
        write_key(&mut key, wild, values.each_ref().map(Vec::as_slice));
        self.wild |= 1 << wild;
        self.lines.entry(key.into()).or_insert(entry.line());
    }

    /// The first line that matches whatever this entry matches.
    pub(crate) fn first_covering(&self, entry: &Entry<'_>) -> Option<usize> {
        let (wild, values) = Self::fields(entry);
        self.first(wild, values.each_ref().map(Vec::as_slice))
    }

    /// The first line that matches these values and has a `*` at least where the bits say.
    pub(crate) fn first(&self, at_least: u8, values: [&[u8]; 4]) -> Option<usize> {
        let mut key = Vec::with_capacity(64);
        (0..16_u8)
            .filter(|wild| self.wild & (1 << wild) != 0 && wild & at_least == at_least)
            .filter_map(|wild| {
                write_key(&mut key, wild, values);
                self.lines.get(&*key).copied()
            })
            .min()
    }

    fn fields(entry: &Entry<'_>) -> (u8, [Vec<u8>; 4]) {
        let mut wild = 0;
        let mut values = [const { Vec::new() }; 4];
        for (index, (field, value)) in entry.fields().iter().zip(&mut values).enumerate() {
            match field {
                crate::Field::Any => wild |= 1 << index,
                crate::Field::Exactly(exactly) => value.extend_from_slice(exactly.as_bytes()),
            }
        }
        (wild, values)
    }
}

/// The bits, then the values that they leave, each with its length before it.
fn write_key(key: &mut Vec<u8>, wild: u8, values: [&[u8]; 4]) {
    key.clear();
    key.push(wild);
    for (index, value) in values.into_iter().enumerate() {
        if wild & (1 << index) == 0 {
            key.extend_from_slice(&value.len().to_ne_bytes());
            key.extend_from_slice(value);
        }
    }
}
