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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Options {
    /// `map`: the map in pg_ident.conf. An empty name is the same as none.
    pub map: Option<Text>,
    /// `clientcert`, or what the method `cert` implies.
    pub client_cert: Option<ClientCert>,
    /// `clientname`: what of the certificate is the user's name.
    pub client_name: ClientName,
    /// `pamservice`
    pub pam_service: Option<Text>,
    /// `pam_use_hostname`
    pub pam_use_hostname: bool,
    /// `include_realm`, or that the method implies it.
    pub include_realm: bool,
    /// `krb_realm`
    pub krb_realm: Option<Text>,
    /// `compat_realm`, or that the method implies it.
    pub compat_realm: bool,
    /// `upn_username`
    pub upn_username: bool,
    /// Options of the method `ldap`.
    pub ldap: Option<Box<LdapOptions>>,
    /// Options of the method `radius`.
    pub radius: Option<Box<RadiusOptions>>,
    /// Options of the method `oauth`.
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

/// Options of the method `ldap`.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LdapOptions {
    /// `ldapserver`
    pub server: Option<Text>,
    /// `ldapport`; 0 is none.
    pub port: i32,
    /// `ldapscheme`
    pub scheme: Option<Text>,
    /// `ldaptls`
    pub tls: bool,
    /// `ldapprefix`
    pub prefix: Option<Text>,
    /// `ldapsuffix`
    pub suffix: Option<Text>,
    /// `ldapbasedn`
    pub base_dn: Option<Text>,
    /// `ldapbinddn`
    pub bind_dn: Option<Text>,
    /// `ldapbindpasswd`
    #[cfg_attr(feature = "serde", serde(skip))]
    pub bind_password: Option<Text>,
    /// `ldapsearchattribute`
    pub search_attribute: Option<Text>,
    /// `ldapsearchfilter`
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

/// Options of the method `radius`: lists, and as they are written.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RadiusOptions {
    /// `radiusservers`
    pub servers: Vec<Text>,
    /// `radiussecrets`
    #[cfg_attr(feature = "serde", serde(skip))]
    pub secrets: Vec<Text>,
    /// `radiusports`
    pub ports: Vec<Text>,
    /// `radiusidentifiers`
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
    /// `issuer`
    pub issuer: Option<Text>,
    /// `scope`
    pub scope: Option<Text>,
    /// `validator`, or the only one that the server has.
    pub validator: Option<Text>,
    /// `delegate_ident_mapping`
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
