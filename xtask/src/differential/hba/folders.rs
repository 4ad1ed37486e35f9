//! pg_hba.conf, pg_ident.conf and files that they include, in random folders: rows of the views, and
//! what the server logs when it reads both at reload.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
};

use hba_parser::{DiskFiles, HbaDocument, IdentDocument, LogEntry, PgVersion, Server, Verdict};
use pgtest::Session;

use super::{
    super::{Options, Outcome, Random},
    ours, view,
};

/// The files of a case by their names in its folder.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// What servers have as `oauth_validator_libraries`.
const VALIDATORS: [&str; 2] = ["one", "two"];

struct Real {
    server: pgtest::Server,
    session: Session,
    ours: Server,
    folder: tempfile::TempDir,
}

/// What a server says of the files of a case, or we in its place.
#[derive(PartialEq, Eq)]
struct Answer {
    hba: String,
    ident: String,
    log: Vec<String>,
}

pub(in super::super) fn compare(options: &Options) -> Result<Outcome, String> {
    let mut servers = servers()?;
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    while outcome.compared < options.cases {
        let files = case(&mut random);
        outcome.compared += 1;
        for real in &mut servers {
            let Some(agrees) = real.agrees(&files)? else {
                outcome.explain("would take the server down (12 to 15: a circle of @files)");
                continue;
            };
            if !agrees && real.asks_stale_errno(&files) {
                outcome.explain(
                    "where include_if_exists is nested too deep: the server asks an errno that it has \
                     not set (hba.c, open_auth_file and tokenize_include_file)",
                );
            } else if !agrees {
                let smallest = real.shrink(files.clone())?;
                outcome.disagreements.push(real.tell(&smallest)?);
            }
        }
    }
    Ok(outcome)
}

fn servers() -> Result<Vec<Real>, String> {
    let text = |error: pgtest::Error| error.to_string();
    let mut servers = Vec::new();
    for installation in pgtest::find_all() {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut builder = pgtest::Server::builder(&installation)
            .setting("hba_file", path("pg_hba.conf"))
            .setting("ident_file", path("pg_ident.conf"))
            .setting("log_line_prefix", "")
            .setting("log_checkpoints", "off")
            .setting("autovacuum", "off");
        let mut ours = ours(&installation);
        if installation.version() >= PgVersion::V18 {
            builder = builder.setting("oauth_validator_libraries", VALIDATORS.join(","));
            ours = ours.with_oauth_validators(VALIDATORS);
        }
        fs::write(path("pg_hba.conf"), "local all all trust\n")
            .map_err(|error| error.to_string())?;
        fs::write(path("pg_ident.conf"), "").map_err(|error| error.to_string())?;
        let server = builder.start().map_err(text)?;
        let session = server.session().map_err(text)?;
        servers.push(Real { server, session, ours, folder });
    }
    Ok(servers)
}

impl Real {
    fn write(&self, files: &Files) -> Result<(), String> {
        let write = || {
            for entry in fs::read_dir(self.folder.path())? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            for (name, bytes) in files {
                let path = self.folder.path().join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(path, bytes)?;
            }
            Ok(())
        };
        write().map_err(|error: std::io::Error| error.to_string())
    }

    /// What we say; `None` if the server would not live to say anything.
    fn answer(&self, files: &Files) -> Option<Answer> {
        let path = |name: &str| self.folder.path().join(name).as_os_str().as_bytes().to_vec();
        let bytes = |name: &str| files.get(name).cloned().unwrap_or_default();
        let rules = HbaDocument::parse(bytes("pg_hba.conf"));
        let rules = rules.interpret_at(&path("pg_hba.conf"), &self.ours, &DiskFiles);
        let maps = IdentDocument::parse(bytes("pg_ident.conf"));
        let maps = maps.interpret_at(&path("pg_ident.conf"), &self.ours, &DiskFiles);
        let down = |verdict: &Verdict| matches!(verdict, Verdict::ServerDown(_));
        if down(rules.verdict()) || down(maps.verdict()) {
            return None;
        }
        let views = self.ours.version >= PgVersion::V15;
        Some(Answer {
            hba: view::hba_rows(&rules),
            ident: if views { view::ident_rows(&maps) } else { String::new() },
            log: lines(rules.reload_log()).chain(lines(maps.reload_log())).collect(),
        })
    }

    fn ask(&mut self) -> Result<Answer, String> {
        let failed = |error: pgtest::Error| error.to_string();
        let version = self.ours.version;
        let mut rows = |sql: &str| -> Result<String, String> {
            Ok(self.session.query(sql).map_err(failed)?.column().join("\n"))
        };
        let hba = rows(&view::hba_query(version))?;
        let views = version >= PgVersion::V15;
        let ident = if views { rows(&view::ident_query(version))? } else { String::new() };
        let since = fs::metadata(self.server.log_path()).map_err(|error| error.to_string())?.len();
        self.server.reload().map_err(failed)?;
        let log = fs::read(self.server.log_path()).map_err(|error| error.to_string())?;
        let log = log.get(usize::try_from(since).unwrap_or(usize::MAX)..).unwrap_or_default();
        // A line feed in a message is followed by a tab.
        let log = log.escape_ascii().to_string().replace("\\n\\t", "\\t");
        let log = log.split("\\n").map(str::to_owned);
        let said = log.skip_while(|line| !line.contains("received SIGHUP")).skip(1);
        Ok(Answer { hba, ident, log: said.filter(|line| !line.is_empty()).collect() })
    }

    fn agrees(&mut self, files: &Files) -> Result<Option<bool>, String> {
        self.write(files)?;
        let Some(ours) = self.answer(files) else { return Ok(None) };
        Ok(Some(self.ask()? == ours))
    }

