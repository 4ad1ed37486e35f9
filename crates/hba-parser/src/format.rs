//! Aligned columns, and nothing else changed.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    HbaDocument, LineClass, Server,
    layout::{FieldPlace, rule_fields},
    lexer::Line,
};

/// Wider fields than this do not push the others away.
const WIDEST: usize = 40;

/// The columns that are aligned: type, databases, users, address; the method follows.
const COLUMNS: usize = 4;

impl HbaDocument {
    /// The document with the fields of its rules in columns. Only blanks between fields change: what
    /// the rules mean, comments, other lines, line ends, and lines that a backslash continues stay.
    ///
    /// ```
    /// use hba_parser::{HbaDocument, PgVersion, Server};
    ///
    /// let file = HbaDocument::parse(*b"\
    /// local all postgres peer  # us
    /// hostssl app web,worker 10.0.0.0/8 scram-sha-256
    /// ");
    /// assert_eq!(file.format(&Server::new(PgVersion::V16)).to_string(), "\
    /// local    all  postgres                peer  # us
    /// hostssl  app  web,worker  10.0.0.0/8  scram-sha-256
    /// ");
    /// ```
    #[must_use]
    pub fn format(&self, server: &Server) -> Self {
        let mut widths = [0; COLUMNS];
        let mut rules: BTreeMap<u32, (Line<'_>, Vec<FieldPlace>)> = BTreeMap::new();
        for line in self.lines(server.version) {
            let whole = line.physical_lines() == 1 && !line.is_continued();
            if !whole || !matches!(line.class(), LineClass::Rule(_)) {
                continue;
            }
            // A NUL byte, or a line that is two for an old server: better left alone.
            if line.bytes().contains(&0) || rules.contains_key(&line.first_physical_line()) {
                continue;
            }
            let fields = rule_fields(&line, server);
            for (width, field) in widths.iter_mut().zip(&fields) {
                if let Some((start, end)) = field
                    && end - start <= WIDEST
                {
                    *width = (*width).max(columns(&line, *start, *end));
                }
            }
            rules.insert(line.first_physical_line(), (line, fields));
        }
        let mut text = self.text.clone();
        for (index, (line, fields)) in &rules {
            let formatted = align(line, fields, &widths);
            // The index is one of the document's own, and blanks alone do not make it too large
            // unless it is already; then it stays as it is.
            if text.replace(*index as usize, formatted).is_err() {
                return self.clone();
            }
        }
        text.compact();
        Self { text }
    }
}

/// How many columns a part of a line takes: one for each character, as far as it is UTF-8.
fn columns(line: &Line<'_>, start: usize, end: usize) -> usize {
    let offset = line.span().start();
    let bytes = &line.bytes()[start - offset..end - offset];
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn align(line: &Line<'_>, fields: &[FieldPlace], widths: &[usize]) -> Vec<u8> {
    let offset = line.span().start();
    let bytes = line.bytes();
    let mut out = Vec::with_capacity(bytes.len() + 32);
    let mut end = 0;
    let mut missing = 0;
    for (index, field) in fields.iter().enumerate() {
        match field {
            Some((start, field_end)) => {
                if index <= COLUMNS {
                    out.extend(core::iter::repeat_n(b' ', missing));
                } else {
                    // Options follow as they are.
                    let before = &bytes[end..start - offset];
                    out.extend_from_slice(before);
                }
                out.extend_from_slice(&bytes[start - offset..field_end - offset]);
                end = field_end - offset;
                let used = columns(line, *start, *field_end);
                missing = widths.get(index).map_or(0, |width| width.saturating_sub(used) + 2);
            }
            None => {
                missing += widths.get(index).map_or(0, |width| width + usize::from(*width > 0) * 2);
            }
        }
    }
    let rest = &bytes[end..];
    let line_end = rest.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    let rest = &rest[..rest.len() - line_end];
    // What is left holds no field: blanks, commas, a comment.
    out.extend_from_slice(rest);
    out
}
