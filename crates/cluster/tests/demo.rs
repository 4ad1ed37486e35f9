//! The demonstration as a person runs it: the program, on real servers.
#![cfg(feature = "demo")]

mod schema;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use cluster::conninfo::ConnInfo;
use pg_version::PgVersion;
use pgtest::{Installation, libpq::Libpq};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(60);

fn pgward(arguments: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgward"));
    command.arg("demo").args(arguments).env("TMPDIR", temporary);
    command
}

/// A folder that the servers' account may pass through. Its name is looked for in other processes'
/// arguments, so it is not a part of any other's.
fn temporary() -> std::io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::Builder::new().prefix("pgward-demo-").tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// The processes that have a text in their arguments, without those that nobody has reaped yet.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if !own && arguments.contains(text) {
            found.push(arguments);
        }
    }
    found
}

fn report(output: &Output) -> Result<Value, Box<dyn std::error::Error>> {
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {talk}"))?;
    schema::validate(&printed)?;
    Ok(printed["result"].clone())
}

fn list<'a>(report: &'a Value, path: &str) -> Vec<&'a Value> {
    report.pointer(path).and_then(Value::as_array).into_iter().flatten().collect()
}

/// Every major that is installed, in both modes: exit code 0 means that every link is proved.
#[test]
fn an_open_cluster_becomes_a_secure_one() -> Outcome {
    let majors: Vec<PgVersion> =
        pgtest::find_each_major()?.iter().map(Installation::version).collect();
    let reports = temporary()?;
    let page = reports.path().join("report.html").display().to_string();
    for version in majors {
        for mode in ["cert", "scram"] {
            let temporary = temporary()?;
            let major = version.to_string();
            let arguments = ["--mode", mode, "--pg", &major, "--format", "json", "--html", &page];
            let output = pgward(&arguments, temporary.path()).output()?;
            let report = report(&output)?;
            assert_eq!(output.status.code(), Some(0), "{version} {mode}: {report:#}");
            assert_eq!(report["proved"], true, "{version} {mode}");

            let links = list(&report, "/verification/links").len();
            let title = format!("<title>PROVED: {links} of {links} links, ");
            assert!(fs::read_to_string(&page)?.contains(&title), "{version} {mode}");

            // Below 16 there is one primary and its two subscribers, from 16 on a mesh.
            let links = list(&report, "/verification/links");
            assert_eq!(links.len(), if version >= PgVersion::V16 { 6 } else { 2 });
            for link in links {
                let method = if mode == "cert" { "cert" } else { "scram-sha-256" };
                assert_eq!(link["method"], method, "{version}");
                assert_eq!(link["replicating"], true, "{version}");
                assert!(link["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.")));
                let from = if version >= PgVersion::V14 { "log" } else { "rules" };
                assert_eq!(link["method-from"], from, "{version}");
            }
            let tried: BTreeSet<&str> = list(&report, "/verification/refusals")
                .iter()
                .filter(|refusal| refusal["refused"] == true)
                .filter_map(|refusal| refusal["trial"].as_str())
                .collect();
            let mut expected = BTreeSet::from(["plain-text", "strangers-certificate"]);
            expected.extend(match mode {
                "cert" => ["no-certificate", "others-certificate"],
                _ => ["no-password", "wrong-password"],
            });
            assert_eq!(tried, expected, "{version} {mode}");
            nothing_is_left(temporary.path())?;
        }
    }
    Ok(())
}

/// The watchdog of initdb's template ends a moment after the program that it watches.
fn nothing_is_left(temporary: &Path) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let folders: Vec<PathBuf> =
            fs::read_dir(temporary)?.flatten().map(|entry| entry.path()).collect();
        let processes = processes_with(&temporary.display().to_string());
        if folders.is_empty() && processes.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "left: {folders:?} {processes:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Ctrl-C in each phase: no server and no folder is left, and the exit code says why.
