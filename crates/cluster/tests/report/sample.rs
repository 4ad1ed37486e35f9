//! Verifications of clusters that there are not, of any size.

use std::net::Ipv4Addr;

use cluster::{
    spec::{Mode, TopologyKind},
    verify::{
        CertificatePurpose, CertificateTerm, Code, Control, Decision, Evidence, Finding, LinkProof,
        MethodSource, NodeSeen, Refusal, RuleSeen, ServerProof, Severity, Trial, Verification,
    },
};
use time::{Duration, OffsetDateTime};

/// What is fixed: a page of a sample is always the same.
fn at() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_783) + Duration::minutes(754)
}

pub(crate) fn name(index: usize) -> String {
    format!("node-{}", index + 1)
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(index + 1).unwrap_or(u8::MAX))
}

/// A cluster of so many nodes, of which every one is linked to every other, and all is proved.
pub(crate) fn mesh(count: usize) -> Verification {
    let mut verification = unlinked(count);
    for to in 0..count {
        for from in (0..count).filter(|from| *from != to) {
            verification.links.push(link(from, to));
        }
    }
    verification
}

/// A primary with its standbys.
pub(crate) fn star(count: usize) -> Verification {
    let mut verification = unlinked(count);
    verification.links = (1..count).map(|standby| link(standby, 0)).collect();
    verification
}

fn unlinked(count: usize) -> Verification {
    let nodes = (0..count).map(|index| NodeSeen {
        name: name(index),
        address: address(index).into(),
        port: 5432,
        server_version: Some("18.1 (Debian 18.1-1.pgdg12+1)".to_owned()),
    });
    Verification {
        at: at(),
        topology: TopologyKind::Native,
        mode: Mode::Cert,
        nodes: nodes.collect(),
        links: Vec::new(),
        servers: (0..count).map(server).collect(),
        controls: (0..count).map(control).collect(),
        refusals: (0..count).flat_map(refusals).collect(),
        decisions: (0..count).flat_map(decisions).collect(),
        certificates: std::iter::once(authority()).chain((0..count).flat_map(terms)).collect(),
        findings: Vec::new(),
    }
}

fn link(from: usize, to: usize) -> LinkProof {
    LinkProof {
        from: name(from),
        to: name(to),
        name: format!("from_{}", to + 1),
        user: "replicator".to_owned(),
        method: Some("cert".to_owned()),
        hba_file: Some("/var/lib/postgresql/18/main/pg_hba.conf".to_owned()),
        hba_line: Some(119),
        method_from: MethodSource::Log,
        tls: Some("TLSv1.3".to_owned()),
        cipher: Some("TLS_AES_256_GCM_SHA384".to_owned()),
        certificate: Some("/CN=replicator".to_owned()),
        replicating: true,
        session: Some(format!(
            "process {} since 2026-11-26 12:31:07 UTC: the replication slot from_{}",
            4000 + 50 * from + to,
            to + 1
        )),
        evidence: Some(
            "the server's log (stderr): connection authenticated: identity=\"CN=replicator\" \
             method=cert (/var/lib/postgresql/18/main/pg_hba.conf:119)"
                .to_owned(),
        ),
        missing: Vec::new(),
    }
}

fn server(index: usize) -> ServerProof {
    ServerProof {
        node: name(index),
        verified_as: vec![name(index), address(index).to_string()],
        subject: Some(format!("/CN={}", name(index))),
        days_left: Some(364),
        missing: Vec::new(),
    }
}

fn control(index: usize) -> Control {
    Control {
        node: name(index),
        role: "replicator".to_owned(),
        database: Some("app".to_owned()),
        from: address(0).into(),
        let_in: Some(true),
        answer: "let in".to_owned(),
        expected: true,
    }
}

fn refusals(index: usize) -> Vec<Refusal> {
    let refusal = |trial, answer: &str| Refusal {
        node: name(index),
        role: "replicator".to_owned(),
        database: Some("app".to_owned()),
        trial,
        refused: true,
        answer: answer.to_owned(),
        evidence: Evidence::Tried,
    };
    vec![
        refusal(
            Trial::PlainText,
            "pg_hba.conf rejects connection for host \"10.0.0.1\", user \"replicator\", database \
             \"app\", no encryption (28000)",
        ),
        refusal(Trial::StrangersCertificate, "TLS: received fatal alert: UnknownCA"),
        refusal(Trial::NoCertificate, "connection requires a valid client certificate (28000)"),
    ]
}

