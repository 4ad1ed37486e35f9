//! What changes between majors, and what that means for a configuration.

use pg_version::PgVersion;
use pgconf::{Catalogue, Configuration, Difference, UpgradeIssue};
use textfile::MemoryFiles;

#[test]
fn differences_between_neighbours() {
    let mut text = String::new();
    for pair in PgVersion::ALL.windows(2) {
        let [from, to] = pair else { continue };
        text.push_str(&format!("{from} -> {to}\n"));
        for difference in Catalogue::new(*from).differences(*to) {
            let name = difference.name();
            text.push_str(&match difference {
                Difference::Added { setting } => {
                    format!("  + {name} ({})\n", setting.activation())
                }
                Difference::Removed { instead: Some(instead), .. } => {
                    format!("  - {name}: {instead}\n")
                }
                Difference::Removed { .. } => format!("  - {name}\n"),
                Difference::Renamed { to, .. } => format!("  {name} is {to}\n"),
                Difference::DefaultMoved { from, to, .. } => {
                    format!("  {name}: default {from:?} -> {to:?}\n")
                }
                Difference::KindChanged { from, to } => {
                    format!("  {name}: {:?} -> {:?}\n", from.kind(), to.kind())
                }
                Difference::ActivationChanged { from, to } => {
                    format!("  {name}: {} -> {}\n", from.activation(), to.activation())
                }
                other => format!("  {other:?}\n"),
            });
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_configuration_of_12_in_18() {
    let mut files = MemoryFiles::default();
    files.insert(
        "/pg/postgresql.conf",
        "wal_keep_segments = 64\nssl_ecdh_curve = 'prime256v1'\npassword_encryption = on\n\
         operator_precedence_warning = off\nwork_mem = 8MB\nmyapp.x = 1\nnosuch = 1\n\
         sort_mem = 1MB\nlog_connections = on\nvacuum_cost_page_miss = 10\n",
    );
    let conf = Configuration::read(&files, "/pg/postgresql.conf", None, PgVersion::V12);
    let findings = conf.upgrade(PgVersion::V18);
    let placed: Vec<_> = findings
        .iter()
        .filter_map(|finding| Some((finding.occurrence.as_ref()?.line, &finding.what)))
        .collect();
    assert_eq!(placed[0], (1, &UpgradeIssue::Gone { instead: Some("wal_keep_size") }));
    assert_eq!(placed[1], (2, &UpgradeIssue::OldName { to: "ssl_groups" }));
    assert!(matches!(placed[2], (3, UpgradeIssue::InvalidValue(_))));
    assert_eq!(placed[3], (4, &UpgradeIssue::Gone { instead: None }));
    assert_eq!(placed[4], (8, &UpgradeIssue::OldName { to: "work_mem" }));
    assert_eq!(placed.len(), 5);
    let moved: Vec<_> = findings
        .iter()
        .filter_map(|finding| match &finding.what {
            UpgradeIssue::DefaultMoved { name, .. } => Some(*name),
            _ => None,
        })
        .collect();
    assert!(moved.contains(&"log_checkpoints"), "{moved:?}");
    assert!(!moved.contains(&"vacuum_cost_page_miss"), "a file sets it");
    assert!(conf.upgrade(PgVersion::V12).iter().all(|finding| finding.occurrence.is_some()));
}