    /// Whether a file that `include_if_exists` names would be the eleventh: that is refused, unless some
    /// other file was missing just before, and then it is skipped.
    fn asks_stale_errno(&self, files: &Files) -> bool {
        let has_it = |bytes: &Vec<u8>| bytes.windows(17).any(|bytes| bytes == b"include_if_exists");
        let too_deep = |line: &String| line.contains("maximum nesting depth exceeded");
        files.values().any(has_it)
            && self.answer(files).is_some_and(|ours| ours.log.iter().any(too_deep))
    }

    /// The fewest lines of the fewest files that still disagree.
    fn shrink(&mut self, mut files: Files) -> Result<Files, String> {
        for name in files.clone().into_keys() {
            let mut without = files.clone();
            without.remove(name);
            if !name.starts_with("pg_") && self.agrees(&without)? == Some(false) {
                files = without;
            }
        }
        for name in files.clone().into_keys() {
            let mut line = 0;
            loop {
                let mut fewer = files.clone();
                let Some(bytes) = fewer.get_mut(name) else { break };
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if line >= lines.len() {
                    break;
                }
                lines.remove(line);
                *bytes = lines.concat();
                if self.agrees(&fewer)? == Some(false) {
                    files = fewer;
                } else {
                    line += 1;
                }
            }
        }
        Ok(files)
    }

    fn tell(&mut self, files: &Files) -> Result<String, String> {
        self.write(files)?;
        let (theirs, ours) = (self.ask()?, self.answer(files));
        let show = |answer: Answer| {
            format!("view {}\n  maps {}\n  log {:#?}", answer.hba, answer.ident, answer.log)
        };
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| format!("  {name}: {}", bytes.escape_ascii()))
            .collect();
        Ok(format!(
            "PostgreSQL {}:\n{}\n  server {}\n  ours {}",
            self.server.installation().full_version(),
            files.join("\n"),
            show(theirs),
            ours.map_or_else(|| "the server goes down".to_owned(), show)
        ))
    }
}

/// A log as the server writes it, line by line.
fn lines(log: Vec<LogEntry>) -> impl Iterator<Item = String> {
    let line = |kind: &str, text: &[u8]| {
        let text = text.escape_ascii().to_string().replace("\\n", "\\t");
        format!("{kind}:  {text}")
    };
    log.into_iter().flat_map(move |entry| {
        let message = line("LOG", entry.message.as_bytes());
        let hint = entry.hint.map(|hint| line("HINT", hint.as_bytes()));
        let context = entry.context.map(|context| line("CONTEXT", context.as_bytes()));
        [Some(message), hint, context].into_iter().flatten()
    })
}

/// The names of files besides the two main ones.
const NAMES: &[&str] =
    &["a", "b", "c.conf", "d/x.conf", "d/y.conf", "d/10.conf", "d/.z.conf", "d/e/f.conf", "u v"];

/// Names in directives and behind an @: some are there, some are not.
const REFERENCES: &[&str] = &[
    "a",
    "b",
    "c.conf",
    "d/x.conf",
    "./a",
    "../nosuch/a",
    "d/../b",
    "d//y.conf",
    "\"u v\"",
    "a/x",
    "d",
    "nosuch",
    "/nosuch",
    "x.conf",
    "e/f.conf",
    "\"\"",
];

fn case(random: &mut Random) -> Files {
    let mut files = Files::new();
    for name in ["pg_hba.conf", "pg_ident.conf"] {
        files.insert(name, file(random, name == "pg_ident.conf", 6));
    }
    let maps = random.once_in(3);
    for name in NAMES {
        if !random.once_in(3) {
            files.insert(name, file(random, maps, 3));
        }
    }
    files
}

fn file(random: &mut Random, maps: bool, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(most + 1) {
        let kind = random.below(12);
        match kind {
            0 => directive(random, &mut out, "include"),
            1 => directive(random, &mut out, "include_if_exists"),
            2 => {
                let folder =
                    random.pick(&["d", ".", "d/e", "nosuch", "\"d\"", "a", "\"\"", "..", "d/"]);
                // The folder above is one of many of the machine.
                let folder = if folder == ".." { "d/.." } else { folder };
                out.extend_from_slice(format!("include_dir {folder}").as_bytes());
            }
            3 => {
                let (one, other) = (random.pick(REFERENCES), random.pick(REFERENCES));
                let text = if maps {
                    format!("m @{one} @{other}")
                } else {
                    format!("local @{one} x,@{other},y trust")
                };
                out.extend_from_slice(text.as_bytes());
            }
            4 => out.extend_from_slice(format!("@{}", random.pick(REFERENCES)).as_bytes()),
            5 => out.extend_from_slice(b"alice \"bob b\",carol +grp /^x"),
            _ if maps => out.extend_from_slice(super::lines::mapping(random).as_bytes()),
            6 => out.extend_from_slice(b"# comment \\"),
            _ => {
                out.extend_from_slice(&super::lines::case(random));
                continue;
            }
        }
        out.extend_from_slice(
            random.pick(&["\n", "\n", "\n", "\n", "\r\n", " # c\n", "\\\n", " x\n"]).as_bytes(),
        );
    }
    if random.once_in(8) {
        out.pop();
    }
    out
}

fn directive(random: &mut Random, out: &mut Vec<u8>, name: &str) {
    let file = random.pick(REFERENCES);
    let text = match random.below(12) {
        0 => format!("\"{name}\" {file}"),
        1 => format!("{name} {file},b"),
        2 => name.to_owned(),
        3 => format!("{name} @{file}"),
        4 => format!("{name} \\\n{file}"),
        _ => format!("{name} {file}"),
    };
    out.extend_from_slice(text.as_bytes());
}
