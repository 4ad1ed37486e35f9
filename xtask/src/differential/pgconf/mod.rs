//! The crate `pgconf` against live servers.

mod cases;
pub(super) mod edits;
pub(super) mod files;
mod generate;
mod server;
pub(super) mod starts;
pub(super) mod values;

use super::{Options, Random};

/// Settings whose values only a running server can judge: its locales, roles, tables, and what other
/// settings are at that moment. (Times can be said in too many ways to be read here.)
const ONLY_A_SERVER_KNOWS: [&str; 17] = [
    "autovacuum_max_workers",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "max_connections",
    "max_wal_senders",
    "max_worker_processes",
    "recovery_target_time",
    "role",
    "session_authorization",
    "temp_tablespaces",
];

fn only_a_server_knows(name: &str) -> bool {
    ONLY_A_SERVER_KNOWS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The random numbers of one case, so that it can be made again alone.
fn random(options: &Options, case: usize) -> Random {
    let mut random = Random::new(options.seed);
    let start = random.next() ^ u64::try_from(case).unwrap_or_default();
    Random::new(start.wrapping_mul(0x2545_f491_4f6c_dd1d))
}
