//! Each lint: what raises it, what does not, and how it is told.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use passfile::{FileStatus, Libpq, Lint, PassFile, Severity};

fn lint(bytes: &[u8]) -> Vec<String> {
    let file = PassFile::parse(bytes).unwrap();
    file.lint(&Libpq::default(), None).iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_to_say() {
    for bytes in [
        &b""[..],
        b"\n   \n# comment\n#a:b:c:d:e\n",
        b"db1:5432:app:bob:pw\r\ndb1:5432:app:*:pw2\r\ndb1:*:*:*:a b\r\n",
        b"\\:\\:1:5432:\\*:a\\*b:p\\:w#x\n",
        b"localhost:*:*:bob:\"\n",
    ] {
        assert_eq!(lint(bytes), [""; 0], "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn each_lint() {
    let lost = format!("h:p:d:u:{}", "x".repeat(255 - 8));
    for (bytes, expected) in [
        (
            &b"\xef\xbb\xbfdb1:*:*:bob:pw\n"[..],
            &["line 1: the byte order mark is part of the first line's host: save without one"][..],
        ),
        (
            b"h:p:d:u:x\0y\nz\n",
            &["line 1: a NUL byte: libpq does not see the rest of this line and appends the next \
               one to it; remove the byte"],
        ),
        (
            lost.as_bytes(),
            &["line 1: libpq does not see this line, for its length and the missing line feed: \
               end it"],
        ),
        (b" # x\n", &["line 1: not a comment: the # has to be in the first column"]),
        (
            b"\nh:p:d:pw\n",
            &["line 2: ignored: fewer than five fields; host:port:database:user:password are \
               needed"],
        ),
        (b"h::d:u:pw\n", &["line 1: the port is empty, and so matches nothing: use * for any"]),
        (
            b"h:p:d:u:\n",
            &["line 1: an empty password: libpq connects without one and looks no further"],
        ),
        (
            b"h:p:d:u:xyzzy #assuming it\n",
            &["line 1: what follows the # is part of the password: put comments on lines of \
               their own"],
        ),
        (
            b"h:p: d:u:pw \n",
            &[
                "line 1: the blanks around the database are part of it: remove them",
                "line 1: the blanks around the password are part of it: remove them",
            ],
        ),
        (
            b"h:p:d:\"u\":'pw'\n",
            &[
                "line 1: the quotation marks around the user are part of it: remove them",
                "line 1: the quotation marks around the password are part of it: remove them",
            ],
        ),
        (
            b"h:p:d:u:pw\r\r\n",
            &["line 1: a carriage return other than one before the line feed: it is part of the \
               line, or read differently by libpq 12; remove it"],
        ),
        (
            b"h:p:d:u:p:w\n",
            &["line 1: the password ends at an unescaped colon: write \\: if the colon is part \
               of it"],
        ),
        (
            b"db*:p:d:u:pw\n",
            &["line 1: the star in the host is no pattern: only a star alone matches anything"],
        ),
        (
            b"a,b:p:d:u:pw\n",
            &["line 1: several hosts in one field match none: write a line for each of them"],
        ),
        (
            b"/tmp:p:d:u:pw\n",
            &[
                "line 1: libpq calls its default socket folder localhost: write that instead of the \
               path",
            ],
        ),
        (
            b"::1:5432:app:bob:pw\nfe80::1%eth0:*:*:bob:pw\n2001:db8::2:*:*:*:pw\n",
            &[
                "line 1: the colons of the address are not escaped: libpq matches it all the same, \
                 other programs may not; write \\: for each",
                "line 2: the colons of the address are not escaped: libpq matches it all the same, \
                 other programs may not; write \\: for each",
                "line 3: the colons of the address are not escaped: libpq matches it all the same, \
                 other programs may not; write \\: for each",
            ],
        ),
        (
            b"::1:5432:app\n",
            &[
                "line 1: the host is empty, and so matches nothing: use * for any",
                "line 1: the port is empty, and so matches nothing: use * for any",
            ],
        ),
        (
            b"h:*:d:u:pw\nH:p:d:u:pw\nh:p:d:\\u:pw\n",
            &["line 3: never reached: line 1 matches all that this line does; put this line \
               before it, or remove it"],
        ),
        (
            b"*:p:d:u:pw\n",
            &["line 1: any host may get this password: name the host that it is for"],
        ),
    ] {
        assert_eq!(lint(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_files_own_permissions() {
    let file = PassFile::new();
    assert_eq!(file.lint(&Libpq::default(), Some(FileStatus::plain(0o600))), []);
    let findings = file.lint(&Libpq::default(), Some(FileStatus::from_st_mode(0o040_700)));
    assert_eq!(findings[0].to_string(), "the file is ignored: it is not a plain file");
    assert_eq!((findings[0].line, findings[0].lint.severity()), (None, Severity::Error));
    assert_eq!(Lint::AnyHost.severity(), Severity::Warning);
}
