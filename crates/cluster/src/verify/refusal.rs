//! Who must not get in: each is tried, as the link role, from here.

use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity, tls::TlsClient};
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    Code, Finding,
    probe::{self, Asked, Attempt, Outcome},
};
use crate::{
    authority::{self, BACKDATE},
    conninfo::ConnInfo,
    demand::Demand,
    error::{Error, NodeContext as _},
    inspect::Node,
    spec::{ClusterSpec, Mode},
    tls,
    topology::Link,
};

/// An attempt that must fail, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// On which node.
    pub node: String,
    /// What was tried.
    pub trial: Trial,
    /// Whether it failed, as it must.
    pub refused: bool,
    /// The server's answer, in words.
    pub answer: String,
}

impl Refusal {
    /// Whether the attempt failed, as it must.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.refused
    }

    /// An attempt that was not refused, as a finding.
    pub(super) fn finding(&self) -> Option<Finding> {
        let what = || format!("{}: {}", self.trial.describe(), self.answer);
        (!self.refused).then(|| Finding::error(Code::NotRefused, &self.node, what()))
    }
}

/// What must not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// The link role without TLS.
    PlainText,
    /// The link role over TLS without a certificate.
    NoCertificate,
    /// The link role over TLS without a password.
    NoPassword,
    /// The link role with a certificate of another authority.
    StrangersCertificate,
    /// The link role with another role's certificate of the cluster's own authority.
    OthersCertificate,
    /// The link role over TLS with a wrong password.
    WrongPassword,
}

impl Trial {
    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::PlainText => "plain text",
            Self::NoCertificate => "TLS, no certificate",
            Self::NoPassword => "TLS, no password",
            Self::StrangersCertificate => "a stranger's certificate",
            Self::OthersCertificate => "another role's certificate",
            Self::WrongPassword => "a wrong password",
        }
    }
}

/// Tries everything on one node, if links lead to it.
pub(super) async fn prove(
    spec: &ClusterSpec,
    node: &Node,
    demand: &Demand,
    links: &[(Link, ConnInfo)],
    now: OffsetDateTime,
) -> Result<Vec<Refusal>, Error> {
    let database = links.first().and_then(|(link, _)| link.database());
    let Some(database) = database else { return Ok(Vec::new()) };
    if spec.mode == Mode::Trust {
        return Ok(Vec::new());
    }
    let tls = demand.ways_in.iter().any(|way| way.tls);
    try_all(spec, node, database, tls, now).await.on_node(&node.spec.name)
}

async fn try_all(
    spec: &ClusterSpec,
    node: &Node,
    database: &str,
    tls: bool,
    now: OffsetDateTime,
) -> Result<Vec<Refusal>, Error> {
    let validity = Validity::days(now - BACKDATE, 1);
    let client = Profile::client(&spec.link_role);
    let subject = Subject::common_name("a stranger's CA");
    let stranger = Authority::create(KeyAlgorithm::EcdsaP256, &subject, validity)?;
    let strangers = stranger.issue(KeyAlgorithm::EcdsaP256, &client, validity)?;
    let wrong = scram::Password::new("not the password");

    let any_server = |identity| tls.then(|| tls::any_server(identity)).transpose();
    let mut trials: Vec<(Trial, Option<TlsClient>, Option<&scram::Password>)> = Vec::new();
    if tls {
        trials.push((Trial::PlainText, None, None));
        trials.push((Trial::StrangersCertificate, any_server(Some(&strangers))?, None));
    }
    match spec.mode {
        Mode::Cert => {
            trials.push((Trial::NoCertificate, any_server(None)?, None));
            // Only where the authority's key is at hand. The certificate lives in memory for the
            // time of this call.
            if let Some(authority) = authority::find(&spec.secrets, now)? {
                let others = Profile::client("pgward-nobody");
                let others = authority.issue(
                    KeyAlgorithm::EcdsaP256,
                    &others,
                    authority.within(validity),
                )?;
                trials.push((Trial::OthersCertificate, any_server(Some(&others))?, None));
            }
        }
        Mode::Trust => {}
        Mode::Scram => {
            trials.push((Trial::NoPassword, any_server(None)?, None));
            trials.push((Trial::WrongPassword, any_server(None)?, Some(&wrong)));
        }
    }
    let mut refusals = Vec::new();
    for (trial, tls, password) in trials {
        let attempt = Attempt {
            node: &node.spec,
            user: &spec.link_role,
            database,
            replication: None,
            tls: tls.as_ref(),
            password,
        };
        let outcome = probe::attempt(&attempt).await?;
        refusals.push(Refusal {
            node: node.spec.name.clone(),
            trial,
            refused: is_refused(trial, &outcome),
            answer: outcome.to_string(),
        });
    }
    Ok(refusals)
}

/// Whether an outcome is the refusal that a trial wants.
fn is_refused(trial: Trial, outcome: &Outcome) -> bool {
    match (trial, outcome) {
        (_, Outcome::LetIn { .. }) => false,
        // To ask for the password is to refuse whoever has none; but only SCRAM, which gives nothing
        // away to a listener.
        (Trial::NoPassword, Outcome::Asked(Asked::Sasl(_))) => true,
        // In password mode a certificate is looked at, not asked for: the password still is.
        (Trial::StrangersCertificate, Outcome::Asked(Asked::Sasl(_))) => true,
        (_, Outcome::Asked(_)) => false,
        // Without TLS there, whatever needs TLS gets in nowhere, but what the trial wants to know
        // was not tried.
        (_, Outcome::NoTls) => false,
        // "Too many clients" or "starting up" would be no refusal of this user.
        (Trial::WrongPassword, Outcome::Refused { asked: Some(Asked::Sasl(_)), code, .. }) => {
            code == "28P01"
        }
        (_, Outcome::Refused { code, .. }) => code.starts_with("28"),
        // A handshake that failed for another reason would have failed for the right client, too.
        (trial, Outcome::TlsRefused { for_certificate, .. }) => {
            *for_certificate
                && matches!(trial, Trial::StrangersCertificate | Trial::OthersCertificate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_refusal_of_this_login_counts() {
        let refused = |code: &str| Outcome::Refused {
            asked: None,
            code: code.to_owned(),
            message: String::new(),
        };
        let tls = |for_certificate| Outcome::TlsRefused { reason: String::new(), for_certificate };
        assert!(is_refused(Trial::PlainText, &refused("28000")));
        // Too many connections; starting up.
        for code in ["53300", "57P03"] {
            assert!(!is_refused(Trial::PlainText, &refused(code)), "{code}");
            assert!(!is_refused(Trial::WrongPassword, &refused(code)), "{code}");
        }
        assert!(is_refused(Trial::StrangersCertificate, &tls(true)));
        assert!(!is_refused(Trial::StrangersCertificate, &tls(false)));
        assert!(!is_refused(Trial::WrongPassword, &tls(true)));
        assert!(!is_refused(Trial::PlainText, &Outcome::NoTls));
    }
}
