//! The options of a rule.

mod read;

use alloc::{boxed::Box, string::ToString as _, vec::Vec};

use pg_version::PgVersion;
use textfile::Span;

use crate::{
    Method,
    text::{Text, text},
};

pub(crate) use self::read::Reader;

/// The options of a rule as the server understands them: of several with one name the last counts.
///
/// What stands in the file is in [`given`](Self::given); the other fields have what counts of it, with
/// what the method implies (`parse_hba_auth_opt` and the end of `parse_hba_line` in `hba.c`). Flags
/// are on only for the value `1`: any other is off, and never an error.
///
/// ```
/// use hba_parser::{ClientCert, HbaDocument, PgVersion, Server};
///
/// let file = HbaDocument::parse(*b"hostssl all all all cert map=a map=b\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16));
/// let rule = rules.get(0).unwrap();
/// let options = rule.options();
/// assert_eq!(*options.map.as_ref().unwrap(), "b");
/// assert_eq!(options.client_cert, Some(ClientCert::VerifyFull), "implied");
/// assert_eq!(options.given.len(), 2);
/// assert_eq!(rule.shown_options(), ["map=b", "clientcert=verify-full"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Options {
    /// `map`: the map in pg_ident.conf that says whom a system user may be; for `ident`, `peer`, `gss`,
    /// `sspi`, `cert` and from 18 on `oauth`. An empty name is the same as none.
    pub map: Option<Text>,
    /// `clientcert` (`hostssl` only), or what the method `cert` implies. 12 and 13 take `1` for
    /// `verify-ca` as well, and `0` and `no-verify` for nothing.
    pub client_cert: Option<ClientCert>,
    /// `clientname` (14 and newer, `hostssl` only): what of the certificate is the user's name.
    pub client_name: ClientName,
    /// `pamservice`: the service's name; without it PAM is asked for `postgresql`.
    pub pam_service: Option<Text>,
    /// `pam_use_hostname`: whether PAM is told the client's host name and not its address.
    pub pam_use_hostname: bool,
    /// `include_realm`: whether the realm is part of the system user's name. `gss` and `sspi` imply
    /// it.
    pub include_realm: bool,
    /// `krb_realm`: the only realm whose principals may log in; `None` or an empty one is any.
    pub krb_realm: Option<Text>,
    /// `compat_realm`: whether the realm is the domain's NetBIOS name. `sspi` implies it.
    pub compat_realm: bool,
    /// `upn_username`: whether the name is that of the Kerberos principal (`sspi` only).
    pub upn_username: bool,
    /// Options of the method `ldap`.
    pub ldap: Option<Box<LdapOptions>>,
    /// Options of the method `radius`.
    pub radius: Option<Box<RadiusOptions>>,
    /// Options of the method `oauth` (18). Issuer and scope must be there.
    pub oauth: Option<Box<OauthOptions>>,
    /// All options that the rule has, as they are written.
    pub given: Vec<GivenOption>,
}

/// An option as it is written. Passwords and secrets among them are shown by neither `Debug` nor
/// serde.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenOption {
    /// What stands before the first equals sign.
    pub name: Text,
    /// What stands behind it.
    pub value: Text,
    /// Where its token is.
    pub span: Span,
}

/// What is shown in the place of a secret.
const HIDDEN: &str = "(secret)";

/// Whether an option's value is a secret.
pub(crate) fn is_secret(name: &[u8]) -> bool {
    matches!(name, b"ldapbindpasswd" | b"radiussecrets")
}

impl GivenOption {
    /// The value, or in a secret's place that it is one.
    #[must_use]
    pub fn shown_value(&self) -> Text {
        if is_secret(self.name.as_bytes()) { HIDDEN.into() } else { self.value.clone() }
    }
}

impl core::fmt::Debug for GivenOption {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GivenOption")
            .field("name", &self.name)
            .field("value", &self.shown_value())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for GivenOption {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut option = serializer.serialize_struct("GivenOption", 2)?;
        option.serialize_field("name", &self.name)?;
        option.serialize_field("value", &self.shown_value())?;
        option.end()
    }
}

