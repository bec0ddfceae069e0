use std::collections::HashMap;

/// A vector of words that is changed and changed back, and has a number for each content it ever had.
///
/// The words are the leaves of a binary tree. A pair of children that was met before has the same number as
/// then, so that two contents are equal where the roots of their trees are: exactly, with no chance of a
/// collision. A change costs the path above it, however long the vector.
#[derive(Debug)]
pub(super) struct Configuration {
    /// The tree: the children of `i` are `2i` and `2i + 1`, the root is 1, the leaves are the second half.
    nodes: Vec<u32>,
    /// What was overwritten, and where.
    trail: Vec<(u32, u32)>,
    /// The leaves that changed since the tree above them was brought up to date.
    stale: Vec<u32>,
    numbers: HashMap<(u32, u32), u32>,
}

/// A moment to come back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl Configuration {
    pub(super) fn new(words: &[u32]) -> Self {
        let half = words.len().next_power_of_two();
        let mut nodes = vec![0; 2 * half];
        nodes[half..half + words.len()].copy_from_slice(words);
        let mut this = Self { nodes, trail: Vec::new(), stale: Vec::new(), numbers: HashMap::new() };
        for node in (1..half).rev() {
            this.nodes[node] = this.number(node);
        }
        this
    }

    pub(super) fn get(&self, word: usize) -> u32 {
        self.nodes[self.nodes.len() / 2 + word]
    }

    pub(super) fn set(&mut self, word: usize, to: u32) {
        let leaf = self.nodes.len() / 2 + word;
        if self.nodes[leaf] != to {
            self.put(leaf, to);
            self.stale.push(leaf as u32);
        }
    }

    pub(super) fn set_bit(&mut self, from: usize, bit: usize, to: bool) {
        let (word, mask) = (from + bit / 32, 1 << (bit % 32));
        let old = self.get(word);
        self.set(word, if to { old | mask } else { old & !mask });
    }

    /// The number of the present content.
    pub(super) fn root(&mut self) -> u32 {
        while let Some(leaf) = self.stale.pop() {
            let mut node = leaf as usize / 2;
            while node > 0 {
                let number = self.number(node);
                if self.nodes[node] == number {
                    break;
                }
                self.put(node, number);
                node /= 2;
            }
        }
        self.nodes[1]
    }

    /// A moment to come back to; the tree is up to date.
    pub(super) fn mark(&mut self) -> Mark {
        self.root();
        Mark(self.trail.len())
    }

    pub(super) fn back_to(&mut self, mark: Mark) {
        for (node, old) in self.trail.drain(mark.0..).rev() {
            self.nodes[node as usize] = old;
        }
        self.stale.clear();
    }

    /// How many pairs were met: what the memory depends on.
    pub(super) fn pairs(&self) -> usize {
        self.numbers.len()
    }

    fn put(&mut self, node: usize, to: u32) {
        self.trail.push((node as u32, self.nodes[node]));
        self.nodes[node] = to;
    }

    fn number(&mut self, node: usize) -> u32 {
        let pair = (self.nodes[2 * node], self.nodes[2 * node + 1]);
        let next = self.numbers.len() as u32;
        *self.numbers.entry(pair).or_insert(next)
    }
}
