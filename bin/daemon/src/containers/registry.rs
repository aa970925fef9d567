//! All containers, found by ID, name or the beginning of an ID.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cofferdam_model::{ContainerId, State};
use tokio_util::task::TaskTracker;

use super::Container;
use super::unreadable::Unreadable;
use crate::error::{ApiError, ApiResult};

/// All containers of the daemon that are not gone.
#[derive(Default)]
pub struct Containers {
    present: RwLock<BTreeMap<String, Arc<Container>>>,
    unreadable: RwLock<Vec<Unreadable>>,
    /// Removals whose clients have their answer already.
    removals: TaskTracker,
}

/// How many containers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// With a program that runs.
    pub running: usize,
    /// Frozen.
    pub paused: usize,
    /// Neither.
    pub stopped: usize,
}

impl Containers {
    /// Every container, newest first.
    pub fn all(&self) -> Vec<Arc<Container>> {
        let map = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = map.values().cloned().collect();
        all.sort_by_key(|container| std::cmp::Reverse(container.record().created));
        all
    }

    /// What clients name: a full ID, a name with or without a slash, or the beginning of an ID.
    pub fn find(&self, reference: &str) -> ApiResult<Arc<Container>> {
        let map = self.present.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(container) = map.get(reference) {
            return Ok(Arc::clone(container));
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(container) = map.values().find(|container| container.name() == name) {
            return Ok(Arc::clone(container));
        }
        let unknown = || {
            self.unreadable(reference).map_or_else(
                || ApiError::not_found(format!("No such container: {reference}")),
                |unreadable| unreadable.error(),
            )
        };
        if reference.is_empty() {
            return Err(unknown());
        }
        let mut matches = map.range(reference.to_owned()..).take_while(|(id, _)| id.starts_with(reference));
        match (matches.next(), matches.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => {
                Err(ApiError::bad_request(format!("multiple IDs found with provided prefix: {reference}")))
            }
            (None, _) => Err(unknown()),
        }
    }

    /// One that is on record, but cannot be read.
    pub fn unreadable(&self, reference: &str) -> Option<Unreadable> {
        let all = self.unreadable.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|unreadable| unreadable.is(reference)).cloned()
    }

    /// The IDs of unreadable ones whose records have this word.
    pub fn unreadable_naming(&self, word: &str) -> Vec<String> {
        let all = self.unreadable.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|unreadable| unreadable.names(word)).map(|one| one.id.to_string()).collect()
    }

    /// Adds one that cannot be read.
    pub(super) fn add_unreadable(&self, unreadable: Unreadable) {
        self.unreadable.write().unwrap_or_else(PoisonError::into_inner).push(unreadable);
    }

    /// Takes one out that could not be read.
    pub(super) fn forget_unreadable(&self, id: &ContainerId) {
        self.unreadable.write().unwrap_or_else(PoisonError::into_inner).retain(|one| one.id != *id);
    }

    /// Adds one.
    pub(super) fn add(&self, container: Arc<Container>) {
        let mut map = self.present.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(container.id.to_string(), container);
    }

    /// Takes one out: nobody finds it any more.
    pub(super) fn take_out(&self, id: &str) {
        self.present.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.all() {
            match container.status().state {
                State::Running => counts.running += 1,
                State::Paused => counts.paused += 1,
                _ => counts.stopped += 1,
            }
        }
        counts
    }

    /// Ends a removal that nobody waits for.
    pub(super) fn finish_removal(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.removals.spawn(work);
    }

    /// Waits for the removals that are under way.
    pub async fn removals_finished(&self) {
        self.removals.close();
        self.removals.wait().await;
    }

    /// How many have something on the host that runs, or are about to.
    pub fn live(&self) -> usize {
        let live = |container: &Arc<Container>| {
            let status = container.status();
            status.is_running() || matches!(status.state, State::Starting | State::Removing)
        };
        self.all().iter().filter(|container| live(container)).count()
    }

    /// The containers made from an image, with whether each runs.
    pub fn using_image(&self, image_id: &str) -> Vec<(Arc<Container>, bool)> {
        let of_image = |container: &Arc<Container>| container.record().image == image_id;
        let all = self.all().into_iter().filter(of_image);
        all.map(|container| {
            let runs = container.status().is_running();
            (container, runs)
        })
        .collect()
    }
}
