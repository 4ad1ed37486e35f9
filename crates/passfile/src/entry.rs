//! Entries: how a line's fields are read where nobody asks for a connection, and how a line is
//! written so that libpq reads back what was meant.

use std::{borrow::Cow, fmt};

use zeroize::Zeroizing;

use crate::{
    Value,
    lines::Text,
    matching::{field_length, lent_password, unescape},
    secret::Password,
};

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldName {
    /// The first: host name, address or socket folder
    Host,
    /// The second: port
    Port,
    /// The third: database
    Database,
    /// The fourth: user
    User,
    /// The fifth: password
    Password,
}

impl FieldName {
    /// The fields that a connection is compared with, in their order.
    pub const KEY: [Self; 4] = [Self::Host, Self::Port, Self::Database, Self::User];

    /// The field in words: `host`, `port`, `database`, `user`, `password`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Port => "port",
            Self::Database => "database",
            Self::User => "user",
            Self::Password => "password",
        }
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one of the first four fields asks for.
///
/// Made from text it is that text exactly, also a star: `"*".into()` is the name `*`, written `\*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field<'a> {
    /// `*`: anything
    Any,
    /// This value, byte by byte
    Exactly(Value<'a>),
}

impl<'a, V: Into<Value<'a>>> From<V> for Field<'a> {
    fn from(value: V) -> Self {
        Self::Exactly(value.into())
    }
}

impl Field<'_> {
    /// Whether every value that matches `other` matches this.
    #[must_use]
    pub fn covers(&self, other: &Field<'_>) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Exactly(_), Field::Any) => false,
            (Self::Exactly(this), Field::Exactly(other)) => this.as_bytes() == other.as_bytes(),
        }
    }
}

/// A line of the file with all five fields.
///
/// The fields are those between the colons that are not escaped. libpq's own reading depends on
/// what is looked up: an unescaped colon can also be part of a value, see
/// [`PassFile::lookup`](crate::PassFile::lookup).
///
/// `Debug` shows the line number only: in a malformed line the password may stand anywhere.
pub struct Entry<'a> {
    line: usize,
    text: Text<'a>,
    /// Where the four colons are.
    colons: [usize; 4],
    /// Where the line's text ends.
    end: usize,
}

impl<'a> Entry<'a> {
    /// Splits a line, `end` bytes long without its line end; `None` if it has fewer than five
    /// fields.
    pub(crate) fn split(line: usize, text: Text<'a>, end: usize) -> Option<Self> {
        let mut colons = [0; 4];
        let mut start = 0;
        for colon in &mut colons {
            *colon = start + field_length(&text[start..end]);
            if *colon == end {
                return None;
            }
            start = *colon + 1;
        }
        Some(Self { line, text, colons, end })
    }

    /// The line's number in the file, counted from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The first field.
    #[must_use]
    pub fn host(&self) -> Field<'_> {
        self.field(0)
    }

    /// The second field.
    #[must_use]
    pub fn port(&self) -> Field<'_> {
        self.field(1)
    }

    /// The third field.
    #[must_use]
    pub fn dbname(&self) -> Field<'_> {
        self.field(2)
    }

    /// The fourth field.
    #[must_use]
    pub fn user(&self) -> Field<'_> {
        self.field(3)
    }

    /// The first four fields in their order.
    #[must_use]
    pub fn fields(&self) -> [Field<'_>; 4] {
        [0, 1, 2, 3].map(|index| self.field(index))
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> Password<'_> {
        lent_password(self.rest())
    }

    /// What follows the fourth colon, escapes and further fields included.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.text[self.colons[3] + 1..self.end]
    }

    /// A field as it is written; the index is one of the first four.
    pub(crate) fn raw(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.colons[before] + 1);
        &self.text[start..self.colons[index]]
    }

    fn field(&self, index: usize) -> Field<'_> {
        match self.raw(index) {
            b"*" => Field::Any,
            raw => Field::Exactly(plain(raw)),
        }
    }
}

/// The value that a field asks for.
pub(crate) fn plain(raw: &[u8]) -> Value<'_> {
    if raw.contains(&b'\\') { unescape(raw).to_vec().into() } else { raw.into() }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("line", &self.line).finish_non_exhaustive()
    }
}

/// An entry to be written. What is not given is `*`.
///
/// The password is borrowed: this type leaves no copy of it behind, and `Debug` shows nothing of it.
///
/// ```
/// use passfile::{NewEntry, PassFile};
///
/// let mut file = PassFile::new();
/// file.push(&NewEntry::new("s3:cr\\et").host("fe80::1").port(5432).user("repl"))?;
/// assert_eq!(*file.to_bytes(), *b"fe80\\:\\:1:5432:*:repl:s3\\:cr\\\\et\n");
/// # Ok::<(), passfile::EditError>(())
/// ```
#[derive(Clone)]
pub struct NewEntry<'a> {
    fields: [Field<'a>; 4],
    password: &'a [u8],
}

