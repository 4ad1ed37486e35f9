//! The table of settings, as servers of each major show it in `pg_settings`.

use pg_version::PgVersion;

use super::{
    check::{Checked, InvalidValue},
    lists::{Cut, ListKind, split_list},
    units::Unit,
};
use crate::name::current_name;

/// Names and facts, made by `cargo xtask catalogue` from what servers say: a name in the first
/// column, below it a line for each run of majors that have the same facts. Sorted by name in lower
/// case.
const FACTS: &str = include_str!("facts.txt");

/// The settings of a major.
///
/// The facts come from servers of the minor releases 12.22 to 18.4, with OpenSSL and without LZ4,
/// Zstandard, ICU, XML and LLVM, but for 15, which is Debian's with all of them. Minor releases and
/// distributions have added settings and enum values: a name that is not here is no error, and a
/// value that only some builds take is marked ([`InvalidValue::is_build_dependent`]). So is a time
/// zone that is not in the database that these servers came with (2026), and a stack deeper than the
/// 8 MB that systems mostly give.
///
/// ```
/// use pg_version::PgVersion;
/// use pgconf::{Activation, Catalogue};
///
/// let catalogue = Catalogue::new(PgVersion::V17);
/// let setting = catalogue.get("shared_buffers").unwrap();
/// assert_eq!(setting.activation(), Activation::Restart);
/// assert_eq!(setting.check("512MB")?.canonical(), b"65536");
/// assert_eq!(setting.check("512MB")?.show(), b"512MB");
/// assert_eq!(
///     setting.check("512mb").unwrap_err().to_string(),
///     "invalid value for parameter \"shared_buffers\": \"512mb\""
/// );
/// # Ok::<(), pgconf::InvalidValue>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalogue {
    version: PgVersion,
}

impl Catalogue {
    /// The settings of `version`.
    #[must_use]
    pub const fn new(version: PgVersion) -> Self {
        Self { version }
    }

    /// The major.
    #[must_use]
    pub const fn version(self) -> PgVersion {
        self.version
    }

    /// The facts about `name`, in any case and under its old name too (`sort_mem`).
    #[must_use]
    pub fn get(self, name: impl AsRef<[u8]>) -> Option<Setting> {
        let name = str::from_utf8(current_name(self.version, name.as_ref())).ok()?;
        let (name, majors) = find(name)?;
        majors.lines().find_map(|line| Setting::parse(self.version, name, line))
    }

    /// Whether the major has a setting `name`.
    #[must_use]
    pub fn knows(self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Whether a server takes a file that sets `name`: the catalogue knows it, or it has the dot that
    /// makes it an extension's, which is nobody's to judge before the extension is loaded.
    #[must_use]
    pub fn takes(self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        name.contains(&b'.') || self.knows(name)
    }

    /// Why a session's `SET` refuses a name: no setting has it, and (since major 14) it is none that an
    /// extension's could have, identifiers with dots between them. More names pass than a file can
    /// hold: `a.b.c`.
    ///
    /// ```
    /// # use pg_version::PgVersion;
    /// # use pgconf::Catalogue;
    /// let catalogue = Catalogue::new(PgVersion::V17);
    /// assert!(catalogue.check_name("work_mem").is_ok() && catalogue.check_name("a.b.c").is_ok());
    /// assert_eq!(
    ///     catalogue.check_name("work_men").unwrap_err().to_string(),
    ///     "unrecognized configuration parameter \"work_men\""
    /// );
    /// ```
    ///
    /// # Errors
    /// [`InvalidValue`], in the server's words.
    pub fn check_name(self, name: impl AsRef<[u8]>) -> Result<(), InvalidValue> {
        let name = name.as_ref();
        let shown = String::from_utf8_lossy(name);
        if !self.takes(name) {
            let message = format!("unrecognized configuration parameter \"{shown}\"");
            return Err(InvalidValue::new(message));
        }
        if self.version < PgVersion::V14 || self.knows(name) || is_custom(name) {
            return Ok(());
        }
        let message = format!("invalid configuration parameter name \"{shown}\"");
        Err(InvalidValue::new(message).with_detail(
            "Custom parameter names must be two or more simple identifiers separated by dots.",
        ))
    }

    /// The name that the server takes an old name for: `work_mem` for `sort_mem`, from 18 on
    /// `ssl_groups` for `ssl_ecdh_curve`. Any other name as it is.
    #[must_use]
    pub fn current_name(self, name: &[u8]) -> &[u8] {
        current_name(self.version, name)
    }

    /// Every setting of the major, by name in lower case.
    pub fn settings(self) -> impl Iterator<Item = Setting> {
        records().filter_map(move |(name, majors)| {
            majors.lines().find_map(|line| Setting::parse(self.version, name, line))
        })
    }
}

/// `valid_custom_variable_name`, for a name with a dot in it.
fn is_custom(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'.').all(|part| {
        let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        let goes_on = |byte: &u8| starts(*byte) || byte.is_ascii_digit() || *byte == b'$';
        part.first().is_some_and(|first| starts(*first)) && part.iter().all(goes_on)
    })
}

