//! After everything was dropped, this process's memory holds no password and no key.
//!
//! One test alone in its process: it reads the whole of it.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what it cannot read, it cannot search")]

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use scram::{
    Channel, Client, EndPoint, Keys, Limits, Nonce, Password, SaltedPassword, Secret, Server,
    saslprep::saslprep,
};

/// Never in memory but masked, so that the test does not find what it looks for with.
const MASK: u8 = 0xa7;

fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ MASK).collect()
}

/// The offset of a masked pattern in memory that this process may write, if it is anywhere.
fn find(pattern: &[u8]) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        let found = bytes.windows(pattern.len()).position(|window| {
            window.iter().zip(pattern).all(|(byte, other)| byte ^ MASK == *other)
        });
        // Or else the next search would find it here.
        bytes.fill(0);
        std::hint::black_box(&bytes);
        if let Some(at) = found {
            return Some(format!("at {at:#x} of {line}"));
        }
    }
    None
}

/// Makes a password that the program's text does not contain, and has SASLprep change it.
fn with_password<T>(run: impl FnOnce(&str) -> T) -> T {
    let mut text = zeroize::Zeroizing::new(String::with_capacity(100));
    for i in 0u32..40 {
        text.push(char::from(b"qjxzkvwfybhg"[(i * 7 + i / 3) as usize % 12]));
    }
    text.push('\u{a0}');
    run(&text)
}

/// Everything that handles secrets; returns them masked.
fn use_everything() -> Vec<(&'static str, Vec<u8>)> {
    with_password(|text| {
        let password = Password::new(text);
        let alive = find(&masked(password.as_bytes()));
        assert!(alive.is_some(), "the search does not find what is there");

        let salt = b"0123456789abcdef";
        let secret = Secret::new(&password, salt, 4096).unwrap();
        let stored = secret.to_text();
        // as many as any engine takes at once, and some more
        let jobs: Vec<(&Password, &[u8])> =
            (0..21).map(|i| (&password, if i == 0 { &salt[..1] } else { &salt[..] })).collect();
        let batch = Secret::new_batch(&jobs, 10).unwrap();
        let batch_salted = SaltedPassword::derive_batch(&jobs, 10);
        assert_eq!(secret.verify(&password, &Limits::default()), Ok(true));
        let again = Secret::parse(stored.as_bytes(), pg_version::PgVersion::V16).unwrap();
        assert_eq!(again, secret);
        let channel = Channel::tls_with(EndPoint::from_hash([1; 32]));

        let server = Server::new(again, channel.clone());
        let client = Client::new(password.clone()).channel(channel);
        let client = client.begin(server.mechanisms(), &Nonce::from_bytes(&[1; 18])).unwrap();
        let server = server
            .begin(client.mechanism().name(), client.message(), &Nonce::from_bytes(&[2; 18]))
            .unwrap();
        let client = client.receive(server.message()).unwrap();
        let accepted = server.finish(client.message()).unwrap();
        let authenticated = client.receive(accepted.message()).unwrap();
        assert_eq!(authenticated.server_key(), secret.server_key());

        let salted = SaltedPassword::derive(&password, salt, 4096);
        let keys = Keys::new(&salted);
        assert_eq!(keys, *accepted.keys());
        assert_eq!(*keys.client.to_base64(), *accepted.client_key().to_base64());
        let prepared = zeroize::Zeroizing::new(saslprep(text.as_bytes()).into_owned());
        vec![
            ("password", masked(text.as_bytes())),
            ("prepared password", masked(&prepared)),
            ("salted password", masked(salted.as_bytes())),
            ("salted password, as words of a state", {
                let words = salted.as_bytes()[..8].chunks(4).flat_map(|word| word.iter().rev());
                words.map(|byte| byte ^ MASK).collect()
            }),
            ("salted password, as words of a vector", {
                masked(&salted.as_bytes()[..8]).into_iter().rev().collect()
            }),
            ("client key", masked(keys.client.as_bytes())),
            ("server key", masked(keys.server.as_bytes())),
            ("stored key", masked(secret.stored_key().as_bytes())),
            ("client key in base64", masked(keys.client.to_base64().as_bytes())),
            ("server key in base64", masked(keys.server.to_base64().as_bytes())),
            ("stored secret", masked(stored.as_bytes())),
            ("a server key of a batch", masked(batch[0].server_key().as_bytes())),
            ("the last server key of a batch", masked(batch[20].server_key().as_bytes())),
            ("a salted password of a batch", masked(batch_salted[20].as_bytes())),
            // Wide lanes hold one word of each password, side by side: the same word here.
            ("salted passwords of a batch, word by word", {
                let word: Vec<u8> =
                    batch_salted[20].as_bytes()[..4].iter().rev().copied().collect();
                masked(&word.repeat(4))
            }),
        ]
    })
}

/// Derivations once more: what the last call leaves on the stack, no later one overwrites.
fn derive() {
    with_password(|text| {
        let password = Password::new(text);
        let jobs: Vec<(&Password, &[u8])> = vec![(&password, b"0123456789abcdef"); 21];
        drop(SaltedPassword::derive_batch(&jobs, 10));
    });
}

#[test]
fn nothing_is_left() {
    let secrets = use_everything();
    derive();
    let left: Vec<_> = secrets
        .iter()
        .filter_map(|(name, pattern)| Some(format!("{name} {}", find(pattern)?)))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}