fn decisions(index: usize) -> Vec<Decision> {
    let rule = |line, text: &str, method: &str| {
        Some(RuleSeen {
            file: "/var/lib/postgresql/18/main/pg_hba.conf".to_owned(),
            line,
            method: method.to_owned(),
            text: text.to_owned(),
        })
    };
    let decision = |database: Option<&str>, line, databases| Decision {
        node: name(index),
        role: "replicator".to_owned(),
        database: database.map(str::to_owned),
        network: "10.0.0.0/24".parse().ok(),
        address: address(0).into(),
        wanted: "cert".to_owned(),
        over_tls: rule(line, &format!("hostssl {databases} replicator 10.0.0.0/24 cert"), "cert"),
        plain_text: rule(121, "host all,replication replicator all reject", "reject"),
        missing: Vec::new(),
    };
    vec![
        decision(Some("app"), 119, "all"),
        decision(Some("postgres"), 119, "all"),
        decision(None, 120, "replication"),
    ]
}

fn authority() -> CertificateTerm {
    CertificateTerm {
        node: "(this machine)".to_owned(),
        purpose: CertificatePurpose::Authority,
        role: None,
        file: "pgward-secrets/ca.crt".to_owned(),
        subject: "/CN=pgward cluster CA".to_owned(),
        issuer: "/CN=pgward cluster CA".to_owned(),
        not_before: at(),
        not_after: at() + Duration::days(3650),
        days_left: 3650,
    }
}

fn terms(index: usize) -> Vec<CertificateTerm> {
    let term = |purpose, role: Option<&str>, file: &str, subject: String| CertificateTerm {
        node: name(index),
        purpose,
        role: role.map(str::to_owned),
        file: format!("/var/lib/postgresql/18/main/pgward/{file}"),
        subject,
        ..CertificateTerm { not_after: at() + Duration::days(365), days_left: 364, ..authority() }
    };
    vec![
        term(CertificatePurpose::Server, None, "server.crt", format!("/CN={}", name(index))),
        term(
            CertificatePurpose::Client,
            Some("replicator"),
            "replicator.crt",
            "/CN=replicator".to_owned(),
        ),
    ]
}

/// Five nodes, of which much is not as it should be.
pub(crate) fn troubled() -> Verification {
    let mut verification = mesh(5);
    let error = |code, node: usize, link: Option<(usize, usize)>, what: &str| Finding {
        code,
        severity: Severity::Error,
        node: name(node),
        link: link.map(|(from, to)| (name(from), name(to))),
        what: what.to_owned(),
        detail: None,
    };
    let warning = |code, node, what: &str| Finding {
        severity: Severity::Warning,
        ..error(code, node, None, what)
    };
    verification.nodes[4].server_version = None;
    for link in &mut verification.links {
        let (from, to) = (link.from.clone(), link.to.clone());
        if to == name(4) {
            *link = LinkProof {
                method: None,
                hba_file: None,
                hba_line: None,
                method_from: MethodSource::Unknown,
                tls: None,
                cipher: None,
                certificate: None,
                replicating: false,
                session: None,
                evidence: None,
                missing: vec!["node node-5 cannot be asked about it".to_owned()],
                ..link.clone()
            };
        } else if (from, to) == (name(1), name(0)) {
            link.method = Some("trust".to_owned());
            link.tls = None;
            link.cipher = None;
            link.certificate = None;
            link.hba_line = Some(97);
            link.missing = [
                "the session has no TLS",
                "authenticated by trust, not by cert",
                "no client certificate was presented",
            ]
            .map(str::to_owned)
            .to_vec();
        }
    }
    verification.servers.pop();
    verification.controls.pop();
    verification.refusals.retain(|refusal| refusal.node != name(4));
    verification.decisions.retain(|decision| decision.node != name(4));
    verification.certificates.retain(|term| term.node != name(4));
    verification.servers[2].missing =
        vec!["as 10.0.0.3: the certificate is not valid for this name".to_owned()];
    verification.servers[2].verified_as.pop();
    verification.refusals[0].refused = false;
    verification.refusals[0].answer = "let in by trust".to_owned();
    verification.decisions[0].missing = vec![
        "line 97 of /var/lib/postgresql/18/main/pg_hba.conf (trust) decides, not cert".to_owned(),
    ];
    for (index, days) in [(2, 12), (4, -3)] {
        let term = &mut verification.certificates[index];
        term.days_left = days;
        term.not_after = at() + Duration::days(days);
    }
    verification.findings = vec![
        error(Code::NodeSilent, 4, None, "cannot connect to host=10.0.0.5 port=5432: Connection refused"),
        error(Code::OtherMethod, 0, Some((1, 0)), "from_1: authenticated by trust, not by cert"),
        error(Code::NoTls, 0, Some((1, 0)), "from_1: the session has no TLS"),
        error(Code::ServerUnproved, 2, None, "as 10.0.0.3: the certificate is not valid for this name"),
        error(
            Code::TrustOpen,
            0,
            None,
            "line 97, \"host all all 10.0.0.0/8 trust\" in /var/lib/postgresql/18/main/pg_hba.conf: \
             whoever is there is postgres",
        ),
        error(Code::NotRefused, 0, None, "replicator to database app, plain text: let in by trust"),
        error(
            Code::CertificateRefused,
            1,
            None,
            "/var/lib/postgresql/18/main/pgward/replicator.crt: it expired 3 days ago",
        ),
        warning(Code::EndsSoon, 0, "/var/lib/postgresql/18/main/pgward/replicator.crt: 12 days are left"),
        Finding {
            detail: Some(
                "--- pg_hba.conf\n+++ pg_hba.conf\n@@ -95,3 +95,4 @@\n # IPv4 local connections:\n\
                 +host    all             all             10.0.0.0/8            trust\n host    all \
                 all 127.0.0.1/32 scram-sha-256\n"
                    .to_owned(),
            ),
            ..warning(
                Code::Drifted,
                0,
                "/var/lib/postgresql/18/main/pg_hba.conf was changed: everybody from 10.0.0.0/8 is let \
                 in by trust",
            )
        },
    ];
    verification
}

