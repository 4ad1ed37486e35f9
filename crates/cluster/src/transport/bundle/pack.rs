//! Putting a bundle into its folder.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use textfile::fs::{Access, FsError};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use super::{
    Before, BundleError, Deed, Entry, Inner, Manifest, Owner, Part, Phase, PhaseWork, Placed,
    Recorded, SqlBack, StatementBack, manifest, readme,
};
use crate::{
    plan::hex,
    sql::{FOR_OUR_STATEMENTS, KEEP_OUT_OF_THE_LOG},
    transport::{BundleSpec, NodeFile},
};

/// The folder, if there is none yet.
pub(super) fn target(inner: &Inner) -> Result<PathBuf, BundleError> {
    let target = inner.spec.folder.join(&inner.node);
    let there = fs::symlink_metadata(&target).is_ok();
    let empty = fs::read_dir(&target).is_ok_and(|mut names| names.next().is_none());
    if there && !empty {
        return Err(BundleError::Exists { folder: target });
    }
    Ok(target)
}

/// Makes the folder; `None` where there is nothing to do.
pub(super) fn pack(
    inner: &Inner,
    done: &[Recorded],
    back: &[StatementBack],
    now: OffsetDateTime,
) -> Result<Option<PathBuf>, BundleError> {
    if done.is_empty() {
        return Ok(None);
    }
    let target = target(inner)?;
    let folder = &inner.spec.folder;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("create", folder))?;
    // Removed with all that is in it, unless it becomes the bundle. Ours alone from the first
    // instant.
    let staging = tempfile::Builder::new()
        .prefix(&format!(".{}.pgward-new.", inner.node))
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(folder)
        .map_err(io("create a folder in", folder))?;
    let packer = Packer { folder: staging.path(), spec: &inner.spec, owner: &inner.owner, now };
    let phases = packer.phases(done, back)?;
    let manifest = Manifest {
        format: 1,
        node: inner.node.clone(),
        made: now.format(&Rfc3339).unwrap_or_else(|_| now.to_string()),
        owner: inner.owner.clone(),
        notes: notes(&inner.owner),
        phases,
    };
    packer.write("README.txt", readme::text(&manifest, now).as_bytes())?;
    let json = serde_json::to_vec_pretty(&manifest).map_err(|error| BundleError::Manifest {
        path: target.join(manifest::NAME),
        reason: error.to_string(),
    })?;
    packer.write(manifest::NAME, &json)?;
    fs::rename(staging.path(), &target).map_err(io("create", &target))?;
    // It is elsewhere now: nothing is left to remove.
    let _ = staging.keep();
    File::open(folder).and_then(|it| it.sync_all()).map_err(io("sync", folder))?;
    Ok(Some(target))
}

fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> FsError {
    move |source| FsError::Io { action, path: path.to_owned(), source }
}

fn notes(owner: &Owner) -> Vec<String> {
    let mut notes = vec![
        "SQL does not tell the owner and mode of files. Where a file was there before, those given \
         here are assumed: what it has should stay."
            .to_owned(),
        "Links are followed when a file is read over SQL: a path that is a symbolic link on the node \
         stands for the file that it leads to."
            .to_owned(),
    ];
    if owner.uid.is_none() || owner.gid.is_none() {
        notes.push(format!(
            "Neither the server nor the description tells the numbers of {}:{}: unpack where these \
             names are known, and look that the files are theirs.",
            owner.user, owner.group
        ));
    }
    notes
}

/// A file of statements for psql.
fn script<'t>(texts: impl IntoIterator<Item = &'t Zeroizing<String>>) -> Zeroizing<String> {
    let mut script = Zeroizing::new(String::with_capacity(8192));
    script.push_str(FOR_OUR_STATEMENTS);
    script.push_str(KEEP_OUT_OF_THE_LOG);
    for text in texts {
        script.push_str(text);
        script.push_str(";\n");
    }
    script
}

struct Packer<'a> {
    folder: &'a Path,
    spec: &'a BundleSpec,
    owner: &'a Owner,
    now: OffsetDateTime,
}

/// What consecutive deeds are, as far as they make one part.
#[derive(PartialEq)]
enum Kind<'a> {
    Files,
    Sql(Option<&'a str>),
    Reload,
}

impl Kind<'_> {
    fn of(deed: &Deed) -> Kind<'_> {
        match deed {
            Deed::Execute { database, .. } => Kind::Sql(database.as_deref()),
            Deed::Reload => Kind::Reload,
            _ => Kind::Files,
        }
    }
}

