//! Each of the calls by which a run changes files fails once: everything is taken back.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cluster::{
    Error,
    inspect::Node,
    plan::Expected,
    run::{self, Outcome, Runner, State},
    spec::Mode,
    transport::{LocalFiles, NodeFile, NodeFiles},
};
use pg_version::PgVersion;
use textfile::{
    FileError, FileKind, Files,
    fs::{Access, FsError},
};

use crate::support::{AdminWatch, Bench, LIMITS, Tested};

/// This machine's files, on a disk that has no room for one of the calls.
#[derive(Clone, Debug)]
struct Failing {
    calls: Arc<AtomicUsize>,
    fails_at: usize,
}

impl Failing {
    fn next(&self, path: &Path) -> Result<(), FsError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.fails_at {
            return Ok(());
        }
        let source = io::Error::from(io::ErrorKind::StorageFull);
        Err(FsError::Io { action: "write", path: path.to_owned(), source })
    }
}

impl Files for Failing {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        LocalFiles.read(path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        LocalFiles.list(path)
    }
}

impl NodeFiles for Failing {
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        LocalFiles.find(path)
    }

    fn access(&self, path: &Path) -> Result<Option<Access>, FsError> {
        LocalFiles.access(path)
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError> {
        self.next(path)?;
        LocalFiles.write(path, bytes, access, expected)
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError> {
        self.next(path)?;
        LocalFiles.make_folder(path, access)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.next(path)?;
        LocalFiles.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        self.next(path)?;
        LocalFiles.remove_folder(path)
    }
}

fn runner(bench: &Bench, calls: &Arc<AtomicUsize>, fails_at: usize) -> Runner {
    let files: Arc<dyn NodeFiles> = Arc::new(Failing { calls: calls.clone(), fails_at });
    let node = |spec: &cluster::spec::NodeSpec| Node { spec: spec.clone(), files: files.clone() };
    let nodes: Vec<Node> = bench.spec().nodes.iter().map(node).collect();
    Runner::new(bench.spec(), &nodes).limits(LIMITS)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_fails_is_taken_back() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Scram, 2).await?;
    let found = bench.state()?;
    let watch = AdminWatch::begin(&bench.spec().nodes);
    let mut fails_at = 0;
    loop {
        fails_at += 1;
        let runner = runner(&bench, &Arc::default(), fails_at);
        match runner.apply(bench.prepare().await?).await {
            Ok(_) => break,
            Err(Error::TakenBack { cause, kept, left }) => {
                assert!(cause.to_string().contains("no storage space"), "{fails_at}: {cause}");
                assert!(kept.is_empty() && left.is_empty(), "{fails_at}: {kept:?} {left:?}");
            }
            Err(error) => panic!("{fails_at}: {error:?}"),
        }
        bench.is_as_found(&found, &format!("call {fails_at}")).await?;
    }
    assert!(fails_at > 15, "{fails_at} calls");

    // Taking back, too: what a call has left, the next attempt finishes.
    let mut fails_at = 0;
    loop {
        fails_at += 1;
        let all = runner(&bench, &Arc::default(), fails_at).rollback().await;
        match all {
            Ok(outcome) => {
                assert_eq!(outcome, Outcome::TakenBack { kept: Vec::new() });
                break;
            }
            Err(Error::Left { left, .. }) => assert!(!left.is_empty(), "{fails_at}"),
            Err(error) => panic!("{fails_at}: {error:?}"),
        }
        assert_eq!(run::status(bench.spec())?.runs[0].state, State::TakingBack);
    }
    assert!(fails_at > 3, "{fails_at} attempts");
    bench.is_as_found(&found, "after the last attempt").await?;
    watch.end().await
}

/// A file that lies: our parser sees what was written, the server what shuts the administrator out.
#[derive(Clone, Debug)]
struct Lying {
    hba: PathBuf,
}

impl Files for Lying {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        LocalFiles.read(path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        LocalFiles.list(path)
    }
}

const SHUT: &[u8] = b"host all postgres all reject\n";

impl NodeFiles for Lying {
    fn find(&self, path: &Path) -> Result<Option<NodeFile>, FsError> {
        let mut found = LocalFiles.find(path)?;
        if let Some(file) = found.as_mut().filter(|_| path == self.hba)
            && let Some(rest) = file.bytes.strip_prefix(SHUT)
        {
            file.bytes = rest.to_vec().into();
        }
        Ok(found)
    }

    fn access(&self, path: &Path) -> Result<Option<Access>, FsError> {
        LocalFiles.access(path)
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        access: Access,
        expected: Expected,
    ) -> Result<(), FsError> {
        // Only what has our lines in it is made a trap.
        let ours = bytes.windows(10).any(|text| text == b"replicator");
        let trap = [SHUT, bytes].concat();
        match path == self.hba {
            true if ours => LocalFiles.write(path, &trap, access, Expected::Anything),
            true => LocalFiles.write(path, bytes, access, Expected::Anything),
            false => LocalFiles.write(path, bytes, access, expected),
        }
    }

    fn make_folder(&self, path: &Path, access: Access) -> Result<(), FsError> {
        LocalFiles.make_folder(path, access)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        LocalFiles.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<(), FsError> {
        LocalFiles.remove_folder(path)
    }
}

/// No new session gets in after the reload: the one from before leads back.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_by_the_session_from_before() -> Tested {
    let bench = Bench::start(PgVersion::V18, Mode::Cert, 2).await?;
    let found = bench.state()?;
    let hba = bench.data("node-2")?.join("pg_hba.conf");
    let files: Arc<dyn NodeFiles> = Arc::new(Lying { hba });
    let node = |spec: &cluster::spec::NodeSpec| Node { spec: spec.clone(), files: files.clone() };
    let nodes: Vec<Node> = bench.spec().nodes.iter().map(node).collect();
    let outcome =
        Runner::new(bench.spec(), &nodes).limits(LIMITS).apply(bench.prepare().await?).await;
    let Err(Error::TakenBack { cause, kept, left }) = &outcome else { panic!("{outcome:?}") };
    assert!(cause.to_string().contains("pg_hba.conf rejects connection"), "{cause}");
    assert!(kept.is_empty() && left.is_empty(), "{kept:?} {left:?}");
    bench.is_as_found(&found, "shut out").await
}
