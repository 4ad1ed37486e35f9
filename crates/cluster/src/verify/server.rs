//! Whether a server is who its peers take it for: its certificate, checked as the links check it.

use pki::Certificate;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    Code, Finding,
    probe::{self, Shown},
};
use crate::{
    authority,
    conninfo::ConnInfo,
    demand::Demand,
    error::{Error, NodeContext as _},
    inspect::Node,
    spec::ClusterSpec,
    tls,
    topology::Link,
};

/// What a server showed to a client that verifies it by the cluster's authority and by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
        let wrong = !self.missing.is_empty();
        wrong.then(|| Finding::error(Code::ServerUnproved, &self.node, self.missing.join("; ")))
    }
}

/// Verifies the server of a node that links lead to, by its name and by its address.
pub(super) async fn prove(
    spec: &ClusterSpec,
    node: &Node,
    demand: &Demand,
    links: &[(Link, ConnInfo)],
    now: OffsetDateTime,
) -> Result<Option<ServerProof>, Error> {
    if links.is_empty() || demand.server.is_none() {
        return Ok(None);
    }
    let prove = async {
        let mut proof = ServerProof {
            node: node.spec.name.clone(),
            verified_as: Vec::new(),
            subject: None,
            days_left: None,
            missing: Vec::new(),
        };
        if !spec.secrets.join(authority::CERTIFICATE).exists() {
            proof.missing.push(format!(
                "there is no authority in {} yet to verify it by",
                spec.secrets.display()
            ));
            return Ok(proof);
        }
        let client = tls::verify_full(&spec.secrets)?;
        for host in [node.spec.host().to_owned(), node.spec.address.to_string()] {
            match probe::certificate_shown(&node.spec, &client, &host).await? {
                Shown::Certificate(der) => {
                    let certificate = Certificate::from_der(&der)?;
                    proof.subject = Some(certificate.subject().to_string());
                    proof.days_left = Some(certificate.validity().days_left(now));
                    proof.verified_as.push(host);
                }
                Shown::Failed(reason) => proof.missing.push(format!("as {host}: {reason}")),
                Shown::NoTls => proof.missing.push("it speaks no TLS".to_owned()),
            }
        }
        Ok::<_, Error>(proof)
    };
    prove.await.map(Some).on_node(&node.spec.name)
}
