//! What a server takes without a word, and should not have been written.
//!
//! Each finding has a code that stays the same, so that it can be looked up, counted or excused.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::{fmt, net::IpAddr};

use crate::{
    ClientName, ConnectionType, Method, PgVersion,
    address::prefix_len,
    diagnostics::{Location, Severity},
    ident::Mappings,
    rules::{Address, DatabaseKind, Rule, Rules, UserKind},
    scope,
    text::Text,
};

macro_rules! lints {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $severity:ident: $help:literal,)+) => {
        /// Which finding. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Lint {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Lint {
            /// Every lint.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its code: `HBA001`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

lints! {
    /// An earlier rule matches all that this rule is for.
    Unreachable = "HBA001", Warning: "move the rule before the one that shadows it, or remove it",
    /// Earlier rules together match all that this rule is for.
    UnreachableTogether = "HBA002", Warning: "move the rule up, or remove it",
    /// `trust` over the network: anybody who can reach the server is anybody.
    TrustOverNetwork = "HBA003", Error: "use scram-sha-256 or cert; reject if nobody should come",
    /// `trust` on the Unix socket or the loopback address: any process of the machine is anybody.
    TrustLocally = "HBA004", Notice: "use peer on the socket, scram-sha-256 on the loopback address",
    /// A password in clear over a connection that need not be encrypted.
    ClearPassword = "HBA005", Error: "write hostssl, and scram-sha-256 where the server keeps the password",
    /// `md5`: its hashes are as good as passwords, and it is deprecated since 18.
    Md5 = "HBA006", Warning: "use scram-sha-256; md5 takes SCRAM secrets, too, but also MD5 ones",
    /// `ident` over the network: the client's machine says who is asking.
    IdentOverNetwork = "HBA007", Error: "use scram-sha-256 or cert",
    /// `host` where TLS is on: the rule takes connections without TLS, too.
    HostWithoutTls = "HBA008", Notice: "write hostssl",
    /// A method other than reject for all of the internet.
    OpenNetwork = "HBA009", Warning: "name the networks that clients are in",
    /// An option that does nothing with this rule.
    UselessOption = "HBA010", Warning: "remove the option",
    /// A name that is no name that can ever match.
    ImpossibleName = "HBA011", Warning: "correct the name",
    /// A host name that no client can have.
    ImpossibleHost = "HBA012", Warning: "write an address with its bits (10.0.0.1/32), or a name that DNS knows",
    /// A network with few octets: `10/8` is 0.0.0.10/8.
    ShortAddress = "HBA013", Warning: "write all four numbers: 10.0.0.0/8",
    /// Bits of an address that do not count.
    HostBits = "HBA014", Notice: "write the network's own address, or more bits",
    /// A mask with gaps.
    MaskWithGaps = "HBA015", Warning: "write how many bits count behind the address",
    /// `cert` or `clientcert`, and `ssl_ca_file` is not set: every login fails.
    NoCaFile = "HBA016", Error: "set ssl_ca_file to the CA of the clients' certificates",
    /// `replication` in quotes is a database with that name, and `all` does not mean replication.
    QuotedReplication = "HBA017", Notice: "write replication without quotes for physical replication",
    /// `samegroup` is an old name of samerole.
    SameGroup = "HBA018", Notice: "write samerole",
    /// A name that begins with a slash: from 16 on it is a regular expression.
    SlashBefore16 = "HBA019", Warning: "write the regular expression that you mean once the server is 16 or newer",
    /// A regular expression without anchors matches anywhere in a name.
    UnanchoredRegex = "HBA020", Notice: "begin it with ^ and end it with $",
    /// `all` in upper case is a name.
    UpperCaseKeyword = "HBA021", Warning: "write keywords in small letters",
    /// `gss` with include_realm=0: principals of all realms are the same.
    NoRealm = "HBA022", Warning: "leave include_realm on, and strip the realm in pg_ident.conf",
    /// A value that a later major refuses.
    ObsoleteClientCert = "HBA023", Warning: "write clientcert=verify-ca or clientcert=verify-full",
    /// The same rule twice.
    Duplicate = "HBA024", Warning: "remove one of them",
    /// `radius`: its secrets are in the file, and its protocol protects passwords with MD5 alone.
    Radius = "HBA025", Notice: "use another method",
    /// A password in the file.
    SecretInFile = "HBA026", Notice: "keep the file's mode at 0600",
    /// A map's database user `all`: from 16 on any role.
    MapToEveryRole = "IDENT001", Warning: "name the role, or put quotes around a role that is called all",
    /// A map's regular expression matches anywhere in a name.
    UnanchoredMapRegex = "IDENT002", Warning: "begin it with ^ and end it with $: a longer name matches, too",
    /// A map's `\1` without a parenthesis to stand for.
    NothingCaptured = "IDENT003", Error: "put parentheses around what is to become \\1",
    /// A map that can make anybody a superuser by the name alone.
    MapToPostgres = "IDENT004", Notice: "see that only administrators have such system users",
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Lint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Which.
    pub lint: Lint,
    /// What it is about, in words.
    pub message: String,
    /// Where it is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub location: Location,
    /// The line that it has to do with: the rule that shadows this one.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub other: Option<Location>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.location.line, self.lint, self.message)
    }
}

