//! A server's own folder, and the data folders that it starts from.

use std::{
    collections::HashMap,
    env, fs,
    fs::DirBuilder,
    hash::{BuildHasher, RandomState},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Account, Error, Installation, Run, watchdog::Watchdog};

/// A Unix socket's path has at most 107 bytes on Linux and 103 on macOS; below the folder come
/// `/pgtest-XXXXXX/sock/.s.PGSQL.65535`.
const LONGEST_BASE: usize = 103 - "/pgtest-XXXXXX/sock/.s.PGSQL.65535".len();

/// A folder that belongs to the server's account and goes with the process:
/// `data`, `home`, `sock` and `server.log` are in it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) root: PathBuf,
    pub(crate) watchdog: Watchdog,
}

impl Home {
    pub(crate) fn create(account: &Account) -> Result<Self, Error> {
        let base = base(account);
        let (root, watchdog) = watched_folder(&base)?;
        let home = Self { root, watchdog };
        // Others may connect: they need to come by.
        fs::set_permissions(&home.root, fs::Permissions::from_mode(0o755))
            .map_err(Error::io(format!("chmod {}", home.root.display())))?;
        account.own(&home.root)?;
        for name in ["home", "sock"] {
            let path = home.root.join(name);
            fs::create_dir(&path).map_err(Error::io(format!("creating {}", path.display())))?;
            account.own(&path)?;
        }
        Ok(home)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Runs initdb. The superuser is `postgres`, without a password, whoever runs it.
    pub(crate) fn initdb(
        &mut self,
        installation: &Installation,
        account: &Account,
        args: &[String],
    ) -> Result<(), Error> {
        let run = Run::new(installation.program("initdb"))
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"])
            .args(args)
            .args(["-D".into(), self.data()])
            .env("HOME", self.root.join("home"))
            .account(account)
            .folder(&self.root);
        self.watchdog.starting()?;
        run.check_watched(|pid| self.watchdog.server(pid))?;
        self.watchdog.stopped()
    }

    /// Copies the data folder that initdb makes for this build and account, which is made once
    /// in the life of this process.
    pub(crate) fn copy_template(
        &mut self,
        installation: &Installation,
        account: &Account,
    ) -> Result<(), Error> {
        let template = template(installation, account)?;
        Run::new("cp")
            .args([PathBuf::from("-pR"), template, self.data()])
            .account(account)
            .folder(&self.root)
            .check()
            .map(drop)
    }
}

/// Makes a folder of a new name. Its watchdog is there before it is, so no moment in which we are
/// killed leaves it behind.
fn watched_folder(base: &Path) -> Result<(PathBuf, Watchdog), Error> {
    let mut taken = ErrorKind::AlreadyExists.into();
    for _ in 0..100 {
        // Each state has other keys.
        let random = RandomState::new().hash_one(std::process::id()) & 0xff_ffff;
        let path = base.join(format!("pgtest-{random:06x}"));
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let watchdog = Watchdog::over(&path)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok((path, watchdog)),
            Err(error) => {
                // It is not ours to remove.
                watchdog.release();
                let again = error.kind() == ErrorKind::AlreadyExists;
                taken = error;
                if !again {
                    break;
                }
            }
        }
    }
    Err(Error::io(format!("creating a folder in {}", base.display()))(taken))
}

/// Where the folders go: the system's folder for temporary files, or `/tmp` where its path is too
/// long for a socket or the account cannot get into it.
fn base(account: &Account) -> PathBuf {
    let chosen = env::temp_dir();
    let short = chosen.as_os_str().len() <= LONGEST_BASE;
    let open = account.uid() == rustix::process::geteuid().as_raw()
        || chosen.ancestors().all(everyone_enters);
    if short && open && chosen.is_absolute() { chosen } else { PathBuf::from("/tmp") }
}

fn everyone_enters(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
}

type Slot = Arc<Mutex<Option<Home>>>;

/// One slot for each build and account: builds are initialised at the same time, each one once.
static TEMPLATES: Mutex<Option<HashMap<(PathBuf, u32), Slot>>> = Mutex::new(None);

fn template(installation: &Installation, account: &Account) -> Result<PathBuf, Error> {
    let key = (installation.bindir().to_owned(), account.uid());
    let slot = TEMPLATES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .entry(key)
        .or_default()
        .clone();
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(home) = &*slot {
        return Ok(home.data());
    }
    let mut home = Home::create(account)?;
    if let Err(error) = home.initdb(installation, account, &[]) {
        // What initdb said matters more than a folder that could not be removed.
        let _ = home.watchdog.remove();
        return Err(error);
    }
    // Never dropped: `discard_templates` removes it, or the watchdog when the process is gone.
    Ok(slot.insert(home).data())
}

/// Removes the data folders that new servers are copied from; the next server has one made again. A
/// program that ends calls it to leave nothing behind; without it the folders go a moment after the
/// process does.
///
/// # Errors
/// [`Error::Io`] where one cannot be removed.
pub fn discard_templates() -> Result<(), Error> {
    let slots = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner).take();
    for slot in slots.into_iter().flat_map(HashMap::into_values) {
        if let Some(home) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            home.watchdog.remove()?;
        }
    }
    Ok(())
}
