//! Faults in the middle of a run: everything is taken back, or can be when the fault is gone.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{
    Error,
    apply::{Event, Limits},
    conninfo::ConnInfo,
    run::{self, Outcome, State},
    spec::Mode,
};
use pg_version::PgVersion;
use pgtest::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{AdminWatch, Bench, LIMITS, SHORT, Tested};

/// The moment at which something goes wrong, and what.
struct Fault<'f> {
    name: &'f str,
    /// The beginning of a step's words, or of a stage's title.
    moment: &'f str,
    /// The node on which that step is; a stage is on none.
    node: &'f str,
}

/// What became of a run that something went wrong with.
#[derive(Debug)]
struct Failed {
    cause: String,
    kept: Vec<String>,
    left: Vec<String>,
}

/// Applies, and does something at the moment. That it could be done is made sure of: a disturbance that
/// fails by itself must not pass for the fault.
async fn disturbed(
    bench: &Bench,
    fault: &Fault<'_>,
    limits: Limits,
    disturb: impl Fn() -> Tested + Send + Sync + 'static,
) -> Tested<Failed> {
    let happened = Arc::new(OnceLock::new());
    let (moment, node) = (fault.moment.to_owned(), fault.node.to_owned());
    let seen = happened.clone();
    let runner = bench.watched(move |event| {
        let now = match event {
            Event::Stage { title } => node.is_empty() && title.starts_with(&moment),
            Event::Begin { node: at, what } => *at == node && what.contains(&moment),
            _ => false,
        };
        if now {
            seen.get_or_init(|| disturb().map_err(|error| error.to_string()));
        }
    });
    let outcome = runner.limits(limits).apply(bench.prepare().await?).await;
    match happened.get() {
        Some(Ok(())) => {}
        Some(Err(error)) => panic!("{}: {error}", fault.name),
        None => panic!("{}: the moment never came", fault.name),
    }
    match outcome {
        Err(Error::TakenBack { cause, kept, left }) => {
            Ok(Failed { cause: cause.to_string(), kept, left })
        }
        other => panic!("{}: {other:?}", fault.name),
    }
}

/// Nothing is left to be done.
fn is_settled(bench: &Bench, failed: &Failed, fault: &Fault<'_>) -> Tested {
    assert_eq!(failed.left, Vec::<String>::new(), "{}: {}", fault.name, failed.cause);
    assert_eq!(failed.kept, Vec::<String>::new(), "{}: {}", fault.name, failed.cause);
    assert_eq!(run::status(bench.spec())?.runs[0].state, State::TakenBack, "{}", fault.name);
    Ok(())
}

/// What is disturbed by a change to a file, and put in order by another.
fn says(fault: &Fault<'_>, failed: &Failed, words: &str) {
    assert!(failed.cause.contains(words), "{}: {}", fault.name, failed.cause);
}

/// Runs a statement on a node from within the disturbance.
fn statement(bench: &Bench, node: &'static str, text: &'static str) -> impl Fn() -> Tested + use<> {
    let bench = bench.clone();
    move || {
        bench.query(node, text)?;
        Ok(())
    }
}

