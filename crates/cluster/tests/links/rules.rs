//! Rules as sites have them: in files of their own, with lists in others, for ldap, peer and maps.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use cluster::{spec::Mode, verify::Code};
use pg_version::PgVersion;
use pgtest::{Server, Shutdown};

use crate::{
    found::{files, taken_back},
    support::{Outcome, look, plan, secured_and_proved, server, spec_of, wait},
};

const HBA: &str = "local all all trust\n\
    local app app peer map=site\n\
    include rules/site.conf\n\
    include_if_exists rules/none.conf\n\
    include_dir hba.d\n\
    {ldap}\
    hostssl all web 127.0.0.0/8 cert map=site\n\
    host all all 127.0.0.0/8 trust\n\
    host replication all 127.0.0.0/8 trust\n";
const LDAP: &str = "host all @operators.txt 192.0.2.0/24 ldap ldapserver=ldap.invalid \
    ldapbasedn=\"dc=x\" ldapbinddn=\"cn=y\" ldapbindpasswd=hunter2\n";

/// What the rules are, beside `pg_hba.conf`.
const OTHERS: [(&str, &str); 5] = [
    ("rules/site.conf", "host @databases.txt /^repl 127.0.0.0/8 md5\n"),
    ("rules/databases.txt", "postgres, app\n"),
    ("hba.d/10-open.conf", "hostnossl all all 127.0.0.0/8 password\n"),
    ("operators.txt", "alice bob\n"),
    ("pg_ident.conf", "site /^(.*)$ \\1\n"),
];

fn with_rules(last: u8, version: PgVersion) -> Outcome<Server> {
    let server = server(&pgtest::find(version)?, last)?;
    let data = server.data_dir();
    for folder in ["rules", "hba.d"] {
        fs::create_dir(data.join(folder))?;
    }
    for (name, text) in OTHERS {
        server.write_file(data.join(name), text, 0o600)?;
    }
    let write = |ldap: &str| {
        server.write_file(data.join("pg_hba.conf"), HBA.replace("{ldap}", ldap), 0o600)
    };
    write(LDAP)?;
    // Not every build knows ldap, and one that does not refuses the file.
    let refused = "SELECT count(*) FROM pg_hba_file_rules WHERE type IS NULL";
    if server.query(refused)?.value() != Some("0") {
        write("")?;
    }
    server.reload()?;
    Ok(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_in_files_of_their_own() -> Outcome {
    for (version, mode) in [(PgVersion::V18, Mode::Cert), (PgVersion::V16, Mode::Scram)] {
        let folder = tempfile::tempdir()?;
        let (mut one, two) = (with_rules(24, version)?, with_rules(25, version)?);
        one.query("ALTER SYSTEM SET wal_level = logical")?;
        one.stop(Shutdown::Fast)?;
        one.start()?;
        for server in [&one, &two] {
            server.query("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'hunter3'")?;
            server.query("CREATE TABLE t (i int PRIMARY KEY)")?;
        }
        one.query("CREATE PUBLICATION p FOR TABLE t")?;
        two.query(&format!(
            "CREATE SUBSCRIPTION s CONNECTION 'host={} port={} dbname=postgres user=replicator \
             password=hunter3' PUBLICATION p",
            one.addr(),
            one.port()
        ))?;
        wait(&one, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")?;
        let servers = [("one", &one), ("two", &two)];
        let spec = spec_of(mode, &["replicator"], folder.path(), &servers);
        let found = files(&[&one, &two])?;

        // What is shown of the plan has no secret of the site's.
        let shown = plan(&spec).await?.plan;
        let diffs: String = shown.files.iter().filter_map(|file| file.diff.as_deref()).collect();
        assert!(diffs.contains("+hostssl postgres replicator"), "{diffs}");
        assert!(!diffs.contains("hunter"), "{diffs}");

        secured_and_proved(&spec, 1).await?;
        for server in [&one, &two] {
            for (name, text) in OTHERS {
                assert_eq!(fs::read_to_string(server.data_dir().join(name))?, text, "{name}");
            }
        }
        // A list that the rules name, changed and not read.
        let list = one.data_dir().join("rules/databases.txt");
        let later = SystemTime::now() + Duration::from_secs(2);
        fs::File::open(&list)?.set_modified(later)?;
        let verification = look(&spec).await?;
        let mut told = verification.findings.iter().filter(|found| found.code == Code::NotReloaded);
        assert!(
            told.any(|found| found.what.contains("databases.txt")),
            "{:#?}",
            verification.findings
        );
        assert!(!verification.proved());
        fs::File::open(&list)?.set_modified(SystemTime::now() - Duration::from_secs(60))?;

        taken_back(&spec).await?;
        assert_eq!(files(&[&one, &two])?, found, "{version}");
        wait(&one, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")?;
    }
    Ok(())
}
