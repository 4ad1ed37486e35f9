//! Rotating what wears out or may have been seen: leaf certificates, passwords, the authority itself.
//!
//! Each is a [`plan`] like any other: it is shown, applied, and taken back where it fails.
//! A change of certificates is proved by [`pki::Rotation`] before anything is written: in every state
//! on the way, with every node before or behind the step, every node can connect to every other.
//!
//! Links stay up: a server takes new certificates at a reload, a link at its next connection, so each
//! link connects anew, one node after the other, before an old authority is dropped.

mod authority;

use pg_version::PgVersion;
use pki::{Certificate, Conditions, Member, NewChains, Rotation, Verifier};
use time::{Duration, OffsetDateTime};

pub use self::authority::authority;
use crate::{
    credentials::{Credentials, Renew},
    error::Error,
    inspect::NodeState,
    plan::{self, Action, Pace, Plan, Stage, Step},
    prepare::{Preparation, Prepared},
    spec::ClusterSpec,
};

/// A plan that gives every server and every link a new certificate with a new key.
///
/// # Errors
/// [`Error::Plan`] if the cluster is not secured as described, or if the proof fails.
pub fn certificates(
    spec: &ClusterSpec,
    states: &[NodeState],
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    let preparation = secured(spec, states, now)?;
    let mut vault = preparation.as_found()?;
    let authority = crate::authority::open(&spec.secrets)?;
    let renew = Renew { certificates: true, ..Renew::default() };
    let credentials = preparation.credentials(&authority, renew, now, &mut vault)?;
    prove(&preparation, &credentials, &[authority.root().clone()], now)?;
    let cluster = preparation.cluster();
    let mut plan = plan::make(preparation.topology, &cluster, &preparation.demands, &credentials)?;
    plan.stages.extend(reconnect(&preparation));
    plan::shorten(&mut plan, &cluster)?;
    Ok(Prepared { plan, vault })
}

/// A plan that gives every link a new password. The peers have it before the server does: a link that
/// breaks between the two connects again when the server has it.
///
/// # Errors
/// [`Error::Plan`] if the cluster is not secured as described, or its links have no passwords.
pub fn passwords(
    spec: &ClusterSpec,
    states: &[NodeState],
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    if spec.mode != crate::spec::Mode::Scram {
        return Err(Error::plan(
            "the links of this cluster have no passwords, for mode is not \"scram\": rotate certs, or ca",
        ));
    }
    let preparation = secured(spec, states, now)?;
    let renew = Renew { passwords: true, ..Renew::default() };
    let mut prepared = preparation.plan(renew, now)?;
    prepared.plan.stages.extend(reconnect(&preparation));
    plan::shorten(&mut prepared.plan, &preparation.cluster())?;
    Ok(prepared)
}

/// What a rotation starts from: a cluster that is as described.
fn secured<'a>(
    spec: &'a ClusterSpec,
    states: &'a [NodeState],
    now: OffsetDateTime,
) -> Result<Preparation<'a>, Error> {
    let preparation = Preparation::new(spec, states)?;
    let open = preparation.plan(Renew::default(), now)?.plan;
    // What is only to be read again the servers read on the way.
    let is_due =
        |step: &Step| !matches!(step.action, Action::Reload(_)) && !step.action.only_looks();
    if let Some(stage) = open.stages.iter().find(|stage| stage.steps.iter().any(is_due)) {
        return Err(Error::plan(format!(
            "the cluster is not as described yet ({} is still to be done): apply the description \
             first",
            stage.title
        )));
    }
    Ok(preparation)
}

/// The stage in which every link connects anew.
fn reconnect(preparation: &Preparation<'_>) -> Option<Stage> {
    let links = preparation.links.iter();
    let steps: Vec<Step> = links
        .filter(|link| link.enabled && link.session.is_lasting())
        .map(|link| Step {
            node: link.from.clone(),
            action: Action::Reconnect { to: link.to.clone(), session: link.session.clone() },
            undo: None,
        })
        .collect();
    let title = "let the links connect anew";
    (!steps.is_empty()).then(|| plan::stage(title, Pace::NodeByNode, steps))
}

