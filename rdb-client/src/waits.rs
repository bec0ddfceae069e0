use std::time::Duration;

use rdb_engine_api::WriteOptions;
use rdb_proto::kv::v1;

use crate::call::Deadline;

/// How long a write may wait at the node, over all its attempts together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    conditions: Duration,
    /// For its turn.
    turn_until: Option<Deadline>,
    /// For its conditions to hold.
    conditions_until: Option<Deadline>,
}

impl Waits {
    pub(crate) fn of(options: &WriteOptions) -> Self {
        Self {
            conditions: options.wait.unwrap_or_default(),
            turn_until: options.timeout.map(Deadline::after),
            conditions_until: options.wait.map(Deadline::after),
        }
    }

    /// How long the write may wait for its conditions.
    pub(crate) const fn for_conditions(&self) -> Duration {
        self.conditions
    }

    /// How much of that is left.
    pub(crate) fn left_for_conditions(&self) -> Duration {
        self.conditions_until.map(Deadline::left).unwrap_or_default()
    }

    pub(crate) fn turn_is_over(&self) -> bool {
        self.turn_until.is_some_and(Deadline::has_passed)
    }

    /// Makes the message that of an attempt that is made now.
    pub(crate) fn tell(&self, message: &mut v1::WriteRequest) {
        if let Some(options) = &mut message.options {
            options.wait_ms = self.turn_until.map(Deadline::left_ms);
            options.condition_wait_ms = self.conditions_until.map(Deadline::left_ms);
        }
    }
}
