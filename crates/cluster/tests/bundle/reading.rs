//! What is read of a node whose files are out of reach: over SQL.

use std::{fs, os::unix::ffi::OsStrExt as _};

use cluster::transport::{LocalFiles, NodeFiles, bundle::ToldBy};
use pg_version::PgVersion;
use textfile::{FileErrorKind, Files as _, fs::FsError};

use crate::fixture::{Fixture, NOW};

#[test]
fn what_is_read_is_what_the_server_reads() {
    for version in [PgVersion::V12, PgVersion::V15, PgVersion::V18] {
        read_everything(&Fixture::of(version));
    }
}

fn read_everything(fixture: &Fixture) {
    let node = fixture.open(fixture.spec());
    let account = fixture.server.account();
    let owner = node.owner();
    assert_eq!(
        (owner.user.as_str(), owner.uid, owner.gid, owner.told_by),
        (account.name(), Some(account.uid()), Some(account.gid()), ToldBy::Server)
    );

    let data = fixture.server.data_dir();
    let hba = data.join("pg_hba.conf");
    let found = node.find(&hba).unwrap().unwrap();
    assert_eq!(*found.bytes, fs::read(&hba).unwrap());
    assert_eq!(found.access, fixture.owned(0o600));
    assert_eq!(node.access(&data).unwrap(), Some(fixture.owned(0o700)));
    let is_nothing = |name: &str| node.find(&data.join(name)).unwrap().is_none();
    assert!(is_nothing("none") && is_nothing("none/deeper") && is_nothing("pg_hba.conf/deeper"));
    assert_eq!(node.access(&data.join("none")).unwrap(), None);
    assert!(matches!(node.find(&data), Err(FsError::NotAFile { .. })));

    // Folders, as the parsers list them.
    let folder = data.join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.conf"), "a").unwrap();
    fs::create_dir(folder.join("d")).unwrap();
    std::os::unix::fs::symlink("nothing", folder.join("dangling")).unwrap();
    std::os::unix::fs::symlink("d", folder.join("link")).unwrap();
    let sorted = |files: &dyn NodeFiles| {
        let mut names = files.list(folder.as_os_str().as_bytes()).unwrap();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    };
    assert_eq!(sorted(&node), sorted(&LocalFiles));
    for (path, expected) in [
        (data.join("none"), FileErrorKind::NotFound),
        (data.clone(), FileErrorKind::IsADirectory),
        ("/root/.profile".into(), FileErrorKind::PermissionDenied),
    ] {
        let kind = node.read(path.as_os_str().as_bytes()).unwrap_err().kind;
        assert_eq!(kind, expected, "{}", path.display());
    }
    let kind = node.list(hba.as_os_str().as_bytes()).unwrap_err().kind;
    assert_eq!(kind, FileErrorKind::NotADirectory);
    assert!(node.finish(NOW).unwrap().is_none(), "nothing was recorded");
    assert!(!fixture.spec().folder.exists());
}
