//! `pgward hba decide`.

use std::{fmt::Write as _, net::IpAddr};

use hba_parser::{
    Address, Connection, DatabaseKind, Encryption, Method, Mismatch, Network, RoleGraph, Rule,
    StaticNetwork, UserKind, Verdict,
};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::reading::{FileArgument, ServerArguments, Sources, rules};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    text::{BAD, FAINT, GOOD, STRONG, lossy, plain, styled},
};

/// `pgward hba decide`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward hba decide pg_hba.conf --user web --database app --address 10.1.2.3 --tls
  pgward hba decide pg_hba.conf --user postgres              over the Unix socket
  pgward hba decide pg_hba.conf --user standby --replication --address 10.0.0.7
  pgward hba decide pg_hba.conf --user alice --member-of staff --address ::1

Exit code 0: a rule lets the user try to log in, and its method is told; 1: the connection is \
rejected, by a rule or because none is for it.")]
pub(super) struct Arguments {
    #[command(flatten)]
    file: FileArgument,
    #[command(flatten)]
    server: ServerArguments,
    /// The role that asks
    #[arg(long, short = 'U', value_name = "ROLE")]
    user: String,
    /// The database that it asks for [default: the one with the role's name]
    #[arg(long, short = 'd', value_name = "NAME")]
    database: Option<String>,
    /// The client's address [default: it comes over the Unix socket]
    #[arg(long, short = 'a', value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// The connection has TLS
    #[arg(long, requires = "address", conflicts_with = "gss")]
    tls: bool,
    /// The connection has GSSAPI encryption
    #[arg(long, requires = "address")]
    gss: bool,
    /// It is physical replication, as of a standby or pg_basebackup
    #[arg(long, conflicts_with = "database")]
    replication: bool,
    /// A role that the user is a member of (may be repeated)
    #[arg(long, value_name = "ROLE")]
    member_of: Vec<String>,
    /// The host name that the client's address has (and that leads back to it)
    #[arg(long, value_name = "NAME", requires = "address")]
    host_name: Option<String>,
    /// An address of the server with its network, such as 10.0.0.1/24, for samehost and samenet (may
    /// be repeated)
    #[arg(long, value_name = "ADDRESS/BITS")]
    server_address: Vec<IpNet>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    if arguments.file.is_ident() {
        return Err(Failure::user("decide is for pg_hba.conf only").fix("name a pg_hba.conf"));
    }
    let server = arguments.server.server(console);
    let input = arguments.file.input()?;
    let (_, rules) = rules(&input, &server)?;
    let sources = Sources::new(&input, rules.files());
    if *rules.verdict() != Verdict::Loaded {
        let refused = format!(
            "{}: PostgreSQL {} refuses the file, so none of its rules decides",
            input.name, server.version
        );
        let file = if input.snapshot().is_some() { &*input.name } else { "-" };
        let mut failure = Failure::user(refused)
            .fix(format!("run pgward hba check {file}, and mend what it finds"));
        if let Some(problem) = rules.diagnostics().first() {
            let problem = sources.problem(problem);
            failure.problem.why.push(problem.message);
            failure.problem.place = problem.place;
        }
        return Err(failure);
    }

    let question = arguments.question();
    let (roles, network) = (arguments.roles(), arguments.network());
    let decision = rules.decide(&question, &roles, &network as &dyn Network);
    for unknown in arguments.unknown(&decision.passed) {
        console.note(unknown);
    }

    let mut text = String::new();
    let words = match decision.rule {
        None => {
            styled(BAD, "rejected")
                + ": no rule is for this connection, and what no rule is for is rejected"
        }
        Some(rule) if rule.method() == Method::Reject => {
            styled(BAD, "rejected") + &format!(" by {}", place_words(&sources, &rule))
        }
        Some(rule) => {
            styled(GOOD, rule.method()) + &format!(" by {}", place_words(&sources, &rule))
        }
    };
    let _ = writeln!(text, "{}: {words}", arguments.words());
    if let Some(rule) = decision.rule {
        let _ = writeln!(text, "  {}", styled(STRONG, sources.line(rule.location())));
    }
    if !decision.passed.is_empty() {
        let _ = writeln!(text, "\nThe rules before it are not for this connection:");
        for (rule, mismatch) in &decision.passed {
            let line = format!("{}: {mismatch}", place_words(&sources, rule));
            let _ = writeln!(text, "  {line}");
            let _ = writeln!(text, "    {}", styled(FAINT, sources.line(rule.location())));
        }
    }
    let passed: Vec<Value> = decision
        .passed
        .iter()
        .map(|(rule, mismatch)| json!({ "rule": rule_json(&sources, rule), "why": mismatch }))
        .collect();
    let result = json!({
        "pg": server.version,
        "rejected": decision.is_rejected(),
        "rule": decision.rule.map(|rule| rule_json(&sources, &rule)),
        "passed": passed,
    });
    Ok(Answer::new(text, result).fine_if(!decision.is_rejected()))
}

