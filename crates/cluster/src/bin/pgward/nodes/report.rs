//! `--html FILE`: a verification as a page.

use std::path::{Path, PathBuf};

use cluster::{report, verify::Verification};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use textfile::fs::{self, FsError, Snapshot};

use crate::frame::{console::Console, failure::Failure};

/// Where the page goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReportArgument {
    /// Write what was proved as one page of HTML, too: a new file gets mode 0600; an older report is
    /// replaced and keeps its mode, anything else is left alone
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgument {
    /// Looks whether the page can be written there, before anything is done for it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let before = self.before()?;
        let Some(path) = &self.html else { return Ok(()) };
        // The page is written beside the old one, and takes its place.
        let file = match before {
            Some(_) => path.canonicalize().unwrap_or_else(|_| path.clone()),
            None => path.clone(),
        };
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(
            |error| {
                let folder = folder.display().to_string();
                Failure::io("write into the folder", &folder, &error.into())
            },
        )
    }

    /// What is there now: nothing, or an older page.
    fn before(&self) -> Result<Option<Snapshot>, Failure> {
        let Some(path) = &self.html else { return Ok(None) };
        if path.as_os_str() == "-" {
            return Err(Failure::user("the report is a file of its own")
                .fix("name a file, such as report.html"));
        }
        let before = match Snapshot::read(path) {
            Ok(before) => before,
            Err(FsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                if path.is_symlink() {
                    let message =
                        format!("{} is a link to a file that is not there", path.display());
                    return Err(Failure::user(message)
                        .fix("remove the link, or name the file that is meant"));
                }
                return match path.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                        Err(Failure::user(format!("there is no folder {}", folder.display()))
                            .fix("make it, or name a file in another one"))
                    }
                    _ => Ok(None),
                };
            }
            Err(FsError::NotAFile { .. }) => {
                return Err(Failure::user(format!("{} is no plain file", path.display()))
                    .fix("name a file, such as report.html"));
            }
            Err(error) => return Err(error.into()),
        };
        if before.bytes().is_empty() || report::is_page(before.bytes()) {
            return Ok(Some(before));
        }
        Err(Failure::user(format!("{} is there already, and is no report", path.display()))
            .fix("name another file, or remove that one if nobody needs it"))
    }

    /// Writes the page, whole or not at all, and says so. Returns its path, if it was asked for.
    pub(crate) fn write(
        &self,
        verification: &Verification,
        console: &Console,
    ) -> Result<Option<String>, Failure> {
        let Some(path) = &self.html else { return Ok(None) };
        let page = report::html(verification);
        match self.before()? {
            Some(before) => drop(before.replace(page.as_bytes())?),
            None => fs::create(path, page.as_bytes(), None)?,
        }
        let path = path.display().to_string();
        console.note(&format!("the report is in {path}"));
        Ok(Some(path))
    }
}
