//! The documents: the bytes of a file, its lines, and what a server makes of them.

use alloc::{borrow::Cow, string::String, vec::Vec};

use textfile::{Document, Files, MemoryFiles, TooLarge};

use crate::{
    ConnectionType, PgVersion, Server,
    ident::Mappings,
    lexer::{self, Line, Lines},
    rules::Rules,
    tokenize::IncludeKind,
};

macro_rules! document {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// Always in one piece: lines are lexed from it.
            pub(crate) text: Document,
        }

        impl $name {
            /// Takes the bytes of a file. Any bytes are a document.
            ///
            /// # Panics
            /// With 4 GiB or more; use [`Self::try_parse`] where that can happen.
            #[must_use]
            pub fn parse(bytes: impl Into<Vec<u8>>) -> Self {
                Self { text: Document::new(bytes) }
            }

            /// Takes the bytes of a file of any size.
            ///
            /// # Errors
            /// [`TooLarge`] with 4 GiB or more.
            pub fn try_parse(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLarge> {
                Ok(Self { text: Document::try_new(bytes)? })
            }

            /// The file's bytes: what was parsed, but for what was edited.
            #[must_use]
            pub fn to_bytes(&self) -> Cow<'_, [u8]> {
                self.text.to_bytes()
            }

            pub(crate) fn bytes(&self) -> &[u8] {
                self.text.as_bytes().unwrap_or_default()
            }

            /// How many bytes of memory it holds.
            #[must_use]
            pub fn memory(&self) -> usize {
                self.text.memory()
            }

            /// The lines as a server of this major sees them.
            #[must_use]
            pub fn lines(&self, version: PgVersion) -> Lines<'_> {
                lexer::lines(self.bytes(), version)
            }

            /// The line with this number, as a server of this major counts.
            #[must_use]
            pub fn line(&self, number: u32, version: PgVersion) -> Option<Line<'_>> {
                self.lines(version).find(|line| line.number() == number)
            }
        }

        /// The file as text, with U+FFFD for what is not UTF-8.
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
            }
        }

        impl From<Document> for $name {
            fn from(mut text: Document) -> Self {
                text.compact();
                Self { text }
            }
        }

        impl From<$name> for Document {
            fn from(document: $name) -> Self {
                document.text
            }
        }
    };
}

document! {
    /// A pg_hba.conf: any bytes, kept as they are.
    ///
    /// Parsing never fails. What a line means depends on who reads it: [`HbaDocument::interpret`].
    ///
    /// ```
    /// use hba_parser::{HbaDocument, PgVersion, Server, Verdict};
    ///
    /// let file = HbaDocument::parse(*b"# who may come in\nhost all all 10.0.0.1 trust\n");
    /// let rules = file.interpret(&Server::new(PgVersion::V17));
    /// assert_eq!(*rules.verdict(), Verdict::Refused);
    /// let diagnostic = &rules.diagnostics()[0];
    /// assert_eq!(diagnostic.message, "invalid IP mask \"trust\": Name or service not known");
    /// assert_eq!(diagnostic.location.line, 2);
    /// ```
    HbaDocument
}

document! {
    /// A pg_ident.conf: any bytes, kept as they are.
    ///
    /// ```
    /// use hba_parser::{IdentDocument, PgVersion, Server};
    ///
    /// let file = IdentDocument::parse(*b"# map system database\ncorp alice@corp alice\n");
    /// let maps = file.interpret(&Server::new(PgVersion::V16));
    /// assert!(maps.verdict().is_loaded());
    /// assert_eq!(maps.iter().next().unwrap().database_user(), b"alice");
    /// ```
    IdentDocument
}

impl HbaDocument {
    /// The file as this server understands it, without any other files: what it includes is not
    /// there.
    #[must_use]
    pub fn interpret(&self, server: &Server) -> Rules {
        self.interpret_at(b"pg_hba.conf", server, &MemoryFiles::default())
    }

    /// The file at `path` as this server understands it. `files` has the files that it includes;
    /// their paths are relative to the folder of the file that includes them.
    ///
    /// ```
    /// use hba_parser::{HbaDocument, MemoryFiles, PgVersion, Server};
    ///
    /// let mut files = MemoryFiles::default();
    /// files.insert("/etc/pg/rules.d/10-app.conf", "hostssl app web 10.0.0.0/8 scram-sha-256\n");
    /// let file = HbaDocument::parse(*b"include_dir rules.d\nlocal all all peer\n");
    /// let rules = file.interpret_at(b"/etc/pg/pg_hba.conf", &Server::new(PgVersion::V16), &files);
    /// assert_eq!(rules.len(), 2);
    /// let first = rules.iter().next().unwrap();
    /// assert_eq!(*rules.path(first.file()), "/etc/pg/rules.d/10-app.conf");
    /// ```
    #[must_use]
    pub fn interpret_at(&self, path: &[u8], server: &Server, files: &dyn Files) -> Rules {
        Rules::read(self.bytes(), path, server, files)
    }
}

impl IdentDocument {
    /// The file as this server understands it, without any other files.
    #[must_use]
    pub fn interpret(&self, server: &Server) -> Mappings {
        self.interpret_at(b"pg_ident.conf", server, &MemoryFiles::default())
    }

    /// The file at `path` as this server understands it. `files` has the files that it includes.
    #[must_use]
    pub fn interpret_at(&self, path: &[u8], server: &Server, files: &dyn Files) -> Mappings {
        Mappings::read(self.bytes(), path, server, files)
    }
}

/// What a line of pg_hba.conf is, as far as it shows in the line alone.
///
/// ```
/// use hba_parser::{HbaDocument, LineClass, PgVersion};
///
/// let file = HbaDocument::parse(*b"# ours\n\ninclude more.conf\nlocal all all peer\nlocl\n");
/// let classes = |version| file.lines(version).map(|line| line.class()).collect::<Vec<_>>();
/// let new = classes(PgVersion::V16);
/// assert_eq!(new[..2], [LineClass::Comment, LineClass::Blank]);
/// assert!(matches!(new[2], LineClass::Include(_)) && matches!(new[3], LineClass::Rule(_)));
/// assert_eq!(new[4], LineClass::Invalid);
/// assert_eq!(classes(PgVersion::V15)[2], LineClass::Invalid);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum LineClass {
    /// Nothing but blanks and commas.
    Blank,
    /// Nothing but a comment.
    Comment,
    /// A rule. Whether it is a valid one only [interpreting](HbaDocument::interpret) it shows.
    Rule(ConnectionType),
    /// An include record (16 and newer).
    Include(IncludeKind),
    /// None of these.
    Invalid,
}

impl Line<'_> {
    /// What the line is, if it is one of pg_hba.conf.
    #[must_use]
    pub fn class(&self) -> LineClass {
        let mut tokens = self.tokens();
        let Some(first) = tokens.next() else {
            return if self.is_too_long() {
                LineClass::Invalid
            } else if self.comment().is_some() {
                LineClass::Comment
            } else {
                LineClass::Blank
            };
        };
        if self.is_too_long() {
            return LineClass::Invalid;
        }
        let named = |text: &[u8]| {
            if let Some(connection) = ConnectionType::named(text) {
                return LineClass::Rule(connection);
            }
            match IncludeKind::named(text) {
                Some(kind)
                    if self.version() >= PgVersion::V16
                        && self.tokens().last().is_some_and(|last| last.field() == 1) =>
                {
                    LineClass::Include(kind)
                }
                _ => LineClass::Invalid,
            }
        };
        match first.plain() {
            Some(text) => named(text),
            None => named(&first.to_vec()),
        }
    }
}
