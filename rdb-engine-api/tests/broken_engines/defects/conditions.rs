//! Conditions judged against the wrong thing (C3) or compared wrongly (C6).

use std::sync::Arc;

use async_trait::async_trait;
use rdb_engine_api::{Batch, Condition, Conflict, Engine, Key, Op, Outcome, Result, WriteOptions};

use crate::broken::Defect;
use crate::defects::of_ops;

/// The batch with these conditions instead of its own.
fn with_conditions(batch: &Batch, conditions: impl IntoIterator<Item = (Key, Condition)>) -> Batch {
    conditions.into_iter().fold(of_ops(batch.ops()), |batch, (key, condition)| batch.when(key, condition))
}

/// Puts back the place that a conflict's condition has in the caller's batch.
fn at_its_place(outcome: Outcome, place: impl FnOnce(usize) -> usize) -> Outcome {
    match outcome {
        Outcome::Conflict(conflict) => {
            Outcome::Conflict(Conflict { index: place(conflict.index), ..conflict })
        }
        succeeded => succeeded,
    }
}

/// Writes through those conditions alone that a rule keeps.
async fn keep(
    sound: &Arc<dyn Engine>,
    batch: &Batch,
    options: WriteOptions,
    rule: impl Fn(&Key, &Condition) -> bool + Send,
) -> Result<Outcome> {
    let conditions = batch.conditions().iter().cloned().enumerate();
    let kept: Vec<_> = conditions.filter(|(_, (key, condition))| rule(key, condition)).collect();
    let places: Vec<usize> = kept.iter().map(|(place, _)| *place).collect();
    let judged = with_conditions(batch, kept.into_iter().map(|(_, condition)| condition));
    let outcome = sound.write(judged, options).await?;
    Ok(at_its_place(outcome, |index| places[index]))
}

/// Takes a condition for fulfilled where the batch itself fulfils it.
#[derive(Debug)]
pub(crate) struct JudgedAfterTheBatch;

#[async_trait]
impl Defect for JudgedAfterTheBatch {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let written = |key: &Key| batch.ops().iter().rev().find(|(named, _)| named == key).map(|(_, op)| op);
        keep(sound, &batch, options, |key, condition| match (written(key), condition) {
            (Some(Op::Put { .. }), Condition::Present) | (Some(Op::Delete), Condition::Absent) => false,
            (Some(Op::Put { value, .. }), Condition::Value(wanted)) => value != wanted,
            _ => true,
        })
        .await
    }
}

/// Judges conditions on those keys alone that the batch writes, since those are the ones it locks.
#[derive(Debug)]
pub(crate) struct JudgesWrittenKeysAlone;

#[async_trait]
impl Defect for JudgesWrittenKeysAlone {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        keep(sound, &batch, options, |key, _| batch.ops().iter().any(|(written, _)| written == key)).await
    }
}

/// Goes through the conditions from the last to the first.
#[derive(Debug)]
pub(crate) struct ReportsTheLast;

#[async_trait]
impl Defect for ReportsTheLast {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let backward = with_conditions(&batch, batch.conditions().iter().rev().cloned());
        let outcome = sound.write(backward, options).await?;
        Ok(at_its_place(outcome, |index| batch.conditions().len() - 1 - index))
    }
}

/// How a broken engine takes a condition, given the value that is there.
async fn retold(
    sound: &Arc<dyn Engine>,
    batch: Batch,
    options: WriteOptions,
    retell: impl Fn(Condition, Option<&[u8]>) -> Condition + Send,
) -> Result<Outcome> {
    let mut conditions = Vec::new();
    for (key, condition) in batch.conditions() {
        let current = sound.get(key).await?;
        let value = current.as_ref().map(|record| &record.value[..]);
        conditions.push((key.clone(), retell(condition.clone(), value)));
    }
    sound.write(with_conditions(&batch, conditions), options).await
}

/// Compares the beginning of a value, as far as the condition's own goes.
#[derive(Debug)]
pub(crate) struct ComparesAPrefix;

#[async_trait]
impl Defect for ComparesAPrefix {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        retold(sound, batch, options, |condition, there| match (&condition, there) {
            (Condition::Value(wanted), Some(value)) if value.starts_with(wanted) => Condition::Present,
            _ => condition,
        })
        .await
    }
}

/// Takes an empty value for no record.
#[derive(Debug)]
pub(crate) struct EmptyIsAbsent;

#[async_trait]
impl Defect for EmptyIsAbsent {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        retold(sound, batch, options, |condition, there| match (&condition, there) {
            (Condition::Present, Some([])) => Condition::Absent,
            (Condition::Absent, Some([])) => Condition::Present,
            _ => condition,
        })
        .await
    }
}

/// Takes a version for reached where the record's is later.
#[derive(Debug)]
pub(crate) struct AnyLaterVersionHolds;

#[async_trait]
impl Defect for AnyLaterVersionHolds {
    async fn write(&self, sound: &Arc<dyn Engine>, batch: Batch, options: WriteOptions) -> Result<Outcome> {
        let mut conditions = batch.conditions().to_vec();
        for (key, condition) in &mut conditions {
            if let (Condition::Version(version), Some(record)) = (&mut *condition, sound.get(key).await?) {
                *version = record.version.max(*version);
            }
        }
        // A version that the caller was never given fails as it should.
        sound.write(with_conditions(&batch, conditions), options).await
    }
}
