//! Proof that the links are what they should be: for each link the method that it really used, and
//! that nobody else gets in.
//!
//! Verifying only reads. It logs in as the link role, or tries to, but runs no statement as it. With
//! [`Options::reconnect`] it also ends the links' sessions, so that each shows how it logs in now.
//!
//! All nodes are looked at at the same time, each for so long only. What cannot be looked at is a
//! finding, and so is everything that is not as the description wants it: see [`Code`].

mod checks;
mod code;
mod decisions;
pub(crate) mod drift;
mod finding;
mod link;
pub mod log;
mod nodes;
pub(crate) mod probe;
mod refusal;
mod server;
mod terms;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};
use tokio::sync::Semaphore;

#[cfg(feature = "report")]
pub(crate) use self::checks::WARN_DAYS;
pub use self::{
    code::Code,
    decisions::{Decision, RuleSeen},
    finding::{Finding, Severity},
    link::{LinkProof, MethodSource},
    nodes::NodeSeen,
    refusal::{Control, Evidence, Refusal, Trial},
    server::ServerProof,
    terms::{CertificatePurpose, CertificateTerm},
};
use crate::{
    authority,
    bounded::{AT_ONCE, for_each},
    conninfo::ConnInfo,
    deadline::within,
    demand::Demand,
    error::{Error, NodeContext as _},
    inspect::{self, ANSWER, Node, NodeState, THIS_MACHINE},
    prepare::{self, Prepared},
    rfc3339, run,
    spec::{ClusterSpec, Mode, TopologyKind},
    sql,
    text::Text,
    topology::{self, Cluster, Demands, Elsewhere, Found, Link, Topology},
};

/// What was proved of a cluster, and what not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verification {
    /// When it was begun.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// How the nodes replicate, by the description.
    pub topology: TopologyKind,
    /// How the links shall authenticate, by the description.
    pub mode: Mode,
    /// Every node of the description.
    pub nodes: Vec<NodeSeen>,
    /// Every link.
    pub links: Vec<LinkProof>,
    /// Every server that links lead to.
    pub servers: Vec<ServerProof>,
    /// Every login that must succeed, so that the attempts that must fail prove something.
    pub controls: Vec<Control>,
    /// Every attempt to get in that must fail.
    pub refusals: Vec<Refusal>,
    /// Which rules decide about the links, on each node that could be asked.
    pub decisions: Vec<Decision>,
    /// The certificates that the links need, where they could be read.
    pub certificates: Vec<CertificateTerm>,
    /// What is not as it should be, and why nothing else may have said so.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Whether every link is proved, and every attempt that must fail failed. A cluster without
    /// links proves nothing.
    #[must_use]
    pub fn proved(&self) -> bool {
        !self.links.is_empty()
            && self.links.iter().all(LinkProof::proved)
            && self.servers.iter().all(ServerProof::proved)
            && self.refusals.iter().all(Refusal::proved)
            && self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// How to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whether each link that has a session at all times must connect anew first. Nothing else that
    /// verifying does is felt by anybody.
    pub reconnect: bool,
    /// How long a node may take to be inspected, its links to connect anew, and what it shows to be
    /// looked at: each for itself.
    pub patience: Duration,
}

impl Default for Options {
    /// Without reconnecting, and 20 s.
    fn default() -> Self {
        Self { reconnect: false, patience: sql::PATIENCE }
    }
}

impl Options {
    /// With or without reconnecting.
    #[must_use]
    pub const fn reconnect(self, reconnect: bool) -> Self {
        Self { reconnect, ..self }
    }

