//! Who may read a private key's file: the rules of servers and of libpq, in their own words.

use std::fmt;

/// What the rules look at: the result of `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, such as `0o600`.
    pub mode: u32,
    /// Whether it is a regular file, after symbolic links are followed.
    pub regular: bool,
}

/// The account that reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// Its user id.
    pub uid: u32,
    /// Its groups.
    pub gids: &'a [u32],
}

/// Which program reads a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyReader {
    /// A server: `ssl_key_file` (`check_ssl_key_file_permissions` in `be-secure-common.c`).
    Server,
    /// libpq: `sslkey` (`fe-secure-openssl.c`), in current minors of 12 to 18.
    Libpq,
}

/// Why a key file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyFileRefusal {
    /// It is a folder, a pipe or a device.
    NotRegular,
    /// It belongs to neither the server's account nor root. Servers mind, libpq does not.
    Owner,
    /// Others than its owner may read or write it.
    Access(KeyReader),
    /// The rules are kept, and the account cannot read it all the same.
    Unreadable,
    /// It is not there.
    Missing,
}

impl KeyFileRefusal {
    /// The whole message of a server of 12 to 18 (in its log, with the detail in a line of its own) or
    /// of libpq (in the connection's error) about a key file that is named `path`.
    ///
    /// ```
    /// use pki::{KeyFileRefusal, KeyReader};
    ///
    /// let refusal = KeyFileRefusal::Access(KeyReader::Server);
    /// assert_eq!(
    ///     refusal.message(KeyReader::Server, "server.key"),
    ///     "private key file \"server.key\" has group or world access\n\
    ///      File must have permissions u=rw (0600) or less if owned by the database user, or \
    ///      permissions u=rw,g=r (0640) or less if owned by root.",
    /// );
    /// ```
    #[must_use]
    pub fn message(self, reader: KeyReader, path: &str) -> String {
        match (self, reader) {
            (Self::Access(_), KeyReader::Server) => format!(
                "private key file \"{path}\" has group or world access\nFile must have permissions \
                 u=rw (0600) or less if owned by the database user, or permissions u=rw,g=r (0640) \
                 or less if owned by root."
            ),
            (Self::Access(_), KeyReader::Libpq) => format!(
                "private key file \"{path}\" has group or world access; file must have permissions \
                 u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) \
                 or less if owned by root"
            ),
            (Self::Missing, KeyReader::Server) => {
                format!("could not access private key file \"{path}\": No such file or directory")
            }
            (Self::Missing, KeyReader::Libpq) => {
                format!("certificate present, but not private key file \"{path}\"")
            }
            (Self::Unreadable, _) => {
                format!("could not load private key file \"{path}\": Permission denied")
            }
            (Self::NotRegular | Self::Owner, _) => format!("private key file \"{path}\" {self}"),
        }
    }
}

impl fmt::Display for KeyFileRefusal {
    /// In the words of servers and libpq, to follow the name of the file. Their whole message is
    /// [`KeyFileRefusal::message`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRegular => "is not a regular file",
            Self::Owner => "must be owned by the database user or root",
            Self::Access(KeyReader::Server) => {
                "has group or world access: file must have permissions u=rw (0600) or less if \
                 owned by the database user, or permissions u=rw,g=r (0640) or less if owned by \
                 root"
            }
            Self::Access(KeyReader::Libpq) => {
                "has group or world access; file must have permissions u=rw (0600) or less if \
                 owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root"
            }
            Self::Unreadable => "cannot be read: Permission denied",
            Self::Missing => "is not there",
        })
    }
}

impl std::error::Error for KeyFileRefusal {}

