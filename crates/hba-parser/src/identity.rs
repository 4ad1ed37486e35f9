//! After a rule has decided: may whoever the client proved to be log in as the role?

use crate::{
    ClientCert, ClientName, Method,
    decide::Roles,
    ident::{MapDecision, Mappings},
    rules::Rule,
};

/// Whom a client proved to be, in the terms of the method that it proved it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// `peer`, `ident`: the system's user. `oauth`: what the validator calls the user.
    SystemUser(&'a [u8]),
    /// `cert`, and any method with `clientcert=verify-full`: the names in the client's certificate.
    Certificate {
        /// Its common name.
        common_name: &'a [u8],
        /// Its whole name as RFC 2253 writes it: `CN=alice,O=Example`.
        distinguished_name: &'a [u8],
    },
    /// `gss`, `sspi`: the principal with its realm, `alice@EXAMPLE.COM`.
    Principal(&'a [u8]),
}

impl Mappings {
    /// May a client with this identity log in as `role`, if `rule` decides? What [`Mappings::check`]
    /// is asked follows from the rule: its map, and which part of the identity counts (`clientname`,
    /// `include_realm`, `krb_realm`; `CheckCertAuth` and `pg_GSS_checkauth`).
    ///
    /// Methods that ask for no identity, such as `scram-sha-256`, allow every role, unless
    /// `clientcert=verify-full` asks for a certificate with its name.
    ///
    /// ```
    /// use hba_parser::{HbaDocument, Identity, IdentDocument, PgVersion, RoleGraph, Server};
    ///
    /// let server = Server::new(PgVersion::V16);
    /// let file = HbaDocument::parse(*b"host all all all gss include_realm=0 krb_realm=EXAMPLE.COM\n");
    /// let rules = file.interpret(&server);
    /// let rule = rules.get(0).unwrap();
    /// let maps = IdentDocument::parse(*b"").interpret(&server);
    /// let may = |principal: &str| {
    ///     let identity = Identity::Principal(principal.as_bytes());
    ///     maps.admits(&rule, &identity, b"alice", &RoleGraph::default()).is_allowed()
    /// };
    /// assert!(may("alice@EXAMPLE.COM"));
    /// assert!(!may("alice@ELSEWHERE.COM"));
    /// assert!(!may("bob@EXAMPLE.COM"));
    /// ```
    #[must_use]
    pub fn admits(
        &self,
        rule: &Rule<'_>,
        identity: &Identity<'_>,
        role: &[u8],
        roles: &dyn Roles,
    ) -> MapDecision<'_> {
        let options = rule.options();
        let map = options.map.as_ref().map(AsRef::as_ref);
        let delegated = options.oauth.as_ref().is_some_and(|oauth| oauth.delegate_ident_mapping);
        let named = options.client_cert == Some(ClientCert::VerifyFull);
        let asks = rule.method().uses_ident_map() || named;
        if delegated || !asks {
            return MapDecision::Allowed(None);
        }
        let ignore_case = self.server().krb_caseins_users;
        match (rule.method(), *identity) {
            (
                Method::Peer | Method::Ident | Method::Oauth | Method::Gss | Method::Sspi,
                Identity::SystemUser(name),
            ) => self.check(map, name, role, roles),
            (Method::Gss | Method::Sspi, Identity::Principal(principal)) => {
                match system_user(rule, principal, ignore_case) {
                    Some(name) => self.check_with(map, name, role, roles, ignore_case),
                    None => MapDecision::Denied,
                }
            }
            (_, Identity::Certificate { common_name, distinguished_name }) if named => {
                let name = match options.client_name {
                    ClientName::CommonName => common_name,
                    ClientName::DistinguishedName => distinguished_name,
                };
                if name.is_empty() {
                    return MapDecision::Denied;
                }
                self.check(map, name, role, roles)
            }
            _ => MapDecision::Denied,
        }
    }
}

