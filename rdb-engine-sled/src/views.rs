use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::codec::Sequence;

/// Which commit readers see, and which older ones some still look at.
#[derive(Debug)]
pub(crate) struct Views {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The watermark: the last commit that returned from sled.
    published: Sequence,
    /// The watermarks of open views, and how many views have each.
    open: BTreeMap<Sequence, usize>,
}

impl Views {
    pub(crate) fn new(published: Sequence) -> Self {
        Self { state: Mutex::new(State { published, open: BTreeMap::new() }) }
    }

    /// Opens a view of the latest published commit. No version that it can see is removed while it is open.
    pub(crate) fn open(&self) -> View<'_> {
        // Reading the watermark and taking a place are one step: a collection in between would see no
        // view here, and remove what this one is about to read.
        let mut state = self.state.lock();
        let sequence = state.published;
        *state.open.entry(sequence).or_insert(0) += 1;
        View { views: self, sequence }
    }

    /// Lets new views see the commits up to `sequence`.
    pub(crate) fn publish(&self, sequence: Sequence) {
        self.state.lock().published = sequence;
    }

    /// How many views are open, and how many commits were published since the oldest.
    pub(crate) fn age(&self) -> (usize, Sequence) {
        let state = self.state.lock();
        let oldest = state.open.keys().next().copied().unwrap_or(state.published);
        (state.open.values().sum(), state.published - oldest)
    }

    /// The watermarks that views have now, or may be given from now on.
    pub(crate) fn in_use(&self) -> InUse {
        let state = self.state.lock();
        InUse { open: state.open.keys().copied().collect() }
    }
}

/// A reader's view; closed by dropping it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    views: &'a Views,
    sequence: Sequence,
}

impl View<'_> {
    /// The view shows the commits up to this one.
    pub(crate) const fn sequence(&self) -> Sequence {
        self.sequence
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let mut state = self.views.state.lock();
        if let Some(count) = state.open.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.sequence);
            }
        }
    }
}

/// The open views at one instant, taken by the committer before a commit. Views opened later show the
/// commit published then, or a later one.
#[derive(Debug)]
pub(crate) struct InUse {
    open: Vec<Sequence>,
}

impl InUse {
    /// An open view that shows a version written by `from` and made obsolete by `until`.
    ///
    /// Right only for an `until` that is published: else a view opened later could show the version.
    pub(crate) fn between(&self, from: Sequence, until: Sequence) -> Option<Sequence> {
        let place = self.open.partition_point(|view| *view < from);
        self.open.get(place).copied().filter(|view| *view < until)
    }

    /// Whether some open view shows exactly the commits up to `sequence`.
    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        self.open.binary_search(&sequence).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_in_use_while_a_view_between_its_two_commits_is_open() {
        let views = Views::new(5);
        let first = views.open();
        let second = views.open();
        views.publish(9);
        let third = views.open();
        assert_eq!((first.sequence(), third.sequence()), (5, 9));

        assert_eq!(views.age(), (3, 4));
        let in_use = views.in_use();
        assert_eq!(in_use.between(3, 6), Some(5));
        assert_eq!(in_use.between(5, 6), Some(5));
        assert_eq!(in_use.between(6, 9), None);
        assert_eq!(in_use.between(3, 5), None);
        assert_eq!(in_use.between(6, 10), Some(9));

        drop(first);
        assert_eq!(views.in_use().between(3, 6), Some(5), "the second view is still open");
        drop(second);
        assert_eq!(views.in_use().between(3, 6), None);
        assert!(views.in_use().contains(9) && !views.in_use().contains(5));
    }
}
