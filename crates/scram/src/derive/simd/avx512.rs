//! The iterations in sixteen lanes of 32 bits: a vector holds one word of sixteen passwords' states.
//!
//! A rotation is one instruction here, and so is any function of three words' bits. The sixty-four
//! rounds are spelled out, so that every index is a constant, the state and the schedule stay in
//! the 32 registers, and what is computed of the padding alone is computed by the compiler: 0.7
//! times the time of a loop.

use std::arch::x86_64::{
    __m512i, _mm_extract_epi32, _mm512_add_epi32, _mm512_extracti32x4_epi32, _mm512_ror_epi32,
    _mm512_set_epi32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_srli_epi32,
    _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

use super::{
    super::lane::{Lane, Words},
    K,
};

/// Passwords at a time.
pub(super) const WIDTH: usize = 16;

/// The eight words of sixteen states.
type State = [__m512i; 8];

/// Tables of the functions of three bits, for `vpternlogd`: the result for 0b111 first.
const PARITY: i32 = 0b1001_0110;
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// Runs `rounds` more iterations in each lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn iterate(lanes: &mut [Lane; WIDTH], rounds: u32) {
    let inner = gather(lanes.each_ref().map(|lane| &lane.inner));
    let outer = gather(lanes.each_ref().map(|lane| &lane.outer));
    let mut u = gather(lanes.each_ref().map(|lane| &lane.u));
    let mut sum = gather(lanes.each_ref().map(|lane| &lane.sum));
    for _ in 0..rounds {
        u = compress(&inner, &u);
        u = compress(&outer, &u);
        for (sum, u) in sum.iter_mut().zip(&u) {
            *sum = _mm512_xor_si512(*sum, *u);
        }
    }
    scatter(&u, lanes.each_mut().map(|lane| &mut lane.u));
    scatter(&sum, lanes.each_mut().map(|lane| &mut lane.sum));
}

/// Sixteen states, word by word.
#[inline]
#[target_feature(enable = "avx512f")]
fn gather(states: [&Words; WIDTH]) -> State {
    std::array::from_fn(|word| {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] =
            states.map(|state| state[word].cast_signed());
        _mm512_set_epi32(p, o, n, m, l, k, j, i, h, g, f, e, d, c, b, a)
    })
}

/// The states of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn scatter(state: &State, mut lanes: [&mut Words; WIDTH]) {
    for (word, vector) in state.iter().enumerate() {
        let quarters = [
            _mm512_extracti32x4_epi32::<0>(*vector),
            _mm512_extracti32x4_epi32::<1>(*vector),
            _mm512_extracti32x4_epi32::<2>(*vector),
            _mm512_extracti32x4_epi32::<3>(*vector),
        ];
        let values = quarters.map(|quarter| {
            [
                _mm_extract_epi32::<0>(quarter),
                _mm_extract_epi32::<1>(quarter),
                _mm_extract_epi32::<2>(quarter),
                _mm_extract_epi32::<3>(quarter),
            ]
        });
        for (lane, value) in lanes.iter_mut().zip(values.as_flattened()) {
            lane[word] = value.cast_unsigned();
        }
    }
}

/// Sixteen rounds; in all but the first part, each with the schedule's next word.
macro_rules! sixteen_rounds {
    ($state:ident, $schedule:ident, $part:literal, $word:expr) => {
        sixteen_rounds!($state, $schedule, $part, $word, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($state:ident, $schedule:ident, $part:literal, $word:expr, $($i:literal)*) => {
        $(
            $schedule[$i] = $word(&$schedule, $i);
            round(&mut $state, 16 * $part + $i, $schedule[$i]);
        )*
    };
}

/// One compression in each lane: a digest, padded as the last block of 96 bytes, into a state.
#[inline]
#[target_feature(enable = "avx512f")]
fn compress(from: &State, digest: &State) -> State {
    let zero = _mm512_setzero_si512();
    let [a, b, c, d, e, f, g, h] = *digest;
    let one_bit = _mm512_set1_epi32(i32::MIN);
    let length = _mm512_set1_epi32(768);
    let mut schedule =
        [a, b, c, d, e, f, g, h, one_bit, zero, zero, zero, zero, zero, zero, length];
    let mut state = *from;
    sixteen_rounds!(state, schedule, 0, given);
    sixteen_rounds!(state, schedule, 1, next);
    sixteen_rounds!(state, schedule, 2, next);
    sixteen_rounds!(state, schedule, 3, next);
    for (state, from) in state.iter_mut().zip(from) {
        *state = _mm512_add_epi32(*state, *from);
    }
    state
}

/// The message's own word.
#[inline]
#[target_feature(enable = "avx512f")]
fn given(schedule: &[__m512i; 16], i: usize) -> __m512i {
    schedule[i]
}

/// The word that takes the place of the one of sixteen rounds ago, at `i`.
#[inline]
#[target_feature(enable = "avx512f")]
fn next(schedule: &[__m512i; 16], i: usize) -> __m512i {
    let [w0, w1, w9, w14] = [0, 1, 9, 14].map(|age| schedule[(i + age) % 16]);
    let small_sigma_0 = _mm512_ternarylogic_epi32::<PARITY>(
        _mm512_ror_epi32::<7>(w1),
        _mm512_ror_epi32::<18>(w1),
        _mm512_srli_epi32::<3>(w1),
    );
    let small_sigma_1 = _mm512_ternarylogic_epi32::<PARITY>(
        _mm512_ror_epi32::<17>(w14),
        _mm512_ror_epi32::<19>(w14),
        _mm512_srli_epi32::<10>(w14),
    );
    _mm512_add_epi32(_mm512_add_epi32(w0, small_sigma_0), _mm512_add_epi32(w9, small_sigma_1))
}

/// Round `i` in each lane. The words stay where they are and change their names instead.
#[inline]
#[target_feature(enable = "avx512f")]
fn round(state: &mut State, i: usize, word: __m512i) {
    let at = |name: usize| (name + 64 - i) % 8;
    let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(|name| state[at(name)]);
    let k = _mm512_set1_epi32(K[i / 4][i % 4].cast_signed());
    let big_sigma_1 = _mm512_ternarylogic_epi32::<PARITY>(
        _mm512_ror_epi32::<6>(e),
        _mm512_ror_epi32::<11>(e),
        _mm512_ror_epi32::<25>(e),
    );
    let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
    let t1 = _mm512_add_epi32(
        _mm512_add_epi32(h, _mm512_add_epi32(word, k)),
        _mm512_add_epi32(big_sigma_1, choice),
    );
    let big_sigma_0 = _mm512_ternarylogic_epi32::<PARITY>(
        _mm512_ror_epi32::<2>(a),
        _mm512_ror_epi32::<13>(a),
        _mm512_ror_epi32::<22>(a),
    );
    let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
    state[at(3)] = _mm512_add_epi32(d, t1);
    state[at(7)] = _mm512_add_epi32(t1, _mm512_add_epi32(big_sigma_0, majority));
}
