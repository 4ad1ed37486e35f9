//! A secured cluster that is put into wrong states, one after another, and mended in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cluster::{
    spec::ClusterSpec,
    verify::{self, Code, Options, Severity, Verification},
};
use time::OffsetDateTime;

use crate::Outcome;
use standin::{Ca, Node, secured};

/// A secured cluster.
pub(crate) struct Bench {
    pub(crate) spec: ClusterSpec,
    pub(crate) nodes: Vec<Arc<Node>>,
    found: BTreeMap<PathBuf, Kept>,
    report: String,
    _folder: tempfile::TempDir,
}

struct Kept {
    bytes: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

/// Something that is done to the nodes.
pub(crate) type Deed<'a> = &'a dyn Fn() -> standin::Result;

/// Nothing to do.
pub(crate) fn nothing() -> standin::Result {
    Ok(())
}

impl Bench {
    /// Secures the cluster of a description. `folder` holds its secrets.
    pub(crate) async fn secure(
        spec: ClusterSpec,
        nodes: Vec<Arc<Node>>,
        folder: tempfile::TempDir,
    ) -> Outcome<Self> {
        secured::secure(&spec).await?;
        let mut bench =
            Self { spec, nodes, found: BTreeMap::new(), report: String::new(), _folder: folder };
        bench.until_proved().await?;
        bench.found = bench.files()?;
        Ok(bench)
    }

    /// The authority of the cluster, for openssl.
    pub(crate) fn authority(&self) -> standin::Result<Ca> {
        Ca::load(&self.spec.secrets.join("ca.crt"), &self.spec.secrets.join("ca.key"))
    }

    /// Makes a wrong state, sees that verification names it with these codes, and mends it: every file
    /// becomes what it was, the servers read them, and `mend` does the rest.
    pub(crate) async fn wrong(
        &mut self,
        name: &str,
        codes: &[Code],
        make: Deed<'_>,
        mend: Deed<'_>,
    ) -> Outcome {
        make()?;
        let verification = secured::look(&self.spec).await?;
        self.judge(name, codes, &verification);
        self.restore()?;
        mend()?;
        self.until_proved().await
    }

    /// What verification says at another time.
    pub(crate) async fn at(&mut self, name: &str, codes: &[Code], now: OffsetDateTime) -> Outcome {
        let nodes = secured::nodes(&self.spec);
        let verification = verify::verify_with(&self.spec, &nodes, now, Options::default()).await?;
        self.judge(name, codes, &verification);
        Ok(())
    }

    /// Sees that verification is red for these codes and notes its words.
    pub(crate) fn judge(&mut self, name: &str, codes: &[Code], verification: &Verification) {
        let found: BTreeSet<Code> = verification.findings.iter().map(|found| found.code).collect();
        let missing: Vec<&Code> = codes.iter().filter(|code| !found.contains(code)).collect();
        assert!(missing.is_empty(), "{name}: no {missing:?} in {:#?}", verification.findings);
        assert!(!verification.proved(), "{name} is green: {verification:#?}");
        let _ = writeln!(self.report, "\n== {name}");
        // In the order of what is shown: line numbers differ from machine to machine.
        let mut said = BTreeSet::new();
        for finding in verification.findings.iter().filter(|found| codes.contains(&found.code)) {
            let warning = finding.severity == Severity::Warning;
            let link = finding.link.as_ref().map(|(from, to)| format!(" {from} -> {to}"));
            let line = format!(
                "{} {}{}{}: {}",
                finding.code,
                if warning { "warning " } else { "" },
                finding.node,
                link.unwrap_or_default(),
                // What libpq and OpenSSL say of it is theirs.
                self.masked(finding.what.split(" (08001)").next().unwrap_or_default())
            );
            said.insert((warning, line));
        }
        for (_, line) in said {
            let _ = writeln!(self.report, "{line}");
        }
    }

    /// What was said of all wrong states.
    pub(crate) fn report(&self) -> &str {
        self.report.trim_start()
    }

    /// Without what is different in each run and on each machine.
    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for node in &self.nodes {
            let data = node.data_dir();
            let root = data.parent().map(|root| root.display().to_string()).unwrap_or_default();
            text = text.replace(&root, &format!("/{}", node.name()));
            text = text.replace(&node.address().to_string(), &format!("<{}>", node.name()));
            text = text.replace(&format!(":{}", node.port()), ":<port>");
        }
        let folder = self.spec.secrets.parent().map(|folder| folder.display().to_string());
        text = text.replace(&folder.unwrap_or_default(), "/pgward");
        without_numbers(&text)
    }

    /// Writes every file as it was found, removes what has come, and has the servers read them.
    fn restore(&self) -> Outcome {
        let now = self.files()?;
        for path in now.keys().filter(|path| !self.found.contains_key(*path)) {
            fs::remove_file(path)?;
        }
        for (path, kept) in &self.found {
            let there = now.get(path);
            let same = there.is_some_and(|there| {
                (&there.bytes, there.mode, there.owner) == (&kept.bytes, kept.mode, kept.owner)
            });
            if !same {
                fs::write(path, &kept.bytes)?;
                fs::set_permissions(path, fs::Permissions::from_mode(kept.mode))?;
                chown(path, Some(kept.owner.0), Some(kept.owner.1))?;
            }
        }
        for node in &self.nodes {
            node.reload()?;
        }
        Ok(())
    }

    /// Links come back when they come back.
    async fn until_proved(&self) -> Outcome {
        let deadline = tokio::time::Instant::now() + standin::PATIENCE;
        loop {
            let verification = secured::look(&self.spec).await?;
            if verification.proved() {
                return Ok(());
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "the cluster is not proved: {verification:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every file that a person may change.
    fn files(&self) -> Outcome<BTreeMap<PathBuf, Kept>> {
        let mut files = BTreeMap::new();
        for node in &self.nodes {
            let data = node.data_dir();
            for folder in [data.clone(), data.join("timescaledb/certs"), node.home_dir()] {
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path.is_file() && is_a_persons(&path) {
                        let metadata = entry.metadata()?;
                        let kept = Kept {
                            bytes: fs::read(&path)?,
                            mode: metadata.mode() & 0o7777,
                            owner: (metadata.uid(), metadata.gid()),
                        };
                        files.insert(path, kept);
                    }
                }
            }
        }
        Ok(files)
    }
}

fn is_a_persons(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".conf", ".crt", ".key", "pass", "passfile"].iter().any(|end| name.ends_with(end))
}

/// Times and numbers of lines and processes as letters.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = ["line ", "(process "].into_iter().find(|word| rest.starts_with(word));
        if let Some((word, number)) = word.and_then(|word| Some((word, rest.strip_prefix(word)?))) {
            out.push_str(word);
            out.push('N');
            rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if is_date(rest) {
            out.push_str("TIME");
            let of_time = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
            let end = rest[11..].find(|c| !of_time(c)).map_or(rest.len(), |end| 11 + end);
            // A colon at the end is not the time's.
            rest = &rest[rest[..end].trim_end_matches(':').len()..];
            for zone in [" UTC", " +00:00:00"] {
                rest = rest.strip_prefix(zone).unwrap_or(rest);
            }
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    out
}

/// Whether a text begins with something like `2026-01-01 `.
fn is_date(text: &str) -> bool {
    let template = "dddd-dd-dd ";
    text.len() >= template.len()
        && text
            .bytes()
            .zip(template.bytes())
            .all(|(byte, like)| if like == b'd' { byte.is_ascii_digit() } else { byte == like })
}