impl Packer<'_> {
    fn phases(
        &self,
        done: &[Recorded],
        back: &[StatementBack],
    ) -> Result<Vec<PhaseWork>, BundleError> {
        let mut phases = Vec::new();
        for deeds in done.chunk_by(|a, b| a.phase == b.phase) {
            let phase = deeds[0].phase;
            let mut parts = Vec::new();
            let alike = deeds.chunk_by(|a, b| Kind::of(&a.deed) == Kind::of(&b.deed));
            for deeds in alike.flat_map(apart) {
                parts.extend(self.part(phase, parts.len() + 1, deeds)?);
            }
            phases.push(PhaseWork { phase, parts, back: self.back(phase, back)? });
        }
        Ok(phases)
    }

    /// The statements that take those of a phase back, the last first.
    fn back(&self, phase: Phase, all: &[StatementBack]) -> Result<Vec<SqlBack>, BundleError> {
        let of_phase: Vec<_> = all.iter().rev().filter(|one| one.phase == phase).collect();
        let mut back = Vec::new();
        let place = |one: &&StatementBack| (one.database.clone(), one.text.is_some());
        for together in of_phase.chunk_by(|a, b| place(a) == place(b)) {
            let (database, can_be_held) = place(&together[0]);
            let file = can_be_held.then(|| format!("phase-{phase}/back-{}.sql", back.len() + 1));
            if let Some(file) = &file {
                let texts = together.iter().filter_map(|one| one.text.as_ref());
                self.write(file, script(texts).as_bytes())?;
            }
            let statements = together.iter().map(|one| one.shown.clone()).collect();
            back.push(SqlBack { file, database, statements });
        }
        Ok(back)
    }

    /// A part; none where its deeds come to nothing.
    fn part(
        &self,
        phase: Phase,
        number: usize,
        deeds: &[Recorded],
    ) -> Result<Option<Part>, BundleError> {
        let mut stages: Vec<String> = deeds.iter().map(|deed| deed.stage.clone()).collect();
        stages.dedup();
        let name = format!("phase-{phase}/{number}");
        match &deeds[0].deed {
            Deed::Execute { database, .. } => {
                self.sql(stages, &name, database.as_deref(), deeds).map(Some)
            }
            Deed::Reload => Ok(Some(Part::Reload { stages })),
            _ => {
                let net = Net::of(deeds);
                if net.changes.is_empty() {
                    return Ok(None);
                }
                self.files(stages, &name, &net).map(Some)
            }
        }
    }

    fn sql(
        &self,
        stages: Vec<String>,
        name: &str,
        database: Option<&str>,
        deeds: &[Recorded],
    ) -> Result<Part, BundleError> {
        let (mut statements, mut texts) = (Vec::new(), Vec::new());
        for deed in deeds {
            let Deed::Execute { shown, text, .. } = &deed.deed else { continue };
            statements.push(shown.clone());
            texts.push(text);
        }
        let file = format!("{name}.sql");
        self.write(&file, script(texts).as_bytes())?;
        Ok(Part::RunSql { stages, file, database: database.map(str::to_owned), statements })
    }

    fn files(&self, stages: Vec<String>, name: &str, net: &Net<'_>) -> Result<Part, BundleError> {
        let folder = format!("{name}-files");
        let mut entries = Vec::new();
        for (path, change) in &net.changes {
            entries.push(match change {
                Change::Folder(access) => {
                    let access = self.placed(*access, false);
                    Entry::Folder { path: (*path).to_owned(), access }
                }
                Change::File(file, before) => {
                    let below = path.strip_prefix("/").unwrap_or(path);
                    self.write(Path::new(&folder).join(below), &file.bytes)?;
                    Entry::File {
                        path: (*path).to_owned(),
                        access: self.placed(file.access, **before != Before::Absent),
                        sha256: hex(&Sha256::digest(&file.bytes)),
                        size: file.bytes.len() as u64,
                        before: (*before).clone(),
                    }
                }
                Change::NoFile(before) => {
                    Entry::RemoveFile { path: (*path).to_owned(), before: (*before).clone() }
                }
                Change::NoFolder => Entry::RemoveFolder { path: (*path).to_owned() },
            });
        }
        let mut archive = None;
        if self.spec.tar {
            let name = format!("{name}-files.tar");
            self.write(&name, &self.archive(net).map_err(io("pack", Path::new(&name)))?)?;
            archive = Some(name);
        }
        for (which, sums) in
            [("before", readme::sums_before(&entries)), ("after", readme::sums(&entries))]
        {
            if !sums.is_empty() {
                self.write(format!("{name}-{which}.sha256"), sums.as_bytes())?;
            }
        }
        Ok(Part::PlaceFiles { stages, folder, archive, entries })
    }

    fn placed(&self, access: Access, assumed: bool) -> Placed {
        let Owner { user, group, uid, gid, .. } = self.owner;
        let ours = access.uid == uid.unwrap_or(super::UNKNOWN);
        let our_group = access.gid == gid.unwrap_or(super::UNKNOWN);
        Placed {
            mode: format!("{:04o}", access.mode),
            user: ours.then(|| user.clone()),
            group: our_group.then(|| group.clone()),
            uid: if ours { *uid } else { Some(access.uid) },
            gid: if our_group { *gid } else { Some(access.gid) },
            assumed,
        }
    }

    /// The files of a part with owner and mode, in GNU's format of tar.
    fn archive(&self, net: &Net<'_>) -> io::Result<Zeroizing<Vec<u8>>> {
        // Growing would leave copies behind: each entry has a header, perhaps one more for a long
        // name, and is filled up to blocks of 512.
        let room = |file: &NodeFile| file.bytes.len() + 8192;
        let room = net.changes.iter().map(|(_, change)| match change {
            Change::File(file, _) => room(file),
            _ => 8192,
        });
        let buffer = Vec::with_capacity(room.sum::<usize>() + 8192);
        let mut builder = tar::Builder::new(buffer);
        for (path, change) in &net.changes {
            let (access, bytes, kind): (_, &[u8], _) = match change {
                Change::Folder(access) => (*access, &[], tar::EntryType::Directory),
                Change::File(file, _) => (file.access, &file.bytes, tar::EntryType::Regular),
                Change::NoFile(_) | Change::NoFolder => continue,
            };
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(access.mode);
            header.set_uid(access.uid.into());
            header.set_gid(access.gid.into());
            header.set_mtime(u64::try_from(self.now.unix_timestamp()).unwrap_or(0));
            let placed = self.placed(access, false);
            if let Some(user) = placed.user {
                header.set_username(&user)?;
            }
            if let Some(group) = placed.group {
                header.set_groupname(&group)?;
            }
            builder.append_data(&mut header, path.strip_prefix("/").unwrap_or(path), bytes)?;
        }
        builder.into_inner().map(Zeroizing::new)
    }

    /// Writes a file of the bundle; the folders on the way are made.
    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), BundleError> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(io("create", folder))?;
        }
        // Mode 0600: what it is to have on the node the manifest tells.
        textfile::fs::create(&path, bytes, None).map_err(Into::into)
    }
}

