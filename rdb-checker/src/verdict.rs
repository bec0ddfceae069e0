use std::fmt;

use crate::History;

/// What a checker says of a history. Only [`Linearizable`](Self::Linearizable) is a success.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a history may have a violation"]
pub enum Verdict {
    /// There is an order of all operations that explains every answer and respects time.
    Linearizable,
    /// There is none.
    Violation(Violation),
    /// The checker cannot tell: its deadline passed, or the history lacks what it needs. It counts as a
    /// failure.
    Undecided(String),
}

impl Verdict {
    /// Whether the history was proven linearizable.
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Violation(violation) => write!(f, "not linearizable: {}", violation.message),
            Self::Undecided(reason) => write!(f, "undecided: {reason}"),
        }
    }
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In words.
    pub message: String,
    /// The places in [`History::operations`] of those that contradict each other. What is said in words numbers
    /// them in the same way: from 0, in the order of their calls, whatever a file numbered them.
    pub operations: Vec<usize>,
}

impl Violation {
    /// The violation and the operations it is about, for people.
    pub fn explain(&self, history: &History) -> String {
        let mut text = self.message.clone();
        for index in &self.operations {
            if let Some(operation) = history.operations.get(*index) {
                text.push_str(&format!("\n  operation {index}, {operation}"));
            }
        }
        text
    }
}
