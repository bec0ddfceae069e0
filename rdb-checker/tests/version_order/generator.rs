//! Random histories of a store that keeps its promises, with versions, concurrency and unknown outcomes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rdb_checker::{
    Answer, Blob, Condition, Current, Delivered, History, Operation, Outcome, Record, Request, Watch,
    WatchEnd, WatchEvent,
};

/// A small deterministic source of numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn choose<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

/// What to generate.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) operations: usize,
    pub(crate) callers: usize,
    pub(crate) keys: usize,
    /// Writes of unknown outcome touch keys below this one only.
    pub(crate) murky: usize,
    /// Of a hundred writes of murky keys, so many have an unknown outcome.
    pub(crate) unknown: usize,
    /// Of a hundred operations, so many read or write several keys.
    pub(crate) wide: usize,
    /// The most keys of a scan.
    pub(crate) span: usize,
    /// Of a hundred puts, so many have a time to live.
    pub(crate) ttl: usize,
    /// How many readers watch, each over several watches.
    pub(crate) watchers: usize,
}

impl Plan {
    pub(crate) fn small(seed: u64) -> Self {
        Self {
            seed,
            operations: 200,
            callers: 6,
            keys: 8,
            murky: 4,
            unknown: 12,
            wide: 30,
            span: 8,
            ttl: 0,
            watchers: 0,
        }
    }

    /// With times to live.
    pub(crate) fn expiring(seed: u64) -> Self {
        Self { ttl: 40, ..Self::small(seed) }
    }
}

enum Step {
    Call,
    Effect(usize),
    Return(usize, Answer),
    /// The time of the record of a version is over.
    Expire(Blob, u64),
}

/// A commit, as watches deliver it.
struct Logged {
    at: u64,
    version: u64,
    expiry: bool,
    ops: Vec<(Blob, Option<Record>)>,
}

type Steps = BinaryHeap<Reverse<(u64, u64, usize)>>;

struct Store {
    random: Random,
    plan: Plan,
    records: BTreeMap<Blob, Record>,
    /// The records that callers were told of last: they cannot ask for others.
    told: BTreeMap<Blob, Record>,
    line: u64,
    values: u64,
    now: u64,
    log: Vec<Logged>,
    /// The records that were just put with a time to live, and when it is over.
    dying: Vec<(Blob, u64, u64)>,
}

pub(crate) fn key(number: usize) -> Blob {
    format!("k{number:06}").into()
}

