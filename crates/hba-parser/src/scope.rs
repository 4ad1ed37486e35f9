//! Which connections a rule is for, compared with another rule: what shadows what.
//!
//! Two answers, and both are sure: *covers*, everything that the other rule is for is matched by this
//! one; *apart*, nothing is matched by both. Where neither is sure, neither is said.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::{
    ConnectionType,
    address::in_range,
    regex::Regex,
    rules::{Address, Database, DatabaseKind, Rule, User, UserKind},
};

/// Kinds of connections as bits: Unix socket, plain, TLS, GSSAPI.
pub(crate) const fn kinds(connection: ConnectionType) -> u8 {
    match connection {
        ConnectionType::Local => 1,
        ConnectionType::Host => 2 | 4 | 8,
        ConnectionType::HostSsl => 4,
        ConnectionType::HostNoSsl => 2 | 8,
        ConnectionType::HostGssEnc => 8,
        ConnectionType::HostNoGssEnc => 2 | 4,
    }
}

/// Whether each address of `inner` is one of `outer`.
pub(crate) fn address_covers(outer: Option<Address<'_>>, inner: Option<Address<'_>>) -> bool {
    let (outer, inner) = match (outer, inner) {
        (None, None) => return true,
        (Some(outer), Some(inner)) => (outer, inner),
        _ => return false,
    };
    match (outer, inner) {
        (Address::All, _)
        | (Address::SameNet, Address::SameNet | Address::SameHost)
        | (Address::SameHost, Address::SameHost) => true,
        (Address::Network(outer, outer_mask), Address::Network(inner, inner_mask)) => {
            mask_within(outer_mask, inner_mask) && in_range(inner, outer, outer_mask)
        }
        (Address::Host(outer), Address::Host(inner))
        | (Address::Suffix(outer), Address::Suffix(inner))
            if outer.eq_ignore_ascii_case(inner) =>
        {
            true
        }
        (Address::Suffix(suffix), Address::Host(name) | Address::Suffix(name)) => {
            let start = name.len().checked_sub(suffix.len());
            start.is_some_and(|start| name[start..].eq_ignore_ascii_case(suffix))
        }
        _ => false,
    }
}

/// Whether all bits of one mask are in the other.
pub(crate) fn mask_within(mask: IpAddr, other: IpAddr) -> bool {
    match (mask, other) {
        (IpAddr::V4(mask), IpAddr::V4(other)) => mask.to_bits() & !other.to_bits() == 0,
        (IpAddr::V6(mask), IpAddr::V6(other)) => mask.to_bits() & !other.to_bits() == 0,
        _ => false,
    }
}

/// Whether no address is in both.
fn addresses_apart(first: Option<Address<'_>>, second: Option<Address<'_>>) -> bool {
    match (first, second) {
        (
            Some(Address::Network(first, first_mask)),
            Some(Address::Network(second, second_mask)),
        ) => {
            let common = match (first_mask, second_mask) {
                (IpAddr::V4(first), IpAddr::V4(second)) => IpAddr::V4(first & second),
                (IpAddr::V6(first), IpAddr::V6(second)) => IpAddr::V6(first & second),
                _ => return true,
            };
            !in_range(first, second, common)
        }
        (None, None) => false,
        (None, Some(_)) | (Some(_), None) => true,
        _ => false,
    }
}

/// A token of a rule's databases or users, so that the same ones are equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token<'r> {
    All,
    SameUser,
    SameRole,
    Replication,
    Member(&'r [u8]),
    Regex(&'r [u8]),
    Name(&'r [u8]),
}

/// A token, and its expression if it is one.
pub(crate) type Compiled<'r> = (Token<'r>, Option<&'r Regex>);

pub(crate) fn database_token<'r>(database: &Database<'r>) -> Compiled<'r> {
    match database.kind() {
        DatabaseKind::All => (Token::All, None),
        DatabaseKind::SameUser => (Token::SameUser, None),
        DatabaseKind::SameRole => (Token::SameRole, None),
        DatabaseKind::Replication => (Token::Replication, None),
        DatabaseKind::Regex(regex) => (Token::Regex(database.text()), Some(regex)),
        DatabaseKind::Name(name) => (Token::Name(name), None),
    }
}

pub(crate) fn user_token<'r>(user: &User<'r>) -> Compiled<'r> {
    match user.kind() {
        UserKind::All => (Token::All, None),
        UserKind::Member(role) => (Token::Member(role), None),
        UserKind::Regex(regex) => (Token::Regex(user.text()), Some(regex)),
        UserKind::Name(name) => (Token::Name(name), None),
    }
}

/// The tokens of a list, to be looked up: going through all of them for each of another list would
/// take time with the square of their number.
#[derive(Clone)]
pub(crate) struct Tokens<'r> {
    /// Each once, in their order
    sorted: Vec<Token<'r>>,
    regexes: Vec<&'r Regex>,
}

