//! Plans of rotations that hold, and those that do not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{NOW, decade, root, year};
use pg_version::PgVersion;
use pki::{
    Authority, AuthorityOptions, Certificate, Conditions, End, Failure, Issued, KeyAlgorithm,
    Member, NewChains, Profile, Refused, Rotation, Step, StepKind, Subject, Validity, Verifier,
};

const VERIFIERS: [Verifier; 3] = [Verifier::OPENSSL_1_1_1, Verifier::OPENSSL_3_0, Verifier::WebPki];
const HOSTS: [&str; 2] = ["node1.example.com", "192.0.2.1"];

fn conditions() -> Conditions<'static> {
    Conditions {
        from: NOW,
        until: NOW + time::Duration::days(7),
        verifiers: &VERIFIERS,
        clients: &PgVersion::ALL,
    }
}

fn issue(authority: &Authority, hosts: &[&str], validity: Validity) -> Issued {
    let profile = Profile::node("replicator", hosts).unwrap();
    authority.issue(KeyAlgorithm::EcdsaP256, &profile, validity).unwrap()
}

fn member(name: &str, trust: &[&Certificate], chain: &[Certificate]) -> Member {
    Member {
        name: name.to_owned(),
        hosts: HOSTS.map(str::to_owned).to_vec(),
        trust: trust.iter().map(|one| (*one).clone()).collect(),
        server: Some(chain.to_vec()),
        client: Some(chain.to_vec()),
    }
}

fn new_chains(chain: &[Certificate]) -> NewChains {
    NewChains { server: Some(chain.to_vec()), client: Some(chain.to_vec()) }
}

/// A plan for two nodes that get certificates of `new` in place of those of `old`.
fn plan(old: &Authority, new: &Authority, new_hosts: &[&str], validity: Validity) -> Rotation {
    let members: Vec<Member> = ["node1", "node2"]
        .map(|name| member(name, &[old.certificate()], &issue(old, &HOSTS, year()).chain()))
        .to_vec();
    let chains: Vec<NewChains> =
        members.iter().map(|_| new_chains(&issue(new, new_hosts, validity).chain())).collect();
    Rotation::plan(&members, &[new.root().clone()], &chains).unwrap()
}

fn kinds(rotation: &Rotation) -> Vec<StepKind> {
    rotation.steps().iter().map(|step| step.kind).collect()
}

#[test]
fn an_authority_changes_in_three_steps() {
    let (old, new) = (root("old"), root("new"));
    let rotation = plan(&old, &new, &HOSTS, year());
    let all = [StepKind::TrustBoth, StepKind::NewCertificates, StepKind::DropOld];
    assert_eq!(kinds(&rotation), all);
    // Three steps, four mixtures of before and behind, two clients, two servers, two moments, three
    // verifiers.
    assert_eq!(rotation.prove(&conditions()).unwrap().connections, 3 * 4 * 4 * 2 * 3);
}

#[test]
fn an_authority_of_the_same_name_changes_too() {
    let rotation = plan(&root("root"), &root("root"), &HOSTS, year());
    rotation.prove(&conditions()).unwrap();
}

#[test]
fn an_intermediate_changes_under_its_root_in_one_step() {
    let root = root("root");
    let below = |name: &str| {
        let options = AuthorityOptions::default();
        let subject = Subject::common_name(name);
        root.intermediate(KeyAlgorithm::EcdsaP256, &subject, decade(), &options).unwrap()
    };
    let rotation = plan_under(&root, &below("first"), &below("second"));
    assert_eq!(kinds(&rotation), [StepKind::NewCertificates]);
    rotation.prove(&conditions()).unwrap();
    // A renewed root of the same key needs no new certificates.
    let renewed = root.renew(Validity::days(decade().not_before, 3000)).unwrap();
    let members = [member("node1", &[root.certificate()], &issue(&root, &HOSTS, year()).chain())];
    let rotation =
        Rotation::plan(&members, &[renewed.certificate().clone()], &[NewChains::default()])
            .unwrap();
    assert_eq!(kinds(&rotation), [StepKind::TrustBoth, StepKind::DropOld]);
    rotation.prove(&conditions()).unwrap();
}

fn plan_under(root: &Authority, old: &Authority, new: &Authority) -> Rotation {
    let members = [member("node1", &[root.certificate()], &issue(old, &HOSTS, year()).chain())];
    let chains = [new_chains(&issue(new, &HOSTS, year()).chain())];
    Rotation::plan(&members, &[root.certificate().clone()], &chains).unwrap()
}