/// Generates a history that is linearizable.
pub(crate) fn history(plan: Plan) -> History {
    let mut store = Store {
        random: Random(plan.seed),
        plan,
        records: BTreeMap::new(),
        told: BTreeMap::new(),
        line: 0,
        values: 0,
        now: 0,
        log: Vec::new(),
        dying: Vec::new(),
    };
    let mut operations: Vec<Operation> = Vec::with_capacity(plan.operations);
    let mut steps = Steps::new();
    let mut kept: BTreeMap<u64, (Step, u64)> = BTreeMap::new();
    let mut serial = 0;
    let mut schedule =
        |at: u64, step: Step, process: u64, kept: &mut BTreeMap<u64, (Step, u64)>, steps: &mut Steps| {
            serial += 1;
            kept.insert(serial, (step, process));
            steps.push(Reverse((at, serial, 0)));
        };
    let mut processes = plan.callers as u64;
    for process in 0..processes {
        schedule(process, Step::Call, process, &mut kept, &mut steps);
    }
    while let Some(Reverse((now, serial, _))) = steps.pop() {
        let (step, process) = kept.remove(&serial).expect("each step is taken once");
        let soon = |random: &mut Random| now + 1 + random.below(60) as u64;
        match step {
            Step::Call if operations.len() == plan.operations => {}
            Step::Call => {
                let request = store.request();
                let place = operations.len();
                let unknown = store.may_be_unknown(&request);
                operations.push(Operation { process, request, called: now, outcome: None });
                if unknown {
                    if store.random.percent(60) {
                        let late = if store.random.percent(30) { 400 } else { 60 };
                        let at = now + 1 + store.random.below(late) as u64;
                        schedule(at, Step::Effect(place), u64::MAX, &mut kept, &mut steps);
                    }
                    processes += 1;
                    let at = soon(&mut store.random);
                    schedule(at, Step::Call, processes, &mut kept, &mut steps);
                } else if store.random.percent(2) {
                    let at = soon(&mut store.random);
                    schedule(at, Step::Return(place, Answer::Failed), process, &mut kept, &mut steps);
                } else {
                    let at = soon(&mut store.random);
                    schedule(at, Step::Effect(place), process, &mut kept, &mut steps);
                }
            }
            Step::Expire(key, version) => store.expire(&key, version, now),
            Step::Effect(place) => {
                store.now = now;
                let answer = store.answer(&operations[place].request);
                for (key, version, due) in std::mem::take(&mut store.dying) {
                    let at = due + store.random.below(40) as u64;
                    schedule(at, Step::Expire(key, version), 0, &mut kept, &mut steps);
                }
                if process != u64::MAX {
                    let at = soon(&mut store.random);
                    schedule(at, Step::Return(place, answer), process, &mut kept, &mut steps);
                }
            }
            Step::Return(place, answer) => {
                store.tell(&operations[place].request, &answer);
                operations[place].outcome = Some(Outcome { returned: now, answer });
                let at = now + store.random.below(10) as u64;
                schedule(at, Step::Call, process, &mut kept, &mut steps);
            }
        }
    }
    let watches = store.watches();
    History { operations, watches, ..History::default() }
}

impl Store {
    fn key(&mut self) -> Blob {
        key(self.random.below(self.plan.keys))
    }

    fn request(&mut self) -> Request {
        if self.random.percent(self.plan.wide) {
            return match self.random.below(3) {
                0 => Request::GetMany { keys: (0..1 + self.random.below(4)).map(|_| self.key()).collect() },
                1 => {
                    let first = self.random.below(self.plan.keys);
                    let end = first + 1 + self.random.below(self.plan.span);
                    Request::Scan {
                        start: key(first),
                        end: (end < self.plan.keys).then(|| key(end)),
                        reverse: self.random.percent(40),
                        limit: self.random.percent(40).then(|| 1 + self.random.below(4) as u64),
                    }
                }
                _ => self.write(),
            };
        }
        if self.random.percent(45) { Request::Get { key: self.key() } } else { self.write() }
    }

    /// Writes of murky keys and of clear ones do not mix, so that what unknown outcomes do stays on their
    /// keys.
    fn write(&mut self) -> Request {
        let murky = self.random.below(self.plan.keys) < self.plan.murky;
        let (first, count) =
            if murky { (0, self.plan.murky) } else { (self.plan.murky, self.plan.keys - self.plan.murky) };
        let several = if self.random.percent(30) { 1 + self.random.below(3) } else { 1 };
        let mut ops = Vec::new();
        for _ in 0..several {
            let name = key(first + self.random.below(count));
            self.values += 1;
            let value = (!self.random.percent(40)).then(|| format!("v{}", self.values).into());
            ops.push((name, value));
        }
        let mut conditions = Vec::new();
        if self.random.percent(50) {
            for _ in 0..1 + self.random.below(2) {
                let name = if self.random.percent(60) {
                    ops[0].0.clone()
                } else {
                    key(first + self.random.below(count))
                };
                conditions.push((name.clone(), self.condition(&name)));
            }
        }
        let mut ttls = Vec::new();
        for (key, value) in &ops {
            if self.plan.ttl > 0 && value.is_some() && self.random.percent(self.plan.ttl) {
                ttls.push((key.clone(), 20 + self.random.below(300) as u64));
            }
        }
        Request::Write { conditions, ops, ttls }
    }

