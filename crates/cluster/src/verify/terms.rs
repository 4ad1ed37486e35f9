//! For how long the certificates of the links are valid.

use std::path::Path;

use pki::Certificate;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    authority,
    demand::Demand,
    inspect::{NodeState, THIS_MACHINE},
    rfc3339,
    topology::{Cluster, Demands},
};

/// A certificate that the links need, as its file holds it, and its term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateTerm {
    /// The node that has the file; [`THIS_MACHINE`] for the cluster's authority.
    pub node: String,
    /// What it is for.
    pub purpose: CertificatePurpose,
    /// The role that logs in with it, if one does.
    pub role: Option<String>,
    /// The file.
    pub file: String,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its first second.
    #[serde(with = "rfc3339")]
    pub not_before: OffsetDateTime,
    /// Its last second.
    #[serde(with = "rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whole days until it expires; negative for one that has.
    pub days_left: i64,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificatePurpose {
    /// Peers check others by it.
    Authority,
    /// A server shows it.
    Server,
    /// A link logs in with it.
    Client,
}

/// Every certificate that can be read: the authority's, then those of each node. What a node trusts
/// beside the cluster's authority is there, too.
pub(super) fn all(
    cluster: &Cluster<'_>,
    demands: &Demands,
    now: OffsetDateTime,
) -> Vec<CertificateTerm> {
    let mut terms = Vec::new();
    let own = cluster.spec.secrets.join(authority::CERTIFICATE);
    let authorities = std::fs::read(&own).map(|bytes| read(&bytes)).unwrap_or_default();
    for authority in &authorities {
        let found = Found { node: THIS_MACHINE, file: &own, now };
        terms.push(found.term(authority, CertificatePurpose::Authority, None));
    }
    for state in cluster.states {
        if let Some(demand) = demands.get(&state.name) {
            of_node(state, demand, &authorities, now, &mut terms);
        }
    }
    terms
}

fn of_node(
    state: &NodeState,
    demand: &Demand,
    authorities: &[Certificate],
    now: OffsetDateTime,
    terms: &mut Vec<CertificateTerm>,
) {
    let mut add = |path: &Path, purpose, role: Option<&str>| {
        let file = state.in_data_directory(path);
        let all = state.file(&file).map(|file| read(&file.bytes)).unwrap_or_default();
        let found = Found { node: &state.name, file: &file, now };
        match purpose {
            CertificatePurpose::Authority => {
                let others = all.iter().filter(|other| !authorities.contains(other));
                terms.extend(others.map(|other| found.term(other, purpose, role)));
            }
            // Those behind the first are its authorities.
            _ => terms.extend(all.first().map(|own| found.term(own, purpose, role))),
        }
    };
    if let Some(root) = &demand.root {
        add(root, CertificatePurpose::Authority, None);
    }
    if let Some(place) = &demand.server {
        add(&place.certificate, CertificatePurpose::Server, None);
    }
    for client in &demand.clients {
        add(&client.pair.certificate, CertificatePurpose::Client, Some(&client.role));
    }
}

/// What cannot be read is a finding of its own.
fn read(bytes: &[u8]) -> Vec<Certificate> {
    Certificate::all_from_pem(bytes).unwrap_or_default()
}

struct Found<'a> {
    node: &'a str,
    file: &'a Path,
    now: OffsetDateTime,
}

impl Found<'_> {
    fn term(
        &self,
        certificate: &Certificate,
        purpose: CertificatePurpose,
        role: Option<&str>,
    ) -> CertificateTerm {
        let validity = certificate.validity();
        CertificateTerm {
            node: self.node.to_owned(),
            purpose,
            role: role.map(str::to_owned),
            file: self.file.display().to_string(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            days_left: validity.days_left(self.now),
        }
    }
}
