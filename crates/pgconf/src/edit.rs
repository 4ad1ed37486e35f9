//! Changing one file: the line that counts, the template line, alignment and quotes.

use std::fmt;

use crate::{
    InvalidValue, ListSyntax,
    file::{ConfFile, LineKind, Parsed, parse},
    lexer::{self, Token},
    name::{fits_file, names_eq},
    quote,
};

/// What an edit did to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FileEdit {
    /// What was done.
    pub change: Change,
    /// The line that sets the value now, counted from 1; where lines were commented out or removed,
    /// the first of them; 0 where there is none.
    pub line: usize,
}

/// What was done to the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Change {
    /// No byte changed: it is as it was wanted.
    None,
    /// A line got another value.
    Replaced,
    /// A line that was commented out was taken into use.
    Uncommented,
    /// A line was added.
    Added,
    /// So many lines were commented out.
    CommentedOut(usize),
    /// So many lines were removed.
    Removed(usize),
}

/// How to take a setting out of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Unset {
    /// Comment its lines out: `set` takes them back into use.
    #[default]
    CommentOut,
    /// Remove its lines.
    Remove,
}

/// Why an edit was not made. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The file's grammar has no such name: it takes an identifier, or two with one dot between them.
    /// `SET` and (from 17 on) `ALTER SYSTEM` take more, such as `a.b.c`, and a server whose
    /// `postgresql.auto.conf` holds one does not start.
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// `include`, `include_if_exists` and `include_dir` are no settings.
    Directive {
        /// The name.
        name: Vec<u8>,
    },
    /// A value cannot hold a line feed: no line of a file can, and `ALTER SYSTEM` refuses it too.
    LineFeed {
        /// The byte of the value where it stands, counted from 0.
        at: usize,
    },
    /// A value cannot hold NUL: the server would take it for the value's end.
    Nul {
        /// The byte of the value where it stands, counted from 0.
        at: usize,
    },
    /// The server refuses the setting in any file.
    NotForFiles {
        /// The setting.
        name: &'static str,
    },
    /// The server refuses the value.
    InvalidValue(InvalidValue),
    /// That file is not part of the configuration, or could not be read.
    NoSuchFile {
        /// Its path.
        path: Vec<u8>,
    },
    /// The setting is no list.
    NotAList {
        /// The name.
        name: Vec<u8>,
    },
    /// The setting's value is no list that the server could take apart.
    ListSyntax(ListSyntax),
    /// `postgresql.auto.conf` is the server's own: `ALTER SYSTEM` changes it.
    AutoConf,
    /// The document could not take it: the file would have 4 GiB or more.
    Document(textfile::EditError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name } => write!(
                f,
                "\"{}\" cannot stand in a file: a name is letters, digits and underscores, not \
                 beginning with a digit, or two such with one dot between them",
                String::from_utf8_lossy(name)
            ),
            Self::Directive { name } => write!(
                f,
                "\"{}\" is no setting but reads another file",
                String::from_utf8_lossy(name)
            ),
            Self::LineFeed { at } => {
                write!(f, "the value has a line feed at byte {at}: no line can hold it")
            }
            Self::Nul { at } => {
                write!(f, "the value has a NUL at byte {at}: the server would end it there")
            }
            Self::NotForFiles { name } => {
                write!(f, "parameter \"{name}\" cannot be set in a configuration file")
            }
            Self::InvalidValue(invalid) => {
                invalid.fmt(f)?;
                for more in [invalid.detail(), invalid.hint()].into_iter().flatten() {
                    write!(f, " ({})", more.trim_end_matches('.'))?;
                }
                Ok(())
            }
            Self::NoSuchFile { path } => write!(
                f,
                "{} is no file of this configuration that could be read",
                String::from_utf8_lossy(path)
            ),
            Self::NotAList { name } => {
                write!(f, "\"{}\" is no list", String::from_utf8_lossy(name))
            }
            Self::ListSyntax(syntax) => write!(f, "{syntax} (byte {})", syntax.at),
            Self::AutoConf => {
                f.write_str("postgresql.auto.conf is the server's own: use ALTER SYSTEM")
            }
            Self::Document(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InvalidValue(invalid) => Some(invalid),
            Self::Document(error) => Some(error),
            Self::ListSyntax(syntax) => Some(syntax),
            _ => None,
        }
    }
}

impl From<textfile::EditError> for EditError {
    fn from(error: textfile::EditError) -> Self {
        Self::Document(error)
    }
}

impl From<ListSyntax> for EditError {
    fn from(syntax: ListSyntax) -> Self {
        Self::ListSyntax(syntax)
    }
}

/// Whether the lexer reads `name` and `value` back as they are.
pub(crate) fn check_text(name: &[u8], value: &[u8]) -> Result<(), EditError> {
    check_name(name)?;
    match memchr::memchr2(b'\n', 0, value) {
        Some(at) if value[at] == 0 => Err(EditError::Nul { at }),
        Some(at) => Err(EditError::LineFeed { at }),
        None => Ok(()),
    }
}

