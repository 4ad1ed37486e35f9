//! Where the fields of a line stand, so that a new line stands like its neighbours.

use alloc::{vec, vec::Vec};

use crate::{
    Server, address,
    lexer::{Line, Token, is_blank},
};

/// The first and last byte of a field, in the file; `None` for an address that a rule has none of.
pub(crate) type FieldPlace = Option<(usize, usize)>;

/// How a line is laid out: for each field where it begins, and what stands before it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Blanks before the first field
    indent: Vec<u8>,
    /// For each field: its column, and the blanks before it
    fields: Vec<Option<(usize, Vec<u8>)>>,
    comment: Option<usize>,
}

/// The fields of a line, each with its first token.
fn raw_fields<'a>(line: &Line<'a>) -> Vec<(Token<'a>, usize, usize)> {
    let mut raw: Vec<(Token<'_>, usize, usize)> = Vec::new();
    for token in line.tokens() {
        let span = token.span();
        match raw.last_mut() {
            Some(last) if last.0.field() == token.field() => last.2 = span.end(),
            _ => raw.push((token, span.start(), span.end())),
        }
    }
    raw
}

/// The fields of a line of pg_ident.conf, each as its first and last byte.
pub(crate) fn mapping_fields(line: &Line<'_>) -> Vec<FieldPlace> {
    raw_fields(line).into_iter().map(|(_, start, end)| Some((start, end))).collect()
}

/// The fields of a line of pg_hba.conf, each as its first and last byte; the method is the fifth
/// field, with or without an address. An address and a mask are one field.
pub(crate) fn rule_fields(line: &Line<'_>, server: &Server) -> Vec<FieldPlace> {
    let raw = raw_fields(line);
    let local = raw.first().is_some_and(|first| first.0.is(b"local"));
    let mut fields = Vec::new();
    let mut rest = raw.into_iter();
    while let Some((token, start, mut end)) = rest.next() {
        if fields.len() == 3 && local {
            fields.push(None);
        }
        if fields.len() == 3 && !local {
            let text = token.to_vec();
            let (host, bits) = address::split_cidr(&text);
            let numeric = bits.is_none() && address::parse(host, server).is_some();
            if numeric && let Some(mask) = rest.next() {
                end = mask.2;
            }
        }
        fields.push(Some((start, end)));
    }
    fields
}

impl Layout {
    /// The layout of a line with these fields: only of one that is a single physical line.
    pub(crate) fn of(line: &Line<'_>, fields: &[FieldPlace]) -> Option<Self> {
        if line.physical_lines() != 1 {
            return None;
        }
        let start = line.span().start();
        let bytes = line.bytes();
        let (first, _) = fields.first().copied().flatten()?;
        let mut end = start;
        let mut places = Vec::new();
        for field in fields {
            places.push(field.map(|(field_start, field_end)| {
                let before = bytes[end - start..field_start - start].to_vec();
                end = field_end;
                (field_start - start, before)
            }));
        }
        let indent = bytes[..first - start].to_vec();
        let comment = line.comment().map(|comment| comment.start() - start);
        Some(Self { indent, fields: places, comment })
    }

    /// Whether all fields are one blank apart: nobody aligned them.
    fn is_tight(&self) -> bool {
        self.fields.iter().skip(1).flatten().all(|(_, before)| before == b" ")
    }

    /// Writes fields like this; those from `aligned` on one blank apart.
    pub(crate) fn write(
        &self,
        fields: &[Option<&[u8]>],
        aligned: usize,
        comment: Option<&[u8]>,
    ) -> Vec<u8> {
        let tight = self.is_tight();
        let mut out = self.indent.clone();
        for (index, text) in fields.iter().enumerate() {
            let Some(text) = text else { continue };
            if index > 0 {
                match self.fields.get(index).and_then(Option::as_ref) {
                    _ if tight => out.push(b' '),
                    Some((_, before)) if before.contains(&b'\t') => out.extend_from_slice(before),
                    Some((column, _)) if index < aligned => pad(&mut out, *column),
                    _ => out.push(b' '),
                }
            }
            out.extend_from_slice(text);
        }
        if let Some(comment) = comment {
            pad(&mut out, self.comment.unwrap_or(0));
            out.extend_from_slice(comment);
        }
        out
    }
}

/// Blanks up to a column, but at least one.
fn pad(out: &mut Vec<u8>, column: usize) {
    let blanks = column.saturating_sub(out.len()).max(1);
    out.extend(vec![b' '; blanks]);
}

/// The layout for a new line at a place among `lines`: that of the nearest line that `layout` has one
/// for and says to be of the same kind, or else of the nearest at all.
pub(crate) fn near(
    lines: usize,
    place: usize,
    layout: impl Fn(usize) -> Option<(Layout, bool)>,
) -> Option<Layout> {
    /// How far a line of the other kind may be nearer.
    const NEAR: usize = 10;
    /// How far away any line may be: behind a long comment one line stands like no other.
    const FAR: usize = 1000;
    let mut fallback = None;
    for distance in 0..=lines.min(FAR) {
        let before = place.checked_sub(distance + 1);
        let after = Some(place + distance).filter(|after| *after < lines);
        for index in [after, before].into_iter().flatten() {
            match layout(index) {
                Some((layout, true)) => return Some(layout),
                Some((layout, false)) => {
                    fallback.get_or_insert(layout);
                }
                None => {}
            }
        }
        if distance >= NEAR && fallback.is_some() {
            break;
        }
    }
    fallback
}

/// A line in which a part is replaced by a text of another length, with what follows kept in its
/// columns as far as there are blanks to give or take.
pub(crate) fn splice(line: &[u8], start: usize, end: usize, text: &[u8]) -> Vec<u8> {
    let mut out = [&line[..start], text].concat();
    let rest = &line[end..];
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let aligned =
        blanks > 1 && rest.get(blanks).is_some_and(|byte| !is_blank(*byte) && *byte != b'\n');
    if aligned {
        let column = end + blanks;
        pad(&mut out, column);
        out.extend_from_slice(&rest[blanks..]);
    } else {
        out.extend_from_slice(rest);
    }
    out
}
