//! Password files: what `PQconnectStart` and `PQpass` made of them. The crate's own tests replay the
//! same way.

#[path = "../../../crates/passfile/tests/support/recorded.rs"]
mod recorded;

use serde_json::Value;

use super::Comparison;

pub(super) fn judge(case: &Value) -> Result<Vec<Comparison>, String> {
    let compared = recorded::judge(case)?;
    let comparison =
        |recorded::Comparison { major, expected, got }| Comparison { major, expected, got };
    Ok(compared.into_iter().map(comparison).collect())
}
