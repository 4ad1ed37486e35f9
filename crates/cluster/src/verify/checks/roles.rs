//! The links' roles: may they log in, and do what links do?

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

use super::{certificates::WARN_DAYS, passwords::stored_secret};
use crate::{
    conninfo::ConnInfo,
    demand::Demand,
    inspect::NodeState,
    topology::Link,
    verify::{code::Code, finding::Finding},
};

/// As inspection asks for it.
const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// The roles of a node, and their stored secrets.
pub(super) fn check(
    state: &NodeState,
    demand: &Demand,
    links: &[(Link, ConnInfo)],
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let mut find = |code, what: String| findings.push(Finding::error(code, &state.name, what));
    for wanted in &demand.roles {
        let Some(role) = state.role(&wanted.name) else {
            find(Code::RoleUnfit, format!("there is no role {}", wanted.name));
            continue;
        };
        if wanted.login && !role.can_login {
            find(Code::RoleUnfit, format!("the role {} may not log in", role.name));
        }
        if wanted.replication && !role.replication && !role.superuser {
            find(Code::RoleUnfit, format!("the role {} may not replicate", role.name));
        }
        for group in wanted.member_of.iter().filter(|_| !role.superuser) {
            if !role.member_of.contains(group) {
                find(Code::RoleUnfit, format!("the role {} is no member of {group}", role.name));
            }
        }
        if wanted.password && stored_secret(state, role).is_none() {
            let what = match role.stored_password.as_ref().map(|stored| stored.starts_with("md5")) {
                None => "no password",
                Some(true) => "an md5 password",
                Some(false) => "no SCRAM secret",
            };
            find(Code::NoScramSecret, format!("the role {} has {what}", role.name));
        }
        if wanted.password && role.password_expired {
            let what = format!("the password of the role {} has expired (VALID UNTIL)", role.name);
            find(Code::RoleUnfit, what);
        }
        let coming = coming_as(links, &role.name);
        if let Some(limit) =
            role.connection_limit().filter(|limit| !role.superuser && coming > *limit)
        {
            find(
                Code::RoleUnfit,
                format!(
                    "the role {} may have {limit} connections (CONNECTION LIMIT), and {coming} links come \
                     as it",
                    role.name
                ),
            );
        }
    }
    for wanted in demand.roles.iter().filter(|wanted| wanted.password) {
        let Some(role) = state.role(&wanted.name).filter(|role| !role.password_expired) else {
            continue;
        };
        let until = role.valid_until.as_deref().and_then(|until| {
            let until = PrimitiveDateTime::parse(until, TIMESTAMP).ok()?.assume_utc();
            Some((until, (until - now).whole_days()))
        });
        if let Some((until, days)) = until.filter(|(_, days)| *days < i64::from(WARN_DAYS)) {
            let what = format!(
                "the password of the role {} ends on {} (VALID UNTIL), in {days} days",
                role.name,
                until.date()
            );
            findings.push(Finding::warning(Code::RoleUnfit, &state.name, what));
        }
    }
}

/// How many of the links to a node have a session there at all times, as a role.
fn coming_as(links: &[(Link, ConnInfo)], role: &str) -> i32 {
    let here = links.iter().filter(|(link, wanted)| {
        link.from != link.to
            && link.enabled
            && link.session.is_lasting()
            && wanted.get("user") == Some(role)
    });
    here.count().try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{demand::RoleDemand, inspect::sample, topology::SessionKey, verify::Severity};

    #[test]
    fn a_role_that_cannot_log_in_again_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let now = OffsetDateTime::UNIX_EPOCH;
        let session = SessionKey::Slot("s".to_owned()).into();
        let link = (Link { session, ..sample::link("m", "n") }, "user=repl".parse()?);
        let role = RoleDemand { password: true, replication: true, ..RoleDemand::new("repl") };
        let demand = Demand { roles: vec![role], ..Demand::default() };
        let mut state = sample::node(b"", &[]);
        let secret = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$4fnCSr8EVk5YlzmAgJA0CmHxiEZgbIIzUkIQtAhMIis=:\
                      lFTVXL0KqRzCCJVaPxHYIEnVwmYnQQXfqeAuxpYk8r8=";
        let mut told = |change: fn(&mut crate::inspect::Role)| {
            state.roles[1].stored_password = Some(secret.to_owned().into());
            change(&mut state.roles[1]);
            let mut findings = Vec::new();
            check(&state, &demand, std::slice::from_ref(&link), now, &mut findings);
            state.roles[1] = sample::node(b"", &[]).roles.swap_remove(1);
            findings.into_iter().map(|it| (it.severity, it.code, it.what)).collect::<Vec<_>>()
        };
        assert_eq!(told(|_| ()), []);
        for (change, severity, words) in [
            (
                (|role| role.can_login = false) as fn(&mut crate::inspect::Role),
                Severity::Error,
                "may not log in",
            ),
            (|role| role.replication = false, Severity::Error, "may not replicate"),
            (|role| role.password_expired = true, Severity::Error, "has expired (VALID UNTIL)"),
            (
                |role| role.valid_until = Some("1970-01-08 00:00:00".to_owned()),
                Severity::Warning,
                "ends on 1970-01-08 (VALID UNTIL), in 7 days",
            ),
            (
                |role| role.attributes = "INHERIT CONNECTION LIMIT 0".to_owned(),
                Severity::Error,
                "may have 0 connections (CONNECTION LIMIT), and 1 links come",
            ),
            (
                |role| role.stored_password = Some("md5x".to_owned().into()),
                Severity::Error,
                "an md5",
            ),
        ] {
            let told = told(change);
            assert_eq!(told.len(), 1, "{words}: {told:?}");
            assert_eq!(told[0].0, severity, "{told:?}");
            assert!(told[0].2.contains(words), "{told:?}");
        }
        Ok(())
    }
}
