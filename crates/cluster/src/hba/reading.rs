//! What a node's `pg_hba.conf` says, as its server reads it: who decides about a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hba_parser::{
    Address, Connection, ConnectionType, Encryption, FileId, HbaDocument, Method, RoleGraph,
    Roles as _, Rule, Rules, Severity, StaticNetwork, Verdict,
};
use pg_version::PgVersion;

use super::{File, roles, server, words};
use crate::inspect::NodeState;

/// A connection, as the server sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The client's address; `None` for a Unix socket.
    pub(crate) address: Option<IpAddr>,
    pub(crate) tls: bool,
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    /// Whether it is for physical replication, which no database is.
    pub(crate) physical: bool,
}

impl Question<'_> {
    pub(super) fn connection(&self) -> Connection<'_> {
        let (database, user) = (self.database.as_bytes(), self.user.as_bytes());
        let connection = match self.address {
            None => Connection::local(database, user),
            Some(address) => {
                let encryption = if self.tls { Encryption::Tls } else { Encryption::None };
                Connection::tcp(address, encryption, database, user)
            }
        };
        if self.physical { connection.physical_replication() } else { connection }
    }
}

/// The rule that decides about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecidingRule {
    /// Its file.
    pub(crate) file: String,
    /// Its line there, from 1.
    pub(crate) line: u32,
    /// Its method.
    pub(crate) method: Method,
    /// The map in `pg_ident.conf` that says who may be whom.
    pub(crate) map: Option<String>,
    /// The rule's fields as the server reads them, with no other option than the map.
    pub(crate) text: String,
}

impl DecidingRule {
    /// Whether whoever it decides about stays out.
    pub(crate) fn rejects(&self) -> bool {
        self.method == Method::Reject
    }

    /// Its place, as the server's log writes it.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// `line 3 of FILE (trust)`
impl std::fmt::Display for DecidingRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of {} ({}", self.line, self.file, self.method.as_str())?;
        match &self.map {
            Some(map) => write!(f, " map={map})"),
            None => f.write_str(")"),
        }
    }
}

/// A node's file as its server reads it.
#[derive(Debug)]
pub(crate) struct Reading {
    document: HbaDocument,
    pub(super) rules: Rules,
    pub(super) roles: RoleGraph,
    pub(super) network: StaticNetwork,
    version: PgVersion,
}

impl Reading {
    /// Reads what inspection found on the node of this address.
    pub(crate) fn of(state: &NodeState, address: IpAddr) -> Self {
        let file = File { state, server: server(state), roles: roles(state), ways: &[] };
        let document = file.found();
        let rules = file.interpret(&document);
        // The node's networks are not known: a rule for `samenet` is taken for one for everybody,
        // so that what it opens is found.
        let everybody: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let interfaces = vec![
            (address, everybody),
            (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(255, 0, 0, 0).into()),
            (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::from_bits(u128::MAX).into()),
        ];
        let network = StaticNetwork { interfaces, hosts: Vec::new() };
        Self { document, rules, roles: file.roles, network, version: state.version }
    }

    /// Why the server would not load the file, so that it has other rules than these; `None` if it
    /// would.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self.rules.verdict() {
            Verdict::Loaded => None,
            Verdict::ServerDown(crash) => Some(crash.to_string()),
            _ => {
                let mut found = self.rules.diagnostics().iter();
                let first = found.find(|found| found.severity == Severity::Error);
                Some(first.map_or_else(String::new, ToString::to_string))
            }
        }
    }

    /// What is wrong with a line of the file itself.
    pub(crate) fn problem_at(&self, line: u32) -> Option<String> {
        let mut found = self.rules.diagnostics().iter();
        found
            .find(|found| {
                found.severity == Severity::Error
                    && (found.location.file, found.location.line) == (FileId::MAIN, line)
            })
            .map(|found| found.message.to_string())
    }

    /// Which rule decides about a connection; `None` where none does, or the server would not load
    /// the file.
    pub(crate) fn decide(&self, question: &Question<'_>) -> Option<DecidingRule> {
        if !self.rules.verdict().is_loaded() {
            return None;
        }
        let connection = question.connection();
        let rule = self.rules.decide(&connection, &self.roles, &self.network).rule?;
        Some(DecidingRule {
            file: self.rules.path(rule.file()).to_string(),
            line: rule.line(),
            method: rule.method(),
            map: rule.options().map.as_ref().map(ToString::to_string),
            text: fields(&rule),
        })
    }

    /// The rules that let the network in without a password.
    pub(crate) fn trusting(&self) -> impl Iterator<Item = Rule<'_>> {
        let open = |rule: &Rule<'_>| {
            rule.method() == Method::Trust && rule.connection() != ConnectionType::Local
        };
        self.rules.iter().filter(open)
    }

    /// Whether a role is a member of a group, by way of others, too.
    pub(crate) fn is_member(&self, role: &str, group: &str) -> bool {
        self.roles.is_member(role.as_bytes(), group.as_bytes())
    }

    /// A rule and where it is, in words.
    pub(crate) fn words(&self, rule: &Rule<'_>) -> String {
        let text = words(&self.document, rule, self.version);
        format!("line {}, \"{text}\" in {}", rule.line(), self.rules.path(rule.file()))
    }

    /// Where a rule is, as [`DecidingRule::place`] has it.
    pub(crate) fn place(&self, rule: &Rule<'_>) -> String {
        format!("{}:{}", self.rules.path(rule.file()), rule.line())
    }
}