impl<'a> NewEntry<'a> {
    /// This password for every connection.
    #[must_use]
    pub fn new<P: AsRef<[u8]> + ?Sized>(password: &'a P) -> Self {
        Self { fields: [const { Field::Any }; 4], password: password.as_ref() }
    }

    /// Only for this host: a name, an address or a socket folder, compared byte by byte with what
    /// the connection names. The default socket folder has to be called `localhost`.
    #[must_use]
    pub fn host(self, host: impl Into<Field<'a>>) -> Self {
        self.with(0, host.into())
    }

    /// Only for this port.
    #[must_use]
    pub fn port(self, port: impl Into<Field<'a>>) -> Self {
        self.with(1, port.into())
    }

    /// Only for this database; `replication` for the connection of a standby.
    #[must_use]
    pub fn dbname(self, dbname: impl Into<Field<'a>>) -> Self {
        self.with(2, dbname.into())
    }

    /// Only for this user.
    #[must_use]
    pub fn user(self, user: impl Into<Field<'a>>) -> Self {
        self.with(3, user.into())
    }

    /// The first four fields in their order.
    #[must_use]
    pub const fn fields(&self) -> &[Field<'a>; 4] {
        &self.fields
    }

    /// The password's bytes.
    #[must_use]
    pub const fn password(&self) -> &'a [u8] {
        self.password
    }

    fn with(mut self, index: usize, field: Field<'a>) -> Self {
        self.fields[index] = field;
        self
    }

    /// The line that libpq of every major reads back as this entry, without a line end.
    ///
    /// # Errors
    /// [`EntryError`] if there is no such line.
    pub fn to_line(&self) -> Result<Zeroizing<Vec<u8>>, EntryError> {
        let bytes = |field: &Field<'_>| match field {
            Field::Any => 1,
            Field::Exactly(value) => value.as_bytes().len(),
        };
        // Escaping at most doubles; with that much room the password is never moved.
        let plain = self.fields.iter().map(bytes).sum::<usize>() + self.password.len();
        let mut line = Zeroizing::new(Vec::with_capacity(2 * plain + 5));
        for (name, field) in FieldName::KEY.into_iter().zip(&self.fields) {
            match field {
                Field::Any => line.push(b'*'),
                Field::Exactly(value) => write_key_field(&mut line, name, value.as_bytes())?,
            }
            line.push(b':');
        }
        check(FieldName::Password, self.password)?;
        escape_into(&mut line, self.password);
        if self.password.ends_with(b"\r") {
            // It would be taken for a part of the line end. A sixth field, empty, keeps it.
            line.push(b':');
        }
        Ok(line)
    }
}

/// Shows the fields only.
impl fmt::Debug for NewEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry").field("fields", &self.fields).finish_non_exhaustive()
    }
}

fn write_key_field(line: &mut Vec<u8>, name: FieldName, value: &[u8]) -> Result<(), EntryError> {
    check(name, value)?;
    if value.is_empty() {
        return Err(EntryError::EmptyField { field: name });
    }
    let comment = name == FieldName::Host && value.starts_with(b"#");
    if comment || value == b"*" {
        line.push(b'\\');
    }
    escape_into(line, value);
    Ok(())
}

fn check(field: FieldName, value: &[u8]) -> Result<(), EntryError> {
    match memchr::memchr2(b'\n', 0, value) {
        None => Ok(()),
        Some(at) if value[at] == 0 => Err(EntryError::Nul { field }),
        Some(_) => Err(EntryError::LineFeed { field }),
    }
}

fn escape_into(line: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if matches!(byte, b':' | b'\\') {
            line.push(b'\\');
        }
        line.push(byte);
    }
}

/// A value as it has to be written in a field: `:` and `\` with a backslash before them.
///
/// This is for what shows a field; [`NewEntry`] writes whole lines and knows the rest of the rules.
///
/// ```
/// assert_eq!(passfile::escape(b"::1").as_ref(), b"\\:\\:1");
/// ```
#[must_use]
pub fn escape(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b':', b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut escaped = Vec::with_capacity(2 * value.len());
    escape_into(&mut escaped, value);
    Cow::Owned(escaped)
}

/// Why no line of a password file can say this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A line feed ends the line, and nothing escapes it.
    #[error("the {field} has a line feed in it, which a password file cannot hold")]
    LineFeed {
        /// Where.
        field: FieldName,
    },
    /// libpq reads C strings, which end at a NUL.
    #[error("the {field} has a NUL byte in it, which libpq cannot read")]
    Nul {
        /// Where.
        field: FieldName,
    },
    /// libpq never looks for an empty host, port, database or user.
    #[error("the {field} is empty, and so would never match; use * for any")]
    EmptyField {
        /// Which.
        field: FieldName,
    },
}