/// An option as the view shows it, without a secret.
pub(crate) fn without_secret(shown: Text) -> Text {
    match shown.as_bytes().iter().position(|byte| *byte == b'=') {
        Some(equals) if is_secret(&shown.as_bytes()[..equals]) => {
            text!(&shown.as_bytes()[..=equals], HIDDEN)
        }
        _ => shown,
    }
}

/// Which certificate the client must show besides what the method asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum ClientCert {
    /// One that the CA signed.
    VerifyCa,
    /// One that the CA signed and that names the user.
    VerifyFull,
}

impl ClientCert {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// What of a certificate is compared with the user's name (14 and newer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum ClientName {
    /// The common name.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "CN"))]
    CommonName,
    /// The whole distinguished name, as RFC 2253 writes it.
    #[cfg_attr(feature = "serde", serde(rename = "DN"))]
    DistinguishedName,
}

/// Options of the method `ldap`: what single options and `ldapurl` say together, in the order in
/// which they stand.
///
/// With `prefix` or `suffix` the server binds as prefix + user + suffix (simple bind); with `base_dn`
/// it looks for the user first (search+bind). A file that mixes both is refused.
///
/// ```
/// use hba_parser::{HbaDocument, PgVersion, Server};
///
/// let file = HbaDocument::parse(*b"host all all all ldap ldapurl=\"ldaps://h/dc=x?uid?sub\"\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16));
/// let ldap = rules.get(0).unwrap().options().ldap.clone().unwrap();
/// assert_eq!(*ldap.base_dn.as_ref().unwrap(), "dc=x");
/// assert_eq!((ldap.port, ldap.scope), (636, 2));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LdapOptions {
    /// `ldapserver`: host names with blanks between them; without any the server asks DNS (SRV) for
    /// those of the base's domain.
    pub server: Option<Text>,
    /// `ldapport`: 0 is none, which means 389, or 636 with `ldaps`. An URL always sets it. Any number
    /// but 0 is taken, as `atoi` reads it.
    pub port: i32,
    /// `ldapscheme`: `ldap` or `ldaps`. Another one is taken too, and fails at login.
    pub scheme: Option<Text>,
    /// `ldaptls`: whether the connection to the LDAP server becomes one with TLS (StartTLS).
    pub tls: bool,
    /// `ldapprefix`: what stands before the user's name in the name to bind as.
    pub prefix: Option<Text>,
    /// `ldapsuffix`: what stands behind it.
    pub suffix: Option<Text>,
    /// `ldapbasedn`: where the search for the user begins.
    pub base_dn: Option<Text>,
    /// `ldapbinddn`: whom to bind as for the search; anonymous without it.
    pub bind_dn: Option<Text>,
    /// `ldapbindpasswd`: that user's password. Neither `Debug` nor serde shows it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub bind_password: Option<Text>,
    /// `ldapsearchattribute`: the attribute that has the user's name; `uid` without one and without a
    /// filter.
    pub search_attribute: Option<Text>,
    /// `ldapsearchfilter`: the filter of the search, with `$username` where the user's name goes.
    pub search_filter: Option<Text>,
    /// How deep the search goes: 0 base, 1 one level, 2 the subtree (unless an URL says otherwise).
    pub scope: i32,
}

/// Without the password.
impl core::fmt::Debug for LdapOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LdapOptions")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("scheme", &self.scheme)
            .field("tls", &self.tls)
            .field("prefix", &self.prefix)
            .field("suffix", &self.suffix)
            .field("base_dn", &self.base_dn)
            .field("bind_dn", &self.bind_dn)
            .field("search_attribute", &self.search_attribute)
            .field("search_filter", &self.search_filter)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Options of the method `radius`: lists, as `SplitGUCList` splits them. Those other than the servers
/// have one value, or one for each server.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RadiusOptions {
    /// `radiusservers`: names or addresses, asked one after the other.
    pub servers: Vec<Text>,
    /// `radiussecrets`: what each server shares with PostgreSQL. Neither `Debug` nor serde shows them.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub secrets: Vec<Text>,
    /// `radiusports`: 1812 without one.
    pub ports: Vec<Text>,
    /// `radiusidentifiers`: the NAS identifiers; `postgresql` without one.
    pub identifiers: Vec<Text>,
    #[cfg_attr(feature = "serde", serde(skip))]
    servers_text: Option<Text>,
    #[cfg_attr(feature = "serde", serde(skip))]
    secrets_text: Option<Text>,
    #[cfg_attr(feature = "serde", serde(skip))]
    ports_text: Option<Text>,
    #[cfg_attr(feature = "serde", serde(skip))]
    identifiers_text: Option<Text>,
}