/// Files and roles that change under the run, and what the servers refuse.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_under_a_run_is_taken_back() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let two = bench.data("node-2")?;
    let hba = two.join("pg_hba.conf");
    fs::create_dir(two.join("conf.d"))?;
    fs::set_permissions(two.join("conf.d"), fs::Permissions::from_mode(0o755))?;
    let conf = fs::read_to_string(two.join("postgresql.conf"))?;
    fs::write(two.join("postgresql.conf"), conf + "include_dir 'conf.d'\n")?;
    bench.query("node-2", "SELECT pg_reload_conf()")?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);
    let append = |path: &Path, text: &'static str| {
        let path = path.to_owned();
        move || {
            let there = fs::read_to_string(&path).unwrap_or_default();
            fs::write(&path, there + text)?;
            Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?)
        }
    };

    // Somebody edits pg_hba.conf: before we write it, after, and so that it would be refused.
    let fault = Fault { name: "hba edited before", moment: "open", node: "" };
    let failed = disturbed(&bench, &fault, LIMITS, {
        let path = hba.clone();
        move || {
            let there = fs::read_to_string(&path)?;
            Ok(fs::write(&path, there + "# theirs\n")?)
        }
    })
    .await?;
    says(&fault, &failed, "was changed by somebody else");
    is_settled(&bench, &failed, &fault)?;
    let text = fs::read_to_string(&hba)?;
    fs::write(&hba, text.strip_suffix("# theirs\n").ok_or("their edit is lost")?)?;
    bench.is_as_found(&found, fault.name).await?;

    let fault = Fault { name: "a line that is refused", moment: "reload", node: "node-2" };
    let failed = disturbed(&bench, &fault, LIMITS, {
        let path = hba.clone();
        move || {
            let there = fs::read_to_string(&path)?;
            Ok(fs::write(&path, there + "host all all nonsense\n")?)
        }
    })
    .await?;
    says(&fault, &failed, "is not one to be loaded");
    // What is theirs stays, and the server never heard of any of it.
    assert_eq!((failed.left.len(), failed.kept.len()), (0, 1), "{failed:?}");
    let text = fs::read_to_string(&hba)?;
    fs::write(&hba, text.strip_suffix("host all all nonsense\n").ok_or("their edit is lost")?)?;
    bench.is_as_found(&found, fault.name).await?;

    let fault = Fault { name: "the administrator shut out", moment: "reload", node: "node-2" };
    let failed = disturbed(&bench, &fault, LIMITS, {
        let path = hba.clone();
        move || {
            let there = fs::read_to_string(&path)?;
            Ok(fs::write(&path, format!("host all postgres all reject\n{there}"))?)
        }
    })
    .await?;
    says(&fault, &failed, "would shut your own way in");
    assert_eq!((failed.left.len(), failed.kept.len()), (0, 1), "{failed:?}");
    let text = fs::read_to_string(&hba)?;
    fs::write(&hba, text.strip_prefix("host all postgres all reject\n").ok_or("lost")?)?;
    bench.is_as_found(&found, fault.name).await?;

    // A file that is not ours at all.
    for (name, moment, text, words) in [
        ("settings refused", "reload", "ssl_min_protocol_version = 'nonsense'\n", "bad.conf"),
        ("a syntax error", "reload", "this is = = nothing\n", "bad.conf"),
    ] {
        let fault = Fault { name, moment, node: "node-2" };
        let bad = two.join("conf.d/bad.conf");
        let failed = disturbed(&bench, &fault, LIMITS, append(&bad, text)).await?;
        says(&fault, &failed, words);
        is_settled(&bench, &failed, &fault)?;
        fs::remove_file(&bad)?;
        bench.is_as_found(&found, fault.name).await?;
    }

    // The key can not be read, at the moment of the reload.
    let fault = Fault { name: "key unreadable", moment: "reload", node: "node-2" };
    let key = two.join("pgward/server.key");
    let failed = disturbed(&bench, &fault, LIMITS, move || {
        Ok(fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?)
    })
    .await?;
    says(&fault, &failed, "SSL configuration was not reloaded");
    is_settled(&bench, &failed, &fault)?;
    bench.is_as_found(&found, fault.name).await?;

    // The certificate is another's by the time the links look: they do not take it.
    let fault = Fault { name: "another certificate", moment: "switch", node: "" };
    let (certificate, other) = (two.join("pgward/root.crt"), bench.clone());
    let failed = disturbed(&bench, &fault, Limits { answer: Duration::from_secs(12), ..LIMITS }, {
        let certificate = certificate.clone();
        move || {
            fs::write(&certificate, other_authority()?)?;
            other.query("node-2", "SELECT pg_reload_conf()")?;
            Ok(())
        }
    })
    .await?;
    assert_eq!(failed.left, Vec::<String>::new(), "{failed:?}");
    assert!(failed.kept.iter().any(|kept| kept.contains("root.crt is another file by now")));
    fs::remove_file(&certificate)?;
    fs::remove_dir(two.join("pgward"))?;
    bench.is_as_found(&found, fault.name).await?;

    // Somebody takes the authority from the server: nobody can be asked for a certificate then.
    let fault = Fault { name: "no ssl_ca_file", moment: "switch", node: "" };
    let other = bench.clone();
    let failed = disturbed(
        &bench,
        &fault,
        Limits { answer: Duration::from_secs(12), ..LIMITS },
        move || {
            other.query("node-2", "ALTER SYSTEM SET ssl_ca_file = ''")?;
            other.query("node-2", "SELECT pg_reload_conf()")?;
            Ok(())
        },
    )
    .await?;
    is_settled(&bench, &failed, &fault)?;
    bench.query("node-2", "ALTER SYSTEM RESET ssl_ca_file")?;
    bench.query("node-2", "SELECT pg_reload_conf()")?;
    bench.is_as_found(&found, fault.name).await?;
    watch.end().await
}

