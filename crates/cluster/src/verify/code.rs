//! The codes of findings: what each means, why it matters, what to do.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What kind of thing verification found. Codes are stable: a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A node cannot be reached or asked.
    NodeSilent,
    /// What is there does not fit the description.
    NotAsDescribed,
    /// The link has no session.
    LinkDown,
    /// The session came in by another method than the description wants.
    OtherMethod,
    /// The session has no TLS.
    NoTls,
    /// The link would take another server for this one.
    ServerNotVerified,
    /// The link logs in as another role.
    OtherRole,
    /// The session shows no client certificate.
    NoClientCertificate,
    /// The link has a session but does not work.
    NotWorking,
    /// Nothing tells by which method the session came in.
    MethodUnknown,
    /// The session began before the rules that are in force.
    OldSession,
    /// Whoever poses as the server is given the password.
    PasswordGivenAway,
    /// A link that there should be is not there.
    LinkMissing,
    /// The link's connection string is not as it shall be.
    LinkOtherwise,
    /// Something connects to a server that is none of the described nodes.
    LinkElsewhere,
    /// The server speaks no TLS.
    SslOff,
    /// The server has no authority to check client certificates by.
    NoCaFile,
    /// A file that holds the authority's certificate is not there.
    RootMissing,
    /// The file for the authority holds another one.
    OtherRoot,
    /// The server refuses its configuration files as they are.
    ReloadRefused,
    /// The configuration on disk is newer than what the server runs.
    NotReloaded,
    /// The server shows another certificate than the one in its file.
    StaleCertificate,
    /// The server cannot be verified as its peers verify it.
    ServerUnproved,
    /// A private key that its reader refuses.
    KeyRefused,
    /// A certificate that its verifiers refuse.
    CertificateRefused,
    /// A certificate that ends soon.
    EndsSoon,
    /// A certificate or key that is not there.
    CertificateMissing,
    /// A setting that the links need has another value.
    OtherSetting,
    /// PGD's Connection Manager refuses the server's certificate.
    ConnectionManager,
    /// Another rule than the links' own decides about them.
    Shadowed,
    /// No rule lets the links in.
    NoRule,
    /// Links are let in without TLS.
    PlainTextOpen,
    /// The network is let in without a password.
    TrustOpen,
    /// The password file is not there.
    PassfileMissing,
    /// libpq ignores the password file, or cannot read it.
    PassfileIgnored,
    /// There is a password file, but where this libpq does not look.
    PassfileElsewhere,
    /// The password file has no password for the link, or a wrong one.
    PasswordMissing,
    /// The server stores no SCRAM secret for the role.
    NoScramSecret,
    /// A role is missing or lacks an attribute.
    RoleUnfit,
    /// A password is kept in clear in the catalogue.
    PasswordInCatalogue,
    /// Somebody who must not get in was let in, or was not refused as such.
    NotRefused,
    /// What the links log in with is refused.
    LoginRefused,
    /// pgward's own address is none of the peers'.
    OwnAddress,
    /// Weaker than pgward does by itself, and asked for in the description.
    Accepted,
    /// Something is no longer as the last applied plan left it.
    Drifted,
}

/// What a code means.
struct Meaning {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    fix: &'static str,
}

