//! A mapping to be written into pg_ident.conf.

use alloc::vec::Vec;

use super::{
    BuildError,
    quoting::{comment_text, name_text, quote, regex_text, writable},
};
use crate::{IdentDocument, Mapping, PgVersion, Server, UserKind, text::Text};

/// A mapping to be written into pg_ident.conf.
///
/// Names are quoted where they must be. [`NewMapping::check`] reads the line as the server would, and
/// finds every way in which it is invalid or means something else; all edits do so.
///
/// ```
/// use hba_parser::{NewMapping, PgVersion, RoleSpec, Server, SystemUserSpec};
///
/// let mapping = NewMapping::new(
///     "corp",
///     SystemUserSpec::regex(r"^(.*)@example\.com$"),
///     RoleSpec::captured(r"\1"),
/// );
/// let server = Server::new(PgVersion::V16);
/// assert_eq!(mapping.to_line(&server)?, *r"corp /^(.*)@example\.com$ \1");
///
/// // Any role: that is something only from 16 on.
/// let anybody = NewMapping::new("corp", SystemUserSpec::name("root"), RoleSpec::All);
/// assert_eq!(anybody.to_line(&server)?, *"corp root all");
/// assert!(anybody.check(&Server::new(PgVersion::V15)).is_err());
/// # Ok::<(), hba_parser::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMapping {
    map: Vec<u8>,
    system_user: SystemUserSpec,
    role: RoleSpec,
    comment: Option<Vec<u8>>,
}

/// System users of a [`NewMapping`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemUserSpec {
    /// The user with this very name.
    Name(Vec<u8>),
    /// All users whose names match.
    Regex(Vec<u8>),
}

impl SystemUserSpec {
    /// The user with this very name.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self::Name(name.as_ref().to_vec())
    }

    /// All users whose names match.
    #[must_use]
    pub fn regex(regex: impl AsRef<[u8]>) -> Self {
        Self::Regex(regex.as_ref().to_vec())
    }

    fn is_read_as(&self, mapping: &Mapping<'_>) -> bool {
        let (regex, text) = (mapping.system_user_regex(), mapping.system_user());
        match self {
            Self::Name(name) => regex.is_none() && text == name,
            Self::Regex(meant) => regex.is_some() && text.strip_prefix(b"/") == Some(meant),
        }
    }
}

/// Roles of a [`NewMapping`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleSpec {
    /// Any role (16 and newer).
    All,
    /// `+role`: the role's members (16 and newer).
    Member(Vec<u8>),
    /// The role with this very name.
    Name(Vec<u8>),
    /// The role whose name this is, with what the system user's expression captured in the place of
    /// `\1`.
    Captured(Vec<u8>),
    /// All roles whose names match (16 and newer).
    Regex(Vec<u8>),
}

impl RoleSpec {
    /// `+role`: the role's members (16 and newer).
    #[must_use]
    pub fn member(role: impl AsRef<[u8]>) -> Self {
        Self::Member(role.as_ref().to_vec())
    }

    /// The role with this very name, be it `all`.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self::Name(name.as_ref().to_vec())
    }

    /// The role whose name this is, with what was captured in the place of `\1`.
    #[must_use]
    pub fn captured(name: impl AsRef<[u8]>) -> Self {
        Self::Captured(name.as_ref().to_vec())
    }

    /// All roles whose names match (16 and newer).
    #[must_use]
    pub fn regex(regex: impl AsRef<[u8]>) -> Self {
        Self::Regex(regex.as_ref().to_vec())
    }

    pub(crate) fn is_read_as(&self, mapping: &Mapping<'_>) -> bool {
        let captured = |name: &[u8]| {
            mapping.system_user_regex().is_some() && name.windows(2).any(|pair| pair == b"\\1")
        };
        match (mapping.role_kind(), self) {
            (UserKind::All, Self::All) => true,
            (UserKind::Member(name), Self::Member(meant)) => name == meant,
            (UserKind::Name(name), Self::Name(meant)) => name == meant && !captured(name),
            (UserKind::Name(name), Self::Captured(meant)) => name == meant && captured(name),
            (UserKind::Regex(_), Self::Regex(meant)) => {
                mapping.database_user().strip_prefix(b"/") == Some(meant)
            }
            _ => false,
        }
    }
}

