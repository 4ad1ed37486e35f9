//! Reads options: `parse_hba_auth_opt`, and what must hold for all of them together.

use alloc::{boxed::Box, format};

use pg_version::PgVersion;
use textfile::Span;

use super::{ClientCert, ClientName, GivenOption, Options};
use crate::{
    ConnectionType, Method, Server,
    address::{self, atoi},
    diagnostics::{Code, Severity},
    ldap_url, list,
    record::{Problem, Report, Shown},
    text::{Text, text},
};

/// The methods that an option is for, as messages name them.
const MAP_METHODS: &str = "ident, peer, gssapi, sspi, and cert";
const MAP_METHODS_18: &str = "ident, peer, gssapi, sspi, cert, and oauth";
const GSS_AND_SSPI: &str = "gssapi and sspi";

/// The options of a rule while they are read.
pub(crate) struct Reader<'r> {
    pub(crate) options: Options,
    pub(crate) method: Method,
    pub(crate) connection: ConnectionType,
    pub(crate) server: &'r Server,
    pub(crate) report: &'r mut dyn Report,
}

impl<'r> Reader<'r> {
    /// With what the method implies.
    pub(crate) fn new(
        method: Method,
        connection: ConnectionType,
        server: &'r Server,
        report: &'r mut dyn Report,
    ) -> Self {
        let mut options = Options::NONE;
        if matches!(method, Method::Gss | Method::Sspi) {
            options.include_realm = true;
            options.compat_realm = method == Method::Sspi;
        }
        match method {
            Method::Ldap => options.ldap = Some(Box::default()),
            Method::Radius => options.radius = Some(Box::default()),
            Method::Oauth => options.oauth = Some(Box::default()),
            _ => {}
        }
        Self { options, method, connection, server, report }
    }

    fn version(&self) -> PgVersion {
        self.server.version
    }

    /// Reads one option.
    pub(crate) fn read(&mut self, token: &[u8], span: Span) -> Result<(), Problem> {
        let Some((name, value)) = list::option(token) else {
            let message = text!("authentication option not in name=value format: ", token);
            return Err(Problem::new(Code::OptionWithoutValue, message, span));
        };
        if let Some(ldap) = &mut self.options.ldap {
            // Any option sets it back: an URL's own scope holds only if it comes last.
            ldap.scope = 2;
        }
        self.apply(name, value, span)?;
        self.options.given.push(GivenOption { name: name.into(), value: value.into(), span });
        Ok(())
    }

    fn apply(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), Problem> {
        let text = || Some(Text::from(value));
        let on = value == b"1";
        let v14 = self.version() >= PgVersion::V14;
        let v18 = self.version() >= PgVersion::V18;
        match name {
            b"map" => {
                let oauth = self.method == Method::Oauth;
                if !self.method.uses_ident_map() || (oauth && !v18) {
                    let methods = if v18 { MAP_METHODS_18 } else { MAP_METHODS };
                    return Err(only_for(name, methods, span));
                }
                self.options.map = text();
            }
            b"clientcert" => self.client_cert(value, span)?,
            b"clientname" if v14 => self.client_name(value, span)?,
            b"pamservice" => {
                self.require(Method::Pam, name, span)?;
                self.options.pam_service = text();
            }
            b"pam_use_hostname" => {
                self.require(Method::Pam, name, span)?;
                self.options.pam_use_hostname = on;
            }
            b"krb_realm" | b"include_realm" => {
                if !matches!(self.method, Method::Gss | Method::Sspi) {
                    return Err(only_for(name, GSS_AND_SSPI, span));
                }
                if name == b"krb_realm" {
                    self.options.krb_realm = text();
                } else {
                    self.options.include_realm = on;
                }
            }
            b"compat_realm" => {
                self.require(Method::Sspi, name, span)?;
                self.options.compat_realm = on;
            }
            b"upn_username" => {
                self.require(Method::Sspi, name, span)?;
                self.options.upn_username = on;
            }
            b"ldapurl"
            | b"ldaptls"
            | b"ldapscheme"
            | b"ldapserver"
            | b"ldapport"
            | b"ldapbinddn"
            | b"ldapbindpasswd"
            | b"ldapsearchattribute"
            | b"ldapsearchfilter"
            | b"ldapbasedn"
            | b"ldapprefix"
            | b"ldapsuffix" => self.ldap(name, value, span)?,
            b"radiusservers" | b"radiusports" | b"radiussecrets" | b"radiusidentifiers" => {
                self.radius(name, value, span)?;
            }
            b"issuer" | b"scope" | b"validator" | b"delegate_ident_mapping" if v18 => {
                self.require(Method::Oauth, name, span)?;
                let oauth = self.options.oauth.get_or_insert_default();
                match name {
                    b"issuer" => oauth.issuer = text(),
                    b"scope" => oauth.scope = text(),
                    b"validator" => oauth.validator = text(),
                    _ => oauth.delegate_ident_mapping = on,
                }
            }
            _ => {
                let message = text!("unrecognized authentication option name: \"", name, "\"");
                return Err(Problem::new(Code::UnknownOption, message, span));
            }
        }
        Ok(())
    }

