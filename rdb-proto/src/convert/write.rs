use std::time::Duration;

use rdb_engine_api::{
    Batch, Commit, Condition, Conflict, Error, ErrorKind, Key, Op, Outcome, Version, WriteOptions,
};

use super::record::{answered_durability, to_ms};
use super::{answered_version, malformed, missing, unknown};
use crate::kv::v1::{self, write_request as wire};

impl TryFrom<v1::PutRequest> for (Batch, WriteOptions) {
    type Error = Error;

    fn try_from(request: v1::PutRequest) -> Result<Self, Error> {
        let batch = Batch::new().op(Key::new(request.key)?, to_put(request.put)?);
        Ok((batch, to_options(request.options)?))
    }
}

impl TryFrom<v1::DeleteRequest> for (Batch, WriteOptions) {
    type Error = Error;

    fn try_from(request: v1::DeleteRequest) -> Result<Self, Error> {
        Ok((Batch::new().delete(Key::new(request.key)?), to_options(request.options)?))
    }
}

impl TryFrom<v1::CompareAndSwapRequest> for (Batch, WriteOptions) {
    type Error = Error;

    fn try_from(request: v1::CompareAndSwapRequest) -> Result<Self, Error> {
        let key = Key::new(request.key)?;
        let batch = Batch::new().when(key.clone(), to_condition(request.condition)?);
        Ok((batch.op(key, to_put(request.put)?), to_options(request.options)?))
    }
}

impl TryFrom<v1::WriteRequest> for (Batch, WriteOptions) {
    type Error = Error;

    fn try_from(request: v1::WriteRequest) -> Result<Self, Error> {
        let mut batch = Batch::new();
        for check in request.conditions {
            batch = batch.when(Key::new(check.key)?, to_condition(check.condition)?);
        }
        for operation in request.operations {
            let key = Key::new(operation.key)?;
            batch = match operation.action.ok_or_else(|| missing("operation.action"))? {
                wire::operation::Action::Put(put) => batch.op(key, to_put(Some(put))?),
                wire::operation::Action::Delete(wire::Delete {}) => batch.delete(key),
            };
        }
        Ok((batch, to_options(request.options)?))
    }
}

/// Any batch can be sent this way; the other requests are for callers without this crate.
impl From<(Batch, WriteOptions)> for v1::WriteRequest {
    fn from((batch, options): (Batch, WriteOptions)) -> Self {
        let check = |(key, condition): &(Key, Condition)| wire::Check {
            key: key.to_bytes(),
            condition: Some(condition.clone().into()),
        };
        let operation = |(key, op): &(Key, Op)| wire::Operation { key: key.to_bytes(), action: action(op) };
        Self {
            conditions: batch.conditions().iter().map(check).collect(),
            operations: batch.ops().iter().map(operation).collect(),
            options: (options != WriteOptions::default()).then(|| options.into()),
        }
    }
}

/// None for an operation that this wire does not know: the server refuses it as `InvalidArgument`, before
/// anything happens.
fn action(op: &Op) -> Option<wire::operation::Action> {
    match op {
        Op::Put { value, ttl } => {
            let put = v1::Put { value: value.clone(), ttl_ms: ttl.map(to_ms) };
            Some(wire::operation::Action::Put(put))
        }
        Op::Delete => Some(wire::operation::Action::Delete(wire::Delete {})),
        _ => None,
    }
}

fn to_put(put: Option<v1::Put>) -> Result<Op, Error> {
    let put = put.ok_or_else(|| missing("put"))?;
    Ok(Op::Put { value: put.value, ttl: put.ttl_ms.map(Duration::from_millis) })
}

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        use v1::condition::{Absent, Condition as Wire, Present};
        let condition = match condition {
            Condition::Absent => Wire::Absent(Absent {}),
            Condition::Present => Wire::Present(Present {}),
            Condition::Version(version) => Wire::Version(version.get()),
            Condition::Value(value) => Wire::Value(value),
        };
        Self { condition: Some(condition) }
    }
}

fn to_condition(condition: Option<v1::Condition>) -> Result<Condition, Error> {
    use v1::condition::{Absent, Condition as Wire, Present};
    let condition = condition.and_then(|condition| condition.condition);
    match condition.ok_or_else(|| missing("condition"))? {
        Wire::Absent(Absent {}) => Ok(Condition::Absent),
        Wire::Present(Present {}) => Ok(Condition::Present),
        Wire::Version(number) => {
            let zero = || {
                Error::new(ErrorKind::InvalidArgument, "version is never 0; to ask for no record, use absent")
            };
            Ok(Condition::Version(Version::new(number).ok_or_else(zero)?))
        }
        Wire::Value(value) => Ok(Condition::Value(value)),
    }
}