impl Arguments {
    fn question(&self) -> Connection<'_> {
        let user = self.user.as_bytes();
        let database = self.database.as_deref().unwrap_or(&self.user).as_bytes();
        let encryption = match (self.tls, self.gss) {
            (true, _) => Encryption::Tls,
            (_, true) => Encryption::Gss,
            _ => Encryption::None,
        };
        let question = match self.address {
            Some(address) => Connection::tcp(address, encryption, database, user),
            None => Connection::local(database, user),
        };
        if self.replication { question.physical_replication() } else { question }
    }

    /// The question in words.
    fn words(&self) -> String {
        let to = match (&self.database, self.replication) {
            (_, true) => "physical replication".to_owned(),
            (Some(database), _) => format!("database {database}"),
            (None, _) => format!("database {}", self.user),
        };
        let from = match self.address {
            None => "over the Unix socket".to_owned(),
            Some(address) => {
                let encryption = match (self.tls, self.gss) {
                    (true, _) => "with TLS",
                    (_, true) => "with GSSAPI encryption",
                    _ => "without encryption",
                };
                format!("from {address} {encryption}")
            }
        };
        plain(&format!("{} to {to} {from}", self.user)).into_owned()
    }

    fn roles(&self) -> RoleGraph {
        let mut roles = RoleGraph::default();
        roles.create(&self.user);
        for role in &self.member_of {
            roles.grant(role, &self.user);
        }
        roles
    }

    fn network(&self) -> StaticNetwork {
        let interfaces =
            self.server_address.iter().map(|network| (network.addr(), network.netmask())).collect();
        let hosts = self.host_name.iter().zip(self.address);
        StaticNetwork {
            interfaces,
            hosts: hosts.map(|(name, address)| (name.clone().into_bytes(), address)).collect(),
        }
    }

    /// What may have kept a rule from deciding, and the user did not say.
    fn unknown(&self, passed: &[(Rule<'_>, Mismatch)]) -> Vec<&'static str> {
        let because = |mismatch| passed.iter().filter(move |(_, why)| *why == mismatch);
        let mut notes = Vec::new();
        if self.host_name.is_none() && because(Mismatch::HostName).next().is_some() {
            notes.push(
                "a rule is for a host name: --host-name says which one the client's address has",
            );
        }
        let near =
            |rule: &Rule<'_>| matches!(rule.address(), Some(Address::SameHost | Address::SameNet));
        if self.server_address.is_empty() && because(Mismatch::Address).any(|(rule, _)| near(rule))
        {
            notes.push(
                "a rule is for samehost or samenet: --server-address says what the server has",
            );
        }
        let of_members = |rule: &Rule<'_>| {
            rule.users().any(|user| matches!(user.kind(), UserKind::Member(_)))
                || rule
                    .databases()
                    .any(|database| matches!(database.kind(), DatabaseKind::SameRole))
        };
        let mut others = because(Mismatch::User).chain(because(Mismatch::Database));
        if self.member_of.is_empty() && others.any(|(rule, _)| of_members(rule)) {
            notes.push("a rule is for the members of a role: --member-of says what the user is in");
        }
        notes
    }
}

fn place_words(sources: &Sources<'_>, rule: &Rule<'_>) -> String {
    if rule.file() == hba_parser::FileId::MAIN {
        format!("line {}", rule.line())
    } else {
        format!("{} line {}", plain(&sources.name(rule.file())), rule.line())
    }
}

fn rule_json(sources: &Sources<'_>, rule: &Rule<'_>) -> Value {
    let options = rule.options().given.iter();
    let options: Vec<String> = options
        .map(|option| {
            format!("{}={}", lossy(option.name.as_bytes()), lossy(option.shown_value().as_bytes()))
        })
        .collect();
    json!({
        "file": sources.name(rule.file()),
        "line": rule.line(),
        "text": sources.line(rule.location()),
        "method": rule.method(),
        "options": options,
    })
}