impl NewMapping {
    /// In the map `map`, this system user may be these roles.
    #[must_use]
    pub fn new(map: impl AsRef<[u8]>, system_user: SystemUserSpec, role: RoleSpec) -> Self {
        Self { map: map.as_ref().to_vec(), system_user, role, comment: None }
    }

    /// With a comment at the end of its line.
    #[must_use]
    pub fn comment(mut self, comment: impl AsRef<[u8]>) -> Self {
        self.comment = Some(comment.as_ref().to_vec());
        self
    }

    /// Whether the server takes the mapping, and understands it as it is meant.
    ///
    /// # Errors
    /// [`BuildError`]
    pub fn check(&self, server: &Server) -> Result<(), BuildError> {
        self.checked_fields(server).map(|_| ())
    }

    /// The mapping as a line without a line end, its fields one blank apart.
    ///
    /// # Errors
    /// [`BuildError`] if the server would refuse the line, or understand it otherwise.
    pub fn to_line(&self, server: &Server) -> Result<Text, BuildError> {
        Ok(self.checked_fields(server)?.join().into())
    }

    /// Whether a line of a file says this, however it is written.
    #[must_use]
    pub fn is_read_as(&self, mapping: &Mapping<'_>) -> bool {
        mapping.map() == self.map
            && self.system_user.is_read_as(mapping)
            && self.role.is_read_as(mapping)
    }

    /// The mapping's fields as they are written, found good.
    pub(crate) fn checked_fields(&self, server: &Server) -> Result<MappingText, BuildError> {
        let text = self.fields(server)?;
        let maps = IdentDocument::parse(text.join()).interpret(server);
        if let Some(diagnostic) = maps.diagnostics().first() {
            return Err(BuildError::Refused {
                code: diagnostic.code,
                message: diagnostic.message.clone(),
            });
        }
        match maps.iter().next().filter(|_| maps.len() == 1) {
            Some(mapping) if self.is_read_as(&mapping) => Ok(text),
            _ => Err(BuildError::ReadOtherwise),
        }
    }

    fn fields(&self, server: &Server) -> Result<MappingText, BuildError> {
        if self.map.is_empty() {
            return Err(BuildError::NoMap);
        }
        let old = server.version < PgVersion::V16;
        writable(&self.map)?;
        let system_user = match &self.system_user {
            SystemUserSpec::Name(name) => name_text(name, true)?,
            SystemUserSpec::Regex(regex) => regex_text(regex)?,
        };
        let role = match &self.role {
            RoleSpec::All => b"all".into(),
            RoleSpec::Member(role) => {
                writable(role)?;
                [b"+", quote(role, false).as_slice()].concat()
            }
            RoleSpec::Name(name) | RoleSpec::Captured(name) => name_text(name, !old)?,
            RoleSpec::Regex(regex) => regex_text(regex)?,
        };
        let comment = self.comment.as_deref().map(comment_text).transpose()?;
        Ok(MappingText { fields: [quote(&self.map, true), system_user, role], comment })
    }
}

/// The fields of a mapping as they are written: map, system user, database user.
#[derive(Clone, Debug)]
pub(crate) struct MappingText {
    pub(crate) fields: [Vec<u8>; 3],
    pub(crate) comment: Option<Vec<u8>>,
}

impl MappingText {
    fn join(&self) -> Vec<u8> {
        let fields = self.fields.iter().chain(&self.comment).map(Vec::as_slice);
        fields.collect::<Vec<_>>().join(&b' ')
    }
}