impl From<WriteOptions> for v1::WriteOptions {
    fn from(options: WriteOptions) -> Self {
        let durability = options.durability.map_or(v1::Durability::Unspecified, Into::into);
        Self {
            durability: durability.into(),
            wait_ms: options.timeout.map(to_ms),
            stamp: options.stamp.map(Into::into),
            condition_wait_ms: options.wait.map(to_ms),
        }
    }
}

fn to_options(options: Option<v1::WriteOptions>) -> Result<WriteOptions, Error> {
    let mut converted = WriteOptions::default();
    let Some(options) = options else { return Ok(converted) };
    if options.durability != i32::from(v1::Durability::Unspecified) {
        // A level that a newer client knows is above what this server can promise (C9).
        converted.durability = Some(answered_durability(options.durability).map_err(|_| {
            Error::new(ErrorKind::Unsupported, "durability is unknown to this server")
                .with("number", options.durability)
        })?);
    }
    converted.timeout = options.wait_ms.map(Duration::from_millis);
    converted.stamp = options.stamp.map(TryInto::try_into).transpose()?;
    converted.wait = options.condition_wait_ms.map(Duration::from_millis);
    Ok(converted)
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        use v1::outcome::Outcome as Wire;
        let outcome = match outcome {
            Outcome::Committed(commit) => Wire::Committed(commit.into()),
            Outcome::Unchanged(commit) => Wire::Unchanged(commit.into()),
            Outcome::Conflict(conflict) => Wire::Conflict(conflict.into()),
        };
        Self { outcome: Some(outcome) }
    }
}

pub(super) fn to_outcome(outcome: Option<v1::Outcome>) -> Result<Outcome, Error> {
    use v1::outcome::Outcome as Wire;
    let outcome = outcome.and_then(|outcome| outcome.outcome);
    match outcome.ok_or_else(|| malformed("outcome"))? {
        Wire::Committed(commit) => Ok(Outcome::Committed(to_commit(commit)?)),
        Wire::Unchanged(commit) => Ok(Outcome::Unchanged(to_commit(commit)?)),
        Wire::Conflict(conflict) => Ok(Outcome::Conflict(to_conflict(conflict)?)),
    }
}

impl From<Commit> for v1::Commit {
    fn from(commit: Commit) -> Self {
        Self { version: commit.version.get(), durability: v1::Durability::from(commit.durability).into() }
    }
}

pub(super) fn to_commit(commit: v1::Commit) -> Result<Commit, Error> {
    let version = answered_version(commit.version)?;
    Ok(Commit { version, durability: answered_durability(commit.durability)? })
}

impl From<Conflict> for v1::Conflict {
    fn from(conflict: Conflict) -> Self {
        Self {
            // A place above the engine's limit on a batch's length, which is far below this.
            index: u32::try_from(conflict.index).unwrap_or(u32::MAX),
            key: conflict.key.into_bytes(),
            version: conflict.version.get(),
            current: conflict.current.map(Into::into),
            replaced: conflict.replaced.map(Version::get),
        }
    }
}

fn to_conflict(conflict: v1::Conflict) -> Result<Conflict, Error> {
    let index = usize::try_from(conflict.index).map_err(|_| malformed("conflict.index"))?;
    let key = Key::new(conflict.key).map_err(|error| malformed("conflict.key").because(error))?;
    let current = conflict.current.map(TryInto::try_into).transpose()?;
    let mut converted = Conflict::new(index, key, answered_version(conflict.version)?, current);
    converted.replaced = conflict.replaced.map(answered_version).transpose()?;
    Ok(converted)
}

impl From<Commit> for v1::PutResponse {
    fn from(commit: Commit) -> Self {
        Self { commit: Some(commit.into()) }
    }
}

impl TryFrom<v1::PutResponse> for Commit {
    type Error = Error;

    fn try_from(response: v1::PutResponse) -> Result<Self, Error> {
        response.commit.ok_or_else(|| malformed("commit")).and_then(to_commit).map_err(unknown)
    }
}

macro_rules! outcome_answers {
    ($($response:ident),*) => {$(
        impl From<Outcome> for v1::$response {
            fn from(outcome: Outcome) -> Self {
                Self { outcome: Some(outcome.into()) }
            }
        }

        impl TryFrom<v1::$response> for Outcome {
            type Error = Error;

            fn try_from(response: v1::$response) -> Result<Self, Error> {
                to_outcome(response.outcome).map_err(unknown)
            }
        }
    )*};
}

outcome_answers!(DeleteResponse, CompareAndSwapResponse, WriteResponse);

#[cfg(test)]
mod tests;