/// Without the secrets.
impl core::fmt::Debug for RadiusOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RadiusOptions")
            .field("servers", &self.servers)
            .field("ports", &self.ports)
            .field("identifiers", &self.identifiers)
            .finish_non_exhaustive()
    }
}

/// Options of the method `oauth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OauthOptions {
    /// `issuer`: the authorization server's URL, or that of its discovery document.
    pub issuer: Option<Text>,
    /// `scope`: the OAuth scopes that a client needs, with blanks between them.
    pub scope: Option<Text>,
    /// `validator`, or the only one that the server has.
    pub validator: Option<Text>,
    /// `delegate_ident_mapping`: whether the validator alone says which role the token is for. No map
    /// is asked then, and `map` is refused.
    pub delegate_ident_mapping: bool,
}

impl Options {
    /// No option at all.
    pub(crate) const NONE: Self = Self {
        map: None,
        client_cert: None,
        client_name: ClientName::CommonName,
        pam_service: None,
        pam_use_hostname: false,
        include_realm: false,
        krb_realm: None,
        compat_realm: false,
        upn_username: false,
        ldap: None,
        radius: None,
        oauth: None,
        given: Vec::new(),
    };

    /// As the column `options` of pg_hba_file_rules shows them: also what is implied, and not all of
    /// what is given.
    #[must_use]
    pub fn shown(&self, method: Method, version: PgVersion) -> Vec<Text> {
        let mut shown = Vec::new();
        let mut show = |name: &str, value: Option<&[u8]>| {
            if let Some(value) = value {
                shown.push(text!(name, "=", value));
            }
        };
        let flag = |on: bool| on.then_some(&b"true"[..]);
        let bytes = |text: &'_ Option<Text>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let number = |number: i32| (number != 0).then(|| number.to_string().into_bytes());
        if matches!(method, Method::Gss | Method::Sspi) {
            show("include_realm", flag(self.include_realm));
            show("krb_realm", bytes(&self.krb_realm).as_deref());
        }
        show("map", bytes(&self.map).as_deref());
        show("clientcert", self.client_cert.map(|cert| cert.as_str().as_bytes()));
        show("pamservice", bytes(&self.pam_service).as_deref());
        if let Some(ldap) = &self.ldap {
            show("ldapserver", bytes(&ldap.server).as_deref());
            show("ldapport", number(ldap.port).as_deref());
            if version >= PgVersion::V15 {
                show("ldapscheme", bytes(&ldap.scheme).as_deref());
            }
            show("ldaptls", flag(ldap.tls));
            show("ldapprefix", bytes(&ldap.prefix).as_deref());
            show("ldapsuffix", bytes(&ldap.suffix).as_deref());
            show("ldapbasedn", bytes(&ldap.base_dn).as_deref());
            show("ldapbinddn", bytes(&ldap.bind_dn).as_deref());
            show("ldapbindpasswd", bytes(&ldap.bind_password).as_deref());
            show("ldapsearchattribute", bytes(&ldap.search_attribute).as_deref());
            show("ldapsearchfilter", bytes(&ldap.search_filter).as_deref());
            show("ldapscope", number(ldap.scope).as_deref());
        }
        if let Some(radius) = &self.radius {
            show("radiusservers", bytes(&radius.servers_text).as_deref());
            show("radiussecrets", bytes(&radius.secrets_text).as_deref());
            show("radiusidentifiers", bytes(&radius.identifiers_text).as_deref());
            show("radiusports", bytes(&radius.ports_text).as_deref());
        }
        if let Some(oauth) = &self.oauth {
            show("issuer", bytes(&oauth.issuer).as_deref());
            show("scope", bytes(&oauth.scope).as_deref());
            show("validator", bytes(&oauth.validator).as_deref());
            show("delegate_ident_mapping", flag(oauth.delegate_ident_mapping));
        }
        shown
    }

    /// Whether the rule has neither options nor implied ones.
    pub(crate) fn is_trivial(&self) -> bool {
        *self == Self::NONE
    }
}
