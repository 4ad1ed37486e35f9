//! What is wrong with a file: in the server's words, with its line number, and with ours.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use textfile::Span;

use crate::{PgVersion, Server, text::Text};

/// A file that was read: 0 is the main one, the others those that it includes, in the order in which
/// they were first opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FileId(pub u32);

impl FileId {
    /// The file that was given to read.
    pub const MAIN: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A place in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Which file.
    pub file: FileId,
    /// The line's number as the server counts.
    pub line: u32,
    /// The bytes in that file: of the token that is to blame, or of the whole line.
    pub span: Span,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Severity {
    /// The server writes it to its log, and nothing else follows from it.
    Notice,
    /// The line is loaded, but a rule that never matches, or less than was meant.
    Warning,
    /// The server refuses the whole file.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal: $help:literal,)+) => {
        /// Which problem: stable, and the same for all majors whatever their words are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as text, for reports and exceptions: stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What to write instead.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

codes! {
    /// A line of 12 or 13 is too long.
    LineTooLong = "line-too-long": "split the list over several rules, or put it into an @file",
    /// A token of 12 to 15 is too long.
    TokenTooLong = "token-too-long": "no name is that long: look for a missing quote",
    /// A file that is included cannot be opened.
    CannotOpen = "cannot-open": "create the file, correct its path (relative to the including file), or use include_if_exists",
    /// A file that is included cannot be read.
    CannotRead = "cannot-read": "name a plain file, not a folder",
    /// Includes nest too deep, or in a circle.
    NestedTooDeep = "nested-too-deep": "break the circle of includes; at most 10 may nest",
    /// A folder to include has no name.
    EmptyDirectoryName = "empty-directory-name": "name the folder behind include_dir",
    /// A folder to include cannot be opened.
    CannotOpenDirectory = "cannot-open-directory": "create the folder or correct its path (relative to the including file)",
    /// A file in an included folder cannot be examined.
    CannotStat = "cannot-stat": "remove the dangling link from the folder",
    /// A file of include_if_exists is not there.
    SkippedMissingFile = "skipped-missing-file": "nothing: include_if_exists allows it",
    /// There are more files to include than this crate reads.
    TooManyFiles = "too-many-files": "include fewer files",
    /// The first field is a list.
    MultipleConnectionTypes = "multiple-connection-types": "write one rule for each connection type",
    /// The first field is no connection type.
    InvalidConnectionType = "invalid-connection-type": "begin the rule with local, host, hostssl, hostnossl, hostgssenc or hostnogssenc, in small letters",
    /// A `hostssl` rule, and `ssl` is off.
    SslDisabled = "ssl-disabled": "set ssl = on, or write host",
    /// A `hostssl` rule, and the server was built without TLS.
    SslNotSupported = "ssl-not-supported": "write host, or use a server with TLS",
    /// A `hostgssenc` rule, and the server was built without GSSAPI.
    GssNotSupported = "gss-not-supported": "remove the rule, or use a server with GSSAPI",
    /// The line ends before the databases.
    NoDatabase = "no-database": "name the databases behind the connection type; all is any",
    /// The line ends before the users.
    NoUser = "no-user": "name the users behind the databases; all is any",
    /// The line ends before the address.
    NoAddress = "no-address": "name an address behind the users, such as 10.0.0.0/8 or all",
    /// The line ends before the mask.
    NoMask = "no-mask": "write how many bits of the address count, such as 10.0.0.1/32",
    /// The line ends before the method.
    NoMethod = "no-method": "end the rule with a method, such as scram-sha-256",
    /// The address is a list.
    MultipleAddresses = "multiple-addresses": "write one rule for each address",
    /// The address is none.
    InvalidAddress = "invalid-address": "write an address such as 10.0.0.0/8 or a host name",
    /// Behind a slash stands no number of bits.
    InvalidCidrMask = "invalid-cidr-mask": "write 0 to 32 behind an IPv4 address, 0 to 128 behind an IPv6 one",
    /// A host name with a mask.
    HostNameWithMask = "host-name-with-mask": "remove the mask, or write a numeric address without brackets",
    /// The mask is a list.
    MultipleMasks = "multiple-masks": "write one rule for each address",
    /// The mask is none.
    InvalidMask = "invalid-mask": "write how many bits count behind the address (10.0.0.1/32), or a mask such as 255.255.255.255 after it",
    /// An IPv4 mask for an IPv6 address, or the other way round.
    MaskMismatch = "mask-mismatch": "write a mask of the address's own kind, or how many bits count behind it",
    /// The method is a list.
    MultipleMethods = "multiple-methods": "write one method: the first rule that matches decides alone",
    /// There is no such method.
    InvalidMethod = "invalid-method": "write a method of this major, in small letters",
    /// There is such a method, but not in this build.
    MethodNotSupported = "method-not-supported": "use another method, or a server built with it",
    /// `gss` on a Unix socket.
    GssOnLocal = "gss-on-local": "write host, hostssl or hostgssenc",
    /// `peer` over the network.
    PeerNotLocal = "peer-not-local": "write local, or another method",
    /// `cert` without TLS.
    CertNeedsHostssl = "cert-needs-hostssl": "write hostssl",
    /// An option without an equals sign.
    OptionWithoutValue = "option-without-value": "write name=value; put quotes around a value with blanks or commas",
    /// There is no such option.
    UnknownOption = "unknown-option": "remove it or correct its name; put quotes around values with commas",
    /// The option belongs to other methods.
    OptionForOtherMethod = "option-for-other-method": "remove the option",
    /// `clientcert` without TLS.
    ClientCertNeedsHostssl = "clientcert-needs-hostssl": "write hostssl, or remove clientcert",
    /// `clientcert` has no such value.
    InvalidClientCert = "invalid-clientcert": "write clientcert=verify-full or clientcert=verify-ca",
    /// `cert` and a weaker `clientcert`.
    ClientCertTooWeak = "clientcert-too-weak": "remove clientcert: cert implies verify-full",
    /// `clientname` without TLS.
    ClientNameNeedsHostssl = "clientname-needs-hostssl": "write hostssl, or remove clientname",
    /// `clientname` has no such value.
    InvalidClientName = "invalid-clientname": "write clientname=CN or clientname=DN, in capital letters",
    /// An URL that OpenLDAP cannot read.
    InvalidLdapUrl = "invalid-ldap-url": "write ldap://host:port/basedn?attribute?scope?filter",
    /// An URL of another scheme.
    UnsupportedLdapScheme = "unsupported-ldap-scheme": "write ldap:// or ldaps://",
    /// A scheme that the server takes, though it knows no such one.
    InvalidLdapScheme = "invalid-ldap-scheme": "write ldapscheme=ldap or ldapscheme=ldaps",
    /// A port that is no number.
    InvalidLdapPort = "invalid-ldap-port": "write a port number, such as 389",
    /// Options of both LDAP modes.
    MixedLdapModes = "mixed-ldap-modes": "give ldapprefix and ldapsuffix, or ldapbasedn and its companions, not both",
    /// No option says what LDAP is to look for.
    NoLdapMode = "no-ldap-mode": "give ldapbasedn, or ldapprefix and ldapsuffix",
    /// Two ways to search.
    LdapAttributeAndFilter = "ldap-attribute-and-filter": "remove ldapsearchattribute or ldapsearchfilter",
    /// A list of an option for RADIUS is none.
    InvalidRadiusList = "invalid-radius-list": "write values with commas between them, in quotes",
    /// A RADIUS server's name does not resolve.
    RadiusServerUnknown = "radius-server-unknown": "write the server's address, or a name that resolves",
    /// A RADIUS port that is no number.
    InvalidRadiusPort = "invalid-radius-port": "write port numbers, such as 1812",
    /// The lists for RADIUS have other lengths.
    RadiusListLength = "radius-list-length": "give one value, or as many as there are servers",
    /// A method lacks an option.
    MissingOption = "missing-option": "add the option",
    /// `oauth_validator_libraries` is empty.
    NoOauthValidator = "no-oauth-validator": "set oauth_validator_libraries in postgresql.conf",
    /// It is not said which validator is meant.
    AmbiguousOauthValidator = "ambiguous-oauth-validator": "add validator= with one of oauth_validator_libraries",
    /// The validator is not among `oauth_validator_libraries`.
    OauthValidatorNotPermitted = "oauth-validator-not-permitted": "name one of oauth_validator_libraries",
    /// A map, and no mapping.
    MapWithDelegation = "map-with-delegation": "remove map or delegate_ident_mapping",
    /// A regular expression that is none.
    InvalidRegex = "invalid-regex": "correct the expression, and put quotes around one with commas, blanks or #",
    /// The file has no rule.
    NoEntries = "no-entries": "add a rule: without one nobody can connect, and the server refuses the file",
    /// A map's line has too few fields.
    MissingIdentEntry = "missing-ident-entry": "write map name, system user and database user",
    /// A map's field is a list.
    MultipleIdentValues = "multiple-ident-values": "write one line for each value, or quote the comma",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A problem, as the server reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which problem.
    pub code: Code,
    /// What the server writes to its log. What its view shows can differ: see
    /// [`Row::error`](crate::Row::error).
    pub message: Text,
    /// The server's own hint, where it has one.
    pub hint: Option<&'static str>,
    /// Where it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub location: Location,
    /// The lines that the server names in its log, innermost first. For some problems it names none.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub context: Vec<(FileId, u32)>,
}

impl Diagnostic {
    /// What to write instead.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.code.help()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.location.line, self.severity, self.message)
    }
}

/// Would this server load the file?
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Verdict {
    /// It would.
    Loaded,
    /// It would not. A running server keeps the rules that it has; one that starts does not.
    Refused,
    /// A circle of @files: reading it takes the whole server down (12 to 15).
    ServerDown(Crash),
}

impl Verdict {
    /// Whether the file is loaded.
    #[must_use]
    pub const fn is_loaded(&self) -> bool {
        matches!(self, Self::Loaded)
    }
}

/// How a circle of @files ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Crash {
    /// 12 and 13: a stack overflow. The postmaster dies at reload, a backend at a look into the view.
    StackOverflow {
        /// The file that includes itself.
        file: Text,
    },
    /// 14 and 15: `exceeded maxAllocatedDescs`. Fatal at reload, an error in the view.
    TooManyOpenFiles {
        /// The file that includes itself.
        file: Text,
    },
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StackOverflow { file } => {
                write!(f, "\"{file}\" includes itself: the server overflows its stack and dies")
            }
            Self::TooManyOpenFiles { file } => {
                write!(f, "\"{file}\" includes itself: the server runs out of files and stops")
            }
        }
    }
}

/// What one line of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// The message, of level `LOG`.
    pub message: Text,
    /// The hint.
    pub hint: Option<&'static str>,
    /// The context: a line for each file on the way to the problem.
    pub context: Option<Text>,
}

/// The context of a log entry: `line 1 of configuration file "..."`.
pub(crate) fn context_text(context: &[(FileId, u32)], files: &[Text]) -> Option<Text> {
    if context.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for (index, (file, line)) in context.iter().enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("line {line} of configuration file \"").as_bytes());
        out.extend_from_slice(files.get(file.index()).map_or(&b""[..], Text::as_bytes));
        out.push(b'"');
    }
    Some(out.into())
}

/// What a server logs last when it refuses a file at reload: newer ones with the path.
pub(crate) fn not_reloaded(server: &Server, path: &Text, name: &str) -> Text {
    if server.version >= PgVersion::V16 {
        crate::text::text!(path, " was not reloaded")
    } else {
        String::from(name)
            .into_bytes()
            .into_iter()
            .chain(*b" was not reloaded")
            .collect::<Vec<_>>()
            .into()
    }
}