fn other_authority() -> Tested<String> {
    let validity = pki::Validity::days(time::OffsetDateTime::now_utc(), 1);
    let subject = pki::Subject::common_name("another CA");
    let authority = pki::Authority::create(pki::KeyAlgorithm::EcdsaP256, &subject, validity)?;
    Ok(authority.certificate().to_pem())
}

/// What the servers refuse to do.
#[tokio::test(flavor = "multi_thread")]
async fn sql_that_fails_is_taken_back() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Scram, 2).await?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);

    // A role that is gone has no password to be put back.
    let fault = Fault { name: "role gone", moment: "give the links' roles", node: "" };
    let failed = disturbed(
        &bench,
        &fault,
        LIMITS,
        statement(&bench, "node-2", "ALTER ROLE replicator RENAME TO gone"),
    )
    .await?;
    says(&fault, &failed, "role \"replicator\" does not exist");
    is_settled(&bench, &failed, &fault)?;
    bench.query("node-2", "ALTER ROLE gone RENAME TO replicator")?;
    bench.is_as_found(&found, fault.name).await?;

    // Somebody's trigger does not let links be changed: at the first stage that does, and at the last.
    bench.query(
        "node-2",
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql \
         AS $$BEGIN RAISE 'not today'; END$$",
    )?;
    for moment in ["let the links take either way", "switch the links over"] {
        let fault = Fault { name: "link refused", moment, node: "" };
        let create = "CREATE EVENT TRIGGER refusal ON ddl_command_start \
                      WHEN TAG IN ('ALTER SUBSCRIPTION') EXECUTE FUNCTION refuse()";
        let failed = disturbed(&bench, &fault, LIMITS, statement(&bench, "node-2", create)).await?;
        says(&fault, &failed, "not today");
        if moment.starts_with("switch") {
            // The link has its intermediate connection string, and nothing puts that back.
            assert!(!failed.left.is_empty());
            bench.replicates().await?;
            bench.query("node-2", "DROP EVENT TRIGGER refusal")?;
            assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() });
        } else {
            is_settled(&bench, &failed, &fault)?;
            bench.query("node-2", "DROP EVENT TRIGGER refusal")?;
        }
        bench.is_as_found(&found, moment).await?;
    }

    // Somebody gave a link another connection string since the plan was made: it is not lost.
    let fault = Fault { name: "link changed", moment: "put certificates", node: "" };
    let conninfo = "SELECT subconninfo FROM pg_subscription";
    let before = bench.query("node-2", conninfo)?.ok_or("no link")?;
    let changed = bench.clone();
    let theirs = format!("{before} application_name=theirs");
    let alter =
        |conninfo: &str| format!("ALTER SUBSCRIPTION node_2_from_node_1 CONNECTION '{conninfo}'");
    let text = alter(&theirs);
    let failed = disturbed(&bench, &fault, LIMITS, move || {
        changed.query("node-2", &text)?;
        Ok(())
    })
    .await?;
    says(&fault, &failed, "since the plan was made");
    is_settled(&bench, &failed, &fault)?;
    assert_eq!(bench.query("node-2", conninfo)?, Some(theirs));
    bench.query("node-2", &alter(&before))?;
    bench.is_as_found(&found, fault.name).await?;

    // Somebody holds the role: the statement waits no longer than it may.
    let fault = Fault { name: "lock", moment: "give the links' roles", node: "" };
    let (locked, unlock) = (bench.clone(), Arc::new(std::sync::Mutex::new(None)));
    let holder = unlock.clone();
    let failed = disturbed(&bench, &fault, SHORT, move || {
        let mut session = locked.servers.with("node-2", |server| server.session())??;
        session.query("BEGIN")?;
        session.query("SELECT 1 FROM pg_authid WHERE rolname = 'replicator' FOR UPDATE")?;
        *holder.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(())
    })
    .await?;
    says(&fault, &failed, "timeout");
    is_settled(&bench, &failed, &fault)?;
    drop(unlock.lock().unwrap_or_else(PoisonError::into_inner).take());
    bench.is_as_found(&found, fault.name).await?;

    // A password file that libpq takes for none, by its mode, and by its owner.
    let passfile = bench.data("node-2")?.join("pgward/passfile");
    for (name, mode, owner) in
        [("password file for all", 0o644, None), ("password file of another", 0o600, Some(0))]
    {
        let fault = Fault { name, moment: "switch", node: "" };
        let path = passfile.clone();
        let limits = Limits { answer: Duration::from_secs(12), ..LIMITS };
        let failed = disturbed(&bench, &fault, limits, move || {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            Ok(std::os::unix::fs::chown(&path, owner, None)?)
        })
        .await?;
        says(&fault, &failed, "to replicate by its new connection string");
        is_settled(&bench, &failed, &fault)?;
        bench.is_as_found(&found, fault.name).await?;
    }
    watch.end().await
}

