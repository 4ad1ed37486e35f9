//! Settings: what the links need of the server's configuration.

use crate::{
    conninfo::ConnInfo,
    demand::Demand,
    inspect::NodeState,
    topology::Link,
    verify::{code::Code, finding::Finding},
};

/// Settings that decide about who gets in and how links work, and that only a start takes.
const AT_START: [&str; 12] = [
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "max_connections",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "port",
    "unix_socket_directories",
    "wal_level",
];

pub(super) fn check(state: &NodeState, demand: &Demand, findings: &mut Vec<Finding>) {
    let mut find = |code, what: String| findings.push(Finding::error(code, &state.name, what));
    for (file, message) in &state.configuration_errors {
        find(Code::ReloadRefused, format!("{file}: {message}"));
    }
    if let Some(file) = &state.changed_since_reload {
        find(
            Code::NotReloaded,
            format!("{file} was changed after the server last read its configuration"),
        );
    }
    for name in state.pending_restart.iter().filter(|name| AT_START.contains(&name.as_str())) {
        find(
            Code::NotReloaded,
            format!(
                "{name} has another value from the server's next start on: look at what it will be, and \
                 restart, or take it back"
            ),
        );
    }
    for name in &demand.above_zero {
        if state.setting(name) == "0" {
            find(
                Code::OtherSetting,
                format!("{name} is 0: links need it above 0, which takes a restart"),
            );
        }
    }
    for (name, wanted) in &demand.settings {
        let value = state.setting(name);
        if state.configuration.means(name, wanted) && value == wanted {
            continue;
        }
        let code = match *name {
            "ssl" => Code::SslOff,
            "ssl_ca_file" if value.is_empty() => Code::NoCaFile,
            _ => Code::OtherSetting,
        };
        if value != wanted {
            find(code, format!("{name} is \"{value}\", not \"{wanted}\""));
        } else {
            find(
                code,
                format!(
                    "{name} is \"{value}\" now, but the files say otherwise: not after a restart"
                ),
            );
        }
    }
}

/// Versions of TLS that both ends may speak.
const VERSIONS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// What a link that has its session by now would not agree about the next time.
pub(super) fn check_speaking(
    state: &NodeState,
    links: &[(Link, ConnInfo)],
    findings: &mut Vec<Finding>,
) {
    let place = |name: &str| VERSIONS.iter().position(|version| *version == name);
    let server = |name| place(state.setting(name));
    for (link, wanted) in links {
        let client = |name| wanted.get(name).and_then(place);
        let clash = |least: Option<usize>, most: Option<usize>| {
            least.zip(most).filter(|(least, most)| most < least).map(|(least, _)| VERSIONS[least])
        };
        let too_old = clash(server("ssl_min_protocol_version"), client("ssl_max_protocol_version"));
        let too_new = clash(client("ssl_min_protocol_version"), server("ssl_max_protocol_version"));
        let words = [
            too_old.map(|least| format!("the server speaks {least} at least, and the link less")),
            too_new.map(|least| format!("the link speaks {least} at least, and the server less")),
        ];
        findings.extend(words.into_iter().flatten().map(|what| {
            let what = format!(
                "{}: {what} (ssl_min_protocol_version, ssl_max_protocol_version)",
                link.name
            );
            Finding::error(Code::OtherSetting, &state.name, what).of_link(&link.from, &link.to)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    #[test]
    fn ends_that_speak_no_common_version_are_told() -> Result<(), Box<dyn std::error::Error>> {
        for (least, most, link, words) in [
            ("TLSv1.2", "", "", ""),
            ("TLSv1.3", "", "ssl_max_protocol_version=TLSv1.3", ""),
            (
                "TLSv1.3",
                "",
                "ssl_max_protocol_version=TLSv1.2",
                "the server speaks TLSv1.3 at least",
            ),
            (
                "TLSv1",
                "TLSv1.2",
                "ssl_min_protocol_version=TLSv1.3",
                "the link speaks TLSv1.3 at least",
            ),
        ] {
            let mut state = sample::node(b"", &[]);
            for (name, value) in
                [("ssl_min_protocol_version", least), ("ssl_max_protocol_version", most)]
            {
                sample::set(&mut state, name, value);
            }
            let mut findings = Vec::new();
            let links = [(sample::link("m", "n"), link.parse()?)];
            check_speaking(&state, &links, &mut findings);
            assert_eq!(findings.len(), usize::from(!words.is_empty()), "{findings:?}");
            assert!(findings.iter().all(|found| found.what.contains(words)), "{findings:?}");
        }
        Ok(())
    }

    #[test]
    fn what_a_start_would_change_is_told() {
        let mut state = sample::node(b"", &[]);
        state.pending_restart = vec!["hba_file".to_owned(), "shared_buffers".to_owned()];
        let mut findings = Vec::new();
        check(&state, &Demand::default(), &mut findings);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].what.starts_with("hba_file has another value"), "{findings:?}");
    }
}
