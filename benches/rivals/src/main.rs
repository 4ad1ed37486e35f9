//! One stored secret (4096 iterations, a password of 28 characters), made by one implementation
//! after the other in turns, so that whatever else the machine does hits all of them alike.
//!
//! `cargo run --release --manifest-path benches/rivals/Cargo.toml` prints the best and the median
//! time of each and its ratio to the crate `pbkdf2`. It needs OpenSSL's headers (Debian:
//! `libssl-dev`). An argument sets the number of rounds.

use std::{hint::black_box, num::NonZeroU32, time::Instant};

use hmac::{Hmac, KeyInit, Mac};
use scram::derive::{Engine, Job};
use sha2::Sha256;

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8] = b"0123456789abcdef";
const ITERATIONS: u32 = 4096;
/// As many as the widest engine takes at once, and few enough to be done within one time slice of a
/// busy machine.
const BATCH: usize = 16;

/// An implementation, how many secrets it makes in one go, and their first.
type Contestant = (&'static str, usize, Box<dyn Fn() -> [u8; 32]>);

fn one(engine: Engine) -> Box<dyn Fn() -> [u8; 32]> {
    Box::new(move || {
        let mut out = [0; 32];
        engine.derive(black_box(PASSWORD), SALT, ITERATIONS, &mut out);
        out
    })
}

fn batch(engine: Engine) -> Box<dyn Fn() -> [u8; 32]> {
    Box::new(move || {
        let passwords: Vec<_> =
            (0..BATCH).map(|i| [PASSWORD, &vec![b'x'; i % 2][..]].concat()).collect();
        let mut outputs = vec![[0; 32]; BATCH];
        let mut jobs: Vec<_> = passwords
            .iter()
            .zip(&mut outputs)
            .map(|(password, out)| Job { password: black_box(password), salt: SALT, out })
            .collect();
        engine.derive_batch(ITERATIONS, &mut jobs);
        outputs[0]
    })
}

fn contestants() -> Vec<Contestant> {
    let mut all: Vec<Contestant> = vec![
        ("pbkdf2 crate", 1, {
            Box::new(|| {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(black_box(PASSWORD), SALT, ITERATIONS)
            })
        }),
        ("scram, portable", 1, one(Engine::Portable)),
        ("scram, block function (safe code)", 1, one(Engine::Block)),
    ];
    if Engine::ShaNi.is_available() {
        all.push(("scram, SHA instructions", 1, one(Engine::ShaNi)));
        all.push(("scram, SHA instructions, batch", BATCH, batch(Engine::ShaNi)));
    }
    if Engine::Avx512.is_available() {
        all.push(("scram, AVX-512, batch", BATCH, batch(Engine::Avx512)));
    }
    all.push(("hmac crate, cloned each iteration", 1, Box::new(hmac_cloned)));
    all.push(("aws-lc-rs", 1, Box::new(aws_lc_rs)));
    all.push(("ring", 1, Box::new(ring)));
    all.push(("openssl", 1, Box::new(openssl)));
    all.push(("postgres-protocol (whole secret)", 1, Box::new(postgres_protocol)));
    all
}

fn hmac_cloned() -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(black_box(PASSWORD)).unwrap();
    let hash = |text: &[&[u8]]| -> [u8; 32] {
        let mut mac = mac.clone();
        text.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut u = hash(&[SALT, &1u32.to_be_bytes()]);
    let mut sum = u;
    for _ in 1..ITERATIONS {
        u = hash(&[&u]);
        sum.iter_mut().zip(u).for_each(|(sum, u)| *sum ^= u);
    }
    sum
}

fn aws_lc_rs() -> [u8; 32] {
    use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
    let mut out = [0; 32];
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    derive(PBKDF2_HMAC_SHA256, iterations, SALT, black_box(PASSWORD), &mut out);
    out
}

fn ring() -> [u8; 32] {
    use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
    let mut out = [0; 32];
    let iterations = NonZeroU32::new(ITERATIONS).unwrap();
    derive(PBKDF2_HMAC_SHA256, iterations, SALT, black_box(PASSWORD), &mut out);
    out
}

fn openssl() -> [u8; 32] {
    use openssl::{hash::MessageDigest, pkcs5::pbkdf2_hmac};
    let mut out = [0; 32];
    let iterations = ITERATIONS as usize;
    pbkdf2_hmac(black_box(PASSWORD), SALT, iterations, MessageDigest::sha256(), &mut out).unwrap();
    out
}

/// It chooses its own salt, and makes the text: nothing to compare with.
fn postgres_protocol() -> [u8; 32] {
    black_box(postgres_protocol::password::scram_sha_256(black_box(PASSWORD)));
    reference()
}

fn reference() -> [u8; 32] {
    let mut out = [0; 32];
    Engine::detect().derive(PASSWORD, SALT, 1, &mut out);
    out
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let rounds: usize = rounds.unwrap_or(200);
    let contestants = contestants();
    let expected = contestants[0].2();
    for (name, _, run) in &contestants {
        let made = run();
        assert!(made == expected || made == reference(), "{name} makes another secret");
    }
    let mut times = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in 0..rounds {
        for ((_, count, run), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(run());
            times.push(start.elapsed().as_secs_f64() * 1e6 / *count as f64);
        }
    }
    println!("{:<36} {:>8} {:>8} {:>6} {:>6}", "us for each secret", "best", "median", "ratio", "");
    let mut base = None;
    for ((name, ..), times) in contestants.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[rounds / 2]);
        let (base_best, base_median) = *base.get_or_insert((best, median));
        let (ratio, of_medians) = (best / base_best, median / base_median);
        println!("{name:<36} {best:>8.1} {median:>8.1} {ratio:>6.2} {of_medians:>6.2}");
    }
    println!("ratios to the first line: of the best times, of the medians");
}