impl<'r> Tokens<'r> {
    fn of(tokens: impl Iterator<Item = Compiled<'r>>) -> Self {
        let mut regexes = Vec::new();
        let mut sorted: Vec<Token<'r>> = tokens
            .map(|(token, regex)| {
                regexes.extend(regex);
                token
            })
            .collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted, regexes }
    }

    /// Each token once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Token<'r>> + '_ {
        self.sorted.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether this very token is one of them.
    pub(crate) fn has(&self, token: Token<'r>) -> bool {
        self.sorted.binary_search(&token).is_ok()
    }

    /// Whether one of the expressions matches a name.
    pub(crate) fn has_regex_for(&self, name: &[u8]) -> bool {
        self.regexes.iter().any(|regex| regex.is_match(name).unwrap_or(false))
    }

    /// Whether one token matches all that another does. A role is a member of itself.
    pub(crate) fn cover(&self, token: Token<'r>) -> bool {
        if self.has(token) || (token != Token::Replication && self.has(Token::All)) {
            return true;
        }
        let Token::Name(name) = token else { return false };
        self.has(Token::Member(name)) || self.has_regex_for(name)
    }

    /// Whether nothing that a token matches is matched by one of them.
    fn apart(&self, (token, regex): Compiled<'r>) -> bool {
        let kinds = |token: &Token<'r>| !matches!(token, Token::Name(_) | Token::Replication);
        match (token, regex) {
            (Token::Replication, _) => !self.has(Token::Replication),
            (Token::Name(name), _) => {
                // Names come last in the order.
                let others =
                    self.sorted.iter().take_while(|token| !matches!(token, Token::Name(_)));
                let loose = others.filter(|token| !matches!(token, Token::Regex(_))).any(kinds);
                let matched = |regex: &&Regex| regex.is_match(name).unwrap_or(true);
                !loose && !self.has(token) && !self.regexes.iter().any(matched)
            }
            (Token::Regex(_), Some(regex)) => {
                let meets = |other: &Token<'r>| match other {
                    Token::Name(name) => regex.is_match(name).unwrap_or(true),
                    other => kinds(other),
                };
                !self.sorted.iter().any(meets)
            }
            _ => self.sorted.iter().all(|token| *token == Token::Replication),
        }
    }
}

/// What a rule is for.
#[derive(Clone)]
pub(crate) struct Scope<'r> {
    pub(crate) rule: Rule<'r>,
    pub(crate) databases: Tokens<'r>,
    pub(crate) users: Tokens<'r>,
}

impl<'r> Scope<'r> {
    pub(crate) fn of(rule: Rule<'r>) -> Self {
        let databases = Tokens::of(rule.databases().map(|database| database_token(&database)));
        let users = Tokens::of(rule.users().map(|user| user_token(&user)));
        Self { rule, databases, users }
    }

    /// How much there is to compare.
    pub(crate) fn size(&self) -> usize {
        self.databases.len() + self.users.len()
    }

    /// How many expressions it has: each is tried with each name that it is compared with.
    pub(crate) fn regexes(&self) -> usize {
        self.databases.regexes.len() + self.users.regexes.len()
    }

    /// What so many tokens take that are compared with it: look-ups, and tries of expressions.
    pub(crate) fn work(&self, tokens: usize) -> usize {
        tokens.saturating_mul(1 + self.regexes())
    }

    /// Whether no connection is matched by both rules. Where that is not sure, it is not said.
    pub(crate) fn apart(&self, other: &Rule<'r>) -> bool {
        kinds(self.rule.connection()) & kinds(other.connection()) == 0
            || addresses_apart(self.rule.address(), other.address())
            || other.databases().all(|database| self.databases.apart(database_token(&database)))
            || other.users().all(|user| self.users.apart(user_token(&user)))
    }

    /// Whether each connection that `inner` matches is matched by this rule.
    pub(crate) fn covers(&self, inner: &Rule<'r>) -> bool {
        kinds(inner.connection()) & !kinds(self.rule.connection()) == 0
            && address_covers(self.rule.address(), inner.address())
            && inner.databases().all(|database| self.databases.cover(database_token(&database).0))
            && inner.users().all(|user| self.users.cover(user_token(&user).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HbaDocument, PgVersion, Server};

    /// What two rules of these databases and users say of each other: apart, covers.
    fn compare(first: &str, second: &str) -> (bool, bool) {
        let file = HbaDocument::parse(alloc::format!("local {first} md5\nlocal {second} md5\n"));
        let rules = file.interpret(&Server::new(PgVersion::V16));
        let (first, second) = (rules.get(0).unwrap(), rules.get(1).unwrap());
        let apart = Scope::of(first).apart(&second);
        assert_eq!(apart, Scope::of(second).apart(&first), "{file}");
        (apart, Scope::of(first).covers(&second))
    }

    #[test]
    fn lists_are_compared_token_by_token() {
        for (first, second, apart, covers) in [
            ("a,b all", "b all", false, true),
            ("a,b all", "c,d all", true, false),
            ("all all", "replication all", true, false),
            ("all,replication all", "replication,x all", false, true),
            ("sameuser all", "a all", false, false),
            ("samerole all", "replication all", true, false),
            ("/^a all", "ab,b all", false, false),
            ("/^a all", "ab,ac all", false, true),
            ("/^a all", "b,c all", true, false),
            ("/^a all", "/^a all", false, true),
            ("/^a all", "/^b all", false, false),
            ("/^a,replication all", "b all", true, false),
            ("all +x", "all x,+x", false, true),
            ("all x", "all +x", false, false),
            ("all +x", "all y", false, false),
            ("all \"+x\"", "all +y", false, false),
            ("all \"all\"", "all x", true, false),
            ("all all", "all \"all\",+x,/y", false, true),
        ] {
            assert_eq!(compare(first, second), (apart, covers), "{first} | {second}");
        }
    }
}
