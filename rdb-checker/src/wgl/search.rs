use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::configuration::{Configuration, Mark};
use super::problem::{Form, Problem, Step, Stuck};

/// What came of a search.
pub(super) enum Found {
    /// An order that explains every answer.
    Order,
    /// There is none.
    None(Stuck),
    /// It met more configurations than it may remember.
    TooMany,
    /// The deadline passed.
    Late,
}

/// A search for an order of the operations on one set of keys.
///
/// The operations with an answer are a doubly linked list of their calls and returns, in the order of time
/// (Wing and Gong): the calls before the first return are those of which one has to be next. To place an
/// operation takes its two nodes out of the list, to take it back puts them in again. Nothing is recursive:
/// the depth of the search is the length of the history.
pub(super) struct Search<'a> {
    problem: &'a Problem<'a>,
    events: Events,
    next: Vec<u32>,
    prev: Vec<u32>,
    placed: Vec<bool>,
    /// The operations placed so far, in their order.
    order: Vec<u32>,
    /// How many of those with an answer are not placed.
    left: usize,
    /// The first operation that is not placed, in the order of returns.
    frontier: usize,
    /// The records of the keys, a bit for each slot, a bit for each open write, and the open write that waits
    /// for one that it matters to, plus 1.
    words: Configuration,
    layout: Layout,
    /// For each fact, how many of the operations that are not placed and have an answer expect it.
    wanted: Vec<u32>,
    /// For each fact, how many of the operations that are not placed bring it about.
    writers: Vec<u32>,
    /// For each fact, the operations with an answer that expect it, in the order of their calls.
    readers: Vec<Vec<u32>>,
    /// For each key, the operations that certainly write it, in the order of their returns.
    overwriters: Vec<Vec<u32>>,
    seen: HashSet<(u32, u32)>,
    stuck: Option<Stuck>,
}

/// Where the words of a configuration are.
struct Layout {
    slots: usize,
    open: usize,
    waiting: usize,
}

/// The operations in time.
struct Events {
    /// The nodes of the list, in its order: `2i` is the call of operation `i`, `2i + 1` its return.
    nodes: Vec<u32>,
    /// For each node, its place among them; for the call of an open write, that of the next node.
    at: Vec<u32>,
    /// The operations with an answer in the order of their returns, and the place of each there.
    returns: Vec<u32>,
    rank: Vec<u32>,
    /// A number for each operation with an answer; those that are under way at once have different ones.
    slot: Vec<u32>,
    slots: usize,
    /// The writes without an answer in the order of their calls, and the place of each there.
    open: Vec<u32>,
    /// For each of those, the last equal one before it.
    twin: Vec<Option<u32>>,
}

/// What may be placed next.
#[derive(Clone, Copy)]
enum Cursor {
    Node(u32),
    Open(usize),
}

/// A write that was placed, with those that were placed after it because nothing spoke against it.
struct Frame {
    step: u32,
    from: usize,
    mark: Mark,
    frontier: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(problem: &'a Problem<'a>) -> Self {
        let steps = &problem.steps;
        let events = Events::new(steps);
        let layout = Layout::new(problem.keys.len(), events.slots, events.open.len());
        let head = 2 * steps.len() as u32;
        let mut next = vec![head; head as usize + 1];
        let mut prev = next.clone();
        let mut last = head;
        for node in &events.nodes {
            (next[last as usize], prev[*node as usize]) = (*node, last);
            last = *node;
        }
        (next[last as usize], prev[head as usize]) = (head, last);
        let mut this = Self {
            problem,
            next,
            prev,
            placed: vec![false; steps.len()],
            order: Vec::new(),
            left: events.returns.len(),
            frontier: 0,
            words: Configuration::new(&vec![0; layout.waiting + 1]),
            layout,
            wanted: vec![0; problem.facts],
            writers: vec![0; problem.facts],
            readers: vec![Vec::new(); problem.facts],
            overwriters: vec![Vec::new(); problem.keys.len()],
            seen: HashSet::new(),
            stuck: None,
            events,
        };
        for step in &this.events.returns {
            for (cell, _) in &steps[*step as usize].form.effects {
                this.overwriters[*cell as usize].push(*step);
            }
        }
        for node in this.events.nodes.iter().filter(|node| is_call(**node)) {
            for fact in steps[*node as usize / 2].form.facts() {
                this.readers[fact as usize].push(*node / 2);
            }
        }
        (0..steps.len()).for_each(|step| this.count(step, true));
        this
    }