pub(crate) fn check_name(name: &[u8]) -> Result<(), EditError> {
    if !fits_file(name) {
        return Err(EditError::Name { name: name.to_vec() });
    }
    if [&b"include"[..], b"include_if_exists", b"include_dir"].iter().any(|d| names_eq(d, name)) {
        return Err(EditError::Directive { name: name.to_vec() });
    }
    Ok(())
}

impl ConfFile {
    /// Gives `name` the value `value` in this file.
    ///
    /// The last line that sets it, which is the one that counts, gets the value; its comment stays,
    /// in its column if there is room. If none does, the line that is there as a template
    /// (`#work_mem = 4MB`) is taken into use, else a line is added at the end. The value is quoted
    /// where it has to be, or where the line's old one was. A name and value that are there already
    /// change no byte.
    ///
    /// Only this file is looked at, and the value's type is not: see
    /// [`Configuration::set`](crate::Configuration::set).
    ///
    /// ```
    /// use pgconf::ConfFile;
    ///
    /// let mut file = ConfFile::new(*b"#listen_addresses = 'localhost'\t\t# what IP address(es)\nport = 5432");
    /// file.set("listen_addresses", "*")?;
    /// file.set("port", "5433")?;
    /// file.set("archive_command", r"copy %p C:\wal\%f")?;
    /// assert_eq!(
    ///     file.to_bytes().as_ref(),
    ///     b"listen_addresses = '*'\t\t\t# what IP address(es)\nport = 5433\n\
    ///       archive_command = 'copy %p C:\\\\wal\\\\%f'\n"
    /// );
    /// # Ok::<(), pgconf::EditError>(())
    /// ```
    ///
    /// # Errors
    /// [`EditError`] for what the server could not read back: a name such as `a.b.c`, a value with a
    /// line feed.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<FileEdit, EditError> {
        let (name, value) = (name.as_ref(), value.as_ref());
        check_text(name, value)?;
        let last = self.last_line(|other| names_eq(other, name));
        self.set_line(last, name, value)
    }

    /// Takes `name` out of this file: every line that sets it, since an earlier one would count
    /// otherwise.
    ///
    /// # Errors
    /// [`EditError`] if the name can be none.
    pub fn unset(&mut self, name: impl AsRef<[u8]>, how: Unset) -> Result<FileEdit, EditError> {
        let name = name.as_ref();
        check_name(name)?;
        self.unset_lines(|other| names_eq(other, name), how)
    }

    pub(crate) fn last_line(&self, is: impl Fn(&[u8]) -> bool) -> Option<usize> {
        (0..self.lines.len()).rev().find(|index| {
            self.lines[*index].kind == LineKind::Setting
                && self.line(*index).and_then(|line| line.name()).is_some_and(&is)
        })
    }

    /// Sets the value of line `index`, or of the template line, or of a new one.
    pub(crate) fn set_line(
        &mut self,
        index: Option<usize>,
        name: &[u8],
        value: &[u8],
    ) -> Result<FileEdit, EditError> {
        if let Some(index) = index
            && let Some(line) = self.line(index)
        {
            if line.value().as_deref() == Some(value) {
                return Ok(FileEdit { change: Change::None, line: index + 1 });
            }
            let text = with_value(line.text(), &self.lines[index], value, line.text());
            self.replace_line(index, &text)?;
            return Ok(FileEdit { change: Change::Replaced, line: index + 1 });
        }
        if let Some((index, text)) = self.uncommented_template(name, value) {
            self.replace_line(index, &text)?;
            return Ok(FileEdit { change: Change::Uncommented, line: index + 1 });
        }
        let line = self.add_line(name, value)?;
        Ok(FileEdit { change: Change::Added, line: line + 1 })
    }

    pub(crate) fn add_line(&mut self, name: &[u8], value: &[u8]) -> Result<usize, EditError> {
        let mut text = name.to_vec();
        text.extend_from_slice(b" = ");
        text.extend(spelled(value, !is_plain(value)));
        Ok(self.push_line(&text)?)
    }

    pub(crate) fn unset_lines(
        &mut self,
        is: impl Fn(&[u8]) -> bool,
        how: Unset,
    ) -> Result<FileEdit, EditError> {
        let lines: Vec<usize> = (0..self.lines.len())
            .filter(|index| {
                self.lines[*index].kind == LineKind::Setting
                    && self.line(*index).and_then(|line| line.name()).is_some_and(&is)
            })
            .collect();
        for index in lines.iter().rev() {
            match how {
                Unset::Remove => self.remove_line(*index)?,
                Unset::CommentOut => {
                    let Some(line) = self.line(*index) else { continue };
                    let (indent, rest) = line.text().split_at(self.lines[*index].name.start());
                    let text = [indent, b"#", rest].concat();
                    self.replace_line(*index, &text)?;
                }
            }
        }
        let change = match (lines.len(), how) {
            (0, _) => Change::None,
            (count, Unset::CommentOut) => Change::CommentedOut(count),
            (count, Unset::Remove) => Change::Removed(count),
        };
        Ok(FileEdit { change, line: lines.first().map_or(0, |index| index + 1) })
    }

    /// The line that has `name` commented out, with the value put in: the first that reads
    /// `#name = ...`, as in the sample file, else the first with blanks between, such as an editor's
    /// "toggle comment" leaves.
    fn uncommented_template(&self, name: &[u8], value: &[u8]) -> Option<(usize, Vec<u8>)> {
        let mut spaced = None;
        for (index, parsed) in self.lines.iter().enumerate() {
            if parsed.kind != LineKind::Comment {
                continue;
            }
            let text = self.line(index)?.text();
            let Some((indent, template)) = template(text, name) else { continue };
            let is_glued = text[indent] == b'#' && text.len() - indent == template.len() + 1;
            if is_glued || spaced.is_none() {
                let new = with_value(template, &parse(template), value, text);
                let new = [&text[..indent], &new].concat();
                if is_glued {
                    return Some((index, new));
                }
                spaced = Some((index, new));
            }
        }
        spaced
    }
}

