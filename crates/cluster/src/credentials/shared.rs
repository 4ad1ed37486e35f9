//! Files that several nodes have in common: servers of one machine whose paths lead to the same place,
//! such as the `.pgpass` of an operating system's user that they all run as.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    error::Error, inspect::NodeState, plan::SharedFile, spec::NodeSpec, transport::FilesSpec,
};

/// Which node writes which of the files that more than one may have.
#[derive(Default)]
pub(super) struct Shared<'a> {
    files: BTreeMap<(Machine<'a>, PathBuf), Users<'a>>,
}

/// The nodes that have a file.
struct Users<'a> {
    writer: &'a NodeState,
    /// The others.
    readers: Vec<String>,
}

/// Where a node's files are, as far as the description tells.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Machine<'a> {
    This,
    /// By its host and port.
    Ssh(&'a str, Option<u16>),
    /// That of a node whose files are out of reach: nothing tells of whom else it is.
    Of(&'a str),
}

impl<'a> Machine<'a> {
    fn of(node: &'a NodeSpec) -> Self {
        match &node.files {
            FilesSpec::Local => Self::This,
            FilesSpec::Ssh(ssh) => Self::Ssh(&ssh.host, ssh.port),
            FilesSpec::Bundle(_) => Self::Of(&node.name),
        }
    }
}

impl<'a> Shared<'a> {
    /// The node that writes this file of a node: itself, or whichever came first.
    ///
    /// # Errors
    /// [`Error::Plan`] for nodes that run as different users: of a secret file one of them could read
    /// nothing.
    pub(super) fn writer(
        &mut self,
        node: &'a NodeSpec,
        state: &'a NodeState,
        path: &Path,
    ) -> Result<&'a NodeState, Error> {
        let place = (Machine::of(node), path.to_owned());
        let new = || Users { writer: state, readers: Vec::new() };
        let Users { writer, readers } = self.files.entry(place).or_insert_with(new);
        if writer.owner.uid == state.owner.uid {
            if writer.name != state.name {
                readers.push(state.name.clone());
            }
            return Ok(writer);
        }
        Err(Error::plan(format!(
            "the nodes {} and {} have the same {}, and run as different users: only its owner may \
             read it, so give one of the servers another path (for .pgpass another HOME)",
            writer.name,
            state.name,
            path.display()
        )))
    }

    /// The files that more than one node has.
    pub(super) fn files(self) -> impl Iterator<Item = SharedFile> {
        let shared = |((_, path), Users { writer, readers }): ((_, PathBuf), Users<'a>)| {
            let node = writer.name.clone();
            (!readers.is_empty()).then_some(SharedFile { node, path, readers })
        };
        self.files.into_iter().filter_map(shared)
    }
}
