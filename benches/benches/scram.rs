//! SCRAM: what a login, a stored secret and their parts cost.
//!
//! `cargo bench -p benches --bench scram`; side by side with other implementations: the workspace
//! `benches/rivals`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use divan::{Bencher, black_box, counter::ItemsCount};
use pg_version::PgVersion;
use scram::{
    Channel, Client, Keys, Limits, Nonce, Password, SaltedPassword, Secret, Server,
    message::ServerFirst, predict, saslprep::saslprep,
};

const PASSWORD: &str = "correct horse battery staple";
const SALT: &[u8; 16] = b"0123456789abcdef";

fn main() {
    divan::main();
}

fn secret() -> Secret {
    Secret::new(&Password::new(PASSWORD), SALT, 4096).unwrap()
}

#[divan::bench]
fn make_secret(bencher: Bencher<'_, '_>) {
    let password = Password::new(PASSWORD);
    bencher.bench_local(|| Secret::new(black_box(&password), SALT, 4096));
}

#[divan::bench]
fn make_64_secrets(bencher: Bencher<'_, '_>) {
    let passwords: Vec<_> = (0..64).map(|i| Password::new(format!("{PASSWORD} {i}"))).collect();
    let jobs: Vec<_> = passwords.iter().map(|password| (password, &SALT[..])).collect();
    bencher
        .counter(ItemsCount::new(64u8))
        .bench_local(|| Secret::new_batch(black_box(&jobs), 4096));
}

#[divan::bench]
fn read_secret(bencher: Bencher<'_, '_>) {
    let text = secret().to_text();
    bencher.bench_local(|| Secret::parse(black_box(text.as_bytes()), PgVersion::V17));
}

/// One that is not tried for the empty password, which would cost as much as making it.
#[divan::bench]
fn predict_secret(bencher: Bencher<'_, '_>) {
    let text = secret().to_text();
    let limits = Limits::new(1..=1);
    bencher.bench_local(|| predict(black_box(text.as_bytes()), PgVersion::V17, &limits));
}

/// Everything but the derivation: the client has keys.
#[divan::bench]
fn both_sides_of_a_login_with_keys(bencher: Bencher<'_, '_>) {
    let salted = SaltedPassword::derive(&Password::new(PASSWORD), SALT, 4096);
    let keys = Keys::new(&salted);
    let secret = secret();
    let nonces = [1, 2].map(|byte| Nonce::from_bytes(&[byte; 18]));
    bencher.bench_local(|| {
        let server = Server::new(secret.clone(), Channel::Plain);
        let client = Client::new(keys.clone()).begin(server.mechanisms(), &nonces[0]).unwrap();
        let server = server.begin(b"SCRAM-SHA-256", client.message(), &nonces[1]).unwrap();
        let client = client.receive(server.message()).unwrap();
        let accepted = server.finish(client.message()).unwrap();
        client.receive(accepted.message()).unwrap()
    });
}

/// Counts that are refused before anything is hashed.
#[divan::bench(args = ["0", "-1", "2147483647", "4294967297", "100000000000000000000"])]
fn refuse_iterations(bencher: Bencher<'_, '_>, count: &str) {
    let nonce = Nonce::from_bytes(&[1; 18]);
    let message = format!("r={}x,s=MDEyMzQ1Njc4OWFiY2RlZg==,i={count}", nonce.as_str());
    let client = || Client::new(Password::new(PASSWORD)).begin(["SCRAM-SHA-256"], &nonce).unwrap();
    bencher
        .with_inputs(client)
        .bench_local_values(|client| client.receive(message.as_bytes()).unwrap_err());
}

#[divan::bench]
fn parse_server_first(bencher: Bencher<'_, '_>) {
    let message =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    bencher.bench_local(|| ServerFirst::parse(black_box(message)).unwrap().iterations);
}

#[divan::bench(args = [PASSWORD, "Ⅸ pässword\u{a0}", "\u{5d0}\u{5d1}\u{5d2}1\u{5d0}"])]
fn prepare_password(text: &str) -> usize {
    saslprep(black_box(text).as_bytes()).len()
}
