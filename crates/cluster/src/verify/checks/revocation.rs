//! Revocation lists of the servers: would they still let the links in? pgward makes none; where a server has
//! one, it asks for one of every authority, and takes nobody when its time is over.

use pki::{Certificate, Check, Crl, Purpose};
use time::OffsetDateTime;

use super::certificates::WARN_DAYS;
use crate::{
    conninfo::ConnInfo,
    inspect::NodeState,
    topology::{Cluster, Demands, Link},
    verify::{code::Code, finding::Finding},
};

pub(super) fn check(
    cluster: &Cluster<'_>,
    demands: &Demands,
    links: &[(Link, ConnInfo)],
    state: &NodeState,
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let folder = state.setting("ssl_crl_dir");
    if !folder.is_empty() {
        let what = format!(
            "ssl_crl_dir is \"{folder}\": whether the lists there let the links in is not looked at"
        );
        findings.push(Finding::warning(Code::OtherSetting, &state.name, what));
    }
    let file = state.setting("ssl_crl_file");
    if file.is_empty() {
        return;
    }
    let lists = match state.file(&state.in_data_directory(file)) {
        Some(found) => Crl::all_from_pem(&found.bytes).map_err(|error| error.to_string()),
        None => Err("it is not there".to_owned()),
    };
    let lists = match lists {
        Ok(lists) => lists,
        Err(error) => {
            let what = format!("ssl_crl_file is \"{file}\": {error}");
            findings.push(Finding::error(Code::OtherSetting, &state.name, what));
            return;
        }
    };
    for (list, end) in lists.iter().filter_map(|list| Some((list, list.next_update()?))) {
        let days = (end - now).whole_days();
        if days < i64::from(WARN_DAYS) {
            let what = format!(
                "the revocation list of {} in {file} ends on {}, in {days} days: after that no link logs in",
                list.issuer(),
                end.date()
            );
            findings.push(Finding::warning(Code::EndsSoon, &state.name, what));
        }
    }
    let read = |state: &NodeState, path: &std::path::Path| -> Vec<Certificate> {
        let file = state.file(&state.in_data_directory(path));
        file.and_then(|file| Certificate::all_from_pem(&file.bytes).ok()).unwrap_or_default()
    };
    let trust = read(state, state.setting("ssl_ca_file").as_ref());
    for (link, wanted) in links.iter().filter(|(link, _)| link.from != link.to) {
        let place = || {
            let (from, demand) = (cluster.state(&link.from)?, demands.get(&*link.from)?);
            let role = wanted.get("user")?;
            let client = demand.clients.iter().find(|client| client.role == role)?;
            Some((from, client.pair.certificate.as_path()))
        };
        let Some((from, certificate)) = place() else { continue };
        let chain = read(from, certificate);
        let check = Check::new(&chain, &trust, Purpose::Client, now);
        // What is wrong without the lists has been said.
        if chain.is_empty() || check.run().is_err() {
            continue;
        }
        if let Err(rejection) = check.crls(&lists).run() {
            let what = format!("{}, by {file}: {rejection}", link.name);
            let finding = Finding::error(Code::CertificateRefused, &state.name, what);
            findings.push(finding.of_link(&link.from, &link.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use pki::{Authority, KeyAlgorithm, Profile, Revocation, RevocationReason, Subject, Validity};

    use super::*;
    use crate::{
        demand::{ClientPlace, Demand, PairPlace},
        inspect::sample,
    };

    #[test]
    fn lists_that_shut_links_out_are_told() -> Result<(), Box<dyn std::error::Error>> {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000)?;
        let validity = Validity::days(now, 300);
        let authority =
            Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("ca"), validity)?;
        let client =
            authority.issue(KeyAlgorithm::EcdsaP256, &Profile::client("repl"), validity)?;
        let revocation = Revocation {
            serial: client.certificate.serial().to_vec(),
            since: now,
            reason: RevocationReason::Superseded,
        };
        let begin = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"";
        let spec = sample::spec(begin, &[("n", "10.0.0.1", 5432), ("m", "10.0.0.1", 5433)])?;
        let links = [(sample::link("m", "n"), "user=repl".parse()?)];
        let pair = PairPlace::new("client.crt", "client.key");
        let clients = vec![ClientPlace { role: "repl".to_owned(), pair }];
        let demands = Demands::from([("m".to_owned(), Demand { clients, ..Demand::default() })]);
        let told = |list: Option<&str>| -> Vec<(Code, String)> {
            let mut states = ["n", "m"].map(|name| {
                let mut state = sample::node(b"", &[]);
                state.name = name.to_owned();
                let root = authority.root().to_pem();
                sample::put(&mut state, "/d/root.crt", Some(sample::file(root.as_bytes())));
                let client = client.certificate.to_pem();
                sample::put(&mut state, "/d/client.crt", Some(sample::file(client.as_bytes())));
                state
            });
            for (name, value) in [("ssl_ca_file", "root.crt"), ("ssl_crl_file", "root.crl")] {
                sample::set(&mut states[0], name, value);
            }
            let file = list.map(|list| sample::file(list.as_bytes()));
            sample::put(&mut states[0], "/d/root.crl", file);
            let cluster = Cluster::new(&spec, &states, &[]);
            let mut findings = Vec::new();
            check(&cluster, &demands, &links, &states[0], now, &mut findings);
            findings.into_iter().map(|found| (found.code, found.what)).collect()
        };
        let list = |revocations: &[Revocation], days| {
            authority.revoke(revocations, 1, Validity::days(now, days)).map(|list| list.to_pem())
        };
        assert_eq!(told(Some(&list(&[], 100)?)), []);
        let soon = told(Some(&list(&[], 7)?));
        assert!(soon.len() == 1 && soon[0].0 == Code::EndsSoon, "{soon:?}");
        let revoked = told(Some(&list(&[revocation], 100)?));
        assert!(revoked.len() == 1 && revoked[0].0 == Code::CertificateRefused, "{revoked:?}");
        let others =
            Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("b"), validity)?;
        let others = others.revoke(&[], 1, Validity::days(now, 100))?.to_pem();
        let uncovered = told(Some(&others));
        assert!(
            uncovered.len() == 1 && uncovered[0].0 == Code::CertificateRefused,
            "{uncovered:?}"
        );
        let missing = told(None);
        assert!(missing.len() == 1 && missing[0].0 == Code::OtherSetting, "{missing:?}");
        Ok(())
    }
}