    fn condition(&mut self, name: &Blob) -> Condition {
        let record = self.told.get(name).cloned();
        match (self.random.below(4), record) {
            (0, _) => Condition::Present,
            (1, Some(Record { version: Some(version), .. })) => Condition::Version(version),
            (2, Some(record)) => Condition::Value(record.value),
            (3, Some(_)) if self.records.contains_key(name) => Condition::Present,
            _ => Condition::Absent,
        }
    }

    fn tell(&mut self, request: &Request, answer: &Answer) {
        let mut told = |key: &Blob, record: Option<&Record>| {
            record.map(|record| self.told.insert(key.clone(), record.clone()));
        };
        match (request, answer) {
            (Request::Get { key }, Answer::Record(record)) => told(key, record.as_ref()),
            (Request::GetMany { keys }, Answer::Records { records, .. }) => {
                keys.iter().zip(records).for_each(|(key, record)| told(key, record.as_ref()));
            }
            (_, Answer::Entries { entries, .. }) => {
                entries.iter().for_each(|(key, record)| told(key, record.as_ref()));
            }
            (Request::Write { ops, .. }, Answer::Committed { version }) => {
                for (key, value) in ops {
                    if let Some(value) = value {
                        told(key, Some(&Record { value: value.clone(), version: *version }));
                    }
                }
            }
            (
                Request::Write { conditions, .. },
                Answer::Conflict { index, current: Current::Present(record), .. },
            ) => {
                told(&conditions[*index].0, Some(record));
            }
            _ => {}
        }
    }

    fn may_be_unknown(&mut self, request: &Request) -> bool {
        let murky = key(self.plan.murky);
        match request {
            Request::Write { ops, .. } => {
                ops.iter().all(|(key, _)| *key < murky) && self.random.percent(self.plan.unknown)
            }
            _ => self.random.percent(2),
        }
    }

    /// The version of a view: it may lie behind the last commit.
    fn view(&mut self) -> Option<u64> {
        if self.random.percent(5) {
            self.line += 1;
            self.log.push(Logged { at: self.now, version: self.line, expiry: false, ops: Vec::new() });
        }
        Some(self.line)
    }

    fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Get { key } => Answer::Record(self.records.get(key).cloned()),
            Request::GetMany { keys } => {
                let records = keys.iter().map(|key| self.records.get(key).cloned()).collect();
                Answer::Records { version: self.view(), records }
            }
            Request::Scan { start, end, reverse, limit } => {
                let keys_only = self.random.percent(20);
                let range = self.records.range(start.clone()..);
                let inside = range.take_while(|(key, _)| end.as_ref().is_none_or(|end| *key < end));
                let mut entries: Vec<_> =
                    inside.map(|(key, record)| (key.clone(), (!keys_only).then(|| record.clone()))).collect();
                if *reverse {
                    entries.reverse();
                }
                entries.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
                Answer::Entries { version: self.view(), entries }
            }
            Request::Write { conditions, ops, ttls } => self.apply(conditions, ops, ttls),
        }
    }

    fn apply(
        &mut self,
        conditions: &[(Blob, Condition)],
        ops: &[(Blob, Option<Blob>)],
        ttls: &[(Blob, u64)],
    ) -> Answer {
        let holds = |condition: &Condition, record: Option<&Record>| match condition {
            Condition::Absent => record.is_none(),
            Condition::Present => record.is_some(),
            Condition::Version(version) => record.is_some_and(|record| record.version == Some(*version)),
            Condition::Value(value) => record.is_some_and(|record| record.value == *value),
        };
        let failed = conditions.iter().position(|(key, condition)| !holds(condition, self.records.get(key)));
        if let Some(index) = failed {
            let current = match self.records.get(&conditions[index].0).cloned() {
                _ if self.random.percent(25) => Current::Unsaid,
                Some(record) => Current::Present(record),
                None => Current::Absent,
            };
            return Answer::Conflict { index, version: self.view(), current };
        }
        let last: BTreeMap<_, _> = ops.iter().map(|(key, value)| (key, value)).collect();
        if last.iter().all(|(key, value)| value.is_none() && !self.records.contains_key(*key)) {
            return Answer::Unchanged { version: self.view() };
        }
        self.line += 1 + if self.random.percent(5) { self.random.below(4) as u64 } else { 0 };
        let mut logged = Vec::new();
        for (key, value) in last {
            let was = match value {
                Some(value) => {
                    if let Some((_, ttl)) = ttls.iter().rfind(|(other, _)| other == key) {
                        self.dying.push((key.clone(), self.line, self.now + ttl));
                    }
                    let record = Record { value: value.clone(), version: Some(self.line) };
                    self.records.insert(key.clone(), record);
                    true
                }
                None => self.records.remove(key).is_some(),
            };
            if was {
                logged.push((key.clone(), self.records.get(key).cloned()));
            }
        }
        self.log.push(Logged { at: self.now, version: self.line, expiry: false, ops: logged });
        Answer::Committed { version: Some(self.line) }
    }

    /// Removes a record, unless another has come in its place.
    fn expire(&mut self, key: &Blob, version: u64, now: u64) {
        if self.records.get(key).is_some_and(|record| record.version == Some(version)) {
            self.line += 1;
            self.records.remove(key);
            let ops = vec![(key.clone(), None)];
            self.log.push(Logged { at: now, version: self.line, expiry: true, ops });
        }
    }

    /// What readers saw who each watched a range, were cut off now and then, and went on where they were.
    fn watches(&mut self) -> Vec<Watch> {
        let mut watches = Vec::new();
        let end_of_time = self.log.last().map_or(0, |logged| logged.at);
        for reader in 0..self.plan.watchers {
            let first = if reader == 0 { 0 } else { self.random.below(self.plan.keys) };
            let last = first + 1 + self.random.below(self.plan.keys);
            let (start, end) = (key(first), (last < self.plan.keys && reader > 0).then(|| key(last)));
            let mut now = if reader == 0 { 0 } else { self.random.below(end_of_time as usize / 2) as u64 };
            let mut after = None;
            loop {
                let called = now;
                now += self.random.below(20) as u64;
                let present =
                    self.log.iter().rfind(|logged| logged.at < now).map_or(0, |logged| logged.version);
                let mut at_version = after.unwrap_or(present);
                let mut watch = Watch {
                    start: start.clone(),
                    end: end.clone(),
                    after,
                    called,
                    began: Some((now, at_version)),
                    events: Vec::new(),
                    ended: None,
                };
                let most = 1 + self.random.below(30);
                for place in 0..self.log.len() {
                    let Logged { at, version, expiry, ops } = &self.log[place];
                    if *version <= at_version || watch.events.len() == most {
                        continue;
                    }
                    let ops: Vec<_> = ops.iter().filter(|(key, _)| watch.covers(key)).cloned().collect();
                    let (version, expiry) = (*version, *expiry);
                    now = now.max(*at) + self.random.below(15) as u64;
                    at_version = version;
                    let delivered = if !ops.is_empty() {
                        Delivered::Commit { version, expiry, ops }
                    } else if self.random.percent(20) {
                        Delivered::Progress { version }
                    } else {
                        continue;
                    };
                    watch.events.push(WatchEvent { at: now, delivered });
                }
                let more = self.log.last().is_some_and(|logged| logged.version > at_version);
                if more && self.random.percent(50) {
                    watch.ended =
                        Some(WatchEnd { at: now, why: "exhausted".to_owned(), version: Some(at_version) });
                }
                let behind = watch.complete_to();
                watches.push(watch);
                if !more {
                    break;
                }
                after = behind;
            }
        }
        watches
    }
}