    pub(super) fn run(mut self, start: Instant, deadline: Duration, most: usize) -> Found {
        let mut frames: Vec<Frame> = Vec::new();
        let mut tries = 0_u32;
        self.place_the_sure();
        let mut cursor = self.first();
        while self.left > 0 {
            if tries.is_multiple_of(256) && start.elapsed() >= deadline {
                return Found::Late;
            }
            tries = tries.wrapping_add(1);
            if self.seen.len() > most || self.words.pairs() > 4 * most {
                return Found::TooMany;
            }
            if let Some(frame) = self.place_one(cursor) {
                frames.push(frame);
                self.place_the_sure();
                cursor = self.first();
                continue;
            }
            self.remember_where_stuck();
            let Some(frame) = frames.pop() else { return Found::None(self.stuck()) };
            self.take_back(&frame);
            cursor = self.after(frame.step);
        }
        Found::Order
    }

    fn head(&self) -> u32 {
        self.next.len() as u32 - 1
    }

    fn first(&self) -> Cursor {
        Cursor::Node(self.next[self.head() as usize])
    }

    fn after(&self, step: u32) -> Cursor {
        match self.problem.steps[step as usize].returned {
            Some(_) => Cursor::Node(self.next[2 * step as usize]),
            None => Cursor::Open(self.events.rank[step as usize] as usize + 1),
        }
    }

    /// Places every operation that fits and changes nothing (point 4).
    fn place_the_sure(&mut self) {
        let mut node = self.next[self.head() as usize];
        while is_call(node) && node != self.head() {
            let step = node as usize / 2;
            let form = &self.problem.steps[step].form;
            node = self.next[node as usize];
            if form.effects.is_empty() && self.fits(form) {
                self.place(step);
                self.words.set(self.layout.waiting, 0);
                // Its return may have been the first.
                if !is_call(node) && node as usize / 2 == step {
                    node = self.next[node as usize];
                }
            }
        }
    }

    /// Places the first of the writes from a cursor on that leads to a configuration not seen before.
    fn place_one(&mut self, mut cursor: Cursor) -> Option<Frame> {
        let mark = self.words.mark();
        let first_return = self.first_return();
        let waiting = self.words.get(self.layout.waiting).checked_sub(1);
        loop {
            let step = match cursor {
                Cursor::Node(node) if is_call(node) && node != self.head() => {
                    cursor = Cursor::Node(self.next[node as usize]);
                    node as usize / 2
                }
                Cursor::Node(_) => {
                    cursor = Cursor::Open(0);
                    continue;
                }
                Cursor::Open(index) => {
                    let step = *self.events.open.get(index)?;
                    cursor = Cursor::Open(index + 1);
                    // All later ones are called later still.
                    if self.events.at[2 * step as usize] > first_return {
                        return None;
                    }
                    if !self.may_open(step as usize) {
                        continue;
                    }
                    step as usize
                }
            };
            let Step { form, returned, .. } = &self.problem.steps[step];
            if form.effects.is_empty()
                || waiting.is_some_and(|waiting| !self.may_follow(waiting as usize, step))
                || !self.fits(form)
            {
                continue;
            }
            let frame = Frame { step: step as u32, from: self.order.len(), mark, frontier: self.frontier };
            let alive = self.apply(form, step);
            self.words.set(self.layout.waiting, if returned.is_none() { step as u32 + 1 } else { 0 });
            if alive {
                let root = self.words.root();
                if self.seen.insert((self.frontier as u32, root)) {
                    return Some(frame);
                }
            }
            self.take_back(&frame);
        }
    }

    /// Whether a write without an answer is to be tried (points 5 and 6).
    fn may_open(&self, step: usize) -> bool {
        let twin = self.events.twin[self.events.rank[step] as usize];
        !self.placed[step]
            && twin.is_none_or(|twin| self.placed[twin as usize])
            && self.problem.steps[step]
                .form
                .effects
                .iter()
                .any(|(cell, record)| self.record(*cell) != *record)
    }

    /// Whether a write may come right behind an open one (point 7).
    fn may_follow(&self, open: usize, next: usize) -> bool {
        let Step { form, returned, .. } = &self.problem.steps[next];
        let in_turn = returned.is_none() && self.events.rank[open] < self.events.rank[next];
        in_turn || matters(&self.problem.steps[open].form, form)
    }

    fn record(&self, cell: u32) -> u32 {
        self.words.get(cell as usize)
    }

    fn fits(&self, form: &Form) -> bool {
        let expects =
            form.expects.iter().all(|(cell, expect)| self.problem.holds(*cell, *expect, self.record(*cell)));
        expects && (form.any.is_empty() || form.any.iter().any(|cell| self.record(*cell) != 0))
    }