/// Cuts deeds where one makes what an earlier one has removed: within a part things are removed after
/// others were made. Only a file that takes a file's place needs no cut.
fn apart(mut deeds: &[Recorded]) -> Vec<&[Recorded]> {
    let mut parts = Vec::new();
    loop {
        let mut removed: BTreeMap<&Path, bool> = BTreeMap::new();
        let cut = deeds.iter().position(|Recorded { deed, .. }| match deed {
            Deed::RemoveFile { path, .. } => {
                removed.entry(path).or_insert(false);
                false
            }
            Deed::RemoveFolder { path } => {
                removed.insert(path, true);
                false
            }
            Deed::MakeFolder { path, .. } => removed.contains_key(path.as_path()),
            Deed::WriteFile { path, .. } => removed.get(path.as_path()) == Some(&true),
            Deed::Execute { .. } | Deed::Reload => false,
        });
        let Some(cut) = cut else { break };
        let (part, rest) = deeds.split_at(cut);
        parts.push(part);
        deeds = rest;
    }
    parts.push(deeds);
    parts
}

/// What deeds with files come to: for each path the last of it, with what was there before the first.
struct Net<'a> {
    /// In the order of the paths: folders before what is in them.
    changes: Vec<(&'a Path, Change<'a>)>,
}

enum Change<'a> {
    Folder(Access),
    File(&'a NodeFile, &'a Before),
    NoFile(&'a Before),
    NoFolder,
}

impl<'a> Net<'a> {
    fn of(deeds: &'a [Recorded]) -> Self {
        let mut changes: BTreeMap<&Path, Option<Change<'_>>> = BTreeMap::new();
        for Recorded { deed, .. } in deeds {
            let (path, change) = match deed {
                Deed::MakeFolder { path, access } => (path, Some(Change::Folder(*access))),
                Deed::WriteFile { path, file, before } => {
                    (path, Some(Change::File(file, first(&changes, path).unwrap_or(before))))
                }
                Deed::RemoveFile { path, before } => {
                    match first(&changes, path).unwrap_or(before) {
                        // It was only to be there for a while.
                        Before::Absent => (path, None),
                        before => (path, Some(Change::NoFile(before))),
                    }
                }
                Deed::RemoveFolder { path } => match changes.get(path.as_path()) {
                    Some(Some(Change::Folder(_))) => (path, None),
                    _ => (path, Some(Change::NoFolder)),
                },
                Deed::Execute { .. } | Deed::Reload => continue,
            };
            changes.insert(path, change);
        }
        let changes = changes.into_iter().filter_map(|(path, change)| Some((path, change?)));
        Self { changes: changes.collect() }
    }
}

/// What was at a path before the first deed with it.
fn first<'a>(changes: &BTreeMap<&Path, Option<Change<'a>>>, path: &Path) -> Option<&'a Before> {
    match changes.get(path)? {
        Some(Change::File(_, before) | Change::NoFile(before)) => Some(before),
        // It was made and removed again.
        None => Some(&Before::Absent),
        _ => None,
    }
}