/// The fields of a rule on one line. Comments and the options of other methods are not there: they may
/// hold passwords.
pub(super) fn fields(rule: &Rule<'_>) -> String {
    let field = |text: &[u8], quoted: bool| {
        let text = String::from_utf8_lossy(text);
        if quoted { format!("\"{text}\"") } else { text.into_owned() }
    };
    let databases: Vec<String> =
        rule.databases().map(|one| field(one.text(), one.is_quoted())).collect();
    let users: Vec<String> = rule.users().map(|one| field(one.text(), one.is_quoted())).collect();
    let address = rule.address().map(|address| match address {
        Address::All => "all".to_owned(),
        Address::SameHost => "samehost".to_owned(),
        Address::SameNet => "samenet".to_owned(),
        Address::Host(name) | Address::Suffix(name) => String::from_utf8_lossy(name).into_owned(),
        Address::Network(address, mask) => match ipnet::ip_mask_to_prefix(mask) {
            Ok(bits) => format!("{address}/{bits}"),
            Err(_) => format!("{address} {mask}"),
        },
    });
    let map = rule.options().map.as_ref().map(|map| format!("map={map}"));
    [Some(rule.connection().to_string()), Some(databases.join(",")), Some(users.join(",")), address]
        .into_iter()
        .chain([Some(rule.method().as_str().to_owned()), map])
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a rule is for the server's own machine only.
pub(crate) fn is_for_own_machine(rule: &Rule<'_>) -> bool {
    match rule.address() {
        Some(Address::SameHost) => true,
        Some(Address::Network(IpAddr::V4(address), IpAddr::V4(mask))) => {
            address.is_loopback() && mask.octets()[0] == 255
        }
        Some(Address::Network(IpAddr::V6(address), IpAddr::V6(mask))) => {
            address.is_loopback() && mask.to_bits() == u128::MAX
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    #[test]
    fn a_rule_of_an_included_file_is_shown_as_well() {
        let more = [("/d/more.conf", "# ours\nhost all \"a b\" 10.0.0.0/8 trust\n")];
        let reading =
            Reading::of(&sample::node(b"include more.conf\n", &more), [10, 0, 0, 1].into());
        let shown: Vec<String> = reading.trusting().map(|rule| reading.words(&rule)).collect();
        assert_eq!(shown, ["line 2, \"host all \"a b\" 10.0.0.0/8 trust\" in /d/more.conf"]);
    }

    #[test]
    fn a_rule_is_shown_without_what_may_be_secret() {
        let hba = b"hostssl \"a b\",+g repl,all 10.0.0.0/8 cert map=m # geheim\n\
                    host all all 10.0.0.1 255.0.255.0 ldap ldapserver=x ldapbasedn=y ldapbindpasswd=geheim\n";
        let reading = Reading::of(&sample::node(hba, &[]), [10, 0, 0, 1].into());
        let shown: Vec<String> = reading.rules.iter().map(|rule| fields(&rule)).collect();
        assert_eq!(
            shown,
            [
                "hostssl \"a b\",+g repl,all 10.0.0.0/8 cert map=m",
                "host all all 10.0.0.1 255.0.255.0 ldap",
            ]
        );
    }
}
