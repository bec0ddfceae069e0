//! Who watches what: finds the watchers that a commit concerns, and wakes only those (C16).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::{CommittedBatch, CommittedOp, KeyRange, Span, Version};

/// Matches that a watcher keeps. With more, it reads the history by itself until it has caught up.
const MAX_MATCHES: usize = 1_024;
/// Commits that wait to be matched. With more, all watchers read the history by themselves.
const MAX_UNMATCHED: usize = 4_096;
/// Bytes of the commits that wait to be matched; one may be larger.
const MAX_UNMATCHED_BYTES: usize = 16 << 20;

/// Where a watcher stands, shared between its stream and the thread that matches.
#[derive(Debug)]
pub(super) struct Place {
    /// What it watches; none for a range that no key lies in.
    pub(super) span: Option<Span>,
    pub(super) stand: Mutex<Stand>,
    pub(super) wake: Notify,
}

#[derive(Debug)]
pub(super) struct Stand {
    /// Every commit up to this version that touches the range has been handed to the stream.
    pub(super) after: Version,
    /// The later ones, as far as commits have been matched; none while the watcher reads the history by itself.
    pub(super) matches: Option<VecDeque<Version>>,
}

impl Place {
    /// A watcher that reads the history by itself first, unless there is nothing for it to read yet.
    pub(super) fn new(range: &KeyRange, after: Version, is_caught_up: bool) -> Self {
        let matches = is_caught_up.then(VecDeque::new);
        Self { span: range.to_span(), stand: Mutex::new(Stand { after, matches }), wake: Notify::new() }
    }

