//! What two files change in meaning: who gains and who loses access.
//!
//! Only rules that the files do not share can make a difference. The connections that such a rule is
//! for are tried out one by one, as far as other rules tell them apart: each name, role and expression
//! that is mentioned and one that is not, each range of addresses between the limits of networks, each
//! kind of connection.

mod classes;
mod common;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::fmt;

use self::classes::{
    Classes, What, Where, Who, is_at, is_database, is_user, joined, what_text, where_text, who_text,
};
use crate::{
    ClientName, Method, PgVersion,
    options::without_secret,
    rules::{Rule, Rules},
    scope::{self, Scope, database_token, user_token},
    text::Text,
};

/// What two files may cost. What would take more is not tried out, and [`Difference::complete`] says
/// so.
#[derive(Clone, Copy)]
struct Limits {
    /// How often names are compared with rules, and with their expressions
    work: usize,
    /// How many connections are tried: each takes about 150 bytes
    tried: usize,
}

impl Limits {
    const USUAL: Self = Self { work: 100_000_000, tried: 4_000_000 };
}

/// What two files change: made by [`Rules::diff`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Difference {
    /// What becomes of connections that are not decided as before.
    pub changes: Vec<Change>,
    /// Whether all connections were tried out. Very many changes in files with very many names and
    /// networks make too many.
    pub complete: bool,
}

/// What becomes of some connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Change {
    /// Who: one or several, with commas between them.
    pub user: String,
    /// To which database: one or several.
    pub database: String,
    /// From where: addresses, or the Unix socket; each with the kinds of connections.
    pub from: Vec<String>,
    /// How it was.
    pub before: Access,
    /// How it is.
    pub after: Access,
}

/// How a connection is let in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Access {
    /// Not at all.
    Rejected,
    /// With this method and these options.
    Allowed {
        /// The method.
        method: Method,
        /// Its options, given or implied, as the server's view shows them, and those that it does not
        /// show; but for secrets.
        options: Vec<Text>,
    },
}

impl Access {
    fn of(rule: Option<&Rule<'_>>) -> Self {
        let Some(rule) = rule.filter(|rule| rule.method() != Method::Reject) else {
            return Self::Rejected;
        };
        let (method, options) = (rule.method(), rule.options());
        // As one major shows them, so that majors can be compared.
        let mut shown = options.shown(method, PgVersion::V18);
        let hidden = [
            (options.client_name == ClientName::DistinguishedName, "clientname=DN"),
            (options.pam_use_hostname, "pam_use_hostname=true"),
            (options.compat_realm, "compat_realm=true"),
            (options.upn_username, "upn_username=true"),
        ];
        shown.extend(hidden.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.into()));
        Self::Allowed { method, options: shown }
    }

    fn without_secrets(self) -> Self {
        match self {
            Self::Rejected => self,
            Self::Allowed { method, options } => {
                let options = options.into_iter().map(without_secret).collect();
                Self::Allowed { method, options }
            }
        }
    }
}

/// What a change is for those whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Effect {
    /// They were rejected, and can log in now.
    Gains,
    /// They could log in, and are rejected now.
    Loses,
    /// They log in in another way.
    Differs,
}

impl Change {
    /// What it is for those whom it is about.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match (&self.before, &self.after) {
            (Access::Rejected, _) => Effect::Gains,
            (_, Access::Rejected) => Effect::Loses,
            _ => Effect::Differs,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("rejected"),
            Self::Allowed { method, options } => {
                write!(f, "{method}")?;
                options.iter().try_for_each(|option| write!(f, " {option}"))
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, from, before, after } = self;
        write!(f, "{user} to {database} from {}: {before} -> {after}", from.join(", "))
    }
}

