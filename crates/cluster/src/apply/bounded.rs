//! The same for many nodes, so many of them at the same time.

use tokio::task::JoinSet;

use crate::error::Error;

/// What came of each, in the order in which they ended.
///
/// # Errors
/// [`Error::Cancelled`] if the program is going down.
pub(super) async fn for_each<I, F>(
    at_once: usize,
    items: impl IntoIterator<Item = I>,
    mut act: impl FnMut(I) -> F,
) -> Result<Vec<F::Output>, Error>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut waiting = items.into_iter();
    let mut running = JoinSet::new();
    let mut all = Vec::new();
    loop {
        while running.len() < at_once.max(1) {
            let Some(item) = waiting.next() else { break };
            running.spawn(act(item));
        }
        let Some(ended) = running.join_next().await else { return Ok(all) };
        all.push(ended.map_err(|_| Error::Cancelled)?);
    }
}