/// The part of a principal that the map is asked about; `None` in another realm than the rule's.
fn system_user<'p>(rule: &Rule<'_>, principal: &'p [u8], ignore_case: bool) -> Option<&'p [u8]> {
    let options = rule.options();
    let wanted = options.krb_realm.as_ref().map_or(&b""[..], AsRef::as_ref);
    let Some(at) = memchr::memchr(b'@', principal) else {
        return wanted.is_empty().then_some(principal);
    };
    let (name, realm) = (&principal[..at], &principal[at + 1..]);
    let same = realm == wanted || (ignore_case && realm.eq_ignore_ascii_case(wanted));
    if !wanted.is_empty() && !same {
        return None;
    }
    Some(if options.include_realm { principal } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HbaDocument, IdentDocument, PgVersion, RoleGraph, Server};

    /// Whether the identity may be alice, by a rule with this end and a map.
    fn may(server: &Server, rule: &str, map: &str, identity: &Identity<'_>) -> bool {
        let local = rule.starts_with("peer");
        let start = if local { "local all all" } else { "hostssl all all all" };
        let rules = HbaDocument::parse(alloc::format!("{start} {rule}\n")).interpret(server);
        assert!(rules.verdict().is_loaded(), "{:?}", rules.diagnostics());
        let maps = IdentDocument::parse(map).interpret(server);
        let rule = rules.iter().next().unwrap();
        maps.admits(&rule, identity, b"alice", &RoleGraph::default()).is_allowed()
    }

    #[test]
    fn the_rule_says_which_part_of_an_identity_counts() {
        let server = &Server::new(PgVersion::V16);
        let dn = b"CN=alice,O=X";
        let certificate = Identity::Certificate { common_name: b"alice", distinguished_name: dn };
        assert!(may(server, "cert", "", &certificate));
        assert!(!may(server, "cert map=m", "", &certificate));
        assert!(may(server, "cert map=m", "m alice alice", &certificate));
        assert!(!may(server, "cert clientname=DN", "", &certificate));
        assert!(may(
            server,
            "cert clientname=DN map=m",
            "m \"/CN=([^,]*)(,|$)\" \\1",
            &certificate
        ));
        assert!(may(server, "scram-sha-256 clientcert=verify-full", "", &certificate));
        assert!(may(server, "scram-sha-256 clientcert=verify-ca", "", &Identity::SystemUser(b"x")));
        assert!(!may(server, "cert", "", &Identity::SystemUser(b"alice")));
        let nameless = Identity::Certificate { common_name: b"", distinguished_name: dn };
        assert!(!may(server, "cert map=m", "m /(.*) alice", &nameless));
        assert!(may(server, "peer map=m", "m root alice", &Identity::SystemUser(b"root")));
        assert!(!may(server, "peer", "m root alice", &Identity::SystemUser(b"root")));
        assert!(!may(server, "peer", "", &certificate));

        let principal = Identity::Principal(b"alice@R");
        assert!(!may(server, "gss", "", &principal));
        assert!(may(server, "gss include_realm=0", "", &principal));
        assert!(may(server, "gss map=m krb_realm=R", "m /^(.*)@R$ \\1", &principal));
        assert!(!may(server, "gss map=m krb_realm=Q", "m /^(.*)@R$ \\1", &principal));
        assert!(!may(server, "gss krb_realm=R", "", &Identity::Principal(b"alice")));
        assert!(may(server, "gss", "", &Identity::Principal(b"alice")));
    }

    #[test]
    fn kerberos_names_ignore_case_if_the_setting_says_so() {
        let mut server = Server::new(PgVersion::V16);
        let principal = Identity::Principal(b"ALICE@r");
        let ask = |server: &Server, rule: &str, map: &str| may(server, rule, map, &principal);
        for on in [false, true] {
            server.krb_caseins_users = on;
            assert_eq!(ask(&server, "gss include_realm=0 krb_realm=R", ""), on);
            assert_eq!(ask(&server, "gss include_realm=0 map=m", "m alice Alice"), on);
            assert_eq!(ask(&server, "gss map=m", "m /^(.*)@ \\1"), on);
            server.version = PgVersion::V15;
            assert_eq!(ask(&server, "gss map=m", "m /^(.*)@ \\1"), on);
            server.version = PgVersion::V16;
        }
    }
}
