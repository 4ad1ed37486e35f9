//! The sets `hba`, `ident`, `hba-decisions` and `ident-decisions`: the judges that the crate's own
//! tests use on the record that is checked in.

#[path = "../../../crates/hba-parser/tests/recorded/judge.rs"]
mod judge;

pub(super) use self::judge::{hba, hba_decisions, ident, ident_decisions};
