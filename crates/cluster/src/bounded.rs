//! The same for many nodes, so many of them at the same time.

use std::{collections::BTreeSet, time::Duration};

use tokio::{task::JoinSet, time::Instant};

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

/// The first of the items, in their order, of which something holds, by its place. What is not known
/// after all this time is taken for not so; whoever comes before one that holds is waited for until then.
pub(crate) async fn first<I, F>(
    at_once: usize,
    patience: Duration,
    items: impl IntoIterator<Item = I>,
    mut holds: impl FnMut(I) -> F,
) -> Option<usize>
where
    F: Future<Output = bool> + Send + 'static,
{
    let end = Instant::now() + patience;
    let mut waiting = items.into_iter().enumerate();
    let mut running = JoinSet::new();
    let (mut open, mut found) = (BTreeSet::new(), None);
    loop {
        while found.is_none() && running.len() < at_once.max(1) {
            let Some((index, item)) = waiting.next() else { break };
            let asking = holds(item);
            running.spawn(async move { (index, asking.await) });
            open.insert(index);
        }
        if found.is_some_and(|found| open.first().is_none_or(|open| *open > found)) {
            return found;
        }
        match tokio::time::timeout_at(end, running.join_next()).await {
            Ok(Some(Ok((index, holds)))) => {
                open.remove(&index);
                if holds {
                    found = Some(found.map_or(index, |found| index.min(found)));
                }
            }
            // One that panicked tells nothing.
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// `true` and `false` are known at once, `None` never is.
    async fn first_of(items: &[Option<bool>], at_once: usize, patience: Duration) -> Option<usize> {
        first(at_once, patience, items.to_vec(), |known| async move {
            match known {
                Some(holds) => holds,
                None => pending().await,
            }
        })
        .await
    }

    #[tokio::test]
    async fn the_first_that_holds_is_found() {
        let (no, yes) = (Some(false), Some(true));
        let long = Duration::from_secs(600);
        for at_once in [1, 2, 16] {
            assert_eq!(first_of(&[], at_once, long).await, None);
            assert_eq!(first_of(&[no, no, no], at_once, long).await, None);
            assert_eq!(first_of(&[no, yes, no, yes], at_once, long).await, Some(1));
            assert_eq!(first_of(&[yes, None], at_once, long).await, Some(0));
        }
        // Nobody who hangs keeps others from being found, where there is room for them.
        assert_eq!(first_of(&[None, no, yes], 2, Duration::from_secs(2)).await, Some(2));
        assert_eq!(first_of(&[None, no, yes], 1, Duration::ZERO).await, None);
    }
}