    /// Places a write. False where it overwrites what cannot come back and is still expected, or brings about
    /// what has to be overwritten before it is expected (points 8 and 9).
    fn apply(&mut self, form: &Form, step: usize) -> bool {
        self.place(step);
        let mut alive = true;
        for (cell, record) in &form.effects {
            let old = self.problem.fact(*cell, self.record(*cell)) as usize;
            let new = self.problem.fact(*cell, *record) as usize;
            alive &= old == new || self.wanted[old] == 0 || self.writers[old] > 0;
            alive &= self.writers[new] > 0 || self.wanted[new] == 0 || !self.comes_too_early(*cell, new);
            self.words.set(*cell as usize, *record);
        }
        alive
    }

    /// Whether a write of a key that is left returned before a reader that is left and expects a fact of that
    /// key was called.
    fn comes_too_early(&self, cell: u32, fact: usize) -> bool {
        let left = |step: &&u32| !self.placed[**step as usize];
        let overwriters = &self.overwriters[cell as usize];
        let from =
            overwriters.partition_point(|step| (self.events.rank[*step as usize] as usize) < self.frontier);
        let overwriter = overwriters[from..].iter().find(left);
        let reader = self.readers[fact].iter().rev().find(left);
        overwriter.zip(reader).is_some_and(|(overwriter, reader)| {
            self.events.at[2 * *overwriter as usize + 1] < self.events.at[2 * *reader as usize]
        })
    }

    fn place(&mut self, step: usize) {
        self.placed[step] = true;
        self.order.push(step as u32);
        self.count(step, false);
        let rank = self.events.rank[step] as usize;
        if self.problem.steps[step].returned.is_none() {
            self.words.set_bit(self.layout.open, rank, true);
            return;
        }
        self.left -= 1;
        for node in [2 * step, 2 * step + 1] {
            let (prev, next) = (self.prev[node], self.next[node]);
            (self.next[prev as usize], self.prev[next as usize]) = (next, prev);
        }
        self.words.set_bit(self.layout.slots, self.events.slot[step] as usize, true);
        // Whoever the frontier has passed is placed by that, and leaves its slot to others.
        while let Some(passed) = self.events.returns.get(self.frontier)
            && self.placed[*passed as usize]
        {
            self.words.set_bit(self.layout.slots, self.events.slot[*passed as usize] as usize, false);
            self.frontier += 1;
        }
    }

    fn take_back(&mut self, frame: &Frame) {
        while self.order.len() > frame.from
            && let Some(step) = self.order.pop()
        {
            let step = step as usize;
            self.placed[step] = false;
            self.count(step, true);
            if self.problem.steps[step].returned.is_some() {
                self.left += 1;
                for node in [2 * step + 1, 2 * step] {
                    let (prev, next) = (self.prev[node], self.next[node]);
                    (self.next[prev as usize], self.prev[next as usize]) = (node as u32, node as u32);
                }
            }
        }
        self.words.back_to(frame.mark);
        self.frontier = frame.frontier;
    }

    /// Counts what an operation that is not placed wants and brings about, or no longer does.
    fn count(&mut self, step: usize, waits: bool) {
        let Step { form, returned, .. } = &self.problem.steps[step];
        let change = |count: &mut u32| if waits { *count += 1 } else { *count -= 1 };
        for fact in form.facts().filter(|_| returned.is_some()) {
            change(&mut self.wanted[fact as usize]);
        }
        for (cell, record) in &form.effects {
            change(&mut self.writers[self.problem.fact(*cell, *record) as usize]);
        }
    }

    /// The place of the first return that is left.
    fn first_return(&self) -> u32 {
        self.events.returns.get(self.frontier).map_or(u32::MAX, |step| self.events.at[2 * *step as usize + 1])
    }

    /// Where the search got furthest, with those of later calls that keep the others from being placed.
    fn stuck(mut self) -> Stuck {
        let mut stuck = self.stuck.take().unwrap_or_default();
        let steps = &self.problem.steps;
        let mut facts = HashSet::new();
        for (cell, record) in stuck.open.iter().flat_map(|step| &steps[*step].form.effects) {
            // What is there and would be overwritten, and what would be there.
            facts.insert(self.problem.fact(*cell, stuck.state[*cell as usize]));
            facts.insert(self.problem.fact(*cell, *record));
        }
        let later = |step: &u32| self.events.at[2 * *step as usize] > stuck.first_return;
        let readers = facts.iter().flat_map(|fact| &self.readers[*fact as usize]).filter(|step| later(step));
        stuck.later = readers.map(|step| *step as usize).collect();
        stuck.later.sort_by_key(|step| steps[*step].called);
        stuck.later.dedup();
        stuck.between = self.between(&stuck);
        stuck
    }

