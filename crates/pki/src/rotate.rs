//! Changing an authority or certificates under load: the steps, and a proof that no connection
//! fails at any moment between them.
//!
//! Nodes are reloaded one after another, and clients reconnect whenever they like. So during a step
//! any node may be before it or behind it, in any combination. A step is proved if every pair of
//! members gets along in all four combinations of before and behind; longer mixtures consist of
//! such pairs.

use std::fmt;

use pg_version::PgVersion;
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::check::{Check, Purpose, Rejection, Verifier};
use crate::host::{HostMismatch, HostRules};
use crate::revocation::Crl;

/// Everything TLS that one member of a cluster has: a server, a client or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, for people.
    pub name: String,
    /// The hosts under which the others reach it and verify its name, as they are written in
    /// connection strings. Empty for a mere client.
    pub hosts: Vec<String>,
    /// What it trusts, as a server (`ssl_ca_file`) and as a client (`sslrootcert`).
    pub trust: Vec<Certificate>,
    /// What it presents as a server (`ssl_cert_file`), own certificate first.
    pub server: Option<Vec<Certificate>>,
    /// What it presents as a client (`sslcert`), own certificate first.
    pub client: Option<Vec<Certificate>>,
}

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// Every member trusts the new authority besides the old one.
    TrustBoth,
    /// Every member presents its new certificates.
    NewCertificates,
    /// No member trusts the old authority any more.
    DropOld,
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TrustBoth => "trust the old and the new authority",
            Self::NewCertificates => "present the new certificates",
            Self::DropOld => "trust the new authority only",
        })
    }
}

/// One step: what every member has before and behind it. Members may take it in any order; all must
/// have taken it before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub kind: StepKind,
    /// All members before it.
    pub before: Vec<Member>,
    /// The same members, in the same order, behind it.
    pub after: Vec<Member>,
}

/// The new certificates of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewChains {
    /// Its new chain as a server.
    pub server: Option<Vec<Certificate>>,
    /// Its new chain as a client.
    pub client: Option<Vec<Certificate>>,
}

/// Under which conditions a plan must hold.
#[derive(Clone, Debug)]
pub struct Conditions<'a> {
    /// From when on it is carried out.
    pub from: OffsetDateTime,
    /// Until when it must be through: every state is proved for both moments.
    pub until: OffsetDateTime,
    /// Whose verdicts count.
    pub verifiers: &'a [Verifier],
    /// The libpqs whose clients verify names, under `verify-full`.
    pub clients: &'a [PgVersion],
}

/// A change of authority or certificates as steps.
///
/// ```
/// use pg_version::PgVersion;
/// use pki::{
///     Authority, Conditions, KeyAlgorithm, Member, NewChains, Profile, Rotation, Subject,
///     Validity, Verifier,
/// };
/// use time::OffsetDateTime;
///
/// let start = OffsetDateTime::UNIX_EPOCH;
/// let validity = Validity::days(start, 30);
/// let p256 = KeyAlgorithm::EcdsaP256;
/// let old = Authority::create(p256, &Subject::common_name("old"), validity)?;
/// let new = Authority::create(p256, &Subject::common_name("new"), validity)?;
/// let profile = Profile::node("replicator", ["node1"])?;
/// let before = old.issue(p256, &profile, validity)?.chain();
/// let after = new.issue(p256, &profile, validity)?.chain();
///
/// let node = Member {
///     name: "node1".to_owned(),
///     hosts: vec!["node1".to_owned()],
///     trust: vec![old.certificate().clone()],
///     server: Some(before.clone()),
///     client: Some(before),
/// };
/// let chains = NewChains { server: Some(after.clone()), client: Some(after) };
/// let rotation = Rotation::plan(&[node], &[new.certificate().clone()], &[chains]).unwrap();
/// assert_eq!(rotation.steps().len(), 3);
/// let conditions = Conditions {
///     from: start,
///     until: start,
///     verifiers: &[Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki],
///     clients: &PgVersion::ALL,
/// };
/// assert!(rotation.prove(&conditions).is_ok());
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    steps: Vec<Step>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There are more or fewer new chains than members.
    #[error("there are {members} members and new certificates for {chains}")]
    Count {
        /// How many members there are.
        members: usize,
        /// For how many there are new chains.
        chains: usize,
    },
}

