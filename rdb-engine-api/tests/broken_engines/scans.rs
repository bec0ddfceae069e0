use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use rdb_engine_api::{
    Clock as _, Direction, Entry, EntryStream, Error, ErrorKind, Limits, Projection, Result, Scan, Span,
    SystemClock,
};

use super::state::Records;

/// The most entries of a chunk.
const CHUNK: usize = 256;

/// The places to scan from, as many as the limits allow (C14).
#[derive(Debug)]
pub(crate) struct Scans {
    clock: SystemClock,
    closed: Arc<AtomicBool>,
    open: Mutex<Vec<Weak<Place>>>,
}

/// Where a scan stands; it is free when the scan is dropped.
#[derive(Debug)]
struct Place {
    last_polled: Mutex<Duration>,
    given_up: AtomicBool,
}

impl Scans {
    pub(crate) fn new(clock: SystemClock) -> Self {
        Self { clock, closed: Arc::default(), open: Mutex::default() }
    }

    /// Ends all scans with `Closed` (C12).
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// A scan of these records, which are shared, not copied.
    pub(crate) fn open(&self, scan: &Scan, records: Arc<Records>, limits: &Limits) -> Result<EntryStream> {
        let place = self.take_place(limits)?;
        let (direction, projection) = (scan.direction, scan.projection);
        let (clock, closed) = (self.clock, Arc::clone(&self.closed));
        let start = (scan.range.to_span(), scan.limit.unwrap_or(u64::MAX));
        let chunks = stream::try_unfold(start, move |(span, limit)| {
            let next = if closed.load(SeqCst) {
                Err(Error::new(ErrorKind::Closed, "engine is closed"))
            } else if place.given_up.load(SeqCst) {
                Err(Error::new(ErrorKind::Exhausted, "scan rested for too long"))
            } else {
                *place.last_polled.lock() = clock.monotonic();
                Ok(span.and_then(|span| next_chunk(&records, span, limit, direction, projection)))
            };
            async move { next }
        });
        Ok(chunks.boxed())
    }

    fn take_place(&self, limits: &Limits) -> Result<Arc<Place>> {
        let now = self.clock.monotonic();
        let mut open = self.open.lock();
        open.retain(|place| {
            let Some(place) = place.upgrade() else { return false };
            let rests = now.saturating_sub(*place.last_polled.lock()) > limits.scan_idle;
            place.given_up.fetch_or(rests, SeqCst);
            !rests
        });
        if open.len() >= limits.max_scans {
            return Err(Error::new(ErrorKind::Exhausted, "too many scans are open"));
        }
        let place = Arc::new(Place { last_polled: Mutex::new(now), given_up: AtomicBool::new(false) });
        open.push(Arc::downgrade(&place));
        Ok(place)
    }
}

/// What is still to be read: a span, and how many entries of it.
type Rest = (Option<Span>, u64);

fn next_chunk(
    records: &Records,
    mut span: Span,
    limit: u64,
    direction: Direction,
    projection: Projection,
) -> Option<(Vec<Entry>, Rest)> {
    let end = span.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let in_span = records.range::<[u8], _>((Bound::Included(&span.start[..]), end));
    let entries = in_span.map(|(key, record)| {
        Entry::new(key.clone(), (projection == Projection::Records).then(|| record.clone()))
    });
    let most = CHUNK.min(usize::try_from(limit).unwrap_or(usize::MAX));
    let chunk: Vec<Entry> = match direction {
        Direction::Forward => entries.take(most).collect(),
        Direction::Reverse => entries.rev().take(most).collect(),
    };
    let last = chunk.last()?.key.as_bytes();
    match direction {
        Direction::Forward => span.start = [last, &[0]].concat().into(),
        Direction::Reverse => span.end = Some(last.to_vec().into()),
    }
    let is_empty = span.end.as_ref().is_some_and(|end| *end <= span.start);
    let rest = limit - chunk.len() as u64;
    Some((chunk, ((!is_empty).then_some(span), rest)))
}