/// The setting in a line that comments `name` out, and where its `#` stands. Prose does not look like
/// it: there has to be an equals sign, and nothing but a comment after the value.
fn template<'a>(text: &'a [u8], name: &[u8]) -> Option<(usize, &'a [u8])> {
    let hash = text.iter().position(|byte| !lexer::is_blank(*byte))?;
    let rest = text[hash..].strip_prefix(b"#")?;
    let rest = &rest[rest.iter().take_while(|byte| lexer::is_blank(**byte)).count()..];
    // Most lines of the sample file end here.
    if !rest.get(..name.len()).is_some_and(|start| names_eq(start, name)) {
        return None;
    }
    let parsed = parse(rest);
    let is_it = parsed.kind == LineKind::Setting
        && parsed.name.len() == name.len()
        && rest[parsed.name.end()..parsed.value.start()].contains(&b'=');
    is_it.then_some((hash, rest))
}

/// A line with another value; a comment stays in the column that it has in `before`.
fn with_value(text: &[u8], parsed: &Parsed, value: &[u8], before: &[u8]) -> Vec<u8> {
    let mut new = text[..parsed.value.start()].to_vec();
    let value = spelled(value, parsed.token == Token::String);
    // `port+1` sets the port to +1; another number would go on with the name.
    if parsed.value.start() == parsed.name.end() && value.first() != Some(&b'\'') {
        new.push(b' ');
    }
    new.extend(value);
    let tail = &text[parsed.value.end()..];
    let blank = tail.iter().take_while(|byte| lexer::is_blank(**byte)).count();
    let (blank, comment) = tail.split_at(blank);
    if comment.is_empty() || matches!(blank, [] | [b' ']) || blank.contains(&b'\r') {
        new.extend_from_slice(tail);
        return new;
    }
    let column = width(&before[..before.len() - comment.len()]);
    // What `text` lacks of `before` (the `#`) is in front of both.
    let indent = width(&before[..before.len() - text.len()]).saturating_sub(1);
    let mut at = indent + width(&new);
    let tabs = blank.contains(&b'\t');
    loop {
        let next = if tabs { (at / TAB + 1) * TAB } else { at + 1 };
        let step = if tabs && next <= column.max(at + 1) { b'\t' } else { b' ' };
        new.push(step);
        at = if step == b'\t' { next } else { at + 1 };
        if at >= column {
            break;
        }
    }
    new.extend_from_slice(comment);
    new
}

const TAB: usize = 8;

/// How many columns a text takes, its tabs to every eighth.
fn width(text: &[u8]) -> usize {
    text.iter().fold(0, |column, byte| match byte {
        b'\t' => (column / TAB + 1) * TAB,
        // The bytes of a character of UTF-8 after its first.
        0x80..=0xbf => column,
        _ => column + 1,
    })
}

/// A value as a file spells it.
fn spelled(value: &[u8], quoted: bool) -> Vec<u8> {
    if quoted || !quote::fits_unquoted(value) { quote::quote(value) } else { value.to_vec() }
}

/// Whether people leave the quotes out: numbers and switches.
fn is_plain(value: &[u8]) -> bool {
    match lexer::next(value, 0) {
        Some((Token::Integer | Token::Real, _)) => true,
        Some((Token::Id, _)) => {
            [&b"on"[..], b"off", b"true", b"false", b"yes", b"no"].contains(&value)
        }
        _ => false,
    }
}