/// Collects findings about one line.
struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, lint: Lint, location: Location, message: impl Into<String>) {
        self.found.push(Finding { lint, message: message.into(), location, other: None });
    }
}

impl Rules {
    /// Looks for what loads and should not have been written.
    ///
    /// ```
    /// use hba_parser::{HbaDocument, Lint, PgVersion, Server};
    ///
    /// let file = HbaDocument::parse(*b"\
    /// host all all 127.0.0.1/32 trust
    /// host app web 127.0.0.1/32 scram-sha-256
    /// ");
    /// let findings = file.interpret(&Server::new(PgVersion::V16)).lint();
    /// let shadowed = findings.iter().find(|finding| finding.lint == Lint::Unreachable).unwrap();
    /// assert_eq!(shadowed.location.line, 2);
    /// assert_eq!(shadowed.other.unwrap().line, 1);
    /// ```
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Findings { found: Vec::new() };
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let rules: Vec<Rule<'_>> = self.iter().collect();
        for (index, rule) in rules.iter().enumerate() {
            if seen.insert(self.signature(rule)) {
                shadow(&mut findings, &rules[..index], rule);
            } else {
                findings.add(Lint::Duplicate, rule.location(), "the same rule stands before it");
            }
            self.lint_method(&mut findings, rule);
            self.lint_address(&mut findings, rule);
            self.lint_names(&mut findings, rule);
            self.lint_options(&mut findings, rule);
        }
        findings.found
    }

    /// What makes two rules the same.
    fn signature(&self, rule: &Rule<'_>) -> Vec<u8> {
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

    fn lint_method(&self, findings: &mut Findings, rule: &Rule<'_>) {
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
        let server = self.server();
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

    fn lint_address(&self, findings: &mut Findings, rule: &Rule<'_>) {
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
                let good =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                let numeric = name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
                let bare = name == b".";
                if name.is_empty() || bare || numeric || !name.iter().all(good) {
                    let message = format!(
                        "{:?} is read as a host name, and none is like that",
                        Text::from(name)
                    );
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

    fn lint_names(&self, findings: &mut Findings, rule: &Rule<'_>) {
        /// `NAMEDATALEN - 1`
        const LONGEST: usize = 63;
        let at = rule.location();
        let old = self.server().version < PgVersion::V16;
        let mut name = |text: &[u8], quoted: bool, regex: bool, keywords: &[&[u8]]| {
            let shown = Text::from(text);
            if regex {
                if !text.starts_with(b"/^") || !text.ends_with(b"$") {
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
                let message =
                    format!("{shown} is a name here, and a regular expression from 16 on");
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

    fn lint_options(&self, findings: &mut Findings, rule: &Rule<'_>) {
        let at = rule.location();
        let options = rule.options();
        for (index, option) in options.given.iter().enumerate() {
            let name = &option.name;
            let at = Location { span: option.span, ..at };
            if options.given[index + 1..].iter().any(|later| later.name == *name) {
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
                    rule.method() != Method::Cert
                        && options.client_cert != Some(crate::ClientCert::VerifyFull)
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
}

/// Whether an earlier rule, or several together, match all that a rule is for.
fn shadow(findings: &mut Findings, earlier: &[Rule<'_>], rule: &Rule<'_>) {
    let overlapping = || earlier.iter().filter(|earlier| !scope::apart(earlier, rule));
    if let Some(outer) = overlapping().find(|earlier| scope::covers(earlier, rule)) {
        let message = format!(
            "line {} ({}) matches all that this rule is for: it never decides",
            outer.line(),
            outer.method()
        );
        findings.found.push(Finding {
            lint: Lint::Unreachable,
            message,
            location: rule.location(),
            other: Some(outer.location()),
        });
        return;
    }
    let mut overlapping: Vec<&Rule<'_>> = overlapping().collect();
    if overlapping.len() > 1 && covered_together(&overlapping, rule) {
        // Only those that are needed: the first ones decide.
        let mut index = overlapping.len();
        while let Some(last) = index.checked_sub(1) {
            let needed = overlapping.remove(last);
            if !covered_together(&overlapping, rule) {
                overlapping.insert(last, needed);
            }
            index = last;
        }
        let lines: Vec<String> =
            overlapping.iter().map(|earlier| format!("{}", earlier.line())).collect();
        let message = format!(
            "lines {} together match all that this rule is for: it never decides",
            lines.join(", ")
        );
        findings.found.push(Finding {
            lint: Lint::UnreachableTogether,
            message,
            location: rule.location(),
            other: overlapping.first().map(|earlier| earlier.location()),
        });
    }
}

/// Whether each kind of connection, database, user and address that a rule is for is matched by one
/// of the earlier rules.
fn covered_together(earlier: &[&Rule<'_>], rule: &Rule<'_>) -> bool {
    let any_v4 = Address::Network([0, 0, 0, 0].into(), [0, 0, 0, 0].into());
    let any_v6 = Address::Network(IpAddr::V6(0_u128.into()), IpAddr::V6(0_u128.into()));
    let parts: Vec<Option<Address<'_>>> = match rule.address() {
        Some(Address::All) => Vec::from([Some(any_v4), Some(any_v6)]),
        other => Vec::from([other]),
    };
    let kinds = scope::kinds(rule.connection());
    (0..4).filter(|bit| kinds & (1 << bit) != 0).all(|bit| {
        parts.iter().all(|part| {
            rule.databases().all(|database| {
                rule.users().all(|user| {
                    earlier.iter().any(|earlier| {
                        scope::kinds(earlier.connection()) & (1 << bit) != 0
                            && scope::address_covers(earlier.address(), *part)
                            && earlier
                                .databases()
                                .any(|outer| scope::database_covers(&outer, &database))
                            && earlier.users().any(|outer| scope::user_covers(&outer, &user))
                    })
                })
            })
        })
    })
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

fn masked(network: IpAddr, mask: IpAddr) -> IpAddr {
    match (network, mask) {
        (IpAddr::V4(network), IpAddr::V4(mask)) => IpAddr::V4(network & mask),
        (IpAddr::V6(network), IpAddr::V6(mask)) => IpAddr::V6(network & mask),
        (network, _) => network,
    }
}

/// An IPv4 address that begins with zeros, as `10/8` makes one, and bits enough to be meant.
fn short_form(network: IpAddr, mask: IpAddr) -> bool {
    let IpAddr::V4(network) = network else { return false };
    let bits = prefix_len(mask).unwrap_or(0);
    network.octets()[0] == 0 && !network.is_unspecified() && bits > 0 && bits < 32
}

impl Mappings {
    /// Looks for what loads and should not have been written.
    ///
    /// ```
    /// use hba_parser::{IdentDocument, Lint, PgVersion, Server};
    ///
    /// let file = IdentDocument::parse(*b"admins root all\n");
    /// let findings = |version| file.interpret(&Server::new(version)).lint();
    /// assert_eq!(findings(PgVersion::V16)[0].lint, Lint::MapToEveryRole);
    /// assert!(findings(PgVersion::V15).is_empty());
    /// ```
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Findings { found: Vec::new() };
        for mapping in self.iter() {
            let at = mapping.location();
            if mapping.allows_every_role() {
                let message = format!(
                    "system user {} may be any role: all is a keyword from 16 on",
                    Text::from(mapping.system_user())
                );
                findings.add(Lint::MapToEveryRole, at, message);
            }
            let system_user = mapping.system_user();
            let Some(regex) = system_user.strip_prefix(b"/") else {
                if mapping.database_user() == b"postgres" && system_user != b"postgres" {
                    let message = format!("{} may be postgres", Text::from(system_user));
                    findings.add(Lint::MapToPostgres, at, message);
                }
                continue;
            };
            if !regex.starts_with(b"^") || !regex.ends_with(b"$") {
                let message = format!("{} matches anywhere in a name", Text::from(system_user));
                findings.add(Lint::UnanchoredMapRegex, at, message);
            }
            let refers = mapping.database_user().windows(2).any(|pair| pair == b"\\1");
            if refers && !regex.contains(&b'(') {
                let message = "\\1 stands for nothing: the expression has no parentheses";
                findings.add(Lint::NothingCaptured, at, message);
            }
        }
        findings.found
    }
}
