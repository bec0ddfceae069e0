//! A counter that many threads increment at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Enough that few of the threads that read at once share one.
const STRIPES: usize = 16;

/// Counts in several places, one of which is the thread's: threads that write to one cache line in turns wait
/// for each other longer than a read from memory takes.
#[derive(Debug, Default)]
pub(super) struct Striped([Stripe; STRIPES]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Striped {
    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.0[place()].0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// The thread's place.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let given = |place: &Cell<Option<usize>>| {
        let given = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
        place.set(Some(given));
        given
    };
    // A thread at its very end has no place any more.
    PLACE.try_with(|place| place.get().unwrap_or_else(|| given(place))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_all_there() {
        let counter = Striped::default();
        std::thread::scope(|scope| {
            for _ in 0..3 * STRIPES {
                scope.spawn(|| (0..100).for_each(|_| counter.increment()));
            }
        });
        assert_eq!(counter.get(), 300 * STRIPES as u64);
    }
}