    fn require(&self, method: Method, name: &[u8], span: Span) -> Result<(), Problem> {
        if self.method == method { Ok(()) } else { Err(only_for(name, method.as_str(), span)) }
    }

    fn client_cert(&mut self, value: &[u8], span: Span) -> Result<(), Problem> {
        if self.connection != ConnectionType::HostSsl {
            let message = "clientcert can only be configured for \"hostssl\" rows";
            return Err(Problem::new(Code::ClientCertNeedsHostssl, message, span));
        }
        let cert = self.method == Method::Cert;
        let old = self.version() < PgVersion::V14;
        self.options.client_cert = match value {
            b"verify-full" => Some(ClientCert::VerifyFull),
            b"verify-ca" if cert && !old => {
                let log =
                    "clientcert only accepts \"verify-full\" when using \"cert\" authentication";
                let shown = "clientcert can only be set to \"verify-full\" when using \"cert\" authentication";
                return Err(Problem::new(Code::ClientCertTooWeak, log, span)
                    .shown(Shown::Other(shown.into())));
            }
            b"verify-ca" => Some(ClientCert::VerifyCa),
            b"1" if old => Some(ClientCert::VerifyCa),
            b"0" | b"no-verify" if old && cert => {
                let cannot = if self.version() == PgVersion::V12 { "can not" } else { "cannot" };
                let message = format!(
                    "clientcert {cannot} be set to \"no-verify\" when using \"cert\" authentication"
                );
                return Err(Problem::new(Code::ClientCertTooWeak, message, span));
            }
            b"0" | b"no-verify" if old => None,
            _ => {
                let message = text!("invalid value for clientcert: \"", value, "\"");
                return Err(
                    Problem::new(Code::InvalidClientCert, message, span).shown(Shown::Nothing)
                );
            }
        };
        Ok(())
    }

    fn client_name(&mut self, value: &[u8], span: Span) -> Result<(), Problem> {
        if self.connection != ConnectionType::HostSsl {
            let message = "clientname can only be configured for \"hostssl\" rows";
            return Err(Problem::new(Code::ClientNameNeedsHostssl, message, span));
        }
        self.options.client_name = match value {
            b"CN" => ClientName::CommonName,
            b"DN" => ClientName::DistinguishedName,
            _ => {
                let message = text!("invalid value for clientname: \"", value, "\"");
                return Err(
                    Problem::new(Code::InvalidClientName, message, span).shown(Shown::Nothing)
                );
            }
        };
        Ok(())
    }

    fn ldap(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), Problem> {
        self.require(Method::Ldap, name, span)?;
        let ldap = self.options.ldap.get_or_insert_default();
        let text = Some(Text::from(value));
        match name {
            b"ldapurl" => return self.ldap_url(value, span),
            b"ldaptls" => ldap.tls = value == b"1",
            b"ldapscheme" => {
                ldap.scheme = text;
                if !matches!(value, b"ldap" | b"ldaps") {
                    let message = text!("invalid ldapscheme value: \"", value, "\"");
                    let problem = Problem::new(Code::InvalidLdapScheme, message, span);
                    self.report.report(Severity::Notice, problem);
                }
            }
            b"ldapserver" => ldap.server = text,
            b"ldapport" => {
                ldap.port = atoi(value);
                if ldap.port == 0 {
                    let message = text!("invalid LDAP port number: \"", value, "\"");
                    return Err(Problem::new(Code::InvalidLdapPort, message, span));
                }
            }
            b"ldapbinddn" => ldap.bind_dn = text,
            b"ldapbindpasswd" => ldap.bind_password = text,
            b"ldapsearchattribute" => ldap.search_attribute = text,
            b"ldapsearchfilter" => ldap.search_filter = text,
            b"ldapbasedn" => ldap.base_dn = text,
            b"ldapprefix" => ldap.prefix = text,
            _ => ldap.suffix = text,
        }
        Ok(())
    }

