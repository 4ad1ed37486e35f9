//! Real servers and real libpqs of every major that this machine has.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certificates;
mod hostile;
mod libpq;
mod login;
mod player;
mod scripts;
mod secrets;
mod server;
mod wire;

use std::time::Duration;

use pg_version::PgVersion;
use pgtest::Server;

/// More than any answer takes, on however busy a machine.
const SOON: Duration = Duration::from_secs(120);
const HBA: &str = "local all postgres trust\nhost all all all scram-sha-256\n";

/// Everything that is asked of a server, of one server: starting it takes longer than asking.
fn ask(version: PgVersion) {
    let installation = pgtest::find(version).unwrap();
    let mut server = Server::builder(&installation)
        .hba(HBA)
        .setting("password_encryption", "scram-sha-256")
        .setting("ssl", "on")
        .init()
        .unwrap();
    let pairs = login::pairs();
    login::install(&server, &pairs[0].1);
    server.start().unwrap();
    server.query("CREATE ROLE a LOGIN").unwrap();

    secrets::predicted_as_the_server_does(&server);
    secrets::made_here_are_stored_verbatim(&server);
    login::without_tls(&server);
    login::mock_salts(&server);
    login::with_tls_and_every_signature(&server, pairs);
    login::install(&server, &pairs[0].1);
    server.reload().unwrap();
    server::first_messages(&server);
    server::last_messages(&server);
    server::lengths_of_first_messages(&server);
}

macro_rules! majors {
    ($($name:ident $version:ident)*) => {
        $(
            #[test]
            fn $name() {
                ask(PgVersion::$version);
            }
        )*
    };
}

majors! {
    server_12 V12
    server_13 V13
    server_14 V14
    server_15 V15
    server_16 V16
    server_17 V17
    server_18 V18
}
