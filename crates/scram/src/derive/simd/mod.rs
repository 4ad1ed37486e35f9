//! The iterations on x86-64's vector instructions, behind run-time detection.
//!
//! The only `unsafe` of the crate is here: the calls of functions that are compiled for
//! instructions which not every processor has. The intrinsics inside them take no pointers, and
//! are safe there.

mod avx512;
mod sha_ni;

use super::{Job, lane::Lane};

/// FIPS 180-4, section 4.2.2: four round constants each.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// Whether the processor has the SHA instructions and those that go with them here.
pub(super) fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Whether the processor has vectors of 512 bits.
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Derives every job's key on the SHA instructions, `rounds` iterations after the first.
///
/// The caller has seen [`has_sha_ni`].
pub(super) fn derive_on_sha_ni(rounds: u32, jobs: &mut [Job<'_>]) {
    assert!(has_sha_ni(), "the caller checks the processor");
    let (quads, rest) = jobs.as_chunks_mut::<{ sha_ni::WIDTH }>();
    for quad in quads {
        let mut lanes = quad.each_ref().map(|job| Lane::new(job.password, job.salt));
        // SAFETY: the assertion above found every feature that the function is compiled for.
        unsafe { sha_ni::iterate(&mut lanes, rounds) };
        quad.iter_mut().zip(&lanes).for_each(|(job, lane)| lane.write(job.out));
    }
    for job in rest {
        let mut lanes = [Lane::new(job.password, job.salt)];
        // SAFETY: the assertion above found every feature that the function is compiled for.
        unsafe { sha_ni::iterate(&mut lanes, rounds) };
        lanes.iter().for_each(|lane| lane.write(job.out));
    }
}

/// Derives keys in sixteen lanes at a time, `rounds` iterations after the first, and gives back
/// the jobs at the end that are too few to be worth it: the lanes cost the same, idle or not, and
/// half of them is what the SHA instructions do in that time.
///
/// The caller has seen [`has_avx512`].
pub(super) fn derive_on_avx512<'jobs, 'job>(
    rounds: u32,
    jobs: &'jobs mut [Job<'job>],
) -> &'jobs mut [Job<'job>] {
    assert!(has_avx512(), "the caller checks the processor");
    let left = jobs.len() % avx512::WIDTH;
    let too_few = if left < avx512::WIDTH / 2 { left } else { 0 };
    let (jobs, rest) = jobs.split_at_mut(jobs.len() - too_few);
    for jobs in jobs.chunks_mut(avx512::WIDTH) {
        let mut lanes = std::array::from_fn(|i| match jobs.get(i) {
            Some(job) => Lane::new(job.password, job.salt),
            None => Lane::idle(),
        });
        // SAFETY: the assertion above found the feature that the function is compiled for.
        unsafe { avx512::iterate(&mut lanes, rounds) };
        jobs.iter_mut().zip(&lanes).for_each(|(job, lane)| lane.write(job.out));
    }
    rest
}