fn signal(data: &Path, signal: Signal) -> Tested {
    let text = fs::read_to_string(data.join("postmaster.pid"))?;
    let number = text.lines().next().ok_or("no process")?.trim().parse()?;
    Ok(kill_process(Pid::from_raw(number).ok_or("no process")?, signal)?)
}

/// A server that stands still, or is gone, at the beginning of each stage that asks it for something.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_taken_back_when_it_is_there_again() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 3).await?;
    let found = bench.state()?;
    let data = bench.data("node-2")?;
    for (name, moment) in
        [("stands still", "open"), ("gone", "open"), ("gone", "switch"), ("gone", "close")]
    {
        let fault = Fault { name, moment, node: "" };
        let stops = name == "stands still";
        let limits = if stops { SHORT } else { LIMITS };
        let stopped = data.clone();
        let server = bench.clone();
        let failed = disturbed(&bench, &fault, limits, move || {
            if stops {
                return signal(&stopped, Signal::STOP);
            }
            Ok(server.servers.with("node-2", |server| server.stop(Shutdown::Immediate))??)
        })
        .await?;
        let when = format!("{name} at {moment}");
        assert!(failed.cause.contains("node-2"), "{when}: {failed:?}");
        assert!(failed.left.iter().any(|left| left.contains("node-2")), "{when}: {failed:?}");
        // The others are not kept waiting, and are as they were, but for what node-2 holds up.
        if moment == "open" {
            assert!(!bench.data("node-1")?.join("pgward").exists(), "{when}");
            assert!(!bench.data("node-3")?.join("pgward").exists(), "{when}");
        }
        if stops {
            signal(&data, Signal::CONT)?;
        } else {
            bench.servers.with("node-2", pgtest::Server::start)??;
        }
        if run::status(bench.spec())?.unfinished().is_some() {
            assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() }, "{when}");
        }
        bench.is_as_found(&found, &when).await?;
    }
    Ok(())
}

/// A way to a server that can be cut.
struct Cable {
    address: std::net::SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Cable {
    async fn to(target: std::net::SocketAddr) -> Tested<Self> {
        let listener = TcpListener::bind((target.ip(), 0)).await?;
        let (address, cut) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let is_cut = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, is_cut.clone()));
            }
        });
        Ok(Self { address, cut })
    }
}

