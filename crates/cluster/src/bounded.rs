//! The same for many nodes, so many of them at the same time.

use tokio::task::JoinSet;

use crate::error::Error;

/// So many nodes are looked at at the same time.
pub(crate) const AT_ONCE: usize = 64;

/// What came of each, in the order of `items`.
///
/// # Errors
/// [`Error::Cancelled`] if the program is going down.
pub(crate) async fn for_each<I, F>(
    at_once: usize,
    items: impl IntoIterator<Item = I>,
    mut act: impl FnMut(I) -> F,
) -> Result<Vec<F::Output>, Error>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut waiting = items.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut all = Vec::new();
    loop {
        while running.len() < at_once.max(1) {
            let Some((index, item)) = waiting.next() else { break };
            let acting = act(item);
            running.spawn(async move { (index, acting.await) });
        }
        let Some(ended) = running.join_next().await else { break };
        all.push(ended.map_err(|_| Error::Cancelled)?);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
}