/// The steps of `rotation` in another order, each from where the one before it has led.
fn in_order(rotation: &Rotation, order: &[StepKind]) -> Rotation {
    let mut state = rotation.steps()[0].before.clone();
    let steps = order.iter().map(|kind| {
        let before = state.clone();
        let goal = &rotation.steps().iter().find(|step| step.kind == *kind).unwrap().after;
        for (member, goal) in state.iter_mut().zip(goal) {
            match kind {
                StepKind::NewCertificates => {
                    member.server.clone_from(&goal.server);
                    member.client.clone_from(&goal.client);
                }
                _ => member.trust.clone_from(&goal.trust),
            }
        }
        Step { kind: *kind, before, after: state.clone() }
    });
    Rotation::from_steps(steps.collect())
}

fn failure(rotation: &Rotation) -> Failure {
    rotation.prove(&conditions()).unwrap_err()
}

fn assert_says(failure: &Failure, words: &str) {
    assert_eq!(failure.to_string(), words);
}

#[test]
fn shortcuts_are_refused() {
    let (old, new) = (root("old"), root("new"));
    let rotation = plan(&old, &new, &HOSTS, year());
    let (certificates, drop_old) = (StepKind::NewCertificates, StepKind::DropOld);
    let hasty = failure(&in_order(&rotation, &[certificates, drop_old]));
    assert_says(
        &hasty,
        "in step 1 (present the new certificates), node1 (behind the step) cannot connect to node1 \
         (before the step): the server refuses, the certificate of CN=replicator has an issuer whose \
         certificate is neither presented nor trusted",
    );
    let dropped = failure(&in_order(&rotation, &[drop_old, certificates]));
    assert_says(
        &dropped,
        "in step 1 (trust the new authority only), node1 (behind the step) cannot connect to node1 \
         (before the step): the client refuses, the certificate of CN=replicator has an issuer whose \
         certificate is neither presented nor trusted",
    );
    let early = failure(&in_order(&rotation, &[StepKind::TrustBoth, drop_old, certificates]));
    assert_eq!((early.step, early.kind, early.refused_by), (1, drop_old, End::Client));
}

#[test]
fn new_certificates_that_do_not_serve_are_refused() {
    let (old, new) = (root("old"), root("new"));
    let named = failure(&plan(&old, &new, &["node1.example.com"], year()));
    assert_says(
        &named,
        "in step 2 (present the new certificates), node1 (before the step) cannot connect to node1 \
         (behind the step): the client refuses, libpq 12: server certificate for \
         \"node1.example.com\" does not match host name \"192.0.2.1\"",
    );
    let short = Validity::days(year().not_before, 153);
    let over = failure(&plan(&old, &new, &HOSTS, short));
    assert_says(
        &over,
        "in step 2 (present the new certificates), node1 (behind the step) cannot connect to node1 \
         (before the step): the server refuses, the certificate of CN=replicator has expired: it was \
         valid until 2026-06-03 00:00:00 UTC",
    );
    // The names of one libpq only.
    let mut only_new = plan(&old, &new, &HOSTS, year());
    only_new.prove(&Conditions { clients: &[PgVersion::V18], ..conditions() }).unwrap();
    let mut steps = only_new.steps().to_vec();
    for member in steps.iter_mut().flat_map(|step| step.before.iter_mut().chain(&mut step.after)) {
        member.hosts.push("0xc0000201".to_owned());
    }
    only_new = Rotation::from_steps(steps);
    only_new.prove(&Conditions { clients: &[PgVersion::V18], ..conditions() }).unwrap();
    assert!(matches!(*failure(&only_new).refusal, Refused::Host(PgVersion::V12, _)));
}

#[test]
fn an_authority_without_a_revocation_list_is_refused_where_there_are_lists() {
    let (old, new) = (root("old"), root("new"));
    let rotation = plan(&old, &new, &HOSTS, year());
    let list = |authority: &Authority| authority.revoke(&[], 1, Validity::days(NOW, 30)).unwrap();
    let (of_old, of_new) = (list(&old), list(&new));
    rotation.prove_with_crls(&conditions(), &[of_old.clone(), of_new]).unwrap();
    let failed = rotation.prove_with_crls(&conditions(), &[of_old]).unwrap_err();
    assert_says(
        &failed,
        "in step 2 (present the new certificates), node1 (behind the step) cannot connect to node1 \
         (before the step): the server refuses, the certificate of CN=replicator has an issuer whose \
         revocation list is not there",
    );
}
