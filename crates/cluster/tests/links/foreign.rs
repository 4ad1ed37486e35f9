//! `postgres_fdw`.

use std::collections::BTreeSet;

use cluster::{
    run::{self, Runner},
    spec::Mode,
};
use pg_version::PgVersion;
use pgtest::{Server, Session};

use crate::{
    found::{files, taken_back},
    support::{Outcome, look, nodes, plan, secure, secured_and_proved, server, spec_of, states},
};

/// Two nodes that read each other's tables, as a superuser, as another role, and as whoever it is.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_servers() -> Outcome {
    // From 15 on a session can be given a name.
    for (version, mode) in [
        (PgVersion::V14, Mode::Scram),
        (PgVersion::V15, Mode::Cert),
        (PgVersion::V18, Mode::Scram),
        (PgVersion::V18, Mode::Cert),
    ] {
        let installation = pgtest::find(version)?;
        let folder = tempfile::tempdir()?;
        let (one, two) = (server(&installation, 8)?, server(&installation, 9)?);
        let set_up = |from: &Server, to: &Server| -> Outcome {
            let leads_there = format!(
                "FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '{}', port '{}', dbname 'postgres', fetch_size '7')",
                to.addr(),
                to.port()
            );
            for statement in [
                "CREATE ROLE reader LOGIN".to_owned(),
                "CREATE ROLE writer LOGIN PASSWORD 'w'".to_owned(),
                "CREATE TABLE numbers (i int)".to_owned(),
                "INSERT INTO numbers VALUES (41), (1)".to_owned(),
                "GRANT SELECT ON numbers TO reader, writer".to_owned(),
                "CREATE EXTENSION postgres_fdw".to_owned(),
                format!("CREATE SERVER other {leads_there}"),
                // Links of one role to one node, each with a session of its own.
                format!("CREATE SERVER again {leads_there}"),
                "CREATE USER MAPPING FOR postgres SERVER again OPTIONS (user 'reader')".to_owned(),
                "GRANT USAGE ON FOREIGN SERVER other TO writer".to_owned(),
                "CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'reader')".to_owned(),
                "CREATE USER MAPPING FOR writer SERVER other OPTIONS (user 'writer', password 'w')"
                    .to_owned(),
                "CREATE FOREIGN TABLE theirs (i int) SERVER other OPTIONS (table_name 'numbers')"
                    .to_owned(),
                "GRANT SELECT ON theirs TO writer".to_owned(),
                // Whoever has no mapping of their own: not the administrator.
                "CREATE ROLE guest LOGIN".to_owned(),
                "CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user 'writer', password 'w')"
                    .to_owned(),
                "GRANT SELECT ON theirs TO guest".to_owned(),
                // ... and one who may use the server, and has no table to read.
                "CREATE USER MAPPING FOR reader SERVER again OPTIONS (user 'reader', password 'r')"
                    .to_owned(),
                "GRANT USAGE ON FOREIGN SERVER again TO reader".to_owned(),
            ] {
                from.query(&statement)?;
            }
            Ok(())
        };
        set_up(&one, &two)?;
        set_up(&two, &one)?;
        let found = files(&[&one, &two])?;
        let options = "SELECT string_agg(o, ';') FROM (SELECT s.srvoptions::text || m.umoptions::text \
             AS o FROM pg_foreign_server s JOIN pg_user_mapping m ON m.umserver = s.oid ORDER BY 1) x";
        let options_found = one.query(options)?.value().map(str::to_owned);

        let servers = [("one", &one), ("two", &two)];
        let spec = spec_of(mode, &["reader", "writer"], folder.path(), &servers);
        let shown = plan(&spec).await?;
        assert!(!format!("{shown:?}{}", serde_json::to_string(&shown.plan)?).contains("'w'"));
        secured_and_proved(&spec, 10).await?;
        let sessions = look(&spec).await?.links.into_iter().filter_map(|link| link.session);
        assert_eq!(sessions.collect::<BTreeSet<_>>().len(), 10);
        let sum = "SELECT sum(i) FROM theirs";
        assert_eq!(one.query(sum)?.value(), Some("42"));
        for user in ["writer", "guest"] {
            assert_eq!(two.connect().user(user).open()?.query(sum)?.value(), Some("42"));
        }
        let options_now = one.query(options)?.value().map(str::to_owned).unwrap_or_default();
        assert!(!options_now.contains("password=w"), "{options_now}");

        taken_back(&spec).await?;
        assert_eq!(files(&[&one, &two])?, found, "{version}");
        assert_eq!(one.query(options)?.value().map(str::to_owned), options_found);
        assert_eq!(two.query(sum)?.value(), Some("42"));
        if version == PgVersion::V15 {
            // Whose mapping goes leaves the server to the others, as it was.
            secured_and_proved(&spec, 10).await?;
            let server = "SELECT srvoptions::text FROM pg_foreign_server WHERE srvname = 'again'";
            assert!(one.query(server)?.value().is_some_and(|now| now.contains("sslrootcert")));
            one.query("DROP USER MAPPING FOR postgres SERVER again")?;
            let outcome = Runner::new(&spec, &nodes(&spec)).rollback().await?;
            let kept = "one: the link again for postgres is gone";
            assert_eq!(outcome, run::Outcome::TakenBack { kept: vec![kept.to_owned()] });
            let now = one.query(server)?.value().map(str::to_owned).unwrap_or_default();
            assert!(!now.contains("ssl"), "{now}");
            assert_eq!(files(&[&one, &two])?, found);
        }
    }
    Ok(())
}

