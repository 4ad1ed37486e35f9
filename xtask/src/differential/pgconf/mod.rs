//! The crate `pgconf` against live servers.

pub(super) mod edits;
pub(super) mod files;
mod generate;
mod server;
pub(super) mod values;

use super::{Options, Random};

/// Settings whose values only a running server can judge: its time zones, locales, roles, tables,
/// its stack, what it was built with, and what other settings are at that moment.
const ONLY_A_SERVER_KNOWS: [&str; 29] = [
    "autovacuum_max_workers",
    "bonjour",
    "client_encoding",
    "debug_io_direct",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "icu_validation_level",
    "jit_provider",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_timezone",
    "max_connections",
    "max_stack_depth",
    "max_wal_senders",
    "max_worker_processes",
    "recovery_target_time",
    "recovery_target_timeline",
    "role",
    "session_authorization",
    "temp_buffers",
    "temp_tablespaces",
    "timezone",
    "timezone_abbreviations",
    "xmloption",
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