    fn ldap_url(&mut self, value: &[u8], span: Span) -> Result<(), Problem> {
        let url = ldap_url::parse(value).map_err(|error| {
            let message = text!("could not parse LDAP URL \"", value, "\": ", error.as_str());
            Problem::new(Code::InvalidLdapUrl, message, span).without_context()
        })?;
        if !matches!(url.scheme, "ldap" | "ldaps") {
            let message = text!("unsupported LDAP URL scheme: ", url.scheme);
            return Err(Problem::new(Code::UnsupportedLdapScheme, message, span).without_context());
        }
        let ldap = self.options.ldap.get_or_insert_default();
        ldap.scheme = Some(url.scheme.into());
        if let Some(host) = url.host {
            ldap.server = Some(host.into());
        }
        ldap.port = url.port;
        if let Some(dn) = url.dn {
            ldap.base_dn = Some(dn.into());
        }
        if let Some(attribute) = url.attribute {
            ldap.search_attribute = Some(attribute.into());
        }
        ldap.scope = url.scope;
        if let Some(filter) = url.filter {
            ldap.search_filter = Some(filter.into());
        }
        Ok(())
    }

    fn radius(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), Problem> {
        self.require(Method::Radius, name, span)?;
        let what = match name {
            b"radiusservers" => "server",
            b"radiusports" => "port",
            b"radiussecrets" => "secret",
            _ => "identifiers",
        };
        let Some(items) = list::split(value) else {
            let message = text!("could not parse RADIUS ", what, " list \"", value, "\"");
            let shown = if name == b"radiusports" {
                Shown::Other(text!("invalid RADIUS port number: \"", value, "\""))
            } else {
                Shown::Nothing
            };
            return Err(Problem::new(Code::InvalidRadiusList, message, span).shown(shown));
        };
        let server = self.server;
        let radius = self.options.radius.get_or_insert_default();
        match name {
            b"radiusservers" => {
                if let Some(name) = items.iter().find(|name| !resolves(name, server)) {
                    let message = text!(
                        "could not translate RADIUS server name \"",
                        name,
                        "\" to address: Name or service not known"
                    );
                    return Err(Problem::new(Code::RadiusServerUnknown, message, span)
                        .shown(Shown::Nothing));
                }
                radius.servers_text = Some(value.into());
                radius.servers = items.into_iter().map(Text::from).collect();
            }
            b"radiusports" => {
                if items.iter().any(|port| atoi(port) == 0) {
                    let message = text!("invalid RADIUS port number: \"", value, "\"");
                    return Err(
                        Problem::new(Code::InvalidRadiusPort, message, span).shown(Shown::Nothing)
                    );
                }
                radius.ports_text = Some(value.into());
                radius.ports = items.into_iter().map(Text::from).collect();
            }
            b"radiussecrets" => {
                radius.secrets_text = Some(value.into());
                radius.secrets = items.into_iter().map(Text::from).collect();
            }
            _ => {
                radius.identifiers_text = Some(value.into());
                radius.identifiers = items.into_iter().map(Text::from).collect();
            }
        }
        Ok(())
    }

    /// What must hold once all options are read.
    pub(crate) fn finish(mut self, span: Span) -> Result<Options, Problem> {
        match self.method {
            Method::Ldap => self.finish_ldap(span)?,
            Method::Radius => self.finish_radius(span)?,
            Method::Cert => self.options.client_cert = Some(ClientCert::VerifyFull),
            Method::Oauth => self.finish_oauth(span)?,
            _ => {}
        }
        Ok(self.options)
    }

