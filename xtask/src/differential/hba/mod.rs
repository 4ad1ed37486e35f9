//! pg_hba.conf: random files, read by every server of this machine (`pg_hba_file_rules`) and by us.
//!
//! A case is a line, or a few physical ones; a file holds [`CASES_IN_A_FILE`] of them, so that what
//! one does to the next is seen, too. The view reads the file anew for each query: no reload is
//! needed. Disagreements that are known and explained stand in `exceptions.txt`; one that no
//! longer disagrees is a failure.

mod folders;
mod lines;
mod logins;
mod view;

use hba_parser::{Build, DiskFiles, HbaDocument, Server};
use pgtest::{Features, Session};

pub(super) use self::{folders::compare as compare_folders, logins::compare as compare_logins};
use super::{Options, Outcome, Random};

const CASES_IN_A_FILE: usize = 40;

/// Disagreements that are known: a line of the file is a case as it is shown, and behind a tab why.
const EXCEPTIONS: &str = include_str!("exceptions.txt");

struct Real {
    server: pgtest::Server,
    session: Session,
    ours: Server,
}

pub(super) fn compare(options: &Options) -> Result<Outcome, String> {
    let mut servers = servers()?;
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    let mut met: Vec<&str> = Vec::new();
    let known: Vec<(&str, &str)> = EXCEPTIONS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.split_once('\t'))
        .collect();
    while outcome.compared < options.cases {
        let count = CASES_IN_A_FILE.min(options.cases - outcome.compared);
        let cases: Vec<Vec<u8>> = (0..count).map(|_| lines::case(&mut random)).collect();
        outcome.compared += count;
        let file = cases.concat();
        for real in &mut servers {
            if real.agrees(&file)? {
                continue;
            }
            let smallest = real.shrink(cases.clone())?;
            let shown = smallest.escape_ascii().to_string();
            if let Some((case, _)) = known.iter().find(|(case, _)| *case == shown) {
                met.push(case);
                continue;
            }
            let (theirs, ours) = (real.ask(&smallest)?, real.answer(&smallest));
            let version = real.server.installation().full_version();
            outcome
                .disagreements
                .push(format!("PostgreSQL {version}: {shown}\n  server {theirs}\n  ours   {ours}"));
        }
    }
    for (case, _) in &known {
        let mut disagrees = met.contains(case);
        if !disagrees {
            let file = unescape(case)?;
            for real in &mut servers {
                disagrees |= !real.agrees(&file)?;
            }
        }
        if !disagrees {
            outcome.disagreements.push(format!("an exception that agrees: {case}"));
        }
    }
    Ok(outcome)
}

/// What `escape_ascii` made.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|error| error.to_string())?);
            }
            Some(other) => out.push(other),
            None => return Err(format!("no case: {text}")),
        }
    }
    Ok(out)
}

/// The server that we read files for, in the place of one of a build, with TLS off.
fn ours(installation: &pgtest::Installation) -> Server {
    let Features { ssl, gss, ldap, pam, .. } = installation.features();
    let mut build = Build::MINIMAL;
    (build.ssl, build.gss, build.ldap, build.pam) = (ssl, gss, ldap, pam);
    let mut ours = Server::new(installation.version()).with_build(build).with_ssl(false);
    // None of the names that cases have is one that DNS knows.
    ours.radius_names_resolve = false;
    ours
}

/// One server of each build of this machine.
fn servers() -> Result<Vec<Real>, String> {
    let text = |error: pgtest::Error| error.to_string();
    let mut servers = Vec::new();
    for installation in pgtest::find_all() {
        let server = pgtest::Server::builder(&installation).start().map_err(text)?;
        let session = server.session().map_err(text)?;
        servers.push(Real { server, session, ours: ours(&installation) });
    }
    Ok(servers)
}

impl Real {
    /// The rows of the view, one a line.
    fn ask(&mut self, file: &[u8]) -> Result<String, String> {
        self.server.write_file("pg_hba.conf", file, 0o600).map_err(|error| error.to_string())?;
        let rows = self.session.query(&view::hba_query(self.ours.version)).map_err(|error| {
            format!("PostgreSQL {}: {error}: {}", self.server.version(), file.escape_ascii())
        })?;
        Ok(rows.column().join("\n"))
    }

    fn answer(&self, file: &[u8]) -> String {
        let path = self.server.data_dir().join("pg_hba.conf");
        let path = path.as_os_str().as_encoded_bytes();
        let rules = HbaDocument::parse(file).interpret_at(path, &self.ours, &DiskFiles);
        view::hba_rows(&rules)
    }

    fn agrees(&mut self, file: &[u8]) -> Result<bool, String> {
        Ok(self.ask(file)? == self.answer(file))
    }

    /// The fewest cases that still disagree.
    fn shrink(&mut self, mut cases: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
        let mut index = 0;
        while index < cases.len() {
            let without: Vec<_> = [&cases[..index], &cases[index + 1..]].concat();
            if self.agrees(&without.concat())? {
                index += 1;
            } else {
                cases = without;
            }
        }
        Ok(cases.concat())
    }
}
