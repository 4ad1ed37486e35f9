//! What a bundle takes, and where there is no room for one.

use std::{
    fs, io,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use cluster::{
    plan::Expected,
    transport::{
        BundleNode, BundleSpec, NodeFiles as _,
        bundle::{BundleError, Phase},
    },
};
use textfile::fs::FsError;

use crate::{
    Outcome,
    fixture::{Fixture, NOW, tree},
};

#[test]
fn phases_come_in_their_order() {
    let fixture = Fixture::new();
    let node = fixture.open(fixture.spec());
    node.begin(Phase(3), "close").unwrap();
    let error = node.begin(Phase(1), "open").unwrap_err();
    assert!(matches!(error, BundleError::Order { phase: Phase(1), later: Phase(3) }));
    for (name, error) in [("..", "x"), ("a/b", "x"), ("", "x")] {
        let opened =
            fixture.runtime.block_on(BundleNode::open(fixture.spec(), name, fixture.connector()));
        assert!(matches!(opened, Err(BundleError::Name { .. })), "{name}{error}");
    }
    for path in ["relative", "/a/../b", "/", "/a/.."] {
        let error =
            node.write(Path::new(path), b"", fixture.owned(0o600), Expected::Absent).unwrap_err();
        let FsError::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::InvalidInput, "{path}");
    }
}

/// A folder that cannot be written, and a full disk: no bundle, and nothing of one.
#[test]
fn where_there_is_no_room_there_is_no_bundle() -> Outcome {
    let fixture = Fixture::new();
    let path = fixture.server.data_dir().join("big");
    let write = |node: &BundleNode| {
        node.write(&path, &[7; 200_000], fixture.owned(0o600), Expected::Absent).unwrap();
    };
    let node = fixture.open(BundleSpec::new("/proc/bundles"));
    write(&node);
    assert!(matches!(node.finish(NOW), Err(BundleError::Files(FsError::Io { .. }))));

    let small = fixture.folder.path().join("small");
    fs::create_dir(&small)?;
    let _mounted = Mounted::small(&small)?;
    let node = fixture.open(BundleSpec::new(&small));
    write(&node);
    let Err(BundleError::Files(FsError::Io { source, .. })) = node.finish(NOW) else {
        return Err("200 kB went into 64".into());
    };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert!(tree(&small).is_empty());
    Ok(())
}

/// A file system of 64 kB.
struct Mounted(PathBuf);

impl Mounted {
    fn small(at: &Path) -> io::Result<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at);
        assert!(mount.status()?.success(), "only root can mount: run the tests as root");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