/// Carries bytes both ways; none at all while it is cut, and nobody is told.
async fn carry(mut client: TcpStream, target: std::net::SocketAddr, cut: Arc<AtomicBool>) {
    let mut server = None;
    loop {
        if cut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let server = match &mut server {
            Some(server) => server,
            none => match TcpStream::connect(target).await {
                Ok(stream) => none.insert(stream),
                Err(_) => return,
            },
        };
        let carried = tokio::select! {
            carried = tokio::io::copy_bidirectional(&mut client, server) => carried,
            () = async {
                while !cut.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => continue,
        };
        drop(carried);
        return;
    }
}

/// The administrator's network to a node is cut: statements and answers are lost, and nobody hears of
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_is_taken_back_when_it_is_there_again() -> Tested {
    let mut bench = Bench::start(PgVersion::V18, Mode::Scram, 2).await?;
    let node = bench.cluster.spec.nodes.last_mut().ok_or("no node")?;
    let cable = Cable::to((node.address, node.port).into()).await?;
    let mut sql: ConnInfo = node.sql.parse()?;
    sql.set("host", cable.address.ip().to_string());
    sql.set("port", cable.address.port().to_string());
    node.sql = sql.to_text().to_string();
    let found = bench.state()?;
    for moment in ["open", "close"] {
        let fault = Fault { name: "cut", moment, node: "" };
        let cut = cable.cut.clone();
        let failed = disturbed(&bench, &fault, SHORT, move || {
            cut.store(true, Ordering::SeqCst);
            Ok(())
        })
        .await?;
        assert!(failed.cause.contains("node-2"), "{moment}: {failed:?}");
        bench.replicates().await?;
        cable.cut.store(false, Ordering::SeqCst);
        assert_eq!(bench.rollback().await?, Outcome::TakenBack { kept: Vec::new() }, "{moment}");
        bench.is_as_found(&found, moment).await?;
    }
    Ok(())
}

/// A small file system in a folder's place, while this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// It belongs to whom the folder does. `None` where nobody may mount.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let (uid, gid) = fs::metadata(path).map(|owner| (owner.uid(), owner.gid())).ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size},mode=0700,uid={uid},gid={gid}"))
            .arg("tmpfs")
            .arg(path)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Whether an attribute of a file could be changed.
fn chattr(attribute: &str, path: &Path) -> bool {
    Command::new("chattr").arg(attribute).arg(path).status().is_ok_and(|status| status.success())
}

/// A disk that is full, and a file that can not be replaced. Where nobody may make such a thing it is
/// said, and tried by files that fail (`files.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_file_that_stays_as_it_is() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let two = bench.data("node-2")?;
    let folder = two.join("pgward");
    fs::create_dir(&folder)?;
    let owner = fs::metadata(&two)?;
    std::os::unix::fs::chown(
        &folder,
        Some(std::os::unix::fs::MetadataExt::uid(&owner)),
        Some(std::os::unix::fs::MetadataExt::gid(&owner)),
    )?;
    // Two pages: the files for a node need more.
    match SmallDisk::mount(&folder, "8k") {
        Some(disk) => {
            let found = bench.state()?;
            let outcome = bench.apply().await;
            let Err(Error::TakenBack { cause, kept, left }) = &outcome else {
                panic!("{outcome:?}")
            };
            assert!(cause.to_string().contains("No space left"), "{cause}");
            assert!(kept.is_empty() && left.is_empty(), "{kept:?} {left:?}");
            bench.is_as_found(&found, "full disk").await?;
            drop(disk);
        }
        None => eprintln!("nobody may mount a file system here: a full disk was not tried"),
    }
    let found = bench.state()?;

    let hba = two.join("pg_hba.conf");
    if chattr("+i", &hba) {
        let outcome = bench.apply().await;
        assert!(chattr("-i", &hba));
        let Err(Error::TakenBack { cause, kept, left }) = &outcome else { panic!("{outcome:?}") };
        assert!(cause.to_string().contains("Operation not permitted"), "{cause}");
        assert!(kept.is_empty() && left.is_empty(), "{kept:?} {left:?}");
        bench.is_as_found(&found, "read-only file").await?;
    } else {
        eprintln!("no file can be made immutable here: a read-only file was not tried");
    }

    // The disk of the journal itself.
    fs::create_dir_all(&bench.spec().secrets)?;
    match SmallDisk::mount(&bench.spec().secrets, "64k") {
        Some(disk) => {
            let outcome = bench.apply().await;
            let Err(error) = &outcome else { panic!("{outcome:?}") };
            assert!(error.to_string().contains("No space left"), "{error}");
            drop(disk);
        }
        None => eprintln!("nobody may mount a file system here: a full disk was not tried"),
    }
    bench.is_as_found(&found, "full disk of the journal").await?;
    fs::remove_dir(&folder)?;
    Ok(())
}
