//! Whatever is done to files: carried there in a bundle it comes to the same as done directly.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use cluster::{
    plan::Expected,
    transport::{
        BundleSpec, LocalFiles, NodeFiles,
        bundle::{Before, Entry, Manifest, Part, Phase},
    },
};
use proptest::prelude::*;
use textfile::fs::{Access, FsError};

use crate::fixture::{Fixture, NOW, tree};

#[derive(Clone, Debug)]
enum Operation {
    Write { name: &'static str, bytes: Vec<u8>, mode: u32, new: bool },
    MakeFolder { name: &'static str },
    RemoveFile { name: &'static str },
    RemoveFolder { name: &'static str },
    Reload,
}

fn operations() -> impl Strategy<Value = Operation> {
    let name = || proptest::sample::select(vec!["a", "sub/c", "new/e", "sub", "new"]);
    let mode = proptest::sample::select(vec![0o600, 0o640, 0o644]);
    let bytes = proptest::collection::vec(any::<u8>(), 0..700);
    prop_oneof![
        5 => (name(), bytes, mode, any::<bool>()).prop_map(|(name, bytes, mode, new)| {
            Operation::Write { name, bytes, mode, new }
        }),
        2 => name().prop_map(|name| Operation::MakeFolder { name }),
        2 => name().prop_map(|name| Operation::RemoveFile { name }),
        1 => name().prop_map(|name| Operation::RemoveFolder { name }),
        1 => Just(Operation::Reload),
    ]
}

fn perform(
    files: &dyn NodeFiles,
    folder: &Path,
    access: Access,
    operation: &Operation,
) -> Result<(), FsError> {
    let at = |name: &str| folder.join(name);
    match operation {
        Operation::Write { name, bytes, mode, new } => {
            let there = files.find(&at(name)).ok().flatten().map(|there| there.bytes);
            let there = there.as_ref().map(|bytes| bytes.as_slice());
            let expected = if *new { Expected::Absent } else { Expected::of(there) };
            files.write(&at(name), bytes, Access { mode: *mode, ..access }, expected)
        }
        Operation::MakeFolder { name } => {
            files.make_folder(&at(name), Access { mode: 0o750, ..access })
        }
        Operation::RemoveFile { name } => files.remove_file(&at(name)),
        Operation::RemoveFolder { name } => files.remove_folder(&at(name)),
        Operation::Reload => Ok(()),
    }
}

/// Does what a manifest says, as a program would.
fn carry_out(bundle: &Path, manifest: &Manifest) {
    for part in manifest.phases.iter().flat_map(|work| &work.parts) {
        let Part::PlaceFiles { folder, archive, entries, .. } = part else { continue };
        for entry in entries {
            if let Entry::File { path, before, .. } | Entry::RemoveFile { path, before } = entry {
                let there = fs::read(path).ok();
                let as_expected = match before {
                    Before::Absent => there.is_none(),
                    Before::Sha256(sha256) => {
                        let Expected::Bytes(digest) = Expected::of(there.as_deref()) else {
                            panic!("{} is not there", path.display())
                        };
                        *sha256 == digest.map(|byte| format!("{byte:02x}")).concat()
                    }
                };
                assert!(as_expected, "{}: {before:?}", path.display());
            }
            if let Entry::File { path, size, .. } = entry {
                let packed = fs::read(bundle.join(folder).join(path.strip_prefix("/").unwrap()));
                assert_eq!(packed.unwrap().len() as u64, *size);
            }
        }
        let mut tar = Command::new("tar");
        tar.args(["-C", "/", "--no-overwrite-dir", "-xpf"]);
        assert!(tar.arg(bundle.join(archive.as_ref().unwrap())).status().unwrap().success());
        for entry in entries.iter().rev() {
            match entry {
                Entry::RemoveFile { path, .. } => fs::remove_file(path).unwrap(),
                Entry::RemoveFolder { path } => fs::remove_dir(path).unwrap(),
                _ => {}
            }
        }
    }
}

/// What takes the place of something else, all in one go: a folder with another mode, a folder of a
/// file, a file of a folder.
#[test]
fn what_takes_the_place_of_something_else_comes_after_it() {
    let fixture = Fixture::new();
    let data = fixture.server.data_dir();
    let (folder, file) = (data.join("folder"), data.join("file"));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "old").unwrap();
    let access = |mode| fixture.owned(mode);
    let node = fixture.open(fixture.spec());
    node.remove_folder(&folder).unwrap();
    node.make_folder(&folder, access(0o750)).unwrap();
    node.remove_file(&file).unwrap();
    node.make_folder(&file, access(0o700)).unwrap();
    node.remove_folder(&folder).unwrap();
    node.write(&folder, b"now a file", access(0o640), Expected::Absent).unwrap();
    let bundle = node.finish(NOW).unwrap().unwrap();
    carry_out(&bundle, &Manifest::read(&bundle).unwrap());
    assert!(file.is_dir());
    assert_eq!(fs::read(&folder).unwrap(), b"now a file");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o640);

    // And no part is left of what comes to nothing.
    let node = fixture.open(BundleSpec::new(fixture.folder.path().join("another")));
    let new = data.join("new");
    node.make_folder(&new, access(0o700)).unwrap();
    node.remove_folder(&new).unwrap();
    let bundle = node.finish(NOW).unwrap().unwrap();
    assert_eq!(Manifest::read(&bundle).unwrap().entries().count(), 0);
}

/// Whatever is done to files: carried there in a bundle it comes to the same as done directly.
#[test]
fn what_is_carried_there_is_what_was_done() {
    let fixture = Fixture::new();
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() };
    proptest!(config, |(operations in proptest::collection::vec(operations(), 1..16))| {
        let account = fixture.server.account();
        let scratch = tempfile::tempdir_in(fixture.server.root()).unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), open.clone()).unwrap();
        let (there, here) = (scratch.path().join("there"), scratch.path().join("here"));
        for root in [&there, &here] {
            for folder in [root.clone(), root.join("sub")] {
                fs::create_dir(&folder).unwrap();
                // What the server assumes of its own.
                fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
                chown(&folder, Some(account.uid()), Some(account.gid())).unwrap();
            }
            for name in ["a", "sub/c"] {
                fs::write(root.join(name), name).unwrap();
                fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o600)).unwrap();
                chown(root.join(name), Some(account.uid()), Some(account.gid())).unwrap();
            }
        }
        let node = fixture.open(BundleSpec::new(scratch.path().join("bundles")));
        for (index, operation) in operations.iter().enumerate() {
            let phase = Phase(u16::try_from(index / 6).unwrap());
            node.begin(phase, "do something").unwrap();
            let recorded = perform(&node, &there, fixture.owned(0), operation);
            let done = perform(&LocalFiles, &here, fixture.owned(0), operation);
            prop_assert_eq!(recorded.is_ok(), done.is_ok(), "{:?} {:?}", recorded, done);
        }
        if let Some(bundle) = node.finish(NOW).unwrap() {
            carry_out(&bundle, &Manifest::read(&bundle).unwrap());
        }
        prop_assert_eq!(tree(&there), tree(&here));
    });
}