/// Foreign servers are in whatever database somebody made them in, and administrators come in to
/// "postgres".
#[tokio::test(flavor = "multi_thread")]
async fn foreign_servers_of_other_databases() -> Outcome {
    let installation = pgtest::find(PgVersion::V17)?;
    let folder = tempfile::tempdir()?;
    let (one, two) = (server(&installation, 20)?, server(&installation, 21)?);
    for server in [&one, &two] {
        server.query("CREATE ROLE reader LOGIN")?;
        server.query("CREATE DATABASE \"My \"\"app\"\" é\"")?;
        server.query("CREATE DATABASE closed ALLOW_CONNECTIONS false")?;
    }
    let in_app = |server: &Server| server.connect().database("My \"app\" é").open();
    in_app(&two)?.query("CREATE TABLE numbers (i int)")?;
    in_app(&two)?.query("INSERT INTO numbers VALUES (42)")?;
    in_app(&two)?.query("GRANT SELECT ON numbers TO reader")?;
    // By the same name in both, with another password.
    let set_up = |session: &mut Session, database: &str, password: &str| -> Outcome {
        for statement in [
            "CREATE EXTENSION postgres_fdw".to_owned(),
            format!(
                "CREATE SERVER \"the 'other'\" FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '{}', port '{}', dbname '{database}')",
                two.addr(),
                two.port()
            ),
            format!(
                "CREATE USER MAPPING FOR PUBLIC SERVER \"the 'other'\" \
                 OPTIONS (user 'reader', password '{password}')"
            ),
        ] {
            session.query(&statement)?;
        }
        Ok(())
    };
    set_up(&mut one.session()?, "postgres", "of postgres")?;
    let mut app = in_app(&one)?;
    set_up(&mut app, "My \"app\" é", "of the app")?;
    app.query(
        "CREATE FOREIGN TABLE theirs (i int) SERVER \"the 'other'\" OPTIONS (table_name 'numbers')",
    )?;
    let options = || -> Outcome<[Option<String>; 2]> {
        let query = "SELECT umoptions::text FROM pg_user_mapping";
        let of = |session: &mut Session| -> Outcome<Option<String>> {
            Ok(session.query(query)?.value().map(str::to_owned))
        };
        Ok([of(&mut one.session()?)?, of(&mut in_app(&one)?)?])
    };
    let options_found = options()?;
    let found = files(&[&one, &two])?;
    let servers = [("one", &one), ("two", &two)];
    let spec = spec_of(Mode::Scram, &["reader"], folder.path(), &servers);
    secured_and_proved(&spec, 2).await?;
    assert!(options()?.iter().flatten().all(|options| !options.contains("password=")));
    assert_eq!(in_app(&one)?.query("SELECT sum(i) FROM theirs")?.value(), Some("42"));
    taken_back(&spec).await?;
    assert_eq!(files(&[&one, &two])?, found);
    assert_eq!(options()?, options_found);
    assert_eq!(in_app(&one)?.query("SELECT sum(i) FROM theirs")?.value(), Some("42"));

    // What no plan can see: it is found out before the old way in is closed.
    for statement in [
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) THEN \
         RAISE 'not with TLS'; END IF; END $$",
        "CREATE EVENT TRIGGER refuse ON login EXECUTE FUNCTION refuse()",
    ] {
        in_app(&two)?.query(statement)?;
    }
    match secure(&spec).await {
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("worked before") && error.contains("not with TLS"), "{error}");
            assert!(!error.contains("does not work"), "{error}");
        }
        Ok(()) => panic!("the link does not work, and the old way in is closed"),
    }
    assert_eq!(files(&[&one, &two])?, found);
    assert_eq!(options()?, options_found);
    assert_eq!(in_app(&one)?.query("SELECT sum(i) FROM theirs")?.value(), Some("42"));
    Ok(())
}