    fn finish_ldap(&self, span: Span) -> Result<(), Problem> {
        let Some(ldap) = &self.options.ldap else { return Ok(()) };
        if ldap.prefix.is_some() || ldap.suffix.is_some() {
            let search = [
                &ldap.base_dn,
                &ldap.bind_dn,
                &ldap.bind_password,
                &ldap.search_attribute,
                &ldap.search_filter,
            ];
            if search.into_iter().any(Option::is_some) {
                let message = if self.version() >= PgVersion::V18 {
                    "cannot mix options for simple bind and search+bind modes"
                } else {
                    "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, \
                     ldapsearchfilter, or ldapurl together with ldapprefix"
                };
                return Err(Problem::new(Code::MixedLdapModes, message, span));
            }
        } else if ldap.base_dn.is_none() {
            let message = "authentication method \"ldap\" requires argument \"ldapbasedn\", \
                           \"ldapprefix\", or \"ldapsuffix\" to be set";
            return Err(Problem::new(Code::NoLdapMode, message, span));
        }
        if ldap.search_attribute.is_some() && ldap.search_filter.is_some() {
            let message = "cannot use ldapsearchattribute together with ldapsearchfilter";
            return Err(Problem::new(Code::LdapAttributeAndFilter, message, span));
        }
        Ok(())
    }

    fn finish_radius(&self, span: Span) -> Result<(), Problem> {
        let Some(radius) = &self.options.radius else { return Ok(()) };
        // An empty list is the same as none.
        for (list, name) in [(&radius.servers, "radiusservers"), (&radius.secrets, "radiussecrets")]
        {
            if list.is_empty() {
                return Err(missing("radius", name, span));
            }
        }
        let servers = radius.servers.len();
        let lists = [
            (&radius.secrets, "secrets"),
            (&radius.ports, "ports"),
            (&radius.identifiers, "identifiers"),
        ];
        for (list, name) in lists {
            let len = list.len();
            if len > 1 && len != servers {
                let message = format!(
                    "the number of RADIUS {name} ({len}) must be 1 or the same as the number of \
                     RADIUS servers ({servers})"
                );
                let shown =
                    if self.version() < PgVersion::V14 { Shown::Nothing } else { Shown::Same };
                return Err(Problem::new(Code::RadiusListLength, message, span).shown(shown));
            }
        }
        Ok(())
    }

    fn finish_oauth(&mut self, span: Span) -> Result<(), Problem> {
        const LIBRARIES: &str = "oauth_validator_libraries";
        let Some(oauth) = &mut self.options.oauth else { return Ok(()) };
        if oauth.scope.is_none() {
            return Err(missing("oauth", "scope", span));
        }
        if oauth.issuer.is_none() {
            return Err(missing("oauth", "issuer", span));
        }
        // The check of the validator forgets warnings about the rule.
        self.report.forget_warning();
        let permitted = &self.server.oauth_validator_libraries;
        if permitted.is_empty() {
            let message = format!("{LIBRARIES} must be set for authentication method oauth");
            return Err(Problem::new(Code::NoOauthValidator, message, span));
        }
        match (&oauth.validator, permitted.as_slice()) {
            (None, [only]) => oauth.validator = Some(only.as_str().into()),
            (None, _) => {
                let message = format!(
                    "authentication method \"oauth\" requires argument \"validator\" to be set \
                     when {LIBRARIES} contains multiple options"
                );
                return Err(Problem::new(Code::AmbiguousOauthValidator, message, span));
            }
            (Some(validator), _)
                if !permitted.iter().any(|name| name.as_bytes() == validator.as_bytes()) =>
            {
                let message =
                    text!("validator \"", validator, "\" is not permitted by ", LIBRARIES);
                return Err(Problem::new(Code::OauthValidatorNotPermitted, message, span));
            }
            (Some(_), _) => {}
        }
        if oauth.delegate_ident_mapping && self.options.map.is_some() {
            let message = "map cannot be used in combination with delegate_ident_mapping";
            return Err(Problem::new(Code::MapWithDelegation, message, span));
        }
        Ok(())
    }
}

/// Whether `getaddrinfo` finds a RADIUS server: an address, the name that every machine has for
/// itself, or a name that DNS may know.
fn resolves(name: &[u8], server: &Server) -> bool {
    let local = name.strip_suffix(b".").unwrap_or(name).eq_ignore_ascii_case(b"localhost");
    let numeric = || address::parse(name, server).is_some();
    let by_dns = || server.radius_names_resolve && address::is_host_name(name);
    local || numeric() || by_dns()
}

fn only_for(name: &[u8], methods: &str, span: Span) -> Problem {
    let message = text!(
        "authentication option \"",
        name,
        "\" is only valid for authentication methods ",
        methods
    );
    Problem::new(Code::OptionForOtherMethod, message, span)
}

fn missing(method: &str, option: &str, span: Span) -> Problem {
    let message =
        format!("authentication method \"{method}\" requires argument \"{option}\" to be set");
    Problem::new(Code::MissingOption, message, span)
}
