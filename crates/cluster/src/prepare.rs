//! From what inspection found to a plan with its secrets.

use std::sync::Arc;

use pki::Authority;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    authority,
    conninfo::is_secret,
    credentials::{self, Credentials, Renew},
    error::{Error, NodeContext as _},
    inspect::NodeState,
    plan::{self, Pace, Plan, Warning},
    run,
    spec::ClusterSpec,
    topology::{self, Cluster, Demands, Elsewhere, Found, Indexes, Link, Topology},
    vault::Vault,
    verify::Code,
};

/// A plan, and the secrets that it refers to.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What shall be done.
    pub plan: Plan,
    /// What it must not hold.
    pub vault: Vault,
}

/// Makes a plan. The cluster's authority is loaded, or one is made; keys and passwords that are needed
/// are made, too: all in memory. Nothing is written, on no machine.
///
/// # Errors
/// [`Error`] where something must be different before: see its message. [`Error::Run`] if a run is
/// unfinished.
pub fn prepare(
    spec: &ClusterSpec,
    states: &[NodeState],
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    let preparation = Preparation::new(spec, states)?;
    let mut prepared = preparation.plan(Renew::default(), now)?;
    plan::shorten(&mut prepared.plan, &preparation.cluster())?;
    Ok(prepared)
}

/// What a plan is made from.
pub(crate) struct Preparation<'a> {
    pub(crate) spec: &'a ClusterSpec,
    pub(crate) states: &'a [NodeState],
    pub(crate) topology: &'static dyn Topology,
    pub(crate) links: Vec<Link>,
    indexes: Arc<Indexes>,
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(crate) demands: Demands,
}

impl<'a> Preparation<'a> {
    pub(crate) fn new(spec: &'a ClusterSpec, states: &'a [NodeState]) -> Result<Self, Error> {
        spec.check()?;
        // What is there now is neither what was found nor what is wanted.
        run::no_unfinished(spec)?;
        let topology = topology::of(spec.topology);
        let Found { links, elsewhere } = topology.find(spec, states)?;
        if let Some(node) = elsewhere.iter().find(|it| it.is_node) {
            return Err(Error::plan(&node.message)).on_node(&node.from);
        }
        if links.is_empty() {
            let none = "no node has a link to another: create the links first, for what they connect to \
                        is what the rules must say";
            let elsewhere =
                elsewhere.iter().map(|it| format!("\nnode {}: {}", it.from, it.message));
            return Err(Error::plan(none.to_owned() + &elsewhere.collect::<String>()));
        }
        let cluster = Cluster::new(spec, states, &links);
        let demands = topology::demands(topology, &cluster)?;
        let indexes = cluster.indexes();
        Ok(Self { spec, states, topology, links, indexes, elsewhere, demands })
    }

    pub(crate) fn cluster(&self) -> Cluster<'_> {
        Cluster::new(self.spec, self.states, &self.links).with(self.indexes.clone())
    }

    pub(crate) fn plan(&self, renew: Renew, now: OffsetDateTime) -> Result<Prepared, Error> {
        let mut vault = self.as_found()?;
        let there = authority::find(&self.spec.secrets, now)?;
        let (authority, steps) = match there {
            Some(authority) => (authority, Vec::new()),
            None => {
                let authority = authority::create(self.spec.certificates, now)?;
                let steps = authority::keep(&authority, &self.spec.secrets, None, &mut vault);
                (authority, steps)
            }
        };
        let credentials = self.credentials(&authority, renew, now, &mut vault)?;
        let mut plan = plan::make(self.topology, &self.cluster(), &self.demands, &credentials)?;
        let elsewhere = self.elsewhere.iter().map(|it| Warning {
            node: it.from.clone(),
            message: it.message.clone(),
            code: Some(Code::LinkElsewhere),
        });
        plan.warnings.extend(elsewhere);
        if !steps.is_empty() {
            plan.stages
                .insert(0, plan::stage("keep the cluster's authority", Pace::AllAtOnce, steps));
        }
        Ok(Prepared { plan, vault })
    }

    pub(crate) fn credentials(
        &self,
        authority: &Authority,
        renew: Renew,
        now: OffsetDateTime,
        vault: &mut Vault,
    ) -> Result<Credentials, Error> {
        let cluster = self.cluster();
        credentials::make(self.topology, &cluster, &self.demands, authority, renew, now, vault)
    }

    /// The secrets that the nodes have now, so that they can be put back.
    ///
    /// # Errors
    /// [`Error::Plan`] for a link that starts or ends at no node.
    pub(crate) fn as_found(&self) -> Result<Vault, Error> {
        let mut vault = Vault::default();
        for state in self.states {
            let Some(demand) = self.demands.get(&state.name) else { continue };
            let keys = demand.pairs().map(|pair| state.in_data_directory(&pair.key));
            let passfile = demand.passfile.iter().map(|path| state.in_data_directory(path));
            // It may hold a primary_conninfo with a password.
            for path in keys.chain(passfile).chain([state.auto_conf()]) {
                if let Some(file) = state.file(&path) {
                    vault.insert(plan::as_found(&state.name, &path), file.bytes.clone());
                }
            }
            for role in &state.roles {
                if let Some(stored) = &role.stored_password {
                    let stored = Zeroizing::new(stored.as_bytes().to_vec());
                    vault.insert(plan::password_as_found(&state.name, &role.name), stored);
                }
            }
        }
        let cluster = self.cluster();
        let secret = |text: Zeroizing<String>| Zeroizing::new(text.as_bytes().to_vec());
        for link in self.links.iter().filter(|link| link.conninfo.has_secret()) {
            for (option, value) in link.conninfo.iter().filter(|(option, _)| is_secret(option)) {
                let value = Zeroizing::new(value.as_bytes().to_vec());
                vault.insert(plan::links::option_as_found(link, option), value);
            }
            vault.insert(plan::links::as_found(link), secret(link.conninfo.to_text_as_read()));
            let after = topology::wanted(self.topology, &cluster, &self.demands, link)?;
            if let Some(either) = plan::links::either_way(&cluster, link, &after) {
                vault.insert(plan::links::with_credentials(link), secret(either.to_text()));
            }
        }
        Ok(vault)
    }
}