/// Proves every state on the way from what the nodes have to the new certificates and `trust`.
fn prove(
    preparation: &Preparation<'_>,
    credentials: &Credentials,
    trust: &[Certificate],
    now: OffsetDateTime,
) -> Result<(), Error> {
    let (mut members, mut chains) = (Vec::new(), Vec::new());
    for state in preparation.states {
        let Some(demand) = preparation.demands.get(&state.name) else { continue };
        // What it shares with another node of its machine, that one makes.
        let shared =
            credentials.shared.iter().filter(|shared| shared.readers.contains(&state.name));
        let makers: Vec<&str> = std::iter::once(state.name.as_str())
            .chain(shared.map(|shared| shared.node.as_str()))
            .collect();
        let made_at = |path: &std::path::Path| {
            let path = state.in_data_directory(path);
            makers.iter().find_map(|maker| {
                let at = preparation.states.iter().find(|state| state.name == *maker)?;
                let made = credentials.nodes.get(*maker)?.pairs.iter();
                let mut there =
                    made.filter(|(place, _)| at.in_data_directory(&place.certificate) == path);
                there.next().map(|(_, pair)| pair)
            })
        };
        let read = |path: &std::path::Path| -> Result<Vec<Certificate>, Error> {
            let file = state.file(&state.in_data_directory(path));
            Ok(file.map_or(Ok(Vec::new()), |file| Certificate::all_from_pem(&file.bytes))?)
        };
        let new = |path: &std::path::Path| -> Result<Option<Vec<Certificate>>, Error> {
            let pair = made_at(path);
            Ok(pair
                .map(|pair| Certificate::all_from_pem(pair.certificate.as_bytes()))
                .transpose()?)
        };
        let node = preparation.cluster().node(&state.name)?;
        let server = demand.server.as_ref().map(|place| place.certificate.as_path());
        // One role after the other: each of a node's clients is a member of its own.
        let mut clients: Vec<_> =
            demand.clients.iter().map(|client| Some(client.pair.certificate.as_path())).collect();
        if clients.is_empty() {
            clients.push(None);
        }
        for client in clients {
            members.push(Member {
                name: state.name.clone(),
                hosts: vec![node.host().to_owned(), node.address.to_string()],
                trust: demand.root.as_deref().map(read).transpose()?.unwrap_or_default(),
                server: server.map(read).transpose()?,
                client: client.map(read).transpose()?,
            });
            chains.push(NewChains {
                server: server.map(new).transpose()?.flatten(),
                client: client.map(new).transpose()?.flatten(),
            });
        }
    }
    let rotation =
        Rotation::plan(&members, trust, &chains).map_err(|error| Error::plan(error.to_string()))?;
    let versions: Vec<PgVersion> = PgVersion::ALL.into();
    let conditions = Conditions {
        from: now,
        // A rotation that somebody leaves half-done over a day still works.
        until: now + Duration::days(1),
        verifiers: &[Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0],
        clients: &versions,
    };
    rotation
        .prove(&conditions)
        .map(drop)
        .map_err(|failure| Error::plan(format!("the rotation would break a link: {failure}")))
}

/// A plan of these stages that changes no connection string.
fn plan_of(
    spec: &ClusterSpec,
    credentials: &Credentials,
    files: Vec<plan::FileChange>,
    stages: Vec<Stage>,
) -> Plan {
    let stages: Vec<Stage> = stages.into_iter().filter(|stage| !stage.steps.is_empty()).collect();
    Plan {
        mode: spec.mode,
        files,
        links: Vec::new(),
        warnings: Vec::new(),
        shared: plan::files::written(
            &credentials.shared,
            stages.iter().flat_map(|stage| &stage.steps),
        ),
        stages,
    }
}
