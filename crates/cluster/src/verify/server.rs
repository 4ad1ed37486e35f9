//! Whether a server is who its peers take it for: its certificate, checked as the links check it.

use std::collections::BTreeSet;

use pki::{Certificate, HostRules, judge_connection_manager};
use serde::Serialize;

use super::{
    Code, Context, Finding, moment,
    probe::{self, Shown},
};
use crate::{
    authority,
    demand::Demand,
    error::{Error, NodeContext as _},
    inspect::{Node, NodeState},
    spec::TopologyKind,
    tls, topology,
};

/// What a server showed to a client that verifies it by the cluster's authority and by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerProof {
    /// The node.
    pub node: String,
    /// The names and addresses by which it was verified.
    pub verified_as: Vec<String>,
    /// The certificate's subject.
    pub subject: Option<String>,
    /// Whole days until it expires.
    pub days_left: Option<i64>,
    /// What is wrong; empty for a server that is proved.
    pub missing: Vec<String>,
}

impl ServerProof {
    /// Whether the server was verified by every name.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.missing.is_empty()
    }

    /// What is wrong, as a finding.
    pub(super) fn finding(&self) -> Option<Finding> {
        let what = || self.missing.join("; ");
        (!self.proved()).then(|| Finding::error(Code::ServerUnproved, &self.node, what()))
    }
}

/// Verifies the server of a node that links lead to, by its name and by its address; with what else is
/// to be said of it.
pub(super) async fn prove(
    context: &Context,
    node: &Node,
    state: &NodeState,
    demand: &Demand,
) -> Result<Option<(ServerProof, Vec<Finding>)>, Error> {
    if context.links_to(&node.spec.name).next().is_none() || demand.server.is_none() {
        return Ok(None);
    }
    look(context, node, state).await.map(Some).on_node(&node.spec.name)
}

async fn look(
    context: &Context,
    node: &Node,
    state: &NodeState,
) -> Result<(ServerProof, Vec<Finding>), Error> {
    let mut proof = ServerProof {
        node: node.spec.name.clone(),
        verified_as: Vec::new(),
        subject: None,
        days_left: None,
        missing: Vec::new(),
    };
    let mut about = Vec::new();
    let any = tls::any_server(None)?;
    match probe::certificate_shown(node, &any, node.spec.host()).await? {
        Shown::Certificate(der) => {
            let shown = Certificate::from_der(&der)?;
            proof.subject = Some(shown.subject().to_string());
            proof.days_left = Some(shown.validity().days_left(context.now));
            about.extend(stale(state, &shown));
            about.extend(other_names(context, &node.spec.name, &shown));
            if context.spec.topology == TopologyKind::Pgd {
                about.extend(connection_manager(node, &shown));
            }
        }
        Shown::Failed(reason) => proof.missing.push(reason),
        Shown::NoTls => {
            proof.missing.push("it speaks no TLS".to_owned());
            return Ok((proof, about));
        }
    }
    let secrets = &context.spec.secrets;
    if !secrets.join(authority::CERTIFICATE).exists() {
        let place = secrets.display();
        proof.missing.push(format!("there is no authority in {place} yet to verify it by"));
        return Ok((proof, about));
    }
    let client = tls::verify_full(secrets, None)?;
    let (name, address) = (node.spec.host().to_owned(), node.spec.address.to_string());
    let (by_name, by_address) = tokio::join!(
        probe::certificate_shown(node, &client, &name),
        probe::certificate_shown(node, &client, &address),
    );
    for (host, shown) in [(name, by_name?), (address, by_address?)] {
        match shown {
            Shown::Certificate(_) => proof.verified_as.push(host),
            Shown::Failed(reason) => proof.missing.push(format!("as {host}: {reason}")),
            Shown::NoTls => proof.missing.push(format!("as {host}: it speaks no TLS")),
        }
    }
    Ok((proof, about))
}

/// A server that could not load its certificate says so in its log only, and keeps the old one.
fn stale(state: &NodeState, shown: &Certificate) -> Option<Finding> {
    let path = state.in_data_directory(state.setting("ssl_cert_file"));
    let file = Certificate::from_pem(&state.file(&path)?.bytes).ok()?;
    let words = |certificate: &Certificate| {
        let from = moment(certificate.validity().not_before);
        format!("{} from {from}", certificate.subject())
    };
    (file.fingerprint() != shown.fingerprint()).then(|| {
        let what = format!(
            "it shows the certificate of {}, while {} holds that of {}: its last reload did not take \
             the TLS files, or there was none",
            words(shown),
            path.display(),
            words(&file)
        );
        Finding::error(Code::StaleCertificate, &state.name, what)
    })
}

/// The links that verify the server by a name that their libpq does not find in its certificate.
fn other_names(context: &Context, node: &str, shown: &Certificate) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut said = BTreeSet::new();
    for (link, wanted) in context.links_to(node).filter(|(link, _)| link.from != link.to) {
        if wanted.get("sslmode") != Some("verify-full") {
            continue;
        }
        let Some(from) = context.state(&link.from) else { continue };
        let host = context.node(&link.to).ok();
        let host = host.and_then(|to| topology::host_of(&context.spec, wanted, &to.spec).name);
        let Err(mismatch) = shown.matches_host(host, HostRules::Libpq(from.version)) else {
            continue;
        };
        if said.insert((&link.from, host)) {
            let what = format!("{}, by libpq {} of {}", mismatch, from.version, link.from);
            let finding = Finding::error(Code::ServerUnproved, node, what);
            findings.push(finding.of_link(&link.from, &link.to));
        }
    }
    findings
}

/// PGD's Connection Manager takes the same certificate, and is more demanding.
fn connection_manager(node: &Node, shown: &Certificate) -> Vec<Finding> {
    let address = node.spec.address.to_string();
    judge_connection_manager(shown, &[node.spec.host(), &address])
        .into_iter()
        .map(|found| Finding::warning(Code::ConnectionManager, &node.spec.name, found.to_string()))
        .collect()
}
