use super::facts::Place;
use super::replay::Held;
use super::timeline::Entry;

/// What a supposed write may not stand before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Respect {
    /// Anyone who found the state that it changes, or one like it.
    Like,
    /// Those who found no other than that state. The rest may have found what another supposed write made.
    Exact,
    /// The same, whether its conditions hold or not: another supposed write may see to that.
    Bold,
}

impl Respect {
    pub(super) const fn of(self, held: &Held) -> Place {
        match self {
            Self::Like => held.like,
            Self::Exact | Self::Bold => held.exact,
        }
    }

    /// The first version behind a state and those who found it.
    pub(super) fn behind(self, held: &Held, state: &Entry<'_>) -> u64 {
        self.of(held).version.max(state.version).saturating_add(1)
    }
}