    /// What a commit did to the watched keys.
    pub(super) fn touched<'c>(&self, commit: &'c CommittedBatch) -> &'c [CommittedOp] {
        let Some(span) = &self.span else { return &[] };
        let ops = &commit.ops;
        let start = ops.partition_point(|op| op.key.as_bytes() < &span.start[..]);
        let end = match &span.end {
            Some(end) => ops.partition_point(|op| op.key.as_bytes() < &end[..]),
            None => ops.len(),
        };
        &ops[start..end]
    }

    /// A commit touches the range.
    fn add(&self, version: Version) {
        let mut stand = self.stand.lock();
        let Stand { after, matches } = &mut *stand;
        // Who reads by itself is awake, or will be.
        let Some(known) = matches else { return };
        if version <= *after {
            return;
        }
        if known.len() == MAX_MATCHES {
            *after = known.front().and_then(|first| Version::new(first.get() - 1)).unwrap_or(*after);
            *matches = None;
            return;
        }
        known.push_back(version);
        if known.len() == 1 {
            drop(stand);
            self.wake.notify_one();
        }
    }

    /// Commits later than `matched` were not matched: the watcher has to find them itself.
    fn lose(&self, matched: Version) {
        let mut stand = self.stand.lock();
        if let Some(known) = stand.matches.take() {
            stand.after = match known.front().and_then(|first| Version::new(first.get() - 1)) {
                Some(before) => before,
                None => stand.after.max(matched),
            };
        }
        drop(stand);
        self.wake.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct Registry {
    ranges: Mutex<Ranges>,
    unmatched: Mutex<Unmatched>,
    filled: Condvar,
    /// The version up to which all commits have been matched since somebody watches.
    matched: AtomicU64,
}

#[derive(Debug, Default)]
struct Unmatched {
    commits: Vec<Arc<CommittedBatch>>,
    bytes: usize,
    /// Commits were lost, and everybody is to read the history.
    lost: bool,
    ended: bool,
}

impl Registry {
    pub(super) fn new(head: Version) -> Self {
        Self {
            ranges: Mutex::default(),
            unmatched: Mutex::default(),
            filled: Condvar::new(),
            matched: AtomicU64::new(head.get()),
        }
    }

    pub(super) fn add(&self, place: &Arc<Place>) {
        self.ranges.lock().add(place);
    }

    pub(super) fn remove(&self, place: &Arc<Place>) {
        self.ranges.lock().remove(place);
    }

    /// Every match up to this version has been handed to its watchers.
    pub(super) fn matched(&self) -> Version {
        Version::new(self.matched.load(Ordering::Acquire)).unwrap_or(Version::MIN)
    }

    /// Lets a commit wait to be matched.
    pub(super) fn push(&self, commit: &Arc<CommittedBatch>, bytes: usize) {
        let mut unmatched = self.unmatched.lock();
        unmatched.bytes += bytes;
        unmatched.commits.push(Arc::clone(commit));
        let len = unmatched.commits.len();
        if len > MAX_UNMATCHED || (unmatched.bytes > MAX_UNMATCHED_BYTES && len > 1) {
            unmatched.lose();
        }
    }

    /// Lets everybody read the history.
    pub(super) fn lose(&self) {
        self.unmatched.lock().lose();
        self.filled.notify_one();
    }

    /// Lets what waits be matched.
    pub(super) fn notify(&self) {
        self.filled.notify_one();
    }

    /// Wakes everybody for the last time.
    pub(super) fn end(&self) {
        let mut unmatched = self.unmatched.lock();
        unmatched.lose();
        unmatched.ended = true;
        drop(unmatched);
        self.filled.notify_one();
    }

    /// Matches commits until the end.
    pub(super) fn run(&self) {
        loop {
            let Unmatched { commits, lost, ended, .. } = {
                let mut unmatched = self.unmatched.lock();
                while unmatched.commits.is_empty() && !unmatched.lost {
                    self.filled.wait(&mut unmatched);
                }
                let ended = unmatched.ended;
                mem::replace(&mut *unmatched, Unmatched { ended, ..Unmatched::default() })
            };
            if lost {
                let matched = self.matched();
                self.ranges.lock().for_each(|place| place.lose(matched));
            }
            if ended {
                return;
            }
            for commit in &commits {
                self.ranges.lock().matching(commit);
            }
            if let Some(last) = commits.last() {
                self.matched.store(last.version.get(), Ordering::Release);
            }
        }
    }
}

impl Unmatched {
    fn lose(&mut self) {
        self.commits = Vec::new();
        self.bytes = 0;
        self.lost = true;
    }
}

/// The watchers by what they watch.
#[derive(Debug, Default)]
struct Ranges {
    keys: HashMap<Bytes, Group>,
    /// By the length of the prefix.
    prefixes: BTreeMap<usize, HashMap<Bytes, Group>>,
    others: Vec<Arc<Place>>,
}

/// Watchers of the same range.
#[derive(Debug, Default)]
struct Group {
    places: Vec<Arc<Place>>,
    /// The latest commit that it was told.
    told: Option<Version>,
}

enum Kind {
    Key(Bytes),
    Prefix(Bytes),
    Other,
}

fn kind_of(place: &Place) -> Kind {
    let Some(span) = &place.span else { return Kind::Other };
    let start = &span.start;
    let is_key = span.end.as_ref().is_some_and(|end| end.strip_prefix(&start[..]) == Some(&[0]));
    if is_key {
        Kind::Key(start.clone())
    } else if KeyRange::prefix(start.clone()).to_span().as_ref() == Some(span) {
        Kind::Prefix(start.clone())
    } else {
        Kind::Other
    }
}

impl Ranges {
    fn add(&mut self, place: &Arc<Place>) {
        let places = match kind_of(place) {
            Kind::Key(key) => &mut self.keys.entry(key).or_default().places,
            Kind::Prefix(prefix) => {
                let same_length = self.prefixes.entry(prefix.len()).or_default();
                &mut same_length.entry(prefix).or_default().places
            }
            Kind::Other => &mut self.others,
        };
        places.push(Arc::clone(place));
    }

    fn remove(&mut self, place: &Arc<Place>) {
        match kind_of(place) {
            Kind::Key(key) => remove_from(&mut self.keys, key, place),
            Kind::Prefix(prefix) => {
                let length = prefix.len();
                if let Some(same_length) = self.prefixes.get_mut(&length) {
                    remove_from(same_length, prefix, place);
                    if same_length.is_empty() {
                        self.prefixes.remove(&length);
                    }
                }
            }
            Kind::Other => self.others.retain(|other| !Arc::ptr_eq(other, place)),
        }
    }

    fn matching(&mut self, commit: &CommittedBatch) {
        for op in &commit.ops {
            let key = op.key.as_bytes();
            if let Some(group) = self.keys.get_mut(key) {
                group.tell(commit.version);
            }
            for (length, same_length) in self.prefixes.range_mut(..=key.len()) {
                if let Some(group) = same_length.get_mut(&key[..*length]) {
                    group.tell(commit.version);
                }
            }
        }
        for place in &self.others {
            if !place.touched(commit).is_empty() {
                place.add(commit.version);
            }
        }
    }

    fn for_each(&self, each: impl Fn(&Place)) {
        let prefixes = self.prefixes.values().flat_map(HashMap::values);
        let grouped = self.keys.values().chain(prefixes).flat_map(|group| &group.places);
        grouped.chain(&self.others).for_each(|place| each(place));
    }
}

fn remove_from(groups: &mut HashMap<Bytes, Group>, range: Bytes, place: &Arc<Place>) {
    if let Entry::Occupied(mut group) = groups.entry(range) {
        group.get_mut().places.retain(|other| !Arc::ptr_eq(other, place));
        if group.get().places.is_empty() {
            group.remove();
        }
    }
}

impl Group {
    fn tell(&mut self, version: Version) {
        if self.told.replace(version) != Some(version) {
            self.places.iter().for_each(|place| place.add(version));
        }
    }
}
