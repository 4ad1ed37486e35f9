//! The functions of libpq, as its header `libpq-fe.h` declares them.

use std::{
    collections::BTreeMap,
    ffi::{c_char, c_int, c_uchar, c_void},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::Error;

/// libpq's `PGconn`, which only it can look into.
#[repr(C)]
pub(super) struct PgConn {
    private: [u8; 0],
}

/// libpq's `PGresult`, which only it can look into.
#[repr(C)]
pub(super) struct PgResult {
    private: [u8; 0],
}

pub(super) type NoticeProcessor = unsafe extern "C" fn(*mut c_void, *const c_char);

/// Declares the table of functions, and how it is filled from a library.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of one loaded library, which stays loaded.
        #[allow(non_snake_case, reason = "libpq's own names")]
        pub(super) struct Api {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            fn fill(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        $name: {
                            // SAFETY: the type is the one that libpq-fe.h of majors 12 to 18
                            // declares for this name.
                            unsafe { *library.get(concat!(stringify!($name), "\0").as_bytes())? }
                        },
                    )*
                })
            }
        }
    };
}

functions! {
    PQlibVersion: fn() -> c_int;
    PQconnectStart: fn(*const c_char) -> *mut PgConn;
    PQconnectStartParams: fn(*const *const c_char, *const *const c_char, c_int) -> *mut PgConn;
    PQconnectPoll: fn(*mut PgConn) -> c_int;
    PQstatus: fn(*const PgConn) -> c_int;
    PQsocket: fn(*const PgConn) -> c_int;
    PQerrorMessage: fn(*const PgConn) -> *const c_char;
    PQfinish: fn(*mut PgConn);
    PQpass: fn(*const PgConn) -> *const c_char;
    PQuser: fn(*const PgConn) -> *const c_char;
    PQdb: fn(*const PgConn) -> *const c_char;
    PQserverVersion: fn(*const PgConn) -> c_int;
    PQbackendPID: fn(*const PgConn) -> c_int;
    PQparameterStatus: fn(*const PgConn, *const c_char) -> *const c_char;
    PQconnectionUsedPassword: fn(*const PgConn) -> c_int;
    PQsslInUse: fn(*mut PgConn) -> c_int;
    PQsslAttribute: fn(*mut PgConn, *const c_char) -> *const c_char;
    PQsetNoticeProcessor: fn(*mut PgConn, NoticeProcessor, *mut c_void) -> *const c_void;
    PQencryptPasswordConn: fn(*mut PgConn, *const c_char, *const c_char, *const c_char)
        -> *mut c_char;
    PQfreemem: fn(*mut c_void);
    PQsendQuery: fn(*mut PgConn, *const c_char) -> c_int;
    PQconsumeInput: fn(*mut PgConn) -> c_int;
    PQisBusy: fn(*mut PgConn) -> c_int;
    PQgetResult: fn(*mut PgConn) -> *mut PgResult;
    PQresultStatus: fn(*const PgResult) -> c_int;
    PQresultErrorMessage: fn(*const PgResult) -> *const c_char;
    PQresultErrorField: fn(*const PgResult, c_int) -> *const c_char;
    PQcmdStatus: fn(*mut PgResult) -> *const c_char;
    PQntuples: fn(*const PgResult) -> c_int;
    PQnfields: fn(*const PgResult) -> c_int;
    PQfname: fn(*const PgResult, c_int) -> *const c_char;
    PQgetisnull: fn(*const PgResult, c_int, c_int) -> c_int;
    PQgetvalue: fn(*const PgResult, c_int, c_int) -> *const c_uchar;
    PQgetlength: fn(*const PgResult, c_int, c_int) -> c_int;
    PQclear: fn(*mut PgResult);
}

/// Each library once; by its own path, so that majors do not hide one another.
static LOADED: Mutex<BTreeMap<PathBuf, &'static Api>> = Mutex::new(BTreeMap::new());

impl Api {
    /// Loads a library for the rest of the process: OpenSSL, which comes with it, has handlers
    /// that run at exit, and must not be gone by then.
    pub(super) fn load(path: &Path) -> Result<&'static Self, Error> {
        let refuse = |reason: String| Error::Libpq { path: path.to_owned(), reason };
        let path = std::fs::canonicalize(path).map_err(|error| refuse(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(api) = loaded.get(&path) {
            return Ok(api);
        }
        // SAFETY: libpq and what it needs (OpenSSL, libc, Kerberos) have initialisers that only
        // set up their own state. RTLD_LOCAL keeps each library's names to itself, so that one
        // major never calls another's functions.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| refuse(error.to_string()))?;
        let api = Self::fill(&library).map_err(|error| refuse(error.to_string()))?;
        std::mem::forget(library);
        let api: &'static Self = Box::leak(Box::new(api));
        loaded.insert(path, api);
        Ok(api)
    }
}