    /// With another patience.
    #[must_use]
    pub const fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

/// [`verify_with`] the default options.
///
/// # Errors
/// As there.
pub async fn verify(
    spec: &ClusterSpec,
    nodes: &[Node],
    now: OffsetDateTime,
) -> Result<Verification, Error> {
    verify_with(spec, nodes, now, Options::default()).await
}

/// Verifies every link between the nodes, and tries on each node that has links to it what must not
/// get in.
///
/// # Errors
/// [`Error::Spec`] if the description contradicts itself. A node that cannot be reached or asked is no
/// error but a finding, and the others are verified.
pub async fn verify_with(
    spec: &ClusterSpec,
    nodes: &[Node],
    now: OffsetDateTime,
    options: Options,
) -> Result<Verification, Error> {
    spec.check()?;
    let mut findings = Vec::new();
    let states = inspect_each(spec, nodes, options.patience, &mut findings).await?;
    let topology = topology::of(spec.topology);
    let Found { links, elsewhere } = find(topology, spec, &states, &mut findings);
    findings.extend(elsewhere.iter().map(leads_out));
    findings.extend(changed_since(spec, &states, &links));
    findings.extend(missing(topology, spec, &states, &links, &findings));
    let (known, mut proofs, demands, decisions, certificates) = {
        let cluster = Cluster::new(spec, &states, &links);
        let demands = demands(topology, &cluster, &mut findings);
        let (known, unknown) = wanted(topology, &cluster, &demands);
        findings.extend(checks::all(&cluster, &demands, &known, now));
        let decisions = decisions::all(&cluster, &demands, &known);
        let certificates = terms::all(&cluster, &demands, now);
        (known, unknown, demands, decisions, certificates)
    };
    let nodes_seen = nodes::all(spec, &states);
    let uses = nodes.iter().map(|node| (node.spec.name.clone(), Semaphore::new(USES_AT_ONCE)));
    let context = Context {
        spec: spec.clone(),
        nodes: nodes.to_vec(),
        states,
        demands,
        links: known,
        uses: uses.collect(),
        now,
        options,
    };
    let mut servers = Vec::new();
    let (mut controls, mut refusals) = (Vec::new(), Vec::new());
    let context = Arc::new(context);
    for looked_at in look_at_each(context.clone()).await? {
        for (proof, about) in looked_at.links {
            proofs.push(proof);
            findings.extend(about);
        }
        servers.extend(looked_at.server);
        controls.extend(looked_at.controls);
        refusals.extend(looked_at.refusals);
        findings.extend(looked_at.findings);
    }
    findings.extend(servers.iter().filter_map(ServerProof::finding));
    findings.extend(controls.iter().filter_map(Control::finding));
    findings.extend(refusals.iter().filter_map(Refusal::finding));
    if findings.iter().all(|finding| finding.severity != Severity::Error) {
        findings.extend(unapplied(&context));
    }
    findings.sort_by(|a, b| {
        (a.severity, &a.node, a.code, &a.what).cmp(&(b.severity, &b.node, b.code, &b.what))
    });
    findings.dedup();
    Ok(Verification {
        at: now,
        topology: spec.topology,
        mode: spec.mode,
        nodes: nodes_seen,
        links: proofs,
        servers,
        controls,
        refusals,
        decisions,
        certificates,
        findings,
    })
}

/// What was changed by hand since the last run was applied, if one was.
fn changed_since(spec: &ClusterSpec, states: &[NodeState], links: &[Link]) -> Vec<Finding> {
    run::changes_of(spec, states, links).unwrap_or_else(|error| {
        // What was left is not known, and so is not what has changed.
        let what = format!("whether anything was changed since cannot be told: {error}");
        vec![Finding::warning(Code::Drifted, THIS_MACHINE, what)]
    })
}

/// The links that there should be, and are not; and nodes that have none: of these "every link is proved"
/// says nothing.
fn missing(
    topology: &dyn Topology,
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    told: &[Finding],
) -> Vec<Finding> {
    let told: BTreeSet<_> = told
        .iter()
        .filter(|finding| finding.code == Code::LinkMissing)
        .filter_map(|finding| finding.link.as_ref())
        .map(|(from, to)| (from.as_str(), to.as_str()))
        .collect();
    let missing = topology.missing(spec, states, links);
    let with_links: BTreeSet<&str> =
        links.iter().flat_map(|link| [&*link.from, &*link.to]).collect();
    // Where no node has any, that is said once.
    let nodes = spec.nodes.iter().map(|node| node.name.as_str()).filter(|_| !links.is_empty());
    let alone = nodes
        .filter(|name| states.iter().any(|state| state.name == *name))
        .filter(|name| !with_links.contains(name))
        .filter(|name| !missing.iter().any(|(from, to)| from == name || to == name))
        .map(|name| {
            let what = "no link starts there or leads there: nothing is proved of it";
            Finding::warning(Code::LinkMissing, name, what)
        });
    let missing = missing.iter().filter(|pair| !told.contains(pair)).map(|(from, to)| {
        let what =
            format!("it has no link to {to}, which the description names as a node of its group");
        Finding::error(Code::LinkMissing, from, what).of_link(from, to)
    });
    missing.chain(alone).collect()
}

/// What applying the description would still change, where nothing else says that anything is wrong.
fn unapplied(context: &Context) -> Vec<Finding> {
    let Context { spec, states, now, .. } = context;
    // Another machine may have the cluster's secrets; what keeps a plan from being made has been said.
    if states.len() < spec.nodes.len()
        || !matches!(authority::find(&spec.secrets, *now), Ok(Some(_)))
    {
        return Vec::new();
    }
    let Ok(Prepared { plan, .. }) = prepare::prepare(spec, states, *now) else { return Vec::new() };
    let mut by_node: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        let words = by_node.entry(&step.node).or_default();
        let what = step.action.to_string();
        if !words.contains(&what) {
            words.push(what);
        }
    }
    let finding = |(node, words): (&str, Vec<String>)| {
        let what = format!("applied, the description would still change it: {}", words.join("; "));
        Finding::warning(Code::NotAsDescribed, node, what)
    };
    by_node.into_iter().map(finding).collect()
}

