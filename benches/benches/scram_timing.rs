//! Does the server take as long for a user that does not exist as for one that does?
//!
//! `cargo bench -p benches --bench scram_timing` runs exchanges of each kind in turns and prints
//! their times, and Welch's t for each kind against the first: beyond 4.5 or so, the two kinds can
//! be told apart by somebody with a stopwatch inside this very process. (Over a network, and through
//! an operating system, it takes a far larger difference.) The second kind is the first once more:
//! what lies between these two is what the machine does, and not the code. An argument sets the number
//! of rounds.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{hint::black_box, time::Instant};

use pg_version::PgVersion;
use scram::{Channel, Client, Keys, Mock, Nonce, Password, SaltedPassword, Secret, Server};

const SALT: &[u8; 16] = b"0123456789abcdef";

/// One exchange of the server's, timed without the client's part of it.
fn exchange(user: &str, rolpassword: Option<&[u8]>, keys: &Keys, mock: &Mock) -> f64 {
    let nonces = [1, 2].map(|byte| Nonce::from_bytes(&[byte; 18]));
    let client = Client::new(keys.clone()).begin(["SCRAM-SHA-256"], &nonces[0]).unwrap();
    let start = Instant::now();
    let (user, rolpassword) = black_box((user, rolpassword));
    let server =
        Server::for_rolpassword(user, rolpassword, PgVersion::NEWEST, mock, Channel::Plain);
    let server = server.begin(b"SCRAM-SHA-256", client.message(), &nonces[1]).unwrap();
    let first = start.elapsed();
    let client = client.receive(server.message()).unwrap();
    let start = Instant::now();
    let accepted = black_box(server.finish(client.message()));
    let last = start.elapsed();
    drop(accepted);
    (first + last).as_secs_f64() * 1e6
}

/// The same for a server that has the password: it derives the keys each time.
fn derivation(user: &str, password: Option<&Password>, mock: &Mock) -> f64 {
    let start = Instant::now();
    black_box(Server::for_password(black_box(user), password, mock, Channel::Plain));
    start.elapsed().as_secs_f64() * 1e6
}

/// The kinds in another order in each round: what came just before has its part in how long the next
/// one takes.
struct Order(u32);

impl Order {
    const fn new() -> Self {
        Self(0x9E37_79B9)
    }

    fn next(&mut self, kinds: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..kinds).collect();
        for place in (1..kinds).rev() {
            // Marsaglia's xorshift.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            order.swap(place, self.0 as usize % (place + 1));
        }
        order
    }
}

fn report(kinds: &[&str], times: &mut [Vec<f64>]) {
    println!("{:<34} {:>8} {:>8} {:>8} {:>8}", "us", "best", "median", "mean", "t");
    let mut first = None;
    for (kind, times) in kinds.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[times.len() / 2]);
        // The slowest twentieth is the operating system's.
        times.truncate(times.len() * 19 / 20);
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n - 1.0) / n;
        let (first_mean, first_variance) = *first.get_or_insert((mean, variance));
        let t = (mean - first_mean) / (variance + first_variance).sqrt();
        println!("{kind:<34} {best:>8.2} {median:>8.2} {mean:>8.3} {t:>8.2}");
    }
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let rounds: usize = rounds.unwrap_or(20_000);
    let mock = Mock::new([7; 32]);
    let password = Password::new("pencil");
    let keys = Keys::new(&SaltedPassword::derive(&password, SALT, 4096));
    let secret = Secret::new(&password, SALT, 4096).unwrap().to_text();
    let another = Secret::new(&Password::new("another"), SALT, 4096).unwrap().to_text();
    let md5 = format!("md5{}", "0123456789abcdef".repeat(2));
    let wrong = Some(another.as_bytes());
    let stored = [wrong, wrong, None, Some(md5.as_bytes()), Some(secret.as_bytes())];

    let mut order = Order::new();
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        for kind in order.next(stored.len()) {
            times[kind].push(exchange("alice", stored[kind], &keys, &mock));
        }
    }
    report(
        &[
            "wrong password",
            "wrong password again",
            "unknown user",
            "user with MD5 hash",
            "right password (answers more)",
        ],
        &mut times,
    );

    let stored = [Some(&password), Some(&password), None];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds / 20 {
        for kind in order.next(stored.len()) {
            times[kind].push(derivation("alice", stored[kind], &mock));
        }
    }
    println!();
    report(&["server has the password", "the same again", "unknown user"], &mut times);
}
