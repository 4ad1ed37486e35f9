//! One file: its lines as the server reads them, over a document that loses nothing.

use std::borrow::Cow;

use textfile::{Document, Span, TooLarge};

use crate::{
    diagnostics::SyntaxError,
    lexer::{self, Token},
    name::names_eq,
    quote,
};

/// A `postgresql.conf`, or a file that one includes: any bytes, line by line.
///
/// Parsing never fails and loses nothing. A line that the server could not read is kept and says
/// what is wrong with it.
///
/// ```
/// use pgconf::{ConfFile, LineKind};
///
/// let file = ConfFile::new(*b"# memory\nwork_mem = 64MB  # per sort\nport 5432\noops\n");
/// let settings: Vec<_> =
///     file.lines().filter_map(|line| Some((line.name()?, line.value()?))).collect();
/// assert_eq!(settings.len(), 2);
/// assert_eq!(settings[0].1.as_ref(), b"64MB");
///
/// assert_eq!(file.syntax_errors().next().unwrap().to_string(), "line 4: syntax error near end of line");
/// assert_eq!(file.to_bytes().as_ref(), b"# memory\nwork_mem = 64MB  # per sort\nport 5432\noops\n");
/// ```
#[derive(Clone, Debug)]
pub struct ConfFile {
    pub(crate) document: Document,
    pub(crate) lines: Vec<Parsed>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LineKind {
    /// Nothing but blanks.
    Blank,
    /// A comment; it may be a setting that was commented out.
    Comment,
    /// A name and a value.
    Setting,
    /// `include`: reads the file, which has to be there.
    Include,
    /// `include_if_exists`: reads the file if it can be opened.
    IncludeIfExists,
    /// `include_dir`: reads every `*.conf` of a folder.
    IncludeDir,
    /// Nothing that the server can read: it refuses the file.
    Error,
}

/// A line taken apart. Spans count from the line's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    pub(crate) kind: LineKind,
    /// What the value's token is; of an [`LineKind::Error`] line the token that is wrong.
    pub(crate) token: Token,
    pub(crate) name: Span,
    /// The value as written, with quotes; of an error line the token that is wrong, empty at the
    /// line's end.
    pub(crate) value: Span,
}

impl ConfFile {
    /// Takes a file's bytes.
    ///
    /// # Panics
    /// With 4 GiB or more; use [`ConfFile::try_new`] where that can happen.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self::from_document(Document::new(bytes))
    }

    /// Takes a file's bytes, however many.
    ///
    /// # Errors
    /// [`TooLarge`] with 4 GiB or more.
    pub fn try_new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLarge> {
        Document::try_new(bytes).map(Self::from_document)
    }

    fn from_document(document: Document) -> Self {
        let lines = document.lines().map(|line| parse(line.text())).collect();
        Self { document, lines }
    }

    /// The file's bytes, with every edit made so far.
    #[must_use]
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        self.document.to_bytes()
    }

    /// The document below.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The lines in their order.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = ConfLine<'_>> + DoubleEndedIterator + '_ {
        self.document.lines().zip(&self.lines).enumerate().map(|(index, (line, parsed))| ConfLine {
            index,
            text: line.text(),
            parsed: *parsed,
        })
    }

    /// Line `index`, counted from 0.
    #[must_use]
    pub fn line(&self, index: usize) -> Option<ConfLine<'_>> {
        let parsed = *self.lines.get(index)?;
        Some(ConfLine { index, text: self.document.line(index)?.text(), parsed })
    }

    /// The lines that set `name`, spelled in any case, in their order. In the server only the last
    /// one counts. An [old name](crate::Catalogue::current_name) of the setting is another name here:
    /// one file knows no major.
    pub fn settings_of<'a>(
        &'a self,
        name: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = ConfLine<'a>> + 'a {
        self.lines().filter(move |line| {
            line.kind() == LineKind::Setting
                && line.name().is_some_and(|other| names_eq(other, name))
        })
    }

    /// The value that the file gives `name`: that of the last line that sets it.
    ///
    /// Files that this one includes and `postgresql.auto.conf` are not looked at; a
    /// [`Configuration`](crate::Configuration) does that.
    ///
    /// ```
    /// let file = pgconf::ConfFile::new(*b"work_mem=4MB\nWork_Mem = '8MB'\n");
    /// assert_eq!(file.get("work_mem").as_deref(), Some(&b"8MB"[..]));
    /// ```
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Cow<'_, [u8]>> {
        let name = name.as_ref();
        (0..self.lines.len()).rev().find_map(|index| {
            if self.lines[index].kind != LineKind::Setting {
                return None;
            }
            let line = self.line(index)?;
            if names_eq(line.name()?, name) { line.value() } else { None }
        })
    }

    /// The lines that the server cannot read, in their order. A server that starts or reloads gives
    /// a file up at its hundredth; `pg_file_settings` at its first.
    pub fn syntax_errors(&self) -> impl Iterator<Item = SyntaxError> + '_ {
        self.lines().filter_map(|line| self.syntax_error(line.index))
    }

    pub(crate) fn syntax_error(&self, index: usize) -> Option<SyntaxError> {
        let parsed = self.lines.get(index).filter(|parsed| parsed.kind == LineKind::Error)?;
        let line = self.document.line(index)?;
        let at_end = parsed.value.is_empty();
        // The server counts a line when it reads its line feed and reports the end of a line as the
        // line before: where the file ends without a line feed it is one off.
        let unended = at_end && line.ending() == textfile::LineEnding::None;
        Some(SyntaxError {
            line: index + usize::from(!unended),
            column: parsed.value.start() + 1,
            near: (!at_end).then(|| line.text()[parsed.value.range()].to_vec()),
        })
    }

    pub(crate) fn replace_line(
        &mut self,
        index: usize,
        text: &[u8],
    ) -> Result<(), textfile::EditError> {
        self.document.replace(index, text)?;
        if let Some(parsed) = self.lines.get_mut(index) {
            *parsed = parse(text);
        }
        Ok(())
    }

    pub(crate) fn push_line(&mut self, text: &[u8]) -> Result<usize, textfile::EditError> {
        self.document.push(text)?;
        self.lines.push(parse(text));
        Ok(self.lines.len() - 1)
    }

    pub(crate) fn remove_line(&mut self, index: usize) -> Result<(), textfile::EditError> {
        self.document.remove(index)?;
        self.lines.remove(index);
        Ok(())
    }
}

