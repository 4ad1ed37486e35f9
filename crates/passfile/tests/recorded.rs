//! Every recorded verdict of libpq 12 to 18.

#[path = "support/recorded.rs"]
mod recorded;

use std::io::{BufRead as _, BufReader};

use flate2::read::GzDecoder;

#[test]
fn all_agree() {
    let data = GzDecoder::new(&include_bytes!("data/libpq.jsonl.gz")[..]);
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in BufReader::new(data).lines() {
        let case: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        for comparison in recorded::judge(&case).unwrap() {
            compared += 1;
            if comparison.expected != comparison.got {
                let recorded::Comparison { major, expected, got } = comparison;
                wrong.push(format!("{} [{major}]: {got} instead of {expected}", case["id"]));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(compared, 189 * 8);
}