    /// For each record that would be put and is expected by a later call, the first write of its key that
    /// has to come between them.
    fn between(&self, stuck: &Stuck) -> Vec<usize> {
        let at = &self.events.at;
        let mut between = Vec::new();
        for open in &stuck.open {
            for (cell, record) in &self.problem.steps[*open].form.effects {
                let readers = &self.readers[self.problem.fact(*cell, *record) as usize];
                let Some(last) = readers.iter().map(|reader| at[2 * *reader as usize]).max() else {
                    continue;
                };
                let mut left = self.overwriters[*cell as usize].iter().map(|step| *step as usize);
                let first = left.find(|step| at[2 * step + 1] >= stuck.first_return && step != open);
                between.extend(first.filter(|step| at[2 * step + 1] < last && !stuck.open.contains(step)));
            }
        }
        between.sort_by_key(|step| self.problem.steps[*step].called);
        between.dedup();
        between
    }

    fn remember_where_stuck(&mut self) {
        let placed = self.events.returns.len() - self.left;
        if self.stuck.as_ref().is_some_and(|stuck| stuck.placed >= placed) {
            return;
        }
        let mut open = Vec::new();
        let mut node = self.next[self.head() as usize];
        while is_call(node) && node != self.head() {
            open.push(node as usize / 2);
            node = self.next[node as usize];
        }
        // The one whose answer came first could not wait.
        open.sort_by_key(|step| self.events.rank[*step]);
        let state = (0..self.problem.keys.len()).map(|cell| self.words.get(cell)).collect();
        self.stuck =
            Some(Stuck { placed, open, state, first_return: self.first_return(), ..Stuck::default() });
    }
}

impl Layout {
    fn new(keys: usize, slots: usize, open: usize) -> Self {
        let open_from = keys + slots.div_ceil(32);
        Self { slots: keys, open: open_from, waiting: open_from + open.div_ceil(32) }
    }
}

impl Events {
    fn new(steps: &[Step]) -> Self {
        let calls = (0..).zip(steps).map(|(step, Step { called, .. })| (*called, false, 2 * step));
        let returns = (0..)
            .zip(steps)
            .filter_map(|(step, Step { returned, .. })| Some(((*returned)?, true, 2 * step + 1)));
        let mut all: Vec<(u64, bool, u32)> = calls.chain(returns).collect();
        // Operations that touch in time are under way at once: at one time, calls come first.
        all.sort_unstable();
        let mut this = Self {
            nodes: Vec::with_capacity(all.len()),
            at: vec![0; 2 * steps.len()],
            returns: Vec::new(),
            rank: vec![0; steps.len()],
            slot: vec![0; steps.len()],
            slots: 0,
            open: Vec::new(),
            twin: Vec::new(),
        };
        let mut free = Vec::new();
        let mut last_of_form: HashMap<&Form, u32> = HashMap::new();
        for (_, _, node) in all {
            let step = node as usize / 2;
            this.at[node as usize] = this.nodes.len() as u32;
            if steps[step].returned.is_none() {
                this.rank[step] = this.open.len() as u32;
                this.open.push(step as u32);
                this.twin.push(last_of_form.insert(&steps[step].form, step as u32));
                continue;
            }
            this.nodes.push(node);
            if is_call(node) {
                this.slot[step] = free.pop().unwrap_or_else(|| {
                    this.slots += 1;
                    this.slots as u32 - 1
                });
            } else {
                free.push(this.slot[step]);
                this.rank[step] = this.returns.len() as u32;
                this.returns.push(step as u32);
            }
        }
        this
    }
}

const fn is_call(node: u32) -> bool {
    node.is_multiple_of(2)
}

/// Whether an open write may make a difference to the write that comes next (point 7).
fn matters(open: &Form, next: &Form) -> bool {
    let writes = |form: &Form, cell: u32| form.effects.iter().any(|(other, _)| *other == cell);
    let looks = |form: &Form, cell: u32| {
        form.any.contains(&cell) || form.expects.iter().any(|(other, _)| *other == cell)
    };
    let looked_at = open.effects.iter().any(|(cell, _)| looks(next, *cell));
    let all_lost = open.effects.iter().all(|(cell, _)| writes(next, *cell));
    let part_lost = open.effects.iter().any(|(cell, _)| writes(next, *cell));
    let would_break = open.expects.iter().any(|(cell, _)| writes(next, *cell));
    looked_at || (!all_lost && (part_lost || would_break))
}
