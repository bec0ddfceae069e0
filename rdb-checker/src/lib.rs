//! Histories of a key-value store under many callers, and two independent checkers that say whether there
//! is one order of all operations that explains every answer and respects time: whether the history is
//! linearizable (Herlihy and Wing, 1990).
//!
//! | checker | needs | cost | finds |
//! |---|---|---|---|
//! | [`version_order`] | a version in every answer | O(n log n) | every violation, of millions of operations; undecided where unknown outcomes take a search |
//! | [`wgl`] | nothing but answers | exponential in the worst case, bounded by a deadline | every violation, even of the versions' own order |
//!
//! Records put with a time to live are removed by the store itself. Version order takes such removals as
//! writes of nobody where a [`Watch`] saw them, and judges the watches too; elsewhere, and in WGL, a record may
//! vanish once its time is over, and never before.
//!
//! A [`History`] comes from a [`Recorder`], which any client can call, or from a file of JSON lines.
//! Nothing here knows FlareDB.

mod blob;
mod expiry;
mod history;
mod jepsen;
mod lie;
mod operation;
mod recorder;
mod telling;
mod verdict;
pub mod version_order;
mod watch;
pub mod wgl;

pub use blob::Blob;
pub use history::{FormatError, History, Note};
pub use lie::Lie;
pub use operation::{Answer, Condition, Current, Operation, Outcome, Record, Request};
pub use recorder::{Call, Caller, Recorder, Watching};
pub use verdict::{Verdict, Violation};
pub use watch::{Delivered, Watch, WatchEnd, WatchEvent};