/// What would do harm in a page that did not escape it.
pub(crate) const EVIL: &str =
    "</style></title><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;'\"";

/// Two nodes that say this wherever nodes can say something.
pub(crate) fn evil() -> Verification {
    let mut verification = mesh(2);
    let evil = || EVIL.to_owned();
    let two = |index: &str| format!("{index}{EVIL}");
    for node in &mut verification.nodes {
        node.name = two(&node.name);
        node.server_version = Some(evil());
    }
    for link in &mut verification.links {
        link.from = two(&link.from);
        link.to = two(&link.to);
        for text in [&mut link.name, &mut link.user] {
            *text = evil();
        }
        for text in [
            &mut link.method,
            &mut link.hba_file,
            &mut link.tls,
            &mut link.cipher,
            &mut link.certificate,
            &mut link.session,
            &mut link.evidence,
        ] {
            *text = Some(evil());
        }
    }
    verification.links[0].missing = vec![evil()];
    for server in &mut verification.servers {
        server.node = two(&server.node);
        server.subject = Some(evil());
        server.verified_as = vec![evil()];
        server.missing = vec![evil()];
    }
    for control in &mut verification.controls {
        control.node = two(&control.node);
        control.role = evil();
        control.database = Some(evil());
        control.answer = evil();
    }
    for refusal in &mut verification.refusals {
        refusal.node = two(&refusal.node);
        refusal.role = evil();
        refusal.database = Some(evil());
        refusal.answer = evil();
    }
    for decision in &mut verification.decisions {
        decision.node = two(&decision.node);
        decision.role = evil();
        decision.database = Some(evil());
        decision.missing = vec![evil()];
        for rule in [&mut decision.over_tls, &mut decision.plain_text].into_iter().flatten() {
            rule.file = evil();
            rule.text = evil();
        }
    }
    for term in &mut verification.certificates {
        term.node = two(&term.node);
        term.role = term.role.as_ref().map(|_| evil());
        term.file = evil();
        term.subject = evil();
        term.issuer = evil();
    }
    let (from, to) = (verification.nodes[0].name.clone(), verification.nodes[1].name.clone());
    verification.findings.push(Finding {
        code: Code::OtherMethod,
        severity: Severity::Error,
        node: from.clone(),
        link: Some((from, to)),
        what: evil(),
        detail: Some(evil()),
    });
    verification
}