/// Whether `reader`, running as `account`, uses a key file with this status.
///
/// | owner and mode | server | libpq |
/// |-|-|-|
/// | own, 0600 or 0400 | yes | yes |
/// | own, 0700 | yes | yes |
/// | own, 0640 | no | no |
/// | root, 0640, group of the account | yes | yes |
/// | root, 0600 | Permission denied | Permission denied |
/// | root, 0644 or 0660 | no | no |
/// | a third account, 0600 | no | Permission denied, unless run by root |
///
/// ```
/// use pki::{Account, FileStatus, KeyFileRefusal, KeyReader, judge_key_file};
///
/// let account = Account { uid: 26, gids: &[26] };
/// let status = FileStatus { uid: 26, gid: 26, mode: 0o640, regular: true };
/// assert_eq!(
///     judge_key_file(KeyReader::Server, status, account),
///     Err(KeyFileRefusal::Access(KeyReader::Server)),
/// );
/// ```
///
/// # Errors
/// [`KeyFileRefusal`]
pub fn judge_key_file(
    reader: KeyReader,
    file: FileStatus,
    account: Account<'_>,
) -> Result<(), KeyFileRefusal> {
    const BEYOND_OWNER: u32 = 0o077;
    const BEYOND_GROUP_READING: u32 = 0o037;
    if !file.regular {
        return Err(KeyFileRefusal::NotRegular);
    }
    if reader == KeyReader::Server && file.uid != account.uid && file.uid != 0 {
        return Err(KeyFileRefusal::Owner);
    }
    let forbidden = match reader {
        // An account that is root itself must keep the rule for its own files.
        KeyReader::Server if file.uid == account.uid => BEYOND_OWNER,
        _ if file.uid == 0 => BEYOND_GROUP_READING,
        _ => BEYOND_OWNER,
    };
    if file.mode & forbidden != 0 {
        return Err(KeyFileRefusal::Access(reader));
    }
    let readable = account.uid == 0
        || match () {
            () if file.uid == account.uid => file.mode & 0o400 != 0,
            () if account.gids.contains(&file.gid) => file.mode & 0o040 != 0,
            () => file.mode & 0o004 != 0,
        };
    if readable { Ok(()) } else { Err(KeyFileRefusal::Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let account = Account { uid: 26, gids: &[26, 100] };
        let file = |uid, gid, mode| FileStatus { uid, gid, mode, regular: true };
        let access = |reader| Err(KeyFileRefusal::Access(reader));
        let (server, libpq) = (KeyReader::Server, KeyReader::Libpq);
        for (status, by_server, by_libpq) in [
            (file(26, 26, 0o600), Ok(()), Ok(())),
            (file(26, 26, 0o400), Ok(()), Ok(())),
            (file(26, 26, 0o700), Ok(()), Ok(())),
            (file(26, 26, 0o640), access(server), access(libpq)),
            (file(26, 26, 0o000), Err(KeyFileRefusal::Unreadable), Err(KeyFileRefusal::Unreadable)),
            (file(0, 100, 0o640), Ok(()), Ok(())),
            (file(0, 7, 0o640), Err(KeyFileRefusal::Unreadable), Err(KeyFileRefusal::Unreadable)),
            (file(0, 0, 0o600), Err(KeyFileRefusal::Unreadable), Err(KeyFileRefusal::Unreadable)),
            (file(0, 100, 0o644), access(server), access(libpq)),
            (file(0, 100, 0o660), access(server), access(libpq)),
            (file(7, 100, 0o600), Err(KeyFileRefusal::Owner), Err(KeyFileRefusal::Unreadable)),
        ] {
            assert_eq!(judge_key_file(server, status, account), by_server, "server {status:?}");
            assert_eq!(judge_key_file(libpq, status, account), by_libpq, "libpq {status:?}");
        }
        let root = Account { uid: 0, gids: &[0] };
        // A server never runs as root; libpq does, and may read a root file of mode 0640.
        assert_eq!(judge_key_file(libpq, file(0, 0, 0o640), root), Ok(()));
        assert_eq!(judge_key_file(libpq, file(26, 26, 0o640), root), access(libpq));
        let folder = FileStatus { regular: false, ..file(26, 26, 0o600) };
        assert_eq!(judge_key_file(server, folder, account), Err(KeyFileRefusal::NotRegular));
    }
}