#[test]
fn an_interrupted_demonstration_leaves_nothing() -> Outcome {
    let phases = [
        "start the servers",
        "build the open cluster",
        "inspect",
        "plan",
        "apply",
        "verify",
        "write a row on each node",
    ];
    for phase in phases {
        let temporary = temporary()?;
        let mut child = pgward(&["--log-format", "json"], temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let talk = child.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(talk).lines();
        for line in lines.by_ref() {
            let told: Value = serde_json::from_str(&line?)?;
            if told["message"] == phase && told["state"] == "begun" {
                break;
            }
        }
        kill_process(Pid::from_child(&child), Signal::INT)?;
        // What it says after that is read, so that it can say it.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let status = wait(&mut child)?;
        assert_eq!(status, Some(130), "{phase}: {rest:?}");
        let last: Value = serde_json::from_str(rest.last().ok_or("nothing was said")?)?;
        assert_eq!(last["level"], "error", "{phase}: {rest:?}");
        nothing_is_left(temporary.path())?;
    }
    Ok(())
}

fn wait(child: &mut Child) -> Result<Option<i32>, Box<dyn std::error::Error>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > deadline {
            child.kill()?;
            return Err("it does not end".into());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Servers that the demonstration left running; stopped when the test ends, however it ends.
struct Kept {
    servers: Vec<KeptServer>,
    report: Value,
    talk: String,
}

struct KeptServer {
    address: String,
    conninfo: ConnInfo,
    stop: String,
}

impl Kept {
    fn start(arguments: &[&str], temporary: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut all = vec!["--keep", "--format", "json"];
        all.extend(arguments);
        let output = pgward(&all, temporary).output()?;
        let report = report(&output)?;
        let mut kept = Self {
            servers: Vec::new(),
            talk: String::from_utf8_lossy(&output.stderr).into_owned(),
            report: report.clone(),
        };
        for server in list(&report, "/kept") {
            let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
            kept.servers.push(KeptServer {
                address: text("address"),
                conninfo: text("conninfo").parse()?,
                stop: text("stop"),
            });
        }
        assert_eq!(output.status.code(), Some(0), "{}", kept.talk);
        assert_eq!(kept.servers.len(), 3);
        Ok(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for server in &self.servers {
            let _ = Command::new("sh").args(["-c", &server.stop]).status();
        }
    }
}

/// Every libpq that is installed gets in by name and by address as the links do, and not otherwise.
#[test]
fn afterwards_libpq_gets_in_only_with_the_credentials() -> Outcome {
    let installed = pgtest::find_each_major()?;
    for mode in ["cert", "scram"] {
        let temporary = temporary()?;
        let kept = Kept::start(&["--mode", mode], temporary.path())?;
        let server = &kept.servers[0];
        for installation in &installed {
            let libpq = Libpq::load(installation)?;
            let version = installation.version();
            let connect = |conninfo: &ConnInfo| -> Result<String, pgtest::Error> {
                let mut connection =
                    libpq.connect_conninfo(conninfo.to_text().as_bytes(), PATIENCE)?;
                let rows = connection.query("SELECT current_user", PATIENCE)?;
                Ok(rows.value().unwrap_or_default().to_owned())
            };
            let mut good = server.conninfo.clone();
            if version < PgVersion::V13 {
                good.remove("channel_binding");
            }
            assert_eq!(connect(&good)?, "replicator", "{version} by name");
            let mut by_address = good.clone();
            by_address.set("host", server.address.clone());
            by_address.remove("hostaddr");
            assert_eq!(connect(&by_address)?, "replicator", "{version} by address");

            let mut refused: Vec<(&str, ConnInfo)> = Vec::new();
            let mut plain = good.clone();
            plain.set("sslmode", "disable");
            plain.remove("channel_binding");
            refused.push(("plain text", plain));
            let mut empty = good.clone();
            for credential in ["sslcert", "sslkey", "passfile"] {
                if empty.get(credential).is_some() {
                    empty.set(credential, "/nonexistent/file");
                }
            }
            refused.push(("without credentials", empty));
            let mut elsewhere = good.clone();
            elsewhere.set("host", "another-node");
            refused.push(("under another name", elsewhere));
            for (what, conninfo) in refused {
                assert!(connect(&conninfo).is_err(), "{version} {mode} {what}");
            }
        }
    }
    Ok(())
}

/// No password in any log, in any process' arguments, in the plan or in what the program says.
#[test]
fn no_password_is_to_be_seen() -> Outcome {
    let temporary = temporary()?;
    let kept = Kept::start(&["--mode", "scram"], temporary.path())?;
    let mut passwords = BTreeSet::new();
    let mut logs = Vec::new();
    for folder in fs::read_dir(temporary.path())?.flatten() {
        let data = folder.path().join("data");
        // initdb's template is beside the servers.
        let Ok(passfile) = fs::read_to_string(data.join("pgward/passfile")) else { continue };
        passwords
            .extend(passfile.lines().filter_map(|line| line.rsplit(':').next()).map(str::to_owned));
        for place in [data.join("log"), folder.path()] {
            for file in fs::read_dir(place)?.flatten().map(|entry| entry.path()) {
                if file.is_file() {
                    logs.push((
                        file.clone(),
                        String::from_utf8_lossy(&fs::read(file)?).into_owned(),
                    ));
                }
            }
        }
    }
    assert_eq!(passwords.len(), 3, "one for each node");
    assert!(
        logs.iter().any(|(_, text)| text.contains("method=scram-sha-256")),
        "the logs that are searched are those of the logins"
    );
    for password in &passwords {
        assert!(password.len() >= 32);
        for (file, text) in &logs {
            assert!(!text.contains(password), "{}", file.display());
        }
        assert!(processes_with(password).is_empty());
        assert!(!kept.report.to_string().contains(password), "the report");
        assert!(!kept.talk.contains(password), "standard error");
    }
    // Nor what servers store of them.
    for (file, text) in &logs {
        assert!(!text.contains("SCRAM-SHA-256$"), "{}", file.display());
    }
    assert!(!kept.report.to_string().contains("SCRAM-SHA-256$"));
    Ok(())
}
