//! What is likely not meant as libpq takes it.

use std::fmt;

use crate::{
    Entry, Field, FieldName, FileStatus, Insecure, Libpq, PassFile,
    file::candidate,
    index::Index,
    lines::{RawLine, Text, raw_lines},
    matching::field_length,
};

/// Something in a file that is likely a mistake, with what to do about it as `Display`.
///
/// Neither holds any byte of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, counted from 1; `None` if it is about the file.
    pub line: Option<usize>,
    /// What it is.
    pub lint: Lint,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, and may work for more than it should.
    Warning,
    /// libpq does not do what the line seems to say.
    Error,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lint {
    /// libpq ignores the file.
    Permissions(Insecure),
    /// The file begins with a byte order mark: it is part of the first host.
    ByteOrderMark,
    /// A NUL byte: libpq does not see the rest of the line, and appends the next one.
    Nul,
    /// The last line has no line feed, and just the length at which libpq loses it.
    LostLine,
    /// Not a comment: the `#` is not in the first column.
    IndentedComment,
    /// Fewer than five fields: libpq ignores the line.
    TooFewFields,
    /// An empty field matches nothing.
    EmptyField(FieldName),
    /// An empty password is none, and ends the search.
    EmptyPassword,
    /// What looks like a comment behind the password is part of it.
    TrailingComment,
    /// Blanks at the start or the end of a field are part of it.
    Blanks(FieldName),
    /// Quotation marks around a field are part of it.
    Quotes(FieldName),
    /// A carriage return is part of the line, or read in another way by libpq 12.
    CarriageReturn,
    /// A colon that is not escaped ends the password; what follows is ignored.
    ExtraFields,
    /// The host is an IPv6 address and its colons are not escaped.
    UnescapedAddress,
    /// A star beside other characters is a star.
    LiteralStar(FieldName),
    /// Several hosts in one field match none.
    HostList,
    /// libpq calls its default socket folder `localhost`, never by its path.
    SocketFolder,
    /// An earlier line matches all that this one does.
    Unreachable {
        /// That line, counted from 1.
        by: usize,
    },
    /// The password is sent to whatever host a connection names.
    AnyHost,
}

impl Lint {
    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::AnyHost
            | Self::Unreachable { .. }
            | Self::EmptyPassword
            | Self::ExtraFields
            | Self::UnescapedAddress => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.lint),
            None => self.lint.fmt(f),
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permissions(insecure) => {
                return write!(f, "the file is ignored: it {insecure}");
            }
            Self::EmptyField(field) => {
                return write!(f, "the {field} is empty, and so matches nothing: use * for any");
            }
            Self::Blanks(field) => {
                return write!(f, "the blanks around the {field} are part of it: remove them");
            }
            Self::Quotes(field) => {
                return write!(
                    f,
                    "the quotation marks around the {field} are part of it: remove them"
                );
            }
            Self::LiteralStar(field) => {
                return write!(
                    f,
                    "the star in the {field} is no pattern: only a star alone matches anything"
                );
            }
            Self::Unreachable { by } => {
                return write!(
                    f,
                    "never reached: line {by} matches all that this line does; put this line \
                     before it, or remove it"
                );
            }
            Self::ByteOrderMark => {
                "the byte order mark is part of the first line's host: save without one"
            }
            Self::Nul => {
                "a NUL byte: libpq does not see the rest of this line and appends the next one to \
                 it; remove the byte"
            }
            Self::LostLine => {
                "libpq does not see this line, for its length and the missing line feed: end it"
            }
            Self::IndentedComment => "not a comment: the # has to be in the first column",
            Self::TooFewFields => {
                "ignored: fewer than five fields; host:port:database:user:password are needed"
            }
            Self::EmptyPassword => {
                "an empty password: libpq connects without one and looks no further"
            }
            Self::TrailingComment => {
                "what follows the # is part of the password: put comments on lines of their own"
            }
            Self::CarriageReturn => {
                "a carriage return other than one before the line feed: it is part of the line, or \
                 read differently by libpq 12; remove it"
            }
            Self::ExtraFields => {
                "the password ends at an unescaped colon: write \\: if the colon is part of it"
            }
            Self::UnescapedAddress => {
                "the colons of the address are not escaped: libpq matches it all the same, other \
                 programs may not; write \\: for each"
            }
            Self::HostList => {
                "several hosts in one field match none: write a line for each of them"
            }
            Self::SocketFolder => {
                "libpq calls its default socket folder localhost: write that instead of the path"
            }
            Self::AnyHost => "any host may get this password: name the host that it is for",
        })
    }
}

