//! Certificates: what servers said to clients' chains, what libpq said to servers' names, and the
//! cases of x509-limbo. The crate's own tests replay the first two in the same way.

#[path = "../../../crates/pki/tests/support/recorded.rs"]
mod recorded;

use serde_json::Value;

use super::Comparison;

fn compared(
    comparisons: Result<Vec<recorded::Comparison>, String>,
) -> Result<Vec<Comparison>, String> {
    let comparison =
        |recorded::Comparison { major, expected, got }| Comparison { major, expected, got };
    Ok(comparisons?.into_iter().map(comparison).collect())
}

pub(super) fn client_chains(case: &Value) -> Result<Vec<Comparison>, String> {
    compared(recorded::client_chain(case))
}

pub(super) fn host_names(case: &Value) -> Result<Vec<Comparison>, String> {
    compared(recorded::host_names(case))
}

pub(super) fn limbo(case: &Value) -> Result<Vec<Comparison>, String> {
    compared(recorded::limbo(case))
}