impl Rules {
    /// What `after` decides otherwise than these rules do. Both should be read for the same server,
    /// or for those before and after an upgrade.
    ///
    /// Roles are not looked up: where a rule for a name and one for a role's members meet, both are
    /// told of, the one with that name who is a member and the one who is not. A name that no rule
    /// has is tried with one expression at a time, not as one that several match.
    ///
    /// ```
    /// use hba_parser::{Effect, HbaDocument, PgVersion, Server};
    ///
    /// let server = Server::new(PgVersion::V16);
    /// let before = HbaDocument::parse(*b"host all all 10.0.0.0/8 md5\n").interpret(&server);
    /// let after = HbaDocument::parse(*b"\
    /// hostssl app web 10.1.0.0/16 cert
    /// host all all 10.0.0.0/8 md5
    /// ").interpret(&server);
    /// let difference = before.diff(&after);
    /// assert_eq!(difference.changes.len(), 1);
    /// assert_eq!(difference.changes[0].effect(), Effect::Differs);
    /// assert_eq!(
    ///     difference.changes[0].to_string(),
    ///     "web to app from 10.1.0.0/16 (TLS): md5 -> cert clientcert=verify-full"
    /// );
    /// ```
    #[must_use]
    pub fn diff(&self, after: &Self) -> Difference {
        self.diff_within(after, Limits::USUAL)
    }

    fn diff_within<'a>(&'a self, after: &'a Self, limits: Limits) -> Difference {
        let (old, new) = (deciding(self), deciding(after));
        let signatures = |rules: &[(String, Rule<'_>)]| -> Vec<String> {
            rules.iter().map(|(signature, _)| signature.clone()).collect()
        };
        let (old_changed, new_changed) = common::changed(&signatures(&old), &signatures(&new));
        let scopes = |rules: Vec<(String, Rule<'a>)>| -> Vec<Scope<'a>> {
            rules.into_iter().map(|(_, rule)| Scope::of(rule)).collect()
        };
        let (old, new) = (scopes(old), scopes(new));
        let mut differ = Differ { tried: BTreeSet::new(), found: BTreeMap::new(), work: 0, limits };
        let mut complete = true;
        for (scopes, changed) in [(&old, old_changed), (&new, new_changed)] {
            for (rule, _) in scopes.iter().zip(changed).filter(|(_, changed)| *changed) {
                complete &= differ.try_rule(rule, &old, &new);
            }
        }
        Difference { changes: differ.changes(), complete }
    }
}

/// The rules, each once, with what makes two of them the same: a second one like it never decides.
fn deciding(rules: &Rules) -> Vec<(String, Rule<'_>)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for rule in rules.iter() {
        let signature = signature(&rule);
        if seen.insert(signature.clone()) {
            found.push((signature, rule));
        }
    }
    found
}

/// What makes two rules the same, whatever server they were read for.
fn signature(rule: &Rule<'_>) -> String {
    let databases: Vec<_> =
        rule.databases().map(|name| classes::database_class(database_token(&name).0)).collect();
    let users: Vec<_> = rule.users().map(|name| classes::user_class(user_token(&name).0)).collect();
    let access = Access::of(Some(rule));
    format!("{} {databases:?} {users:?} {:?} {access:?}", rule.connection(), rule.address())
}

/// A place, a kind of connection, and how access changes there.
type Found<'a> = (Where<'a>, u8, Access, Access);

/// Places in words, and how access changes there.
type Told = (Vec<String>, Access, Access);

/// What is tried out, and what was found.
struct Differ<'a> {
    /// Connections that were tried already
    tried: BTreeSet<(Who<'a>, What<'a>, Where<'a>, u8)>,
    found: BTreeMap<(Who<'a>, What<'a>), Vec<Found<'a>>>,
    work: usize,
    limits: Limits,
}