impl PassFile {
    /// What in the file is likely a mistake, in the order of its lines.
    ///
    /// ```
    /// use passfile::{FileStatus, Libpq, PassFile};
    ///
    /// let file = PassFile::parse("db1:*:*:bob:pw # mine\ndb1:*:app:bob:pw\n")?;
    /// let findings = file.lint(&Libpq::default(), Some(FileStatus::plain(0o644)));
    /// let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    /// assert_eq!(findings, [
    ///     "the file is ignored: it has group or world access; permissions should be u=rw (0600) or less",
    ///     "line 1: what follows the # is part of the password: put comments on lines of their own",
    ///     "line 2: never reached: line 1 matches all that this line does; put this line before it, or remove it",
    /// ]);
    /// # Ok::<(), passfile::TooLarge>(())
    /// ```
    #[must_use]
    pub fn lint(&self, libpq: &Libpq, status: Option<FileStatus>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(Err(insecure)) = status.map(FileStatus::check) {
            findings.push(Finding { line: None, lint: Lint::Permissions(insecure) });
        }
        let mut index = Index::default();
        for raw in raw_lines(&self.document) {
            let line = raw.first + 1;
            let mut report = |lint| findings.push(Finding { line: Some(line), lint });
            if line == 1 && raw.text.starts_with(b"\xef\xbb\xbf") {
                report(Lint::ByteOrderMark);
            }
            if matches!(raw.text, Text::Joined(_)) {
                report(Lint::Nul);
            }
            lint_line(raw, libpq, &mut index, &mut report);
        }
        findings
    }
}

fn lint_line(raw: RawLine<'_>, libpq: &Libpq, index: &mut Index, report: &mut impl FnMut(Lint)) {
    if !raw.seen && matches!(raw.text, Text::Lent(_)) {
        return report(Lint::LostLine);
    }
    let Some(text) = candidate(&raw, libpq) else { return };
    let meant = text.trim_ascii_start();
    if meant.is_empty() {
        return;
    }
    if meant.starts_with(b"#") {
        return report(Lint::IndentedComment);
    }
    let ending = raw.text.strip_suffix(b"\n").unwrap_or(&raw.text);
    if ending.strip_suffix(b"\r").unwrap_or(ending).contains(&b'\r') {
        report(Lint::CarriageReturn);
    }
    if begins_with_address(text) {
        return report(Lint::UnescapedAddress);
    }
    let end = text.len();
    let Some(entry) = Entry::split(raw.first + 1, raw.text, end) else {
        return report(Lint::TooFewFields);
    };
    for (position, name) in FieldName::KEY.into_iter().enumerate() {
        lint_field(name, entry.raw(position), report);
    }
    if let Field::Exactly(host) = entry.host() {
        if libpq.is_default_socket_dir(host.as_bytes()) {
            report(Lint::SocketFolder);
        }
        if host.as_bytes().contains(&b',') {
            report(Lint::HostList);
        }
    }
    lint_password(entry.rest(), report);
    match index.first_covering(&entry) {
        Some(by) => report(Lint::Unreachable { by }),
        None if entry.host() == Field::Any && !entry.password().is_empty() => {
            report(Lint::AnyHost);
        }
        None => {}
    }
    index.add(&entry);
}

/// Whether a line begins with an IPv6 address as it is, and four more fields follow.
fn begins_with_address(line: &[u8]) -> bool {
    let colons: Vec<usize> = memchr::memchr_iter(b':', line).collect();
    // Two of its colons at least, then those that end host, port, database and user.
    let ends = colons.iter().take(colons.len().saturating_sub(3)).skip(2);
    ends.into_iter().any(|end| {
        let address = line[..*end].split(|byte| *byte == b'%').next().unwrap_or_default();
        str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
    })
}

fn lint_field(name: FieldName, raw: &[u8], report: &mut impl FnMut(Lint)) {
    if raw.is_empty() {
        report(Lint::EmptyField(name));
    }
    lint_text(name, raw, report);
    let unescaped_star = |at: &usize| raw[*at] == b'*' && (*at == 0 || raw[at - 1] != b'\\');
    if raw.len() > 1 && (0..raw.len()).any(|at| unescaped_star(&at)) {
        report(Lint::LiteralStar(name));
    }
}

fn lint_password(rest: &[u8], report: &mut impl FnMut(Lint)) {
    let password = &rest[..field_length(rest)];
    if password.is_empty() {
        report(Lint::EmptyPassword);
    }
    let comment = |pair: &[u8]| matches!(pair, [b' ' | b'\t', b'#']);
    if password.windows(2).any(comment) {
        report(Lint::TrailingComment);
    } else {
        lint_text(FieldName::Password, password, report);
    }
    // A colon at the very end is how a carriage return before it is kept.
    if password.len() + 1 < rest.len() {
        report(Lint::ExtraFields);
    }
}

fn lint_text(name: FieldName, raw: &[u8], report: &mut impl FnMut(Lint)) {
    if raw.trim_ascii().len() != raw.len() && !raw.is_empty() {
        report(Lint::Blanks(name));
    }
    if let [first @ (b'"' | b'\''), .., last] = raw
        && first == last
    {
        report(Lint::Quotes(name));
    }
}
