//! Judges recorded logins over TLS: would our client have bound the channel where libpq did?
//!
//! Shared with the workspace's replay of verdicts (`xtask/src/replay/scram.rs`), which knows other
//! certificates.

use std::{fs, path::Path};

use scram::{Channel, Client, ClientError, Nonce, Password, Policy, client::NoChannelBinding};
use serde_json::Value;

/// What was recorded for one server, libpq and policy, and what our client does.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// `srv12/libpq18/prefer`
    pub(crate) key: String,
    pub(crate) recorded: &'static str,
    pub(crate) ours: &'static str,
}

const OK: &str = "OK";
const NO_DIGEST: &str = "no digest for the certificate's signature";

/// All verdicts of a case that say something of the certificate that it names. `certificates` is the
/// folder of certificates in DER, one of each kind of signature.
///
/// # Errors
/// What in the case is not understood.
pub(crate) fn judge(case: &Value, certificates: &Path) -> Result<Vec<Verdict>, String> {
    let name = case["certificate"].as_str().ok_or("no certificate")?;
    // "-all": the certificate's own key is of this kind, too, which makes no difference.
    let file = certificates.join(format!("{}.der", name.strip_suffix("-all").unwrap_or(name)));
    let certificate = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut verdicts = Vec::new();
    for (key, verdict) in case["results"].as_object().ok_or("no results")? {
        let verdict = verdict.as_str().ok_or_else(|| format!("{key} has no verdict"))?;
        let server = key.split('/').next().unwrap_or_default();
        // Verification of the chain comes before all that.
        if is_not_loaded(name, server) || verdict.contains("certificate verify failed") {
            continue;
        }
        let policy = match key.rsplit('/').next() {
            Some("prefer") => Policy::Prefer,
            Some("require") => Policy::Require,
            Some("disable") => Policy::Disable,
            _ => return Err(format!("{key} names no policy")),
        };
        let recorded = match verdict {
            "OK" => OK,
            _ if verdict.contains("could not find digest")
                || verdict.contains("could not determine server certificate signature") =>
            {
                NO_DIGEST
            }
            other => return Err(format!("{key}: unknown verdict {other}")),
        };
        let begun = Client::new(Password::new("pencil"))
            .channel(Channel::tls(&certificate))
            .channel_binding(policy)
            .begin(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], &Nonce::from_bytes(&[1; 18]));
        let ours = match begun {
            Ok(_) => OK,
            Err(ClientError::ChannelBinding(NoChannelBinding::EndPoint(_))) => NO_DIGEST,
            Err(error) => return Err(format!("{key}: {error}")),
        };
        verdicts.push(Verdict { key: key.clone(), recorded, ours });
    }
    Ok(verdicts)
}

/// A server that is given a certificate which its OpenSSL refuses goes on with the former one, and
/// what was recorded then is about that one. So it was for MD5 and for ECDSA with SHA-3 on all, and
/// for SHA-1 with OpenSSL 3, which 15 was built with.
fn is_not_loaded(certificate: &str, server: &str) -> bool {
    certificate.ends_with("-md5")
        || certificate.starts_with("ecdsa-sha3-")
        || (certificate.ends_with("-sha1") && server == "srv15")
}
