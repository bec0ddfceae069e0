//! The defects, by the clauses that they break.

pub(crate) mod answers;
pub(crate) mod atomicity;
pub(crate) mod conditions;
pub(crate) mod durability;
pub(crate) mod limits;
pub(crate) mod openings;
pub(crate) mod orders;
pub(crate) mod scans;
pub(crate) mod versions;
