//! libpq itself, of every major: what PostgreSQL's own clients, standbys and subscribers do.
//!
//! Several majors work side by side in one process. The ready-made builds find their OpenSSL
//! beside themselves (`RUNPATH` is `$ORIGIN`); the first one that is loaded serves all, because
//! the system's loader knows libraries by their name (`libssl.so.1.1`). Debian's has OpenSSL 3,
//! under another name.
//!
//! libpq reads the process's environment (`PGHOST`, `PGPASSFILE`, `HOME`, ...) wherever a
//! parameter is not given, and writes its warnings about password files to standard error.
//!
//! ```no_run
//! use std::time::Duration;
//! use pg_version::PgVersion;
//! use pgtest::{Server, libpq::Libpq};
//!
//! let installation = pgtest::find(PgVersion::V16)?;
//! let server = Server::builder(&installation).start()?;
//! let libpq = Libpq::load(&installation)?;
//! let socket_dir = server.socket_dir().display().to_string();
//! let port = server.port().to_string();
//! let params = [("host", &*socket_dir), ("port", &*port), ("user", "postgres")];
//! let mut connection = libpq.connect(&params, Duration::from_secs(10))?;
//! assert_eq!(connection.query("SELECT 1", Duration::from_secs(10))?.value(), Some("1"));
//! # Ok::<(), pgtest::Error>(())
//! ```

mod api;
mod connection;

use std::{
    ffi::{CStr, CString, c_char},
    path::{Path, PathBuf},
    ptr,
    time::Duration,
};

use pg_version::PgVersion;

pub use self::connection::Connection;
use self::{api::Api, connection::Handle};
use crate::{Error, Installation};

/// A loaded libpq. Loading one again is free.
#[derive(Clone)]
pub struct Libpq {
    api: &'static Api,
    path: PathBuf,
}

impl std::fmt::Debug for Libpq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libpq")
            .field("path", &self.path)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Libpq {
    /// The libpq of a build.
    ///
    /// # Errors
    /// [`Error::Libpq`] where there is none, it cannot be loaded, or it is of another major (a
    /// system's one libpq serves servers of all majors): [`load_path`](Self::load_path) takes it
    /// as it is.
    pub fn load(installation: &Installation) -> Result<Self, Error> {
        let path = installation.libpq().ok_or_else(|| Error::Libpq {
            path: installation.bindir().join("../lib/libpq.so.5"),
            reason: "there is none here, nor where the system keeps its libraries".to_owned(),
        })?;
        let libpq = Self::load_path(&path)?;
        if libpq.major() == Some(installation.version()) {
            return Ok(libpq);
        }
        let reason =
            format!("it is of version {}, not {}", libpq.version(), installation.version());
        Err(Error::Libpq { path, reason })
    }

    /// The libpq in a file.
    ///
    /// # Errors
    /// [`Error::Libpq`] where it cannot be loaded or lacks functions that majors 12 to 18 have.
    pub fn load_path(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self { api: Api::load(path)?, path: path.to_owned() })
    }

    /// The library's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version as a number: 160014 for 16.14.
    #[must_use]
    pub fn version(&self) -> u32 {
        // SAFETY: takes nothing, returns a number.
        let version = unsafe { (self.api.PQlibVersion)() };
        version.unsigned_abs()
    }

    /// The major, where it is one that is known.
    #[must_use]
    pub fn major(&self) -> Option<PgVersion> {
        PgVersion::from_server_version_num(self.version()).ok()
    }

    /// Connects with the parameters of a connection string, and waits at most `limit`. libpq
    /// looks up host names in this call; `hostaddr` avoids it.
    ///
    /// # Errors
    /// [`Error::Connect`] with libpq's message, [`Error::Timeout`], or [`Error::ZeroByte`].
    pub fn connect<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        params: &[(N, V)],
        limit: Duration,
    ) -> Result<Connection, Error> {
        Connection::finish(self.start(params)?, limit)
    }

    /// Connects with a connection string or URI, as a subscription or `primary_conninfo` does.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_conninfo(
        &self,
        conninfo: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<Connection, Error> {
        let conninfo = c_string("the connection string", conninfo.as_ref())?;
        // SAFETY: a C string that lives through the call, which copies it.
        let conn = unsafe { (self.api.PQconnectStart)(conninfo.as_ptr()) };
        Connection::finish(Handle::new(self.api, conn)?, limit)
    }

    /// The password that libpq would use: of the parameters, `PGPASSWORD`, or the password file.
    /// Needs no server: the connection is begun and given up. Give `hostaddr` besides `host`, or
    /// libpq looks the name up. An empty password is none, as it is for libpq.
    ///
    /// # Errors
    /// [`Error::ZeroByte`].
    pub fn lookup_password<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        params: &[(N, V)],
    ) -> Result<Option<Vec<u8>>, Error> {
        let handle = self.start(params)?;
        // SAFETY: the handle is a connection, and outlives the text, which `bytes` copies.
        let password = unsafe { bytes((self.api.PQpass)(handle.raw())) };
        Ok(password.filter(|password| !password.is_empty()))
    }

    /// The secret that the server would store: `algorithm` is `scram-sha-256` (with a random salt)
    /// or `md5`.
    ///
    /// # Errors
    /// [`Error::Connect`] with libpq's message where it refuses, or [`Error::ZeroByte`].
    pub fn encrypt_password(
        &self,
        password: impl AsRef<[u8]>,
        user: impl AsRef<[u8]>,
        algorithm: &str,
    ) -> Result<String, Error> {
        let password = c_string("the password", password.as_ref())?;
        let user = c_string("the user", user.as_ref())?;
        let algorithm = c_string("the algorithm", algorithm.as_bytes())?;
        // With the algorithm given libpq asks no server, but wants a connection's place for its
        // message.
        let handle = self.start(&[("host", "/nonexistent")])?;
        // SAFETY: a connection and three C strings that live through the call.
        let secret = unsafe {
            (self.api.PQencryptPasswordConn)(
                handle.raw(),
                password.as_ptr(),
                user.as_ptr(),
                algorithm.as_ptr(),
            )
        };
        // SAFETY: NULL or a C string that is ours until it is freed below.
        let copy = unsafe { bytes(secret) };
        // SAFETY: libpq made it with malloc; NULL is allowed.
        unsafe { (self.api.PQfreemem)(secret.cast()) };
        match copy {
            Some(copy) => Ok(String::from_utf8_lossy(&copy).into_owned()),
            None => Err(Error::Connect(handle.error_message())),
        }
    }

    fn start<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, params: &[(N, V)]) -> Result<Handle, Error> {
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, value) in params {
            names.push(c_string("a parameter's name", name.as_ref())?);
            values.push(c_string("a parameter's value", value.as_ref())?);
        }
        let list = |texts: &[CString]| -> Vec<*const c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (name_list, value_list) = (list(&names), list(&values));
        // SAFETY: two lists of C strings that end with NULL and live through the call, which
        // copies them.
        let conn =
            unsafe { (self.api.PQconnectStartParams)(name_list.as_ptr(), value_list.as_ptr(), 0) };
        Handle::new(self.api, conn)
    }
}

fn c_string(what: &'static str, text: &[u8]) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::ZeroByte(what))
}

/// Copies a C string.
///
/// # Safety
/// It is NULL, or a C string that lives through the call.
unsafe fn bytes(text: *const c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, and what the caller promises.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// Copies a C string as text, NULL as the empty one.
///
/// # Safety
/// As [`bytes`].
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: what the caller promises.
    let bytes = unsafe { bytes(text) };
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}