/// Links by the node that they lead to; each with its connection string as it shall be.
type LinksTo = BTreeMap<Text, Vec<(Link, ConnInfo)>>;

/// Everything that is known when the nodes are looked at from outside.
struct Context {
    spec: ClusterSpec,
    nodes: Vec<Node>,
    states: Vec<NodeState>,
    demands: Demands,
    links: LinksTo,
    /// By the node that it starts at: one for each link that may be used to look at it now.
    uses: BTreeMap<String, Semaphore>,
    now: OffsetDateTime,
    options: Options,
}

impl Context {
    fn node(&self, name: &str) -> Result<&Node, Error> {
        let missing = || Error::plan(format!("no node {name}"));
        self.nodes.iter().find(|node| node.spec.name == name).ok_or_else(missing)
    }

    fn state(&self, name: &str) -> Option<&NodeState> {
        self.states.iter().find(|state| state.name == name)
    }

    fn demand(&self, name: &str) -> Option<&Demand> {
        self.demands.get(name)
    }

    fn links_to(&self, name: &str) -> impl Iterator<Item = &(Link, ConnInfo)> {
        self.links.get(name).into_iter().flatten()
    }
}

/// So many links of a node begin to be used at the same time, to look at them.
const USES_AT_ONCE: usize = 16;

/// Inspects every node. One that cannot be inspected in time is a finding.
async fn inspect_each(
    spec: &ClusterSpec,
    nodes: &[Node],
    patience: Duration,
    findings: &mut Vec<Finding>,
) -> Result<Vec<NodeState>, Error> {
    let shared = Arc::new(spec.clone());
    let inspected = for_each(AT_ONCE, nodes.to_vec(), move |node| {
        let spec = shared.clone();
        async move {
            let inspect = inspect::inspect_within(patience, &spec, &node);
            let inspected = within(patience, ANSWER, inspect).await;
            (node.spec.name, inspected)
        }
    })
    .await?;
    let mut states = Vec::new();
    for (name, inspected) in inspected {
        match inspected {
            Ok(state) => states.push(state),
            Err(error) => findings.push(silent(&name, &error)),
        }
    }
    for (name, error) in inspect::read_paths_of_others(spec, nodes, &mut states, patience).await? {
        findings.push(silent(&name, &error));
    }
    Ok(states)
}

/// A node that cannot be asked.
fn silent(node: &str, error: &Error) -> Finding {
    Finding::error(Code::NodeSilent, node, error.without_node().to_string())
}

/// Every link that the nodes tell of. What does not fit the description is a finding.
fn find(
    topology: &dyn Topology,
    spec: &ClusterSpec,
    states: &[NodeState],
    findings: &mut Vec<Finding>,
) -> Found {
    if let Ok(found) = topology.find(spec, states) {
        return found;
    }
    // What one node tells shall not hide what the others do.
    let mut all = Found::default();
    for state in states {
        match topology.find(spec, std::slice::from_ref(state)) {
            Ok(Found { links, elsewhere }) => {
                all.links.extend(links);
                all.elsewhere.extend(elsewhere);
            }
            Err(error) => findings.push(not_as_described(&state.name, &error)),
        }
    }
    all
}

