//! What several tests need.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Read;
use std::path::Path;

use pki::{Authority, KeyAlgorithm, Subject, Validity};
use time::OffsetDateTime;
use time::macros::datetime;

/// The moment at which everything here happens, unless a test says otherwise.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// The validity of authorities.
pub(crate) fn decade() -> Validity {
    Validity::days(datetime!(2026-01-01 0:00 UTC), 3650)
}

/// The validity of leaves.
pub(crate) fn year() -> Validity {
    Validity::days(datetime!(2026-01-01 0:00 UTC), 365)
}

/// A root with a name.
pub(crate) fn root(name: &str) -> Authority {
    Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name(name), decade()).unwrap()
}

/// The lines of a recorded table.
pub(crate) fn table(name: &str) -> Vec<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