/// A line of a [`ConfFile`].
#[derive(Clone, Copy, Debug)]
pub struct ConfLine<'a> {
    index: usize,
    text: &'a [u8],
    parsed: Parsed,
}

impl<'a> ConfLine<'a> {
    /// The line's number, counted from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.index + 1
    }

    /// The line without its ending.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> LineKind {
        self.parsed.kind
    }

    /// The name of a setting or of an include directive, as written.
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        self.is_assignment().then(|| &self.text[self.parsed.name.range()])
    }

    /// The value of a setting, or what an include directive names, as written, with quotes.
    #[must_use]
    pub fn raw_value(&self) -> Option<&'a [u8]> {
        self.is_assignment().then(|| &self.text[self.parsed.value.range()])
    }

    /// The value without quotes and escapes.
    #[must_use]
    pub fn value(&self) -> Option<Cow<'a, [u8]>> {
        let raw = self.raw_value()?;
        Some(match self.parsed.token {
            Token::String => quote::unquote(raw),
            _ => Cow::Borrowed(raw),
        })
    }

    /// The comment at the line's end, from its `#` on; of a [`LineKind::Comment`] line all but the
    /// blanks before it.
    #[must_use]
    pub fn comment(&self) -> Option<&'a [u8]> {
        let from = match self.parsed.kind {
            LineKind::Comment => 0,
            LineKind::Blank | LineKind::Error => return None,
            _ => self.parsed.value.end(),
        };
        let start = self.text[from..].iter().position(|byte| !lexer::is_blank(*byte))?;
        Some(&self.text[from + start..])
    }

    fn is_assignment(&self) -> bool {
        !matches!(self.parsed.kind, LineKind::Blank | LineKind::Comment | LineKind::Error)
    }
}

/// Takes a line without its ending apart, as `ParseConfigFp` does.
pub(crate) fn parse(text: &[u8]) -> Parsed {
    let nothing =
        |kind| Parsed { kind, token: Token::Error, name: Span::default(), value: Span::default() };
    let wrong = |found: Option<(Token, Span)>| match found {
        Some((token, value)) => {
            Parsed { kind: LineKind::Error, token, name: Span::default(), value }
        }
        None => {
            let end = crate::span(text.len(), text.len());
            Parsed { value: end, ..nothing(LineKind::Error) }
        }
    };
    let Some(first) = lexer::next(text, 0) else {
        let blank = text.iter().all(|byte| lexer::is_blank(*byte));
        return nothing(if blank { LineKind::Blank } else { LineKind::Comment });
    };
    let (Token::Id | Token::QualifiedId, name) = first else { return wrong(Some(first)) };
    let mut second = lexer::next(text, name.end());
    if let Some((Token::Equals, equals)) = second {
        second = lexer::next(text, equals.end());
    }
    let Some((token, value)) = second.filter(|(token, _)| token.is_value()) else {
        return wrong(second);
    };
    if let Some(third) = lexer::next(text, value.end()) {
        return wrong(Some(third));
    }
    Parsed { kind: directive(&text[name.range()]), token, name, value }
}

fn directive(name: &[u8]) -> LineKind {
    if !names_eq(&name[..name.len().min(7)], b"include") {
        LineKind::Setting
    } else if names_eq(name, b"include") {
        LineKind::Include
    } else if names_eq(name, b"include_dir") {
        LineKind::IncludeDir
    } else if names_eq(name, b"include_if_exists") {
        LineKind::IncludeIfExists
    } else {
        LineKind::Setting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each line.
    #[test]
    fn a_line_taken_apart_is_small() {
        assert!(size_of::<Parsed>() <= 20);
    }

    /// The line numbers of errors, as servers report them.
    #[test]
    fn counts_lines_as_the_server_does() {
        for (bytes, line, text) in [
            (&b"a=1\nb c d\n"[..], 2, "line 2: syntax error near token \"d\""),
            (b"a=1\nb =\n", 2, "line 2: syntax error near end of line"),
            (b"a=1\nb =", 1, "line 1: syntax error near end of line"),
            (b"b", 0, "line 0: syntax error near end of line"),
            (b"b = 'x", 1, "line 1: syntax error near token \"'\""),
            (b"b\x0c=1", 1, "line 1: syntax error near token \"\x0c\""),
            (b"b=1\0", 1, "line 1: syntax error near token \"\""),
        ] {
            let file = ConfFile::new(bytes);
            let errors: Vec<_> = file.syntax_errors().collect();
            assert_eq!(errors.len(), 1);
            assert_eq!((errors[0].line, errors[0].to_string()), (line, text.to_owned()));
        }
    }
}