/// What leads out of the cluster, or seems to.
fn leads_out(elsewhere: &Elsewhere) -> Finding {
    let Elsewhere { from, message, is_node, .. } = elsewhere;
    if *is_node {
        Finding::error(Code::NotAsDescribed, from, message)
    } else {
        Finding::warning(Code::LinkElsewhere, from, message)
    }
}

fn not_as_described(node: &str, error: &Error) -> Finding {
    Finding::error(Code::NotAsDescribed, node, error.without_node().to_string())
}

/// What the topology asks of each node. Where that cannot be told is a finding.
fn demands(topology: &dyn Topology, cluster: &Cluster<'_>, findings: &mut Vec<Finding>) -> Demands {
    let mut demands = Demands::new();
    for state in cluster.states {
        match topology.demand(cluster, state).on_node(&state.name) {
            Ok(demand) => {
                demands.insert(state.name.clone(), demand);
            }
            Err(error) => findings.push(not_as_described(&state.name, &error)),
        }
    }
    demands
}

/// The links with their connection strings as they shall be; and those of which that cannot be told,
/// or whose other end cannot be asked.
fn wanted(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
) -> (LinksTo, Vec<LinkProof>) {
    let (mut known, mut unknown) = (LinksTo::new(), Vec::new());
    for link in cluster.links {
        match topology::wanted(topology, cluster, demands, link) {
            Ok(wanted) => {
                if cluster.state(&link.to).is_none() && link.from != link.to {
                    let why = format!("node {} cannot be asked about it", link.to);
                    unknown.push(LinkProof::unknown(link, why));
                }
                known.entry(link.to.clone()).or_default().push((link.clone(), wanted));
            }
            Err(error) => unknown.push(LinkProof::unknown(link, error.without_node().to_string())),
        }
    }
    (known, unknown)
}

/// What came of looking at one node.
#[derive(Default)]
struct LookedAt {
    links: Vec<(LinkProof, Vec<Finding>)>,
    server: Option<ServerProof>,
    controls: Vec<Control>,
    refusals: Vec<Refusal>,
    findings: Vec<Finding>,
}

/// Looks at every node that was inspected, all at the same time.
async fn look_at_each(context: Arc<Context>) -> Result<Vec<LookedAt>, Error> {
    for_each(AT_ONCE, context.states.clone(), move |state| {
        let context = context.clone();
        async move { look_at(&context, &state).await }
    })
    .await
}

async fn look_at(context: &Arc<Context>, state: &NodeState) -> LookedAt {
    let mut looked_at = LookedAt::default();
    let (Ok(node), Some(demand)) = (context.node(&state.name), context.demand(&state.name)) else {
        // That it asks nothing of this node has been said.
        looked_at.links = context
            .links_to(&state.name)
            .map(|(link, _)| {
                (LinkProof::unknown(link, "what the node needs cannot be told"), Vec::new())
            })
            .collect();
        return looked_at;
    };
    let patience = context.options.patience;
    let for_links = if context.options.reconnect { 2 * patience } else { patience };
    let (links, server, refusals) = tokio::join!(
        within(for_links, ANSWER, link::prove(context, node, state, demand)),
        within(patience, ANSWER, server::prove(context, node, state, demand)),
        within(patience, ANSWER, refusal::prove(context, node, state, demand)),
    );
    let silent = |error: &Error| silent(&state.name, error);
    match links {
        Ok(link::Proved { links, beside }) => {
            looked_at.links = links;
            looked_at.findings.extend(beside);
        }
        Err(error) => {
            looked_at.findings.push(silent(&error));
            let why = error.without_node().to_string();
            let unknown = |(link, _): &(Link, ConnInfo)| LinkProof::unknown(link, why.as_str());
            let unknown = context.links_to(&state.name).map(unknown);
            looked_at.links = unknown.map(|proof| (proof, Vec::new())).collect();
        }
    }
    match server {
        Ok(server) => {
            if let Some((server, about)) = server {
                looked_at.server = Some(server);
                looked_at.findings.extend(about);
            }
        }
        Err(error) => looked_at.findings.push(silent(&error)),
    }
    match refusals {
        Ok((controls, refusals)) => {
            looked_at.controls = controls;
            looked_at.refusals = refusals;
        }
        Err(error) => looked_at.findings.push(silent(&error)),
    }
    looked_at
}

/// A time in words, to the second.
fn moment(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", time.date(), time.hour(), time.minute(), time.second())
}