/// The records of the table: a name and the lines below it.
fn records() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = FACTS;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('\n')?;
        let end = end_of_record(after, 0);
        rest = &after[end..];
        Some((name, &after[..end]))
    })
}

/// Where in `text` the record that `from` lies in ends: at the next line that begins with a name.
fn end_of_record(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(line) = text[at..].find('\n') {
        at += line + 1;
        if !text[at..].starts_with(' ') {
            return at;
        }
    }
    text.len()
}

/// Searches the table for a name, in any case, by halves.
fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let wanted = name.to_ascii_lowercase();
    let (mut low, mut high) = (0, FACTS.len());
    while low < high {
        // The record that begins at or before the middle.
        let middle = low + (high - low) / 2;
        let mut start = middle;
        loop {
            start = FACTS[low..start].rfind('\n').map_or(low, |line| low + line + 1);
            if start == low || !FACTS[start..].starts_with(' ') {
                break;
            }
            start -= 1;
        }
        let end = end_of_record(FACTS, start);
        let (found, majors) = FACTS[start..end].split_once('\n')?;
        match found.to_ascii_lowercase().cmp(&wanted) {
            std::cmp::Ordering::Equal => return Some((found, majors)),
            std::cmp::Ordering::Less => low = end,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// The facts about one setting of one major.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Setting {
    version: PgVersion,
    name: &'static str,
    kind: Kind,
    context: Context,
    default: Option<&'static str>,
}

/// A setting's type, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Kind {
    /// `on` or `off`
    Bool,
    /// A whole number of 32 bits.
    Integer {
        /// What it counts.
        unit: Option<Unit>,
        /// The smallest value, in that unit.
        min: i32,
        /// The largest value, in that unit.
        max: i32,
    },
    /// A number with a fraction.
    Real {
        /// What it counts.
        unit: Option<Unit>,
        /// The smallest value, in that unit.
        min: f64,
        /// The largest value, in that unit.
        max: f64,
    },
    /// One of some words: [`Setting::values`].
    Enum(Words),
    /// Anything; many settings have a syntax of their own.
    String,
}

/// The words of an enum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Words(&'static str);

