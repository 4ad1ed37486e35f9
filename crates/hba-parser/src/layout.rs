//! Where the fields of a line stand, so that a new line stands like its neighbours.

use alloc::{vec, vec::Vec};

use crate::{
    ConnectionType, Server, address,
    build::RuleText,
    lexer::{Line, Token, is_blank},
};

/// The fields of a rule, in their order. An address and a mask are one field here.
const METHOD: usize = 4;

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

/// The fields of a line of pg_hba.conf, each as its first and last byte; the method is the fifth
/// field, with or without an address.
pub(crate) fn fields(line: &Line<'_>, server: &Server) -> Vec<FieldPlace> {
    let mut raw: Vec<(Token<'_>, usize, usize)> = Vec::new();
    for token in line.tokens() {
        let span = token.span();
        match raw.last_mut() {
            Some(last) if last.0.field() == token.field() => last.2 = span.end(),
            _ => raw.push((token, span.start(), span.end())),
        }
    }
    let local = raw.first().is_some_and(|first| first.0.is(b"local"));
    let mut fields = Vec::new();
    let mut rest = raw.into_iter().peekable();
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
    /// The layout of a line: only of one that is a single physical line.
    pub(crate) fn of(line: &Line<'_>, server: &Server) -> Option<Self> {
        if line.physical_lines() != 1 {
            return None;
        }
        let start = line.span().start();
        let bytes = line.bytes();
        let fields = fields(line, server);
        let (first, _) = fields.first().copied().flatten()?;
        let mut end = start;
        let mut places = Vec::new();
        for field in &fields {
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

    /// Writes a rule like this.
    pub(crate) fn write(&self, rule: &RuleText) -> Vec<u8> {
        let tight = self.is_tight();
        let mut out = self.indent.clone();
        let mut put = |index: usize, text: &[u8]| {
            if index > 0 {
                match self.fields.get(index).and_then(Option::as_ref) {
                    _ if tight => out.push(b' '),
                    Some((_, before)) if before.contains(&b'\t') => out.extend_from_slice(before),
                    Some((column, _)) if index <= METHOD => {
                        pad(&mut out, *column);
                    }
                    _ => out.push(b' '),
                }
            }
            out.extend_from_slice(text);
        };
        put(0, &rule.connection);
        put(1, &rule.databases);
        put(2, &rule.users);
        if let Some(address) = &rule.address {
            put(3, address);
        }
        put(METHOD, &rule.method);
        for (index, option) in rule.options.iter().enumerate() {
            put(METHOD + 1 + index, option);
        }
        if let Some(comment) = &rule.comment {
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

/// The layout for a new rule at a place: that of the nearest rule with the same fields, or else of
/// the nearest rule.
pub(crate) fn near(
    lines: &[Line<'_>],
    place: usize,
    connection: ConnectionType,
    server: &Server,
) -> Option<Layout> {
    /// How far a rule of the other kind may be nearer.
    const NEAR: usize = 10;
    let local = connection == ConnectionType::Local;
    let mut fallback = None;
    for distance in 0..=lines.len() {
        let before = place.checked_sub(distance + 1);
        let after = Some(place + distance);
        for index in [after, before].into_iter().flatten() {
            let Some(line) = lines.get(index) else { continue };
            let crate::LineClass::Rule(kind) = line.class() else { continue };
            let Some(layout) = Layout::of(line, server) else { continue };
            if (kind == ConnectionType::Local) == local {
                return Some(layout);
            }
            fallback.get_or_insert(layout);
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
