//! The defects, by the clauses that they break.

pub(crate) mod answers;
pub(crate) mod atomicity;
pub(crate) mod conditions;
pub(crate) mod durability;
pub(crate) mod expiries;
pub(crate) mod limits;
pub(crate) mod openings;
pub(crate) mod orders;
pub(crate) mod restores;
pub(crate) mod scans;
pub(crate) mod sessions;
pub(crate) mod versions;
pub(crate) mod waits;
pub(crate) mod watches;

use rdb_engine_api::{Batch, Key, Op};

/// A batch of these operations, without conditions.
fn of_ops<'a>(ops: impl IntoIterator<Item = &'a (Key, Op)>) -> Batch {
    ops.into_iter().fold(Batch::new(), |batch, (key, op)| batch.op(key.clone(), op.clone()))
}