impl Words {
    /// The words, in the server's order.
    pub fn iter(self) -> impl Iterator<Item = String> {
        self.0.split('|').map(|word| word.replace('~', " "))
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Words {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Who may change a setting, and when: the column `context` of `pg_settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Context {
    /// Nobody: it says how the server was built, or its data directory made.
    Internal,
    /// The server's start.
    Postmaster,
    /// The files, at any time.
    Sighup,
    /// The files for later sessions, a superuser at a session's start.
    SuperuserBackend,
    /// The files for later sessions, anybody at a session's start.
    Backend,
    /// The files, a superuser in a session.
    Superuser,
    /// The files, anybody in a session.
    User,
}

/// What makes a changed file take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Activation {
    /// A reload: every session that has not set it otherwise follows.
    Reload,
    /// A reload, and then new sessions only.
    NewSession,
    /// A restart of the server.
    Restart,
    /// Nothing: no file can change it.
    Never,
}

impl Activation {
    /// What to do, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::NewSession => "reload, for new sessions",
            Self::Restart => "restart",
            Self::Never => "never",
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Setting {
    /// A line of the table, if it is about `version`: ` 12 18 i u kB 64 * '4096'`.
    fn parse(version: PgVersion, name: &'static str, line: &'static str) -> Option<Self> {
        let mut rest = line.strip_prefix(' ')?;
        let mut next = || {
            let (field, after) = rest.split_once(' ')?;
            rest = after;
            Some(field)
        };
        let first: u16 = next()?.parse().ok()?;
        let last: u16 = next()?.parse().ok()?;
        if !(first..=last).contains(&version.major()) {
            return None;
        }
        let letter = next()?;
        let context = match next()? {
            "p" => Context::Postmaster,
            "h" => Context::Sighup,
            "B" => Context::SuperuserBackend,
            "b" => Context::Backend,
            "s" => Context::Superuser,
            "u" => Context::User,
            _ => Context::Internal,
        };
        let kind = match letter {
            "b" => Kind::Bool,
            "i" => Kind::Integer {
                unit: Unit::from_str(next()?),
                min: next()?.parse().ok()?,
                max: match next()? {
                    "*" => i32::MAX,
                    bound => bound.parse().ok()?,
                },
            },
            "r" => Kind::Real {
                unit: Unit::from_str(next()?),
                min: next()?.parse().ok()?,
                max: match next()? {
                    "*" => f64::MAX,
                    bound => bound.parse().ok()?,
                },
            },
            "e" => Kind::Enum(Words(next()?)),
            _ => Kind::String,
        };
        let default = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        Some(Self { version, name, kind, context, default })
    }

    /// The name, as the server spells it: `work_mem`, `DateStyle`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The major.
    #[must_use]
    pub const fn version(&self) -> PgVersion {
        self.version
    }

    /// Type and bounds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Who may change it, and when.
    #[must_use]
    pub const fn context(&self) -> Context {
        self.context
    }

    /// The unit of a number, if it has one.
    #[must_use]
    pub const fn unit(&self) -> Option<Unit> {
        match self.kind {
            Kind::Integer { unit, .. } | Kind::Real { unit, .. } => unit,
            _ => None,
        }
    }

    /// The words that an enum shows; it may take more (`true` for `on`). None for other types.
    pub fn values(&self) -> impl Iterator<Item = String> + use<> {
        let words = match self.kind {
            Kind::Enum(words) => Some(words),
            _ => None,
        };
        words.into_iter().flat_map(Words::iter)
    }

    /// The value that is built into the server, in its canonical form (`4096` for `work_mem`); `None`
    /// where there is none. `initdb` writes other ones to the file (`shared_buffers`, locales), and
    /// distributions build in other paths.
    #[must_use]
    pub const fn default(&self) -> Option<&'static str> {
        self.default
    }

    /// What makes a changed file take effect.
    #[must_use]
    pub const fn activation(&self) -> Activation {
        match self.context {
            Context::Internal => Activation::Never,
            Context::Postmaster => Activation::Restart,
            Context::SuperuserBackend | Context::Backend => Activation::NewSession,
            Context::Sighup | Context::Superuser | Context::User => Activation::Reload,
        }
    }

    /// Whether no file should set it: the server refuses it there, or it is a matter of one session or
    /// transaction (flag `GUC_DISALLOW_IN_FILE`, which the server itself heeds in `ALTER SYSTEM`).
    #[must_use]
    pub fn is_refused_in_file(&self) -> bool {
        matches!(self.context, Context::Internal)
            || matches!(
                self.name,
                "config_file"
                    | "role"
                    | "seed"
                    | "session_authorization"
                    | "ssl_renegotiation_limit"
                    | "transaction_deferrable"
                    | "transaction_isolation"
                    | "transaction_read_only"
            )
    }

    /// Reads a value as the server does, bounds and all.
    ///
    /// # Errors
    /// [`InvalidValue`], in the server's words.
    pub fn check(&self, value: impl AsRef<[u8]>) -> Result<Checked, InvalidValue> {
        // A setting that needs a restart is read by a server that starts, and by no other.
        let cut = match self.context {
            Context::Postmaster => Cut::BetweenBytes,
            _ => Cut::BetweenCharacters,
        };
        super::check::check(self, value.as_ref(), cut)
    }

    /// Reads a value as a server that starts with it in its file: as [`Setting::check`], and besides
    /// what no file can set, roles (there is no session yet that could have one), and lists of what to
    /// listen on that cannot be taken apart. Names are cut after 63 bytes, also within a character:
    /// there is no database yet whose encoding would tell.
    ///
    /// ```
    /// # use pg_version::PgVersion;
    /// # use pgconf::Catalogue;
    /// let setting = Catalogue::new(PgVersion::V17).get("listen_addresses").unwrap();
    /// assert!(setting.check("localhost,,::1").is_ok());
    /// assert_eq!(
    ///     setting.check_in_file("localhost,,::1").unwrap_err().to_string(),
    ///     "invalid list syntax in parameter \"listen_addresses\""
    /// );
    /// ```
    ///
    /// # Errors
    /// [`InvalidValue`], in the server's words.
    pub fn check_in_file(&self, value: impl AsRef<[u8]>) -> Result<Checked, InvalidValue> {
        let (name, value) = (self.name, value.as_ref());
        match (self.context, name) {
            (Context::Internal, _) => self.check_session()?,
            (_, "role") if value == b"none" => {}
            (_, "role" | "session_authorization") => {
                let shown = format!("\"{}\"", String::from_utf8_lossy(value));
                return Err(InvalidValue::refused(name, &shown, None));
            }
            (_, "listen_addresses" | "unix_socket_directories") => {
                let kind = ListKind::of(name).unwrap_or(ListKind::Words);
                split_list(self.version, kind, value).map_err(|_| {
                    InvalidValue::new(format!("invalid list syntax in parameter \"{name}\""))
                })?;
            }
            _ => {}
        }
        super::check::check(self, value, Cut::BetweenBytes)
    }

    /// Why a superuser's `SET` is refused whatever the value: the setting is not for sessions.
    ///
    /// # Errors
    /// [`InvalidValue`], in the server's words.
    pub fn check_session(&self) -> Result<(), InvalidValue> {
        let name = self.name;
        let message = match self.context {
            Context::Internal => format!("parameter \"{name}\" cannot be changed"),
            Context::Postmaster => {
                format!("parameter \"{name}\" cannot be changed without restarting the server")
            }
            Context::Sighup => format!("parameter \"{name}\" cannot be changed now"),
            Context::SuperuserBackend | Context::Backend => {
                format!("parameter \"{name}\" cannot be set after connection start")
            }
            Context::Superuser | Context::User => return Ok(()),
        };
        Err(InvalidValue::new(message))
    }

    /// Whether the server shows what the socket of the asking connection says, whatever was set: the
    /// keepalive settings, all of them `0` over a Unix-domain socket.
    #[must_use]
    pub fn is_shown_by_socket(&self) -> bool {
        super::hooks::is_shown_by_socket(self)
    }

    /// The default as the server's `SHOW` prints it (`4MB` for `work_mem`).
    #[must_use]
    pub fn default_shown(&self) -> Option<String> {
        let default = self.default?;
        let shown = self.check(default).map(|checked| checked.show().to_vec());
        Some(shown.map_or_else(
            |_| default.to_owned(),
            |shown| String::from_utf8_lossy(&shown).into_owned(),
        ))
    }
}
