//! Proves the links of a cluster by its description, and says what is not as it should be.
//!
//! `cargo run -p cluster --example prove -- cluster.toml`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, path::Path};

use cluster::{reach, spec::ClusterSpec, verify};
use time::OffsetDateTime;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: prove DESCRIPTION")?;
    let path = Path::new(&path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let spec = ClusterSpec::from_toml(&std::fs::read_to_string(path)?, folder)?;

    // What keeps the ways to the nodes open (ssh, for one) is dropped with this.
    let reached = reach::reach(&spec).await?;
    let proof = verify::verify(&spec, &reached.nodes, OffsetDateTime::now_utc()).await?;
    for link in &proof.links {
        let method = link.method.as_deref().unwrap_or("unknown");
        let word = if link.proved() { "proved" } else { "NOT PROVED" };
        println!("{} -> {}: {} by {method}: {word}", link.from, link.to, link.user);
    }
    for finding in &proof.findings {
        println!("{} {}: {}", finding.code.id(), finding.node, finding.what);
        println!("  {}", finding.code.fix());
    }
    if proof.proved() { Ok(()) } else { Err("the cluster is not proved".into()) }
}
