//! A connection that libpq made.

use std::{
    ffi::{c_char, c_int, c_void},
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    api::{Api, PgConn, PgResult},
    bytes, c_string, text,
};
use crate::{Error, Rows, SqlError};

const CONNECTION_BAD: c_int = 1;
const PGRES_POLLING_FAILED: c_int = 0;
const PGRES_POLLING_READING: c_int = 1;
const PGRES_POLLING_WRITING: c_int = 2;
const PGRES_POLLING_OK: c_int = 3;
const PGRES_EMPTY_QUERY: c_int = 0;
const PGRES_COMMAND_OK: c_int = 1;
const PGRES_TUPLES_OK: c_int = 2;
const PGRES_COPY_OUT: c_int = 3;
const PGRES_COPY_IN: c_int = 4;
const PGRES_COPY_BOTH: c_int = 8;

/// A `PGconn`, finished when dropped.
pub(super) struct Handle {
    pub(super) api: &'static Api,
    conn: NonNull<PgConn>,
}

// SAFETY: libpq lets a connection be used by any thread, by one at a time (documentation,
// "Behavior in Threaded Programs"), and all uses but reads take `&mut`; it is not Sync.
unsafe impl Send for Handle {}

impl Handle {
    /// Takes over what a `PQconnectStart` function returned.
    pub(super) fn new(api: &'static Api, conn: *mut PgConn) -> Result<Self, Error> {
        let conn = NonNull::new(conn).ok_or_else(|| Error::Connect("out of memory".to_owned()))?;
        Ok(Self { api, conn })
    }

    pub(super) fn raw(&self) -> *mut PgConn {
        self.conn.as_ptr()
    }

    pub(super) fn error_message(&self) -> String {
        // SAFETY: a connection; the text lives until the next call, and is copied.
        let message = unsafe { text((self.api.PQerrorMessage)(self.raw())) };
        message.trim_end().to_owned()
    }

    /// Waits for the connection's socket.
    fn wait(&self, flags: PollFlags, deadline: Instant, limit: Duration) -> Result<(), Error> {
        // SAFETY: a connection.
        let socket = unsafe { (self.api.PQsocket)(self.raw()) };
        if socket < 0 {
            return Err(Error::Connect(self.error_message()));
        }
        // SAFETY: libpq closes it only in calls on this connection, of which there is none while
        // it is borrowed here.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| Error::State {
                is: "asked to wait too long",
                needs: "a limit that fits the system's clock",
            })?;
            match poll(&mut [PollFd::from_borrowed_fd(socket, flags)], Some(&left)) {
                Ok(0) => {
                    let what = "the server's answer to libpq".to_owned();
                    return Err(Error::Timeout { what, after: limit, log: String::new() });
                }
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::io("waiting for libpq's socket")(error.into())),
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: a connection, which nothing uses any more.
        unsafe { (self.api.PQfinish)(self.raw()) };
    }
}

type Notices = Mutex<Vec<String>>;

/// Keeps what libpq would print.
///
/// # Safety
/// `place` is a `Notices` and `message` a C string; both live through the call.
unsafe extern "C" fn keep_notice(place: *mut c_void, message: *const c_char) {
    // SAFETY: what the caller promises.
    let (place, message) = unsafe { (&*place.cast::<Notices>(), text(message)) };
    place.lock().unwrap_or_else(PoisonError::into_inner).push(message.trim_end().to_owned());
}

