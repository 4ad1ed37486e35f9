//! The iterations on `sha2`'s block function: safe code, two compressions an iteration.

use sha2::block_api::compress256;
use zeroize::Zeroize;

use super::lane::{Lane, digest_block, put_words};

/// Runs `rounds` more iterations.
pub(super) fn iterate(lane: &mut Lane, rounds: u32) {
    let mut block = digest_block(&lane.u);
    let mut state = [0; 8];
    for _ in 0..rounds {
        state = lane.inner;
        compress256(&mut state, std::slice::from_ref(&*block));
        put_words(&mut block, &state);
        state = lane.outer;
        compress256(&mut state, std::slice::from_ref(&*block));
        put_words(&mut block, &state);
        for (sum, u) in lane.sum.iter_mut().zip(&state) {
            *sum ^= u;
        }
    }
    if rounds > 0 {
        lane.u = state;
    }
    state.zeroize();
}