impl Rotation {
    /// Plans a change to the authorities `trust` (the roots that are trusted in the end) and to new
    /// certificates, one [`NewChains`] for each member; what is `None` there stays as it is. Steps
    /// that change nothing are left out, so that a mere renewal of certificates is one step.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn plan(
        members: &[Member],
        trust: &[Certificate],
        chains: &[NewChains],
    ) -> Result<Self, PlanError> {
        if members.len() != chains.len() {
            return Err(PlanError::Count { members: members.len(), chains: chains.len() });
        }
        let mut steps = Vec::new();
        let mut state = members.to_vec();
        let mut step = |kind, change: &dyn Fn(&mut Member, &NewChains)| {
            let mut after = state.clone();
            for (member, chains) in after.iter_mut().zip(chains) {
                change(member, chains);
            }
            if after != state {
                let before = std::mem::replace(&mut state, after.clone());
                steps.push(Step { kind, before, after });
            }
        };
        step(StepKind::TrustBoth, &|member, _| {
            for root in trust {
                if !member.trust.contains(root) {
                    member.trust.push(root.clone());
                }
            }
        });
        step(StepKind::NewCertificates, &|member, chains| {
            if let Some(server) = &chains.server {
                member.server = Some(server.clone());
            }
            if let Some(client) = &chains.client {
                member.client = Some(client.clone());
            }
        });
        step(StepKind::DropOld, &|member, _| member.trust = trust.to_vec());
        Ok(Self { steps })
    }

    /// A plan of the caller's own steps, to be proved like any other.
    #[must_use]
    pub fn from_steps(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Proves every state of every step: each client with each server, both before or behind the
    /// step, at the beginning and at the end, under every verifier and client.
    ///
    /// # Errors
    /// The first state that fails.
    pub fn prove(&self, conditions: &Conditions<'_>) -> Result<Proof, Failure> {
        self.prove_with_crls(conditions, &[])
    }

    /// The same where members have revocation lists (`ssl_crl_file`, `sslcrl`): in every state all
    /// of `crls`. A verifier that has any list wants one of every authority
    /// of a chain, so an authority without one is refused by all the moment it comes into use.
    ///
    /// # Errors
    /// The first state that fails.
    pub fn prove_with_crls(
        &self,
        conditions: &Conditions<'_>,
        crls: &[Crl],
    ) -> Result<Proof, Failure> {
        let mut proof = Proof { connections: 0 };
        for (position, step) in self.steps.iter().enumerate() {
            let states = [("before", &step.before), ("behind", &step.after)];
            let pairs = states.into_iter().flat_map(|server| states.map(|client| (server, client)));
            for ((server_is, servers), (client_is, clients)) in pairs {
                for (server, client) in servers
                    .iter()
                    .flat_map(|server| clients.iter().map(move |client| (server, client)))
                {
                    prove_pair(client, server, conditions, crls, &mut proof).map_err(
                        |(refused_by, refusal)| Failure {
                            step: position,
                            kind: step.kind,
                            client: format!("{} ({client_is} the step)", client.name),
                            server: format!("{} ({server_is} the step)", server.name),
                            refused_by,
                            refusal: Box::new(refusal),
                        },
                    )?;
                }
            }
        }
        Ok(proof)
    }
}

fn prove_pair(
    client: &Member,
    server: &Member,
    conditions: &Conditions<'_>,
    crls: &[Crl],
    proof: &mut Proof,
) -> Result<(), (End, Refused)> {
    let Some(chain) = &server.server else { return Ok(()) };
    for time in [conditions.from, conditions.until] {
        for verifier in conditions.verifiers {
            Check::new(chain, &client.trust, Purpose::Server, time)
                .verifier(*verifier)
                .crls(crls)
                .run()
                .map_err(|rejection| (End::Client, Refused::Chain(*verifier, rejection)))?;
            if let Some(presented) = &client.client {
                Check::new(presented, &server.trust, Purpose::Client, time)
                    .verifier(*verifier)
                    .crls(crls)
                    .run()
                    .map_err(|rejection| (End::Server, Refused::Chain(*verifier, rejection)))?;
            }
            proof.connections += 1;
        }
    }
    let Some(leaf) = chain.first() else { return Ok(()) };
    for version in conditions.clients {
        for host in &server.hosts {
            leaf.matches_host(Some(host), HostRules::Libpq(*version))
                .map_err(|mismatch| (End::Client, Refused::Host(*version, mismatch)))?;
        }
    }
    Ok(())
}

/// That all states of a rotation hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How many connections were judged.
    pub connections: usize,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The client refuses the server.
    Client,
    /// The server refuses the client.
    Server,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The chain.
    Chain(Verifier, Rejection),
    /// The name.
    Host(PgVersion, HostMismatch),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(_, rejection) => rejection.fmt(f),
            Self::Host(version, mismatch) => write!(f, "libpq {version}: {mismatch}"),
        }
    }
}

/// A state in which a connection fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "in step {} ({kind}), {client} cannot connect to {server}: the {} refuses, {refusal}",
    step + 1,
    match refused_by { End::Client => "client", End::Server => "server" }
)]
pub struct Failure {
    /// The step, counted from 0.
    pub step: usize,
    /// What the step does.
    pub kind: StepKind,
    /// Which client, before or behind the step.
    pub client: String,
    /// Which server, before or behind the step.
    pub server: String,
    /// Who refuses.
    pub refused_by: End,
    /// What and why.
    pub refusal: Box<Refused>,
}

/// What a server really presents, compared with its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Served {
    /// The certificates of the file. Others may follow: where the file holds no intermediates,
    /// OpenSSL completes the chain from `ssl_ca_file`, root included.
    Current,
    /// Its own certificate is that of the file, but what comes behind it is not.
    OtherIntermediates,
    /// Another certificate: it was not reloaded, or the reload failed. PostgreSQL then goes on with
    /// the old one and says so in its log only (`SSL configuration was not reloaded`).
    Other,
}

/// Compares the certificates that a server presented in a handshake with those in its file.
#[must_use]
pub fn served(presented: &[Certificate], file: &[Certificate]) -> Served {
    if !file.is_empty() && presented.starts_with(file) {
        Served::Current
    } else if presented.first() == file.first() {
        Served::OtherIntermediates
    } else {
        Served::Other
    }
}