/// A connection that libpq made, and that is logged in. Closes when dropped.
pub struct Connection {
    /// Before `notices`, so that libpq is done with them when they go.
    handle: Handle,
    notices: Arc<Notices>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("user", &self.user())
            .field("database", &self.database())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Brings a begun connection to its end.
    pub(super) fn finish(handle: Handle, limit: Duration) -> Result<Self, Error> {
        let deadline = Instant::now() + limit;
        let notices = Arc::new(Notices::default());
        let place = Arc::as_ptr(&notices).cast_mut().cast();
        let connection = Self { handle, notices };
        let (api, handle) = (connection.handle.api, &connection.handle);
        // SAFETY: a connection; the place lives on the heap until `Connection` has dropped the
        // handle.
        unsafe { (api.PQsetNoticeProcessor)(handle.raw(), keep_notice, place) };
        // SAFETY: a connection.
        if unsafe { (api.PQstatus)(handle.raw()) } == CONNECTION_BAD {
            return Err(Error::Connect(handle.error_message()));
        }
        let mut state = PGRES_POLLING_WRITING;
        loop {
            match state {
                PGRES_POLLING_OK => return Ok(connection),
                PGRES_POLLING_READING => handle.wait(PollFlags::IN, deadline, limit)?,
                PGRES_POLLING_WRITING => handle.wait(PollFlags::OUT, deadline, limit)?,
                PGRES_POLLING_FAILED => return Err(Error::Connect(handle.error_message())),
                other => return Err(Error::Protocol(format!("PQconnectPoll returned {other}"))),
            }
            // SAFETY: a connection that is neither bad nor finished.
            state = unsafe { (api.PQconnectPoll)(handle.raw()) };
        }
    }

    /// Runs one or more statements and gives the last one's result, as text. After a time-out the
    /// connection is of no further use.
    ///
    /// # Errors
    /// [`Error::Sql`] with the server's (or libpq's own) message, [`Error::Timeout`],
    /// [`Error::ZeroByte`], or [`Error::Protocol`] for COPY, which is not offered here.
    pub fn query(&mut self, sql: &str, limit: Duration) -> Result<Rows, Error> {
        let deadline = Instant::now() + limit;
        let sql = c_string("the statement", sql.as_bytes())?;
        let (api, conn) = (self.handle.api, self.handle.raw());
        // SAFETY: a connection, and a C string that lives through the call.
        if unsafe { (api.PQsendQuery)(conn, sql.as_ptr()) } == 0 {
            return Err(self.broken());
        }
        let mut last = Ok(Rows::default());
        loop {
            // SAFETY: a connection.
            while unsafe { (api.PQisBusy)(conn) } != 0 {
                self.handle.wait(PollFlags::IN, deadline, limit)?;
                // SAFETY: a connection.
                if unsafe { (api.PQconsumeInput)(conn) } == 0 {
                    return Err(self.broken());
                }
            }
            // SAFETY: a connection that is not busy, so this does not wait.
            let result = unsafe { (api.PQgetResult)(conn) };
            let Some(result) = NonNull::new(result) else { return last };
            let result = Answer { api, result };
            last = result.rows();
            if matches!(last, Err(Error::Protocol(_))) {
                return last;
            }
        }
    }

    fn broken(&self) -> Error {
        SqlError {
            severity: "FATAL".to_owned(),
            message: self.handle.error_message(),
            ..SqlError::default()
        }
        .into()
    }

    /// libpq's last message about this connection.
    #[must_use]
    pub fn error_message(&self) -> String {
        self.handle.error_message()
    }

    /// The role that was logged in as.
    #[must_use]
    pub fn user(&self) -> String {
        // SAFETY: a connection; the text lives as long, and is copied.
        unsafe { text((self.handle.api.PQuser)(self.handle.raw())) }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> String {
        // SAFETY: as `user`.
        unsafe { text((self.handle.api.PQdb)(self.handle.raw())) }
    }

    /// The server's version as a number: 160014 for 16.14.
    #[must_use]
    pub fn server_version(&self) -> u32 {
        // SAFETY: a connection.
        unsafe { (self.handle.api.PQserverVersion)(self.handle.raw()) }.unsigned_abs()
    }

    /// The number of the server's process.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        // SAFETY: a connection.
        unsafe { (self.handle.api.PQbackendPID)(self.handle.raw()) }
    }

    /// Whether the server asked for a password and libpq had one.
    #[must_use]
    pub fn used_password(&self) -> bool {
        // SAFETY: a connection.
        unsafe { (self.handle.api.PQconnectionUsedPassword)(self.handle.raw()) != 0 }
    }

