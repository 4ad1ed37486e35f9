//! Certificates and keys on the nodes' disks: would those who must verify them, and those who must
//! read them, take them?

use std::path::Path;

use pki::{
    Account, Certificate, Deployment, FileStatus, Finding as PkiFinding, KeyReader, PrivateKey,
    Purpose, Verifier, judge_key_file,
};
use time::OffsetDateTime;

use super::elsewhere;
use crate::{
    demand::{Demand, PairPlace},
    inspect::NodeState,
    verify::{code::Code, finding::Finding},
};

/// So many days before its end a certificate is worth a word.
pub(crate) const WARN_DAYS: u32 = 30;

pub(super) fn check(
    state: &NodeState,
    demand: &Demand,
    authority: Option<&Certificate>,
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let Some(root) = &demand.root else { return };
    let trust = check_root(state, root, authority, findings);
    if let Some(place) = &demand.server {
        let end = End { purpose: Purpose::Server, reader: KeyReader::Server, role: None };
        check_pair(state, place, &end, &trust, authority, now, findings);
    }
    for client in &demand.clients {
        let end =
            End { purpose: Purpose::Client, reader: KeyReader::Libpq, role: Some(&client.role) };
        check_pair(state, &client.pair, &end, &trust, authority, now, findings);
    }
}

/// The authorities that a node trusts.
fn check_root(
    state: &NodeState,
    root: &Path,
    authority: Option<&Certificate>,
    findings: &mut Vec<Finding>,
) -> Vec<Certificate> {
    let path = state.in_data_directory(root);
    let find = |code, what: String| Finding::error(code, &state.name, what);
    let Some(file) = state.file(&path) else {
        findings.push(find(Code::RootMissing, format!("{} is not there", path.display())));
        return Vec::new();
    };
    if !state.can_read(&path, file) {
        let what = format!("{} cannot be read by the server's user", path.display());
        findings.push(find(Code::RootMissing, what));
    }
    let trust = match Certificate::all_from_pem(&file.bytes) {
        Ok(trust) => trust,
        Err(error) => {
            findings.push(find(Code::OtherRoot, format!("{}: {error}", path.display())));
            return Vec::new();
        }
    };
    if let Some(authority) = authority {
        if !trust.contains(authority) {
            findings.push(find(
                Code::OtherRoot,
                format!("{} does not hold the cluster's authority", path.display()),
            ));
        } else if trust.len() > 1 {
            findings.push(find(
                Code::OtherRoot,
                format!("{} holds other authorities beside the cluster's", path.display()),
            ));
        }
    }
    trust
}

struct End<'a> {
    purpose: Purpose,
    reader: KeyReader,
    role: Option<&'a str>,
}

fn check_pair(
    state: &NodeState,
    place: &PairPlace,
    end: &End<'_>,
    trust: &[Certificate],
    authority: Option<&Certificate>,
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let find = |code, what: String| Finding::error(code, &state.name, what);
    let (certificate, key) =
        (state.in_data_directory(&place.certificate), state.in_data_directory(&place.key));
    let of = end.role.map_or(String::new(), |role| format!(" (role {role})"));
    let (mut chain, mut private) = (Vec::new(), None);
    for path in [&certificate, &key] {
        if state.file(path).is_none() {
            let other = elsewhere(state, path).map(|other| format!("; {} is", other.display()));
            let other = other.unwrap_or_default();
            let what = format!("{} is not there{of}{other}", path.display());
            findings.push(find(Code::CertificateMissing, what));
        }
    }
    if let Some(file) = state.file(&certificate) {
        if !state.can_read(&certificate, file) {
            let what = format!("{} cannot be read by the server's user{of}", certificate.display());
            findings.push(find(Code::CertificateRefused, what));
        }
        match Certificate::all_from_pem(&file.bytes) {
            Ok(read) if read.is_empty() => {
                let what = format!("{}: {}{of}", certificate.display(), PkiFinding::Empty);
                findings.push(find(Code::CertificateRefused, what));
            }
            Ok(read) => chain = read,
            Err(error) => findings.push(find(
                Code::CertificateRefused,
                format!("{}: {error}{of}", certificate.display()),
            )),
        }
    }
    if let Some(file) = state.file(&key) {
        let access = file.access;
        let status =
            FileStatus { uid: access.uid, gid: access.gid, mode: access.mode, regular: true };
        let gids = [state.owner.gid];
        let account = Account { uid: state.owner.uid, gids: &gids };
        if let Err(refusal) = judge_key_file(end.reader, status, account) {
            findings.push(find(Code::KeyRefused, format!("{} {refusal}{of}", key.display())));
        }
        match PrivateKey::from_pem(&file.bytes) {
            Ok(read) => private = Some(read),
            Err(error) => {
                findings.push(find(Code::KeyRefused, format!("{}: {error}{of}", key.display())));
            }
        }
    }
    if chain.is_empty() {
        return;
    }
    if let Some(role) = end.role
        && let Some(leaf) = chain.first()
        && leaf.subject().common_name().and_then(pki::Attribute::text).as_deref() != Some(role)
    {
        findings.push(find(
            Code::CertificateRefused,
            format!(
                "{}: its common name is not the role {role}: {}",
                certificate.display(),
                leaf.subject()
            ),
        ));
    }
    let deployment = Deployment {
        chain: &chain,
        key: private.as_ref(),
        trust,
        purpose: end.purpose,
        current_authority: authority,
    };
    let verifiers = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0];
    let mut said = Vec::new();
    for found in deployment.findings(now, &verifiers, WARN_DAYS) {
        let what = format!("{}: {found}{of}", certificate.display());
        if said.contains(&what) {
            continue;
        }
        match found {
            PkiFinding::EndsSoon { .. } => {
                findings.push(Finding::warning(Code::EndsSoon, &state.name, what.clone()));
            }
            PkiFinding::KeyMismatch { .. }
            | PkiFinding::Refused(..)
            | PkiFinding::NotOfCurrentAuthority { .. } => {
                findings.push(find(Code::CertificateRefused, what.clone()));
            }
            _ => continue,
        }
        said.push(what);
    }
}
