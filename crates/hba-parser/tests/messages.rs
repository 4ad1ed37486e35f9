//! What people read: the message for each kind of bad line, with LF and CRLF, in the majors that say
//! it differently; and the findings of the lints. The texts are in `snapshots/`.

use std::fmt::Write as _;

use hba_parser::{Build, Code, HbaDocument, IdentDocument, Lint, MemoryFiles, PgVersion, Server};

/// A file for each message that a file alone can cause.
const BAD: &[&str] = &[
    "local,host all all trust",
    "locale all all trust",
    "hostssl all all all trust",
    "hostgssenc all all all trust",
    "local",
    "local all",
    "host all all",
    "host all all 10.0.0.1",
    "host all all 10.0.0.0/8",
    "host all all 10.0.0.1/32,10.0.0.2/32 trust",
    "host all all 10.0.0.0/33 trust",
    "host all all [::1]/128 trust",
    "host all all 10.0.0.1 255.0.0.0,255.0.0.0 trust",
    "host all all 10.0.0.1 trust",
    "host all all 10.0.0.1 ffff:: trust",
    "local all all trust,md5",
    "local all all md6",
    "local all all sspi",
    "local all all gss",
    "host all all all peer",
    "host all all all cert",
    "local all all peer map",
    "local all all peer mapp=m",
    "local all all md5 map=m",
    "host all all all md5 clientcert=verify-ca",
    "hostssl all all all md5 clientcert=1",
    "hostssl all all all cert clientcert=verify-ca",
    "hostssl all all all cert clientcert=no-verify",
    "host all all all md5 clientname=CN",
    "hostssl all all all cert clientname=cn",
    "host all all all ldap ldapurl=http://x",
    "host all all all ldap ldapurl=ldapi://x",
    "host all all all ldap ldapscheme=http ldapbasedn=x",
    "host all all all ldap ldapport=x",
    "host all all all ldap ldapprefix=x ldapbasedn=x",
    "host all all all ldap ldapserver=x",
    "host all all all ldap ldapbasedn=x ldapsearchattribute=x ldapsearchfilter=x",
    "host all all all radius radiusservers=\"a b\"",
    "host all all all radius radiusports=x",
    "host all all all radius radiusservers=\"::1,::1,::1\" radiussecrets=\"a,b\"",
    "host all all all radius radiusservers=::1",
    "host all all all oauth",
    "host all all all oauth scope=x issuer=x",
    "local \"/a{2,1}\" all trust",
    "local all @nosuch trust",
    "include nosuch",
    "include_if_exists nosuch",
    "include_dir nosuch",
    "include_dir \"\"",
    "# nothing",
];

/// The messages of a file, for each major: those that say the same share a line.
fn messages(text: &str) -> String {
    let mut said: Vec<(String, Vec<PgVersion>)> = Vec::new();
    for version in PgVersion::ALL {
        let mut server = Server::new(version).with_ssl(false);
        if text.starts_with("hostgssenc") {
            server = server.with_build(Build::MINIMAL);
        }
        let files = MemoryFiles::default();
        let rules = HbaDocument::parse(text).interpret_at(b"/pg/pg_hba.conf", &server, &files);
        let mut out = String::new();
        for row in rules.rows() {
            let error = row.error.map_or("(nothing)".to_owned(), ToString::to_string);
            let _ = writeln!(out, "    view: {error}");
        }
        for diagnostic in rules.diagnostics() {
            let (severity, code) = (diagnostic.severity, diagnostic.code);
            let _ = writeln!(out, "    {severity} {code}: {}", diagnostic.message);
            if let Some(hint) = diagnostic.hint {
                let _ = writeln!(out, "    hint: {hint}");
            }
            let _ = writeln!(out, "    help: {}", diagnostic.help());
        }
        match said.last_mut() {
            Some((same, versions)) if *same == out => versions.push(version),
            _ => said.push((out, vec![version])),
        }
    }
    let mut out = String::new();
    for (text, versions) in said {
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        let _ = write!(out, "  {}\n{text}", versions.join(", "));
    }
    out
}

#[test]
fn messages_of_every_bad_line() {
    let mut out = String::new();
    for text in BAD {
        let lf = messages(&format!("{text}\n"));
        assert_eq!(lf, messages(&format!("{text}\r\n")), "{text}");
        assert_eq!(lf, messages(text), "{text}");
        let _ = write!(out, "{text}\n{lf}");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut lints: Vec<_> = Lint::ALL.iter().map(|lint| lint.code()).collect();
    let counts = (codes.len(), lints.len());
    codes.sort_unstable();
    codes.dedup();
    lints.sort_unstable();
    lints.dedup();
    assert_eq!(counts, (codes.len(), lints.len()));
}

#[test]
fn findings_of_the_lints() {
    let rules = "\
host all all 127.0.0.1/32 trust
host app web 127.0.0.1/32 scram-sha-256
host all all 0.0.0.0/0 trust
host all all 0.0.0.0/0 trust
host all all ::/0 md5
host all all all scram-sha-256
host all all 10/8 reject
host all all 10.0.0.1/8 password
host all all 10.0.0.0 255.0.255.0 reject
host all all 1.2.3.4:5432 reject
host \"replication\",ALL bob 10.9.0.0/16 ident
hostssl all all 10.8.0.0/16 cert clientcert=verify-full map=
local samegroup \"\" peer map=a map=b
local /app all peer
host all all 10.7.0.0/16 gss include_realm=0
host all all 10.6.0.0/16 ldap ldapbasedn=x ldapbindpasswd=secret
host all all 10.5.0.0/16 radius radiusservers=::1 radiussecrets=s
";
    let mut server = Server::new(PgVersion::V16);
    server.ssl_ca_file = false;
    let file = HbaDocument::parse(rules);
    let mut out = String::new();
    for finding in file.interpret(&server).lint() {
        let _ = writeln!(out, "{finding}\n    help: {}", finding.lint.help());
    }
    let maps = "m root all\nm /root \\1\nm admin postgres\n";
    for finding in IdentDocument::parse(maps).interpret(&server).lint() {
        let _ = writeln!(out, "map {finding}\n    help: {}", finding.lint.help());
    }
    insta::assert_snapshot!(out);
}

#[test]
fn memory_of_a_document_is_below_three_times_its_size() {
    // The shortest lines: the most spans for each byte that a real file has.
    let file = "local all all trust\n".repeat(10_000);
    let document = HbaDocument::parse(file.clone());
    assert!(document.memory() <= 3 * file.len(), "{}", document.memory());
}

#[test]
fn a_circle_of_includes_ends() {
    let mut files = MemoryFiles::default();
    let circle = "include a\n".repeat(12);
    files.insert("/a", circle.clone());
    let file = HbaDocument::parse(circle);
    let rules = file.interpret_at(b"/pg_hba.conf", &Server::new(PgVersion::V18), &files);
    assert!(!rules.verdict().is_loaded());
}