    /// A setting that the server reports by itself, such as `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let name = c_string("a parameter's name", name.as_bytes()).ok()?;
        // SAFETY: a connection and a C string; the answer is NULL or lives until the next call.
        let value =
            unsafe { bytes((self.handle.api.PQparameterStatus)(self.handle.raw(), name.as_ptr())) };
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Whether the connection is encrypted by TLS.
    #[must_use]
    pub fn ssl_in_use(&self) -> bool {
        // SAFETY: a connection.
        unsafe { (self.handle.api.PQsslInUse)(self.handle.raw()) != 0 }
    }

    /// A fact about the connection's TLS: `library`, `protocol` (`TLSv1.3`), `cipher`,
    /// `key_bits`, `compression`; `alpn` from 17 on.
    #[must_use]
    pub fn ssl_attribute(&self, name: &str) -> Option<String> {
        let name = c_string("an attribute's name", name.as_bytes()).ok()?;
        // SAFETY: as `parameter`.
        let value =
            unsafe { bytes((self.handle.api.PQsslAttribute)(self.handle.raw(), name.as_ptr())) };
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The notices and warnings since they were last taken, as libpq would print them.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A `PGresult`, cleared when dropped.
struct Answer {
    api: &'static Api,
    result: NonNull<PgResult>,
}

impl Answer {
    fn rows(&self) -> Result<Rows, Error> {
        let (api, raw) = (self.api, self.result.as_ptr());
        // SAFETY: a result.
        match unsafe { (api.PQresultStatus)(raw) } {
            PGRES_EMPTY_QUERY | PGRES_COMMAND_OK | PGRES_TUPLES_OK => {}
            PGRES_COPY_IN | PGRES_COPY_OUT | PGRES_COPY_BOTH => {
                return Err(Error::Protocol("COPY is not offered here".to_owned()));
            }
            _ => return Err(self.error().into()),
        }
        // SAFETY: a result; the tag lives as long, and is copied.
        let tag = unsafe { text((api.PQcmdStatus)(raw)) };
        // SAFETY: a result.
        let (height, width) = unsafe { ((api.PQntuples)(raw), (api.PQnfields)(raw)) };
        // SAFETY: a result and a column of it.
        let columns = (0..width).map(|column| unsafe { text((api.PQfname)(raw, column)) });
        let row = |row| (0..width).map(|column| self.value(row, column)).collect();
        Ok(Rows { columns: columns.collect(), rows: (0..height).map(row).collect(), tag })
    }

    fn value(&self, row: c_int, column: c_int) -> Option<String> {
        let (api, raw) = (self.api, self.result.as_ptr());
        // SAFETY: a result, and a row and a column of it: `rows` counted them.
        if unsafe { (api.PQgetisnull)(raw, row, column) } != 0 {
            return None;
        }
        // SAFETY: as above; the value has that many bytes and lives as long as the result.
        let value = unsafe {
            let length = usize::try_from((api.PQgetlength)(raw, row, column)).unwrap_or_default();
            std::slice::from_raw_parts((api.PQgetvalue)(raw, row, column), length)
        };
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn error(&self) -> SqlError {
        let field = |code: u8| {
            // SAFETY: a result; the answer is NULL or lives as long, and is copied.
            let value = unsafe {
                bytes((self.api.PQresultErrorField)(self.result.as_ptr(), c_int::from(code)))
            };
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        let whole = || {
            // SAFETY: as above.
            let message = unsafe { text((self.api.PQresultErrorMessage)(self.result.as_ptr())) };
            message.trim_end().to_owned()
        };
        SqlError {
            severity: field(b'V').unwrap_or_else(|| "FATAL".to_owned()),
            code: field(b'C').unwrap_or_default(),
            message: field(b'M').unwrap_or_else(whole),
            detail: field(b'D'),
            hint: field(b'H'),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: a result, which nothing uses any more.
        unsafe { (self.api.PQclear)(self.result.as_ptr()) };
    }
}
