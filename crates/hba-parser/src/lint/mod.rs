//! What a server takes without a word, and should not have been written.
//!
//! Each finding has a code that stays the same, so that it can be looked up, counted or excused.

mod mapping;
mod names;
mod rule;
mod shadow;

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::fmt;

use self::shadow::{Earlier, Limits};
use crate::{
    diagnostics::{Location, Severity},
    rules::Rules,
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
    /// From here on nobody looked for rules that never decide: it would have taken too long.
    NotSearched = "HBA027", Notice: "give groups of databases and users shorter lists, or names of roles",
    /// A map's database user `all`: from 16 on any role.
    MapToEveryRole = "IDENT001", Warning: "name the role, or put quotes around a role that is called all",
    /// A map's regular expression matches anywhere in a name.
    UnanchoredMapRegex = "IDENT002", Warning: "begin it with ^ and end it with $: a longer name matches, too",
    /// A map's `\1` without a parenthesis to stand for.
    NothingCaptured = "IDENT003", Error: "put parentheses around what is to become \\1",
    /// A map's database user that is a name before 16, and has another meaning from then on.
    MapKeywordBefore16 = "IDENT005", Warning: "put quotes around it before the upgrade; a slash stays an expression",
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
    ///
    /// Its time grows with the number of rules, not with its square. Where lists of very many
    /// databases and users meet in very many rules, the search for [unreachable](Lint::Unreachable)
    /// ones ends at some rule, and a [finding](Lint::NotSearched) says at which.
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        self.lint_within(Limits::USUAL)
    }

    fn lint_within(&self, limits: Limits) -> Vec<Finding> {
        let mut findings = Findings { found: Vec::new() };
        let mut searched = true;
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut earlier = Earlier::new(limits);
        for rule in self.iter() {
            if seen.insert(rule::signature(&rule)) {
                let shadowed = earlier.shadow(&rule);
                // What such a rule matches, the one that shadows it matches before it.
                if shadowed.as_ref().is_none_or(|found| found.lint != Lint::Unreachable) {
                    earlier.push(rule);
                }
                findings.found.extend(shadowed);
                if core::mem::replace(&mut searched, !earlier.is_exhausted()) && !searched {
                    let message = "from here on rules are not compared, or not with all before \
                                   them: there are too many combinations of databases and users";
                    findings.add(Lint::NotSearched, rule.location(), message);
                }
            } else {
                findings.add(Lint::Duplicate, rule.location(), "the same rule stands before it");
            }
            rule::check(&mut findings, &rule, self.server());
        }
        findings.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HbaDocument, PgVersion, Server};

    #[test]
    fn a_search_that_ends_early_says_where() {
        let mut file = String::new();
        for rule in 1..8 {
            let scope = alloc::format!("local a{rule},b{rule} x,y");
            file.push_str(&alloc::format!("{scope} scram-sha-256\n{scope} peer\n"));
        }
        let rules = HbaDocument::parse(file).interpret(&Server::new(PgVersion::V16));
        let found = |limits| -> Vec<(Lint, u32)> {
            let findings = rules.lint_within(limits).into_iter();
            findings.map(|finding| (finding.lint, finding.location.line)).collect()
        };
        let all: Vec<_> = (1..8).map(|rule| (Lint::Unreachable, 2 * rule)).collect();
        assert_eq!(found(Limits::USUAL), all);
        let mut some = all[..2].to_vec();
        some.push((Lint::NotSearched, 5));
        assert_eq!(found(Limits { pairs: 8, ..Limits::USUAL }), some);
        let ended = found(Limits { work: 20, ..Limits::USUAL });
        let said = ended.iter().filter(|(lint, _)| *lint == Lint::NotSearched);
        assert!(said.count() == 1 && ended.len() < all.len(), "{ended:?}");
    }
}
