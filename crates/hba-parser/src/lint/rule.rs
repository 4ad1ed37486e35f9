//! What one rule says that should not have been written.

use alloc::{collections::BTreeMap, format, vec::Vec};
use core::net::IpAddr;

use super::{Findings, Lint};
use crate::{
    ClientCert, ClientName, ConnectionType, Method, PgVersion, Server,
    address::{is_host_name, masked, prefix_len},
    diagnostics::Location,
    rules::{Address, DatabaseKind, Rule, UserKind},
    scope,
    text::Text,
};

/// Every check of a rule alone.
pub(super) fn check(findings: &mut Findings, rule: &Rule<'_>, server: &Server) {
    check_method(findings, rule, server);
    check_address(findings, rule);
    check_names(findings, rule, server);
    check_options(findings, rule);
}

/// What makes two rules the same.
pub(super) fn signature(rule: &Rule<'_>) -> Vec<u8> {
    let mut out = format!("{} {:?} {}", rule.connection(), rule.address(), rule.method());
    for database in rule.databases() {
        out.push_str(&format!("\0{}{:?}", database.is_quoted(), Text::from(database.text())));
    }
    out.push('\n');
    for user in rule.users() {
        out.push_str(&format!("\0{}{:?}", user.is_quoted(), Text::from(user.text())));
    }
    let mut out = out.into_bytes();
    for option in &rule.options().given {
        out.push(0);
        out.extend_from_slice(option.name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(option.value.as_bytes());
    }
    out
}

fn check_method(findings: &mut Findings, rule: &Rule<'_>, server: &Server) {
    let at = rule.location();
    let near = is_near(rule.address());
    let method = rule.method();
    let rejects = method == Method::Reject;
    match method {
        Method::Trust if near => {
            findings.add(Lint::TrustLocally, at, "any process of this machine can be anybody");
        }
        Method::Trust if rule.options().client_cert.is_none() => {
            let message = "anybody in reach of the server can be anybody, without a password";
            findings.add(Lint::TrustOverNetwork, at, message);
        }
        Method::Md5 => findings.add(Lint::Md5, at, "md5 takes weak password hashes"),
        Method::Ident => {
            let message = "the client's own machine says who is asking";
            findings.add(Lint::IdentOverNetwork, at, message);
        }
        Method::Radius => {
            findings.add(Lint::Radius, at, "RADIUS hides passwords behind MD5 alone");
        }
        _ => {}
    }
    let plain = scope::kinds(rule.connection()) & 2 != 0;
    if method.sends_password_in_clear() && plain && !near {
        let message = format!("{method} sends the password in clear if there is no TLS");
        findings.add(Lint::ClearPassword, at, message);
    }
    if rule.connection() == ConnectionType::Host && server.ssl && !near && !rejects {
        let message = "the rule takes connections without TLS, though the server has TLS";
        findings.add(Lint::HostWithoutTls, at, message);
    }
    let wants_cert = method == Method::Cert || rule.options().client_cert.is_some();
    if wants_cert && !server.ssl_ca_file {
        let message = "no certificate can be checked: ssl_ca_file is not set";
        findings.add(Lint::NoCaFile, at, message);
    }
    if !rejects && is_everywhere(rule.address()) {
        let message = format!("{method} for every address there is");
        findings.add(Lint::OpenNetwork, at, message);
    }
    if method == Method::Gss && !rule.options().include_realm {
        let message = "principals of all realms are the same user";
        findings.add(Lint::NoRealm, at, message);
    }
}

fn check_address(findings: &mut Findings, rule: &Rule<'_>) {
    let at = rule.location();
    match rule.address() {
        Some(Address::Network(network, mask)) => {
            let network_only = masked(network, mask);
            if prefix_len(mask).is_none() {
                let message = format!("the mask {mask} has gaps");
                findings.add(Lint::MaskWithGaps, at, message);
            } else if short_form(network, mask) {
                let message = format!("the address is {network}, matched as {network_only}");
                findings.add(Lint::ShortAddress, at, message);
            } else if network_only != network {
                let message = format!("{network} is matched as {network_only}");
                findings.add(Lint::HostBits, at, message);
            }
        }
        Some(Address::Host(name) | Address::Suffix(name)) => {
            let numeric = name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            // What an address resolves to has no dot at its end.
            let whole = name.strip_prefix(b".").unwrap_or(name);
            if numeric || !is_host_name(whole) || whole.ends_with(b".") {
                let message =
                    format!("{:?} is read as a host name, and none is like that", Text::from(name));
                findings.add(Lint::ImpossibleHost, at, message);
            } else if [&b"ALL"[..], b"SAMEHOST", b"SAMENET"]
                .iter()
                .any(|keyword| name.eq_ignore_ascii_case(keyword))
            {
                let message = format!("{} is read as a host name", Text::from(name));
                findings.add(Lint::UpperCaseKeyword, at, message);
            }
        }
        _ => {}
    }
}

fn check_names(findings: &mut Findings, rule: &Rule<'_>, server: &Server) {
    /// `NAMEDATALEN - 1`
    const LONGEST: usize = 63;
    let at = rule.location();
    let old = server.version < PgVersion::V16;
    let mut name = |text: &[u8], quoted: bool, regex: bool, keywords: &[&[u8]]| {
        let shown = Text::from(text);
        if regex {
            if !is_anchored(&text[1..]) {
                let message = format!("{shown} matches anywhere in a name");
                findings.add(Lint::UnanchoredRegex, at, message);
            }
            return;
        }
        let upper = |keyword: &&&[u8]| text.eq_ignore_ascii_case(keyword) && text != **keyword;
        if text.is_empty() || text.len() > LONGEST {
            let message = format!("no database and no role is called {shown:?}");
            findings.add(Lint::ImpossibleName, at, message);
        } else if old && text.starts_with(b"/") {
            let message = format!("{shown} is a name here, and a regular expression from 16 on");
            findings.add(Lint::SlashBefore16, at, message);
        } else if !quoted && keywords.iter().any(|keyword| upper(&keyword)) {
            let message = format!("{shown} is a name: keywords are in small letters");
            findings.add(Lint::UpperCaseKeyword, at, message);
        }
    };
    const DATABASES: &[&[u8]] = &[b"all", b"sameuser", b"samerole", b"replication"];
    for database in rule.databases() {
        let (text, quoted) = (database.text(), database.is_quoted());
        match database.kind() {
            DatabaseKind::Name(_) => name(text, quoted, false, DATABASES),
            DatabaseKind::Regex(_) => name(text, quoted, true, &[]),
            _ => {}
        }
    }
    for user in rule.users() {
        let (text, quoted) = (user.text(), user.is_quoted());
        match user.kind() {
            UserKind::Name(_) => name(text, quoted, false, &[b"all"]),
            UserKind::Regex(_) => name(text, quoted, true, &[]),
            UserKind::Member(role) => name(role, true, false, &[]),
            UserKind::All => {}
        }
    }
    for database in rule.databases() {
        if database.is_quoted() && database.text() == b"replication" {
            let message = "\"replication\" is a database with that name";
            findings.add(Lint::QuotedReplication, at, message);
        }
        if !database.is_quoted() && database.text() == b"samegroup" {
            findings.add(Lint::SameGroup, at, "samegroup is an old name of samerole");
        }
    }
}

fn check_options(findings: &mut Findings, rule: &Rule<'_>) {
    let at = rule.location();
    let options = rule.options();
    let mut last: BTreeMap<&Text, usize> = BTreeMap::new();
    last.extend(options.given.iter().enumerate().map(|(index, option)| (&option.name, index)));
    for (index, option) in options.given.iter().enumerate() {
        let name = &option.name;
        let at = Location { span: option.span, ..at };
        if last.get(name) != Some(&index) {
            let message = format!("{name} is given again: only the last one counts");
            findings.add(Lint::UselessOption, at, message);
            continue;
        }
        let value = option.value.as_bytes();
        let useless = match name.as_bytes() {
            b"map" => value.is_empty(),
            b"clientcert" => {
                (rule.method() == Method::Cert && value == b"verify-full")
                    || matches!(value, b"0" | b"no-verify")
                    || rule.method() == Method::Reject
            }
            b"clientname" => {
                rule.method() != Method::Cert && options.client_cert != Some(ClientCert::VerifyFull)
                    || options.client_name == ClientName::CommonName
            }
            b"ldapsearchattribute" => value == b"uid",
            b"ldaptls" | b"pam_use_hostname" | b"upn_username" | b"delegate_ident_mapping" => {
                value != b"1"
            }
            b"include_realm" => value == b"1",
            _ => false,
        };
        if useless {
            let message = format!("{name}={} changes nothing here", option.shown_value());
            findings.add(Lint::UselessOption, at, message);
        }
        let old_value = matches!(value, b"0" | b"1" | b"no-verify");
        let cert_too_weak = rule.method() == Method::Cert && value == b"verify-ca";
        if *name == "clientcert" && (old_value || cert_too_weak) {
            let message = format!("clientcert={} is refused from 14 on", option.value);
            findings.add(Lint::ObsoleteClientCert, at, message);
        }
        if *name == "ldapbindpasswd" || *name == "radiussecrets" {
            let message = format!("{name} is in the file for all to read who may read it");
            findings.add(Lint::SecretInFile, at, message);
        }
    }
}

/// Whether an expression matches whole names only: `^` at its start, `$` at its end, and no
/// alternative that has only one of them.
pub(super) fn is_anchored(regex: &[u8]) -> bool {
    let Some(rest) = regex.strip_prefix(b"^") else { return false };
    let (mut depth, mut escaped, mut bracket, mut end) = (0_u32, false, false, false);
    for byte in rest {
        end = false;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b']' => bracket = false,
            _ if bracket => {}
            b'[' => bracket = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return false,
            b'$' if depth == 0 => end = true,
            _ => {}
        }
    }
    end
}

/// The Unix socket, or the machine's own loopback address.
fn is_near(address: Option<Address<'_>>) -> bool {
    match address {
        None | Some(Address::SameHost) => true,
        Some(Address::Network(IpAddr::V4(network), IpAddr::V4(mask))) => {
            network.octets()[0] == 127 && mask.octets()[0] == 255
        }
        Some(Address::Network(IpAddr::V6(network), IpAddr::V6(mask))) => {
            network.is_loopback() && mask.to_bits() == u128::MAX
        }
        _ => false,
    }
}

fn is_everywhere(address: Option<Address<'_>>) -> bool {
    match address {
        Some(Address::All) => true,
        Some(Address::Network(_, mask)) => prefix_len(mask) == Some(0),
        _ => false,
    }
}

/// An IPv4 address that begins with zeros, as `10/8` makes one, and bits enough to be meant.
fn short_form(network: IpAddr, mask: IpAddr) -> bool {
    let IpAddr::V4(network) = network else { return false };
    let bits = prefix_len(mask).unwrap_or(0);
    network.octets()[0] == 0 && !network.is_unspecified() && bits > 0 && bits < 32
}
