//! Which connections a rule is for, compared with another rule: what shadows what.
//!
//! Two answers, and both are sure: *covers*, everything that the other rule is for is matched by this
//! one; *apart*, nothing is matched by both. Where neither is sure, neither is said.

use core::net::IpAddr;

use crate::{
    ConnectionType,
    address::in_range,
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

/// Whether each database of `inner` is one of `outer`.
fn database_covers(outer: &Database<'_>, inner: &Database<'_>) -> bool {
    match (outer.kind(), inner.kind()) {
        (DatabaseKind::Replication, inner) => matches!(inner, DatabaseKind::Replication),
        (_, DatabaseKind::Replication) => false,
        (DatabaseKind::All, _)
        | (DatabaseKind::SameUser, DatabaseKind::SameUser)
        | (DatabaseKind::SameRole, DatabaseKind::SameRole) => true,
        (DatabaseKind::Name(outer), DatabaseKind::Name(inner)) => outer == inner,
        (DatabaseKind::Regex(regex), DatabaseKind::Name(name)) => {
            regex.is_match(name).unwrap_or(false)
        }
        (DatabaseKind::Regex(_), DatabaseKind::Regex(_)) => outer.text() == inner.text(),
        _ => false,
    }
}

fn databases_apart(first: &Database<'_>, second: &Database<'_>) -> bool {
    match (first.kind(), second.kind()) {
        (DatabaseKind::Replication, other) | (other, DatabaseKind::Replication) => {
            !matches!(other, DatabaseKind::Replication)
        }
        (DatabaseKind::Name(first), DatabaseKind::Name(second)) => first != second,
        (DatabaseKind::Regex(regex), DatabaseKind::Name(name))
        | (DatabaseKind::Name(name), DatabaseKind::Regex(regex)) => {
            !regex.is_match(name).unwrap_or(true)
        }
        _ => false,
    }
}

/// Whether each user of `inner` is one of `outer`. A role is a member of itself.
fn user_covers(outer: &User<'_>, inner: &User<'_>) -> bool {
    match (outer.kind(), inner.kind()) {
        (UserKind::All, _) => true,
        (UserKind::Name(outer) | UserKind::Member(outer), UserKind::Name(inner))
        | (UserKind::Member(outer), UserKind::Member(inner)) => outer == inner,
        (UserKind::Regex(regex), UserKind::Name(name)) => regex.is_match(name).unwrap_or(false),
        (UserKind::Regex(_), UserKind::Regex(_)) => outer.text() == inner.text(),
        _ => false,
    }
}

fn users_apart(first: &User<'_>, second: &User<'_>) -> bool {
    match (first.kind(), second.kind()) {
        (UserKind::Name(first), UserKind::Name(second)) => first != second,
        (UserKind::Regex(regex), UserKind::Name(name))
        | (UserKind::Name(name), UserKind::Regex(regex)) => !regex.is_match(name).unwrap_or(true),
        _ => false,
    }
}

/// Whether no connection is matched by both rules. Where that is not sure, it is not said.
pub(crate) fn apart(first: &Rule<'_>, second: &Rule<'_>) -> bool {
    kinds(first.connection()) & kinds(second.connection()) == 0
        || addresses_apart(first.address(), second.address())
        || first
            .databases()
            .all(|one| second.databases().all(|other| databases_apart(&one, &other)))
        || first.users().all(|one| second.users().all(|other| users_apart(&one, &other)))
}

/// Whether `outer` matches each connection that `inner` matches.
pub(crate) fn covers(outer: &Rule<'_>, inner: &Rule<'_>) -> bool {
    kinds(inner.connection()) & !kinds(outer.connection()) == 0
        && address_covers(outer.address(), inner.address())
        && inner.databases().all(|one| outer.databases().any(|other| database_covers(&other, &one)))
        && inner.users().all(|one| outer.users().any(|other| user_covers(&other, &one)))
}