impl<'a> Differ<'a> {
    /// Tries out the connections that a rule is for; says whether all could be.
    fn try_rule(&mut self, rule: &Scope<'a>, old: &[Scope<'a>], new: &[Scope<'a>]) -> bool {
        if self.work > self.limits.work {
            return false;
        }
        let mut work = 0;
        let mut near = |scopes: &'_ [Scope<'a>]| -> Vec<usize> {
            let mut near = Vec::new();
            for (index, other) in scopes.iter().enumerate() {
                work += rule.work(other.size());
                work += rule.size().saturating_mul(other.regexes());
                if rule.apart(&other.rule) {
                    continue;
                }
                near.push(index);
                work += other.work(rule.size());
                // Nothing behind it decides.
                if other.covers(&rule.rule) {
                    break;
                }
            }
            near
        };
        let (near_old, near_new) = (near(old), near(new));
        self.work += work;
        let old: Vec<&Scope<'a>> = near_old.into_iter().map(|index| &old[index]).collect();
        let new: Vec<&Scope<'a>> = near_new.into_iter().map(|index| &new[index]).collect();
        let others = [old.as_slice(), new.as_slice()].concat();
        let mentioned: usize = others.iter().map(|other| other.size()).sum();
        self.work += rule.work(mentioned);
        let decision: usize = others.iter().map(|other| other.work(1)).sum();
        let Some(classes) = Classes::of(rule, &others, self.limits.tried) else { return false };
        let kinds = (0..4).map(|bit| 1 << bit).filter(|kind| classes.kinds & kind != 0);
        let kinds: Vec<u8> = kinds.collect();
        self.work += classes.len().saturating_mul(kinds.len());
        for user in &classes.users {
            for database in &classes.databases {
                let database = database.of(*user);
                if !is_database(&rule.databases, database, *user) {
                    continue;
                }
                for place in &classes.places {
                    for kind in &kinds {
                        if self.work > self.limits.work || self.tried.len() >= self.limits.tried {
                            return false;
                        }
                        if !self.tried.insert((*user, database, *place, *kind)) {
                            continue;
                        }
                        self.work += decision;
                        let decided = |scopes: &[&Scope<'a>]| {
                            let decides = |scope: &&&Scope<'a>| {
                                scope::kinds(scope.rule.connection()) & kind != 0
                                    && is_at(scope.rule.address(), place)
                                    && is_database(&scope.databases, database, *user)
                                    && is_user(&scope.users, *user)
                            };
                            Access::of(scopes.iter().find(decides).map(|scope| &scope.rule))
                        };
                        let (before, after) = (decided(&old), decided(&new));
                        if before != after {
                            let found = self.found.entry((*user, database)).or_default();
                            found.push((*place, *kind, before, after));
                        }
                    }
                }
            }
        }
        true
    }

    /// What was found, with what is the same for several told once.
    fn changes(mut self) -> Vec<Change> {
        self.forget_what_all_members_share();
        // For each change in certain places, in the order in which they were met: who it is about.
        let mut changes: Vec<(Told, Affected)> = Vec::new();
        let mut known: BTreeMap<Told, usize> = BTreeMap::new();
        for ((user, database), places) in self.found {
            for told in told(places) {
                let next = changes.len();
                let index = *known.entry(told.clone()).or_insert(next);
                if index == next {
                    changes.push((told, Affected::default()));
                }
                changes[index].1.add(who_text(user), what_text(database));
            }
        }
        let mut out = Vec::new();
        for ((from, before, after), affected) in changes {
            out.extend(affected.by_databases().into_iter().map(|(database, user)| Change {
                user,
                database,
                from: from.clone(),
                before: before.clone().without_secrets(),
                after: after.clone().without_secrets(),
            }));
        }
        out
    }

    /// Whoever has a name and is a member of a role is told of only where that makes a difference:
    /// neither the name alone nor the role alone sees the same change.
    fn forget_what_all_members_share(&mut self) {
        let shared: Vec<_> = self
            .found
            .iter()
            .filter(|((user, database), places)| {
                let Who::NameIn(name, role) = user else { return false };
                let same = |user| self.found.get(&(user, *database)) == Some(*places);
                same(Who::Name(name)) || same(Who::Member(role))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in shared {
            self.found.remove(&key);
        }
    }
}

/// Users, each with databases.
#[derive(Default)]
struct Affected {
    users: Vec<(String, Vec<String>)>,
}

impl Affected {
    /// Adds a database of the user who was added last, or of the next one.
    fn add(&mut self, user: String, database: String) {
        match self.users.last_mut().filter(|last| last.0 == user) {
            Some(last) => last.1.push(database),
            None => self.users.push((user, Vec::from([database]))),
        }
    }

    /// The databases, and the users who have the very same.
    fn by_databases(self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (user, databases) in self.users {
            let databases = databases.join(", ");
            let next = out.len();
            let index = *known.entry(databases.clone()).or_insert(next);
            match out.get_mut(index) {
                Some((_, users)) => {
                    users.push_str(", ");
                    users.push_str(&user);
                }
                None => out.push((databases, user)),
            }
        }
        out
    }
}

/// Places in words, by how access changes there.
fn told(places: Vec<Found<'_>>) -> Vec<Told> {
    let mut groups: BTreeMap<(Access, Access), BTreeMap<u8, Vec<Where<'_>>>> = BTreeMap::new();
    for (place, kind, before, after) in places {
        groups.entry((before, after)).or_default().entry(kind).or_default().push(place);
    }
    let told = groups.into_iter().map(|((before, after), by_kind)| {
        // Ranges that follow each other are one; and so are kinds of connections from one place.
        let mut kinds: BTreeMap<Where<'_>, u8> = BTreeMap::new();
        for (kind, mut places) in by_kind {
            places.sort_unstable();
            let mut whole: Vec<Where<'_>> = Vec::new();
            for place in places {
                match whole.last_mut() {
                    Some(last) if joined(last, &place).is_some() => {
                        *last = joined(last, &place).unwrap_or(place);
                    }
                    _ => whole.push(place),
                }
            }
            whole.into_iter().for_each(|place| *kinds.entry(place).or_default() |= kind);
        }
        let places = kinds.iter().map(|(place, kinds)| where_text(place, *kinds)).collect();
        (places, before, after)
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HbaDocument, Server};

    /// How many changes are found within limits, and whether all connections were tried. A file
    /// without a rule is none, so both have one that has nothing to do with the others.
    fn found(before: &str, after: &str, limits: Limits) -> (usize, bool) {
        let read = |text: &str| {
            let file = HbaDocument::parse(format!("local q q peer\n{text}"));
            file.interpret(&Server::new(PgVersion::V16))
        };
        let (before, after) = (read(before), read(after));
        assert!(before.verdict().is_loaded() && after.verdict().is_loaded());
        let difference = before.diff_within(&after, limits);
        (difference.changes.len(), difference.complete)
    }

    #[test]
    fn a_search_that_ends_early_says_so() {
        let after = "local a x peer\nlocal b y md5\nlocal c z trust\n";
        assert_eq!(found("", after, Limits::USUAL), (3, true));
        // One connection each.
        assert_eq!(found("", after, Limits { tried: 3, ..Limits::USUAL }), (3, true));
        assert_eq!(found("", after, Limits { tried: 2, ..Limits::USUAL }), (2, false));
        assert_eq!(found("", after, Limits { work: 0, ..Limits::USUAL }), (0, false));
    }

    #[test]
    fn kinds_of_connections_count() {
        // Plain, TLS and GSSAPI from IPv4 and from IPv6.
        let after = "host a x all md5\n";
        assert_eq!(found("", after, Limits { tried: 6, ..Limits::USUAL }), (1, true));
        assert!(!found("", after, Limits { tried: 5, ..Limits::USUAL }).1);
    }

    #[test]
    fn expressions_count_with_each_name() {
        let list = |of: &dyn Fn(usize) -> String| (0..100).map(of).collect::<Vec<_>>().join(",");
        let names = list(&|number| format!("name{number}"));
        let others = list(&|number| format!("other{number}"));
        let expressions = list(&|number| format!("/^other{number}$"));
        let file = |users: &str| format!("local {names} x md5\nlocal {users} x md5\n");
        let limits = Limits { work: 5_000, ..Limits::USUAL };
        assert!(found(&file(&others), &file(&others).replace("md5", "peer"), limits).1);
        assert!(!found(&file(&expressions), &file(&expressions).replace("md5", "peer"), limits).1);
    }
}
