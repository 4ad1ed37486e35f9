//! Work on many things by all of the machine's processors.

use std::thread;

use crate::error::Error;

/// What comes of the shares that the items are cut into, in their order: one for each processor, none
/// with fewer items than `least` if there are others.
///
/// # Errors
/// [`Error::Cancelled`] if the work on one panicked.
pub(crate) fn shares<'i, I: Sync, O: Send>(
    items: &'i [I],
    least: usize,
    work: impl Fn(&'i [I]) -> O + Sync,
) -> Result<Vec<O>, Error> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(processors).max(least).max(1);
    if items.len() <= share {
        return Ok(vec![work(items)]);
    }
    thread::scope(|scope| {
        let work = &work;
        let begin = |share| scope.spawn(move || work(share));
        let working: Vec<_> = items.chunks(share).map(begin).collect();
        working.into_iter().map(|work| work.join().map_err(|_| Error::Cancelled)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_share_and_in_its_order() -> Result<(), Error> {
        let items: Vec<usize> = (0..1000).collect();
        for least in [0, 1, 7, 999, 1000, 5000] {
            let shares = shares(&items, least, <[usize]>::to_vec)?;
            assert_eq!(shares.concat(), items, "{least}");
        }
        assert_eq!(shares(&[], 0, <[u8]>::len)?, [0]);
        Ok(())
    }
}
