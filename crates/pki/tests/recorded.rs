//! What real servers and real libpqs said to certificates, against what is predicted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;
#[path = "support/recorded.rs"]
#[allow(dead_code, reason = "the part about x509-limbo serves its replay")]
mod recorded;

use common::table;
use recorded::Comparison;
use serde_json::Value;

fn replay(name: &str, judge: fn(&Value) -> Result<Vec<Comparison>, String>) -> usize {
    let mut compared = 0;
    for case in table(name) {
        let name = case["name"].as_str().or(case["certificate"].as_str()).unwrap().to_owned();
        for Comparison { major, expected, got } in judge(&case).unwrap() {
            assert_eq!(expected, got, "{name} [{major}]");
            compared += 1;
        }
    }
    compared
}

#[test]
fn servers_accept_and_refuse_client_chains_as_predicted() {
    assert_eq!(replay("client-chains.jsonl.gz", recorded::client_chain), 36 * 11);
}

#[test]
fn libpq_matches_host_names_as_predicted() {
    assert_eq!(replay("host-names.jsonl.gz", recorded::host_names), 18 * 15 * 7);
}
