//! What operations in flight need: kept from garbage collection, and done only once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::{Digest, Error};

/// Something in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A blob, by its digest.
    Blob(Digest),
    /// An unpacked layer, by its chain ID.
    Layer(Digest),
    /// An EROFS image, by its image's ID.
    Erofs(Digest),
}

/// Counts who needs what.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<Item, usize>>,
    locks: Mutex<HashMap<Item, Weak<tokio::sync::Mutex<()>>>>,
}

impl Leases {
    /// A lease that holds nothing yet.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease { leases: Arc::clone(self), items: Mutex::default(), work: TaskTracker::new() }
    }

    /// Runs `remove` unless somebody needs the item. Nobody can begin to need it meanwhile.
    pub(crate) fn unless_held(&self, item: &Item, remove: impl FnOnce()) {
        let held = lock(&self.held);
        if !held.contains_key(item) {
            remove();
        }
    }

    /// Waits until nobody else makes this item.
    pub(crate) async fn exclusive(&self, item: &Item) -> OwnedMutexGuard<()> {
        let mutex = {
            let mut locks = lock(&self.locks);
            locks.retain(|_, mutex| mutex.strong_count() > 0);
            let found = locks.get(item).and_then(Weak::upgrade);
            found.unwrap_or_else(|| {
                let mutex = Arc::new(tokio::sync::Mutex::new(()));
                locks.insert(item.clone(), Arc::downgrade(&mutex));
                mutex
            })
        };
        mutex.lock_owned().await
    }
}

/// Keeps items until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Arc<Leases>,
    items: Mutex<Vec<Item>>,
    /// What the operation has going on in other threads.
    work: TaskTracker,
}

impl Lease {
    /// Keeps one more item. To be called before looking whether it is there.
    pub(crate) fn hold(&self, item: Item) {
        *lock(&self.leases.held).entry(item.clone()).or_default() += 1;
        lock(&self.items).push(item);
    }

    /// Starts blocking work, which [`Lease::settled`] waits for even when nobody wants its result any more.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> JoinHandle<Result<T, Error>> {
        self.work.spawn_blocking(work)
    }

    /// The same, and waits for its result.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.spawn_blocking(work).await.map_err(|_panicked| Error::Aborted(what))?
    }

    /// Waits for the work of an operation that failed: what it makes must be there to be removed.
    pub(crate) async fn settled(&self) {
        self.work.close();
        self.work.wait().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = lock(&self.leases.held);
        for item in lock(&self.items).drain(..) {
            if let Some(count) = held.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&item);
                }
            }
        }
    }
}

/// Locks a mutex whose data no panic can leave half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_item_stays() {
        let leases = Arc::new(Leases::default());
        let item = Item::Blob(Digest::of(b"x"));
        let removed = |leases: &Leases| {
            let mut removed = false;
            leases.unless_held(&item, || removed = true);
            removed
        };
        let (one, two) = (leases.lease(), leases.lease());
        one.hold(item.clone());
        two.hold(item.clone());
        drop(one);
        assert!(!removed(&leases));
        drop(two);
        assert!(removed(&leases));
    }
}
