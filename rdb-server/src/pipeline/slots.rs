use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// How many empty slots are kept when all are empty.
const KEPT: usize = 64;

/// Futures that one task waits for, each with a tag. A future is polled where it is begun, and after that when it
/// was woken. Slots are used again, so that a future costs no memory of its own, nor a task.
#[derive(Debug)]
pub(super) struct Slots<T, F> {
    slots: Vec<Slot<T, F>>,
    free: Vec<usize>,
    woken: Arc<Woken>,
    /// What was taken over from `woken`.
    turn: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T, F> {
    tag: Option<T>,
    future: Pin<Box<Option<F>>>,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<T, F: Future> Slots<T, F> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), woken: Arc::default(), turn: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Polls a future, and keeps it where it is not ready.
    pub(super) fn begin(&mut self, tag: T, future: F) -> Option<(T, F::Output)> {
        let place = self.free.pop().unwrap_or_else(|| {
            let place = self.slots.len();
            let woken = Arc::clone(&self.woken);
            let signal = Arc::new(Signal { place, is_set: AtomicBool::new(false), woken });
            let waker = Waker::from(Arc::clone(&signal));
            self.slots.push(Slot { tag: None, future: Box::pin(None), signal, waker });
            place
        });
        let slot = &mut self.slots[place];
        slot.tag = Some(tag);
        slot.future.as_mut().set(Some(future));
        self.poll(place)
    }

    /// Whether a future was woken; the task is, when one is.
    pub(super) fn poll_woken(&mut self, context: &Context<'_>) -> Poll<()> {
        self.woken.task.register(context.waker());
        if self.turn.is_empty() && self.woken.places.lock().is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Takes over all that were woken until now, for [`next`](Self::next).
    pub(super) fn take_turn(&mut self) {
        if self.turn.is_empty() {
            std::mem::swap(&mut self.turn, &mut *self.woken.places.lock());
            self.turn.reverse(); // the first comes last, where it is taken from
        }
    }

    /// Polls those of the turn until one is ready.
    pub(super) fn next(&mut self) -> Option<(T, F::Output)> {
        while let Some(place) = self.turn.pop() {
            if let Some(done) = self.poll(place) {
                return Some(done);
            }
        }
        if self.is_empty() && self.slots.len() > KEPT {
            self.slots.truncate(KEPT);
            self.free.retain(|place| *place < KEPT);
        }
        None
    }

    /// Takes out every future that a test chooses by its tag.
    pub(super) fn remove(&mut self, mut is_chosen: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for place in 0..self.slots.len() {
            if self.slots[place].tag.as_ref().is_some_and(&mut is_chosen) {
                removed.extend(self.empty(place));
            }
        }
        removed
    }

    fn poll(&mut self, place: usize) -> Option<(T, F::Output)> {
        // A slot that is gone, or empty, was woken for what it held before.
        let slot = self.slots.get_mut(place)?;
        // First: a wake from now on counts.
        slot.signal.is_set.store(false, Ordering::Release);
        let future = slot.future.as_mut().as_pin_mut()?;
        match future.poll(&mut Context::from_waker(&slot.waker)) {
            Poll::Ready(output) => self.empty(place).map(|tag| (tag, output)),
            Poll::Pending => None,
        }
    }

    fn empty(&mut self, place: usize) -> Option<T> {
        let slot = &mut self.slots[place];
        slot.future.as_mut().set(None);
        self.free.push(place);
        slot.tag.take()
    }
}

/// The slots whose futures were woken.
#[derive(Debug, Default)]
struct Woken {
    places: Mutex<Vec<usize>>,
    task: AtomicWaker,
}

/// Says that one was.
#[derive(Debug)]
struct Signal {
    place: usize,
    is_set: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_set.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_first = {
            let mut places = self.woken.places.lock();
            places.push(self.place);
            places.len() == 1
        };
        // The first of them has woken the task for all.
        if is_first {
            self.woken.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;
    use tokio::sync::oneshot;

    use super::*;

    type Receiver = oneshot::Receiver<u32>;

    fn slots(count: u32) -> (Slots<u32, Receiver>, Vec<oneshot::Sender<u32>>) {
        let mut slots = Slots::new();
        let senders = (0..count).map(|tag| {
            let (sender, receiver) = oneshot::channel();
            assert!(slots.begin(tag, receiver).is_none());
            sender
        });
        let senders = senders.collect();
        (slots, senders)
    }

    fn done(slots: &mut Slots<u32, Receiver>) -> Vec<(u32, u32)> {
        slots.take_turn();
        std::iter::from_fn(|| slots.next()).map(|(tag, output)| (tag, output.unwrap())).collect()
    }

    fn is_woken(slots: &mut Slots<u32, Receiver>) -> bool {
        slots.poll_woken(&Context::from_waker(&noop_waker())).is_ready()
    }

    #[test]
    fn what_is_ready_at_once_is_not_kept() {
        let mut slots = Slots::new();
        assert_eq!(slots.begin('a', std::future::ready(7)), Some(('a', 7)));
        assert!(slots.is_empty());
    }

    #[test]
    fn those_that_were_woken_are_done_in_the_order_of_their_wakes() {
        let (mut slots, senders) = slots(3);
        assert!(!is_woken(&mut slots));
        let [first, second, third] = <[_; 3]>::try_from(senders).unwrap();
        third.send(30).unwrap();
        first.send(10).unwrap();
        assert!(is_woken(&mut slots));
        assert_eq!(done(&mut slots), [(2, 30), (0, 10)]);
        assert!(!is_woken(&mut slots));
        assert_eq!(slots.len(), 1);
        second.send(20).unwrap();
        assert_eq!(done(&mut slots), [(1, 20)]);
        assert!(slots.is_empty());
    }

    #[test]
    fn a_wake_meant_for_what_was_there_before_does_no_harm() {
        let (mut slots, senders) = slots(2);
        let [first, second] = <[_; 2]>::try_from(senders).unwrap();
        assert_eq!(slots.remove(|tag| *tag == 0), [0]);
        assert!(first.is_closed(), "what was removed is dropped at once");
        let (sender, receiver) = oneshot::channel();
        assert!(slots.begin(7, receiver).is_none());
        drop(first); // its receiver is gone, and its slot is used again
        second.send(20).unwrap();
        assert_eq!(done(&mut slots), [(1, 20)]);
        sender.send(70).unwrap();
        assert_eq!(done(&mut slots), [(7, 70)]);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let (mut slots, senders) = slots(1000);
        senders.into_iter().for_each(|sender| sender.send(1).unwrap());
        assert_eq!(done(&mut slots).len(), 1000);
        assert_eq!((slots.slots.len(), slots.free.len()), (KEPT, KEPT));
        let (sender, receiver) = oneshot::channel();
        assert!(slots.begin(5, receiver).is_none());
        sender.send(50).unwrap();
        assert_eq!(done(&mut slots), [(5, 50)]);
    }
}