/// Only what an extension or a superuser has made is called from the administrator's session; which must
/// be a superuser's.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_distributed_exec_is_called() -> Outcome {
    for version in [PgVersion::V12, PgVersion::V18] {
        let folder = tempfile::tempdir()?;
        let one = server(&pgtest::find(version)?, 31)?;
        let procedure = |schema: &str| {
            format!(
                "CREATE PROCEDURE {schema}.distributed_exec(query text, nodes name[]) \
                 LANGUAGE sql AS 'SELECT 1'"
            )
        };
        for statement in [
            "CREATE FOREIGN DATA WRAPPER timescaledb_fdw",
            "CREATE SERVER dn1 FOREIGN DATA WRAPPER timescaledb_fdw",
            "CREATE ROLE mallory",
            "CREATE SCHEMA a AUTHORIZATION mallory",
            &procedure("a"),
            "ALTER PROCEDURE a.distributed_exec OWNER TO mallory",
        ] {
            one.query(statement)?;
        }
        let spec = spec_of(Mode::Cert, &["reader"], folder.path(), &[("one", &one)]);
        let call = async || -> Outcome<Option<String>> {
            let servers = states(&spec).await?.swap_remove(0).foreign_servers;
            Ok(servers.into_iter().find_map(|server| server.distributed_exec))
        };
        assert_eq!(call().await?, None);
        one.query(&procedure("public"))?;
        assert_eq!(call().await?.as_deref(), Some("CALL public.distributed_exec"));

        // What a server does not tell everybody is asked of it all the same.
        for (rights, refused) in [
            ("NOSUPERUSER", "does not tell this user where its files are"),
            ("IN ROLE pg_monitor, pg_read_server_files", "permission denied"),
        ] {
            one.query(&format!("CREATE ROLE watcher LOGIN {rights}"))?;
            let mut watched = spec.clone();
            watched.nodes[0].sql = watched.nodes[0].sql.replace("user=postgres", "user=watcher");
            let told = states(&watched).await.err().ok_or("let in")?.to_string();
            let says = |words: &str| told.contains(words);
            assert!(says(refused) && says("let \"sql\" name a superuser"), "{told}");
            one.query("DROP ROLE watcher")?;
        }
    }
    Ok(())
}
