//! The iterations on the SHA instructions of x86-64, one password or four at a time.
//!
//! A PBKDF2 iteration's messages are digests, so that states need no trip through memory: they
//! become the next message by four shuffles. One password alone is bound by the latency of
//! `sha256rnds2`; four interleaved ones keep the unit busy.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
    _mm_unpackhi_epi64, _mm_unpacklo_epi64, _mm_xor_si128,
};

use super::{
    super::lane::{Lane, Words},
    K,
};

/// Passwords at a time in a batch.
pub(super) const WIDTH: usize = 4;

/// A SHA-256 state as the instructions want it: words A, B, E, F and C, D, G, H, the first word in
/// the highest element.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// Runs `rounds` more iterations in each lane.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn iterate<const N: usize>(lanes: &mut [Lane; N], rounds: u32) {
    let inner = lanes.each_ref().map(|lane| load(&lane.inner));
    let outer = lanes.each_ref().map(|lane| load(&lane.outer));
    let mut u = lanes.each_ref().map(|lane| load(&lane.u));
    let mut sum = lanes.each_ref().map(|lane| load(&lane.sum));
    for _ in 0..rounds {
        u = compress(&inner, &u);
        u = compress(&outer, &u);
        for (sum, u) in sum.iter_mut().zip(&u) {
            sum.abef = _mm_xor_si128(sum.abef, u.abef);
            sum.cdgh = _mm_xor_si128(sum.cdgh, u.cdgh);
        }
    }
    for ((lane, u), sum) in lanes.iter_mut().zip(&mut u).zip(&mut sum) {
        lane.u = store(*u);
        lane.sum = store(*sum);
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load(words: &Words) -> State {
    let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
    State { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn store(state: State) -> Words {
    let State { abef, cdgh } = state;
    [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ]
    .map(i32::cast_unsigned)
}

/// One compression in each lane: a digest, padded as the last block of 96 bytes, into a state.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress<const N: usize>(from: &[State; N], digest: &[State; N]) -> [State; N] {
    let mut state = *from;
    // The last sixteen words of the message schedule, four to a vector. The first eight words are
    // the digest; the padding (one bit, zeros, the length of 768 bits) is the same every time.
    let mut schedule = digest.each_ref().map(|digest| {
        let abef = _mm_shuffle_epi32::<0b00_01_10_11>(digest.abef);
        let cdgh = _mm_shuffle_epi32::<0b00_01_10_11>(digest.cdgh);
        [
            _mm_unpacklo_epi64(abef, cdgh),
            _mm_unpackhi_epi64(abef, cdgh),
            _mm_set_epi32(0, 0, 0, i32::MIN),
            _mm_set_epi32(768, 0, 0, 0),
        ]
    });
    let (first, others) = K.split_at(4);
    for (i, k) in first.iter().enumerate() {
        rounds(&mut state, &schedule.each_ref().map(|w| w[i]), k);
    }
    if N == 1 {
        // Spelled out, so that every index is a constant and the schedule stays in registers: one
        // password takes 0.6 times as long as with the loop below.
        for quarter in others.as_chunks::<4>().0 {
            let [k0, k1, k2, k3] = quarter;
            rounds(&mut state, &next(&mut schedule, 0), k0);
            rounds(&mut state, &next(&mut schedule, 1), k1);
            rounds(&mut state, &next(&mut schedule, 2), k2);
            rounds(&mut state, &next(&mut schedule, 3), k3);
        }
    } else {
        // Several schedules do not fit into the registers. Left to the loop they live in memory,
        // in order, which is better than the compiler's choice of what to spill: 0.9 times.
        for (i, k) in others.iter().enumerate() {
            rounds(&mut state, &next(&mut schedule, i % 4), k);
        }
    }
    for (state, from) in state.iter_mut().zip(from) {
        state.abef = _mm_add_epi32(state.abef, from.abef);
        state.cdgh = _mm_add_epi32(state.cdgh, from.cdgh);
    }
    state
}

/// Replaces the oldest four words of each lane's schedule, at `oldest`, by the next four.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn next<const N: usize>(schedule: &mut [[__m128i; 4]; N], oldest: usize) -> [__m128i; N] {
    let mut now = [_mm_setzero_si128(); N];
    for (now, w) in now.iter_mut().zip(schedule) {
        let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|age| w[(oldest + age) % 4]);
        let mixed = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
        *now = _mm_sha256msg2_epu32(mixed, w3);
        w[oldest % 4] = *now;
    }
    now
}

/// Four rounds in each lane.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn rounds<const N: usize>(state: &mut [State; N], words: &[__m128i; N], k: &[u32; 4]) {
    let [k0, k1, k2, k3] = k.map(u32::cast_signed);
    let k = _mm_set_epi32(k3, k2, k1, k0);
    for (state, w) in state.iter_mut().zip(words) {
        let low = _mm_add_epi32(*w, k);
        let high = _mm_shuffle_epi32::<0b00_00_11_10>(low);
        state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, low);
        state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, high);
    }
}
