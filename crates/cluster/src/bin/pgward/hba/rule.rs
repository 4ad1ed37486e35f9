//! A rule as a user writes it, for the editor.

use std::net::IpAddr;

use hba_parser::{
    Address, AddressSpec, DatabaseKind, DatabaseSpec, HbaDocument, NewRule, Rule, Server, UserKind,
    UserSpec,
};

use crate::frame::{
    diagnostic::{Diagnostic, Place},
    failure::Failure,
    text::lossy,
};

/// Reads one rule, written as in the file.
pub(super) fn read(text: &[u8], name: &str, server: &Server) -> Result<NewRule, Failure> {
    let rules = HbaDocument::try_parse(text)
        .map_err(|error| Failure::user(error.to_string()))?
        .interpret(server);
    if let Some(problem) = rules.diagnostics().first() {
        let secrets = super::secrets::find(text);
        let place = Place::of(name, text, problem.location.span.range(), &secrets);
        let message = format!("this is no rule: {}", lossy(problem.message.as_bytes()));
        return Err(Failure::at(
            Diagnostic::error(message).code(problem.code.as_str()).at(place).fix(problem.help()),
        ));
    }
    match rules.get(0) {
        Some(rule) if rules.len() == 1 => Ok(new_rule(&rule)),
        _ => Err(Failure::user(format!("{name} has {} rules, not one", rules.len()))
            .fix("add them one by one")),
    }
}

fn new_rule(rule: &Rule<'_>) -> NewRule {
    let mut new = NewRule::new(rule.connection(), rule.method());
    for database in rule.databases() {
        new = new.database(match database.kind() {
            DatabaseKind::All => DatabaseSpec::All,
            DatabaseKind::SameUser => DatabaseSpec::SameUser,
            DatabaseKind::SameRole => DatabaseSpec::SameRole,
            DatabaseKind::Replication => DatabaseSpec::Replication,
            DatabaseKind::Regex(_) => DatabaseSpec::regex(without_slash(database.text())),
            DatabaseKind::Name(name) => DatabaseSpec::name(name),
        });
    }
    for user in rule.users() {
        new = new.user(match user.kind() {
            UserKind::All => UserSpec::All,
            UserKind::Member(role) => UserSpec::member(role),
            UserKind::Regex(_) => UserSpec::regex(without_slash(user.text())),
            UserKind::Name(name) => UserSpec::name(name),
        });
    }
    if let Some(address) = rule.address() {
        new = new.address(match address {
            Address::All => AddressSpec::All,
            Address::SameHost => AddressSpec::SameHost,
            Address::SameNet => AddressSpec::SameNet,
            Address::Host(name) | Address::Suffix(name) => AddressSpec::name(name),
            Address::Network(network, mask) => match bits(mask) {
                Some(bits) => AddressSpec::network(network, bits),
                None => AddressSpec::Masked(network, mask),
            },
        });
    }
    for option in &rule.options().given {
        new = new.option(option.name.as_bytes(), option.value.as_bytes());
    }
    new
}

fn without_slash(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"/").unwrap_or(text)
}

/// How many bits a mask without gaps has.
fn bits(mask: IpAddr) -> Option<u8> {
    ipnet::ip_mask_to_prefix(mask).ok()
}