impl Code {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 45] = [
        Self::NodeSilent,
        Self::NotAsDescribed,
        Self::LinkDown,
        Self::OtherMethod,
        Self::NoTls,
        Self::ServerNotVerified,
        Self::OtherRole,
        Self::NoClientCertificate,
        Self::NotWorking,
        Self::MethodUnknown,
        Self::OldSession,
        Self::PasswordGivenAway,
        Self::LinkMissing,
        Self::LinkOtherwise,
        Self::LinkElsewhere,
        Self::SslOff,
        Self::NoCaFile,
        Self::RootMissing,
        Self::OtherRoot,
        Self::ReloadRefused,
        Self::NotReloaded,
        Self::StaleCertificate,
        Self::ServerUnproved,
        Self::KeyRefused,
        Self::CertificateRefused,
        Self::EndsSoon,
        Self::CertificateMissing,
        Self::OtherSetting,
        Self::ConnectionManager,
        Self::Shadowed,
        Self::NoRule,
        Self::PlainTextOpen,
        Self::TrustOpen,
        Self::PassfileMissing,
        Self::PassfileIgnored,
        Self::PassfileElsewhere,
        Self::PasswordMissing,
        Self::NoScramSecret,
        Self::RoleUnfit,
        Self::PasswordInCatalogue,
        Self::NotRefused,
        Self::LoginRefused,
        Self::OwnAddress,
        Self::Accepted,
        Self::Drifted,
    ];

    /// The code as it is printed: `PGW101`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.meaning().id
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.meaning().title
    }

    /// Why it matters.
    #[must_use]
    pub const fn why(self) -> &'static str {
        self.meaning().why
    }

    /// What to do.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        self.meaning().fix
    }

    /// The code that is printed so, in any case.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.id().eq_ignore_ascii_case(id))
    }

    const fn meaning(self) -> Meaning {
        const fn of(
            id: &'static str,
            title: &'static str,
            why: &'static str,
            fix: &'static str,
        ) -> Meaning {
            Meaning { id, title, why, fix }
        }
        match self {
            Self::NodeSilent => of(
                "PGW001",
                "the node cannot be reached or asked",
                "Nothing is proved of it, nor of the links that lead to it or start there.",
                "See that the server runs and that sql and files of the description lead to it; \
                 pgward must connect as a superuser and read the server's files.",
            ),
            Self::NotAsDescribed => of(
                "PGW002",
                "what is there does not fit the description",
                "A link that leads to a server that is not described cannot be judged or secured, and what \
                 is not as described may be open, or will not work, in ways that nothing else tells.",
                "Describe what is missing, or take away what should not be there; apply the description \
                 (pgward plan shows what that changes).",
            ),
            Self::LinkDown => of(
                "PGW101",
                "the link has no session",
                "Nothing can be proved of a link that is not connected, and nothing flows through it.",
                "Look into the log of the node that connects: it says why. Enable the link if it is \
                 disabled.",
            ),
            Self::OtherMethod => of(
                "PGW102",
                "the session came in by another method",
                "What the configuration says now does not matter for a session that another rule let \
                 in: with trust, anybody at that address could be that session.",
                "Apply the description: the rules for the links then stand where they decide, and old \
                 sessions are ended.",
            ),
            Self::NoTls => of(
                "PGW103",
                "the session has no TLS",
                "Everybody on the way reads what is replicated, and can change it.",
                "Apply the description: links then use sslmode=verify-full, and only TLS is let in.",
            ),
            Self::ServerNotVerified => of(
                "PGW104",
                "the link would take another server for this one",
                "With an sslmode below verify-full, or another sslrootcert, whoever gets hold of the \
                 address or the name is taken for the node.",
                "Apply the description, or give the link sslmode=verify-full and the cluster's \
                 authority as sslrootcert.",
            ),
            Self::OtherRole => of(
                "PGW105",
                "the link logs in as another role",
                "The rules for the link role do not decide about it, and its rights are not those of \
                 the link role.",
                "Apply the description, or name the role in it (link-role, roles).",
            ),
            Self::NoClientCertificate => of(
                "PGW106",
                "the session shows no client certificate",
                "In certificate mode nothing else says who connects.",
                "See that sslcert and sslkey of the link lead to files that the server process can \
                 read; on a TimescaleDB access node, that it has ssl = on itself.",
            ),
            Self::NotWorking => of(
                "PGW107",
                "the link has a session but does not work",
                "The login may be right, but what the link is for does not happen.",
                "Look into the logs at both ends.",
            ),
            Self::MethodUnknown => of(
                "PGW108",
                "nothing tells by which method the session came in",
                "Without log_connections, or with a log that pgward cannot read, only the rules tell \
                 the method, and here they do not.",
                "Set log_connections = on and logging_collector = on, with %p in log_line_prefix.",
            ),
            Self::OldSession => of(
                "PGW109",
                "the session began before the rules that are in force",
                "A session stays what it was when it began. After the next interruption the link logs \
                 in anew, and then by other rules than it did.",
                "Where another rule would let it in, apply the description first; then let it connect anew: \
                 pgward verify --reconnect.",
            ),
            Self::PasswordGivenAway => of(
                "PGW110",
                "whoever poses as the server is given the password",
                "Without verify-full, channel_binding=require or require_auth=scram-sha-256, libpq \
                 answers a server that asks for the password in clear text, if only its certificate is \
                 of the same authority, or if none is asked for.",
                "Apply the description, or give the link sslmode=verify-full and \
                 channel_binding=require.",
            ),
            Self::LinkMissing => of(
                "PGW111",
                "a link that there should be is not there",
                "Nothing flows where somebody relies on it, and \"every link is proved\" says nothing of \
                 a link that is not there.",
                "Make the link anew and apply the description. If it shall be gone: pgward apply \
                 --accept-changes, and take a node that has left out of the description.",
            ),
            Self::LinkOtherwise => of(
                "PGW112",
                "the link's connection string is not as it shall be",
                "What the link has by now it may not find again: at its next connection it logs in by what \
                 its connection string says then.",
                "Apply the description.",
            ),
            Self::LinkElsewhere => of(
                "PGW113",
                "something connects to a server that is none of the described nodes",
                "It is no link of the cluster: it stays as it is, and nothing is proved of it. If that server \
                 is a node of the cluster by another name, it must be described so.",
                "If it leads to a described node, name that as the description does (host, hostaddr, port); \
                 if it leads to another node of the cluster, describe it; else nothing.",
            ),
            Self::SslOff => of(
                "PGW201",
                "the server speaks no TLS",
                "hostssl rules never match then, and a TimescaleDB access node uses no TLS option and \
                 no certificate for its links either.",
                "Set ssl = on (a reload is enough), with a certificate and a key.",
            ),
            Self::NoCaFile => of(
                "PGW202",
                "ssl_ca_file is not set",
                "No client certificate can be checked: rules with cert load without a word, and every \
                 login by them fails. An access node does not verify its data nodes.",
                "Set ssl_ca_file to the file with the cluster's authority, and reload.",
            ),
            Self::RootMissing => of(
                "PGW203",
                "the authority's certificate is not there",
                "A server does not reload its TLS files; a link with sslmode=require or an access node \
                 verifies nobody, without a word.",
                "Put the authority's certificate there, readable for the server.",
            ),
            Self::OtherRoot => of(
                "PGW204",
                "the file for the authority holds another one",
                "Peers with certificates of the cluster's authority are refused, others are let in.",
                "Apply the description; if a rotation was left half-done, finish it with resume.",
            ),
            Self::ReloadRefused => of(
                "PGW205",
                "the server refuses its configuration files as they are",
                "A reload that fails says so in the log only: the server goes on with what it had, and \
                 does not start with these files.",
                "Mend the line that is named, and reload.",
            ),
            Self::NotReloaded => of(
                "PGW206",
                "the configuration on disk is newer than what the server runs",
                "What the files say is not what decides.",
                "Reload: SELECT pg_reload_conf(), and look whether the server took it.",
            ),
            Self::StaleCertificate => of(
                "PGW207",
                "the server shows another certificate than the one in its file",
                "A reload with a key that does not fit, or that others may read, keeps the old \
                 certificate without a word; the server does not start with these files.",
                "See the log after \"SSL configuration was not reloaded\", mend it, and reload.",
            ),
            Self::ServerUnproved => of(
                "PGW208",
                "the server cannot be verified as its peers verify it",
                "Links with verify-full do not connect to it, or only by another name.",
                "Apply the description: the certificate then has every name and address of the node.",
            ),
            Self::KeyRefused => of(
                "PGW209",
                "a private key is refused by who should read it",
                "Servers and libpq refuse keys that others may read, or that they cannot read \
                 themselves.",
                "Give it to the server's user, mode 0600.",
            ),
            Self::CertificateRefused => of(
                "PGW210",
                "a certificate is refused by who should verify it",
                "The login that needs it fails, at the latest when the link connects anew.",
                "Apply the description, or pgward rotate certs.",
            ),
            Self::EndsSoon => of(
                "PGW211",
                "a certificate ends soon",
                "After that day no link connects anew.",
                "pgward rotate certs; for the authority itself, pgward rotate ca.",
            ),
            Self::CertificateMissing => of(
                "PGW212",
                "a certificate or key is not there",
                "Without it no certificate is presented, and the server requires one.",
                "Apply the description: each role and each server gets its own.",
            ),
            Self::OtherSetting => of(
                "PGW213",
                "a setting that the links need has another value",
                "Another file, postgresql.auto.conf or the command line may have the last word.",
                "Apply the description; where something else has the last word, it names what to run.",
            ),
            Self::ConnectionManager => of(
                "PGW214",
                "PGD's Connection Manager refuses the server's certificate",
                "It reads the same server.crt as the server, is more demanding, and does not start \
                 with one that it refuses.",
                "Apply the description: pgward's certificates have all that it demands.",
            ),
            Self::Shadowed => of(
                "PGW301",
                "another rule than the links' own decides about them",
                "In pg_hba.conf the first rule that matches decides. A rule that stands behind it is \
                 read, shown by every view, and never used.",
                "Apply the description: the rules for the links then stand before it.",
            ),
            Self::NoRule => of(
                "PGW302",
                "no rule lets the links in",
                "At its next connection the link is refused.",
                "Apply the description.",
            ),
            Self::PlainTextOpen => of(
                "PGW303",
                "links are let in without TLS",
                "Whoever sits between the nodes can take the TLS away, or come in beside it.",
                "Apply the description: everything but hostssl is shut to the links' roles.",
            ),
            Self::TrustOpen => of(
                "PGW304",
                "the network is let in without a password",
                "Whoever is at such an address is whichever role the rule names.",
                "Take the rule out (pgward hba remove FILE --line NUMBER, then reload), or give it a method.",
            ),
            Self::PassfileMissing => of(
                "PGW401",
                "the password file is not there",
                "libpq says nothing of it: the login fails with \"no password supplied\".",
                "Apply the description.",
            ),
            Self::PassfileIgnored => of(
                "PGW402",
                "libpq does not use the password file",
                "A file that the group or others may read is ignored with a warning in the log only; \
                 one that the server's user cannot read is ignored without a word.",
                "Give it to the server's user, mode 0600.",
            ),
            Self::PassfileElsewhere => of(
                "PGW403",
                "there is a password file where this libpq does not look",
                "libpq 15 and newer look in HOME of the server process, older ones in the home folder \
                 that the system has for its user.",
                "Move it where this server's libpq looks.",
            ),
            Self::PasswordMissing => of(
                "PGW404",
                "the password file has no right password for the link",
                "The first line that matches decides, everything behind its last colon is the \
                 password, a comment too, and an empty one ends the search.",
                "Apply the description, or mend the line that is named.",
            ),
            Self::NoScramSecret => of(
                "PGW405",
                "the server stores no SCRAM secret for the role",
                "A rule with scram-sha-256 refuses a role that has no password, or one stored with md5.",
                "Apply the description: it gives the role a new password.",
            ),
            Self::RoleUnfit => of(
                "PGW406",
                "a role is missing or may not do what links do",
                "The login fails, or what follows it.",
                "Apply the description: it gives the role what it lacks, or names the statement that does.",
            ),
            Self::PasswordInCatalogue => of(
                "PGW407",
                "a password is kept in clear in the catalogue",
                "Superusers, and the owner of a user mapping, read it there, and so does whoever gets a \
                 dump. A user or a password of a user mapping wins over everything else.",
                "Take it out, and apply the description.",
            ),
            Self::NotRefused => of(
                "PGW501",
                "who must not get in was not refused",
                "The server was asked, as the links' role, without what the links have.",
                "See the server's answer and what else was found, apply the description, and verify again.",
            ),
            Self::LoginRefused => of(
                "PGW502",
                "what the links log in with is refused",
                "The rules let such a login in, and the server does not: so it will be with the link \
                 when it connects anew.",
                "See the server's answer; apply the description.",
            ),
            Self::OwnAddress => of(
                "PGW503",
                "pgward's own address is none of the peers'",
                "From an address that nobody is let in from, every attempt is refused.",
                "Run pgward on one of the nodes, or have it reach a peer by ssh, to have it tried; what the \
                 rules say is proved without.",
            ),
            Self::Accepted => of(
                "PGW601",
                "weaker than need be, as the description asks",
                "The table [i-know] of the description allows it.",
                "Take the key out of [i-know], and apply the description.",
            ),
            Self::Drifted => of(
                "PGW701",
                "something is no longer as the last applied plan left it",
                "Somebody changed it by hand, or another tool did.",
                "If it is meant to be, pgward apply --accept-changes takes it as it is. If not, apply the \
                 description: that puts back what the links need; the rest is put back by hand.",
            ),
        }
    }
}

/// The code as it is printed.
impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::from_id(&id).ok_or_else(|| D::Error::custom(format!("no code {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::from_id(&code.id().to_lowercase()), Some(*code));
            assert!(Code::ALL[..index].iter().all(|other| other.id() < code.id()), "{code}");
        }
    }
}
