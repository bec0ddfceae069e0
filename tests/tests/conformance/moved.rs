//! The change of engine, as the suite sees it: every opening of a directory that holds something moves it into the
//! other engine first, by a restore. So whatever a case leaves behind and looks for after a reopen or a crash has gone
//! from sled to RocksDB, or back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rdb_engine_api::conformance::{Case, Group, Harness, Need, Running, Skip, Verdict, cases, run_case};
use rdb_engine_api::{Error, ErrorKind, KeyRange, Limits, Result, Scan};
use rstest::rstest;

use super::engines::Name;

/// An engine that is the other one of a pair at each opening.
#[derive(Debug)]
struct Moved([Name; 2]);

#[async_trait]
impl Harness for Moved {
    async fn open(&self, directory: &Path, limits: Limits) -> Result<Running> {
        let places = [directory.join("one"), directory.join("other")];
        let Some(now) = places.iter().position(|place| place.exists()) else {
            return Ok(Running::new(self.0[0].open(&places[0], limits).await?));
        };
        let next = 1 - now;
        let source = self.0[now].open(&places[now], limits.clone()).await?;
        let target = self.0[next].open(&places[next], limits).await?;
        target.restore(source.scan(Scan::new(KeyRange::all())).await?).await?;
        source.close().await?;
        drop(source);
        fs::remove_dir_all(&places[now])
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot remove the source").because(error))?;
        Ok(Running::new(target))
    }

    fn skips(&self) -> Vec<Skip> {
        Vec::new()
    }
}

fn passes(pair: [Name; 2], is_across: impl Fn(&Case) -> bool) {
    let harness: Arc<dyn Harness> = Arc::new(Moved(pair));
    let (mut passed, mut failures) = (Vec::new(), Vec::new());
    for case in cases().iter().filter(|case| is_across(case) && case.need != Some(Need::Directory)) {
        match run_case(case.name, Arc::clone(&harness)) {
            Ok(Verdict::Passed) => passed.push(case.name),
            Ok(_) => {}
            Err(failure) => failures.push(format!("{}: {failure}", case.name)),
        }
    }
    println!("{} cases pass from {:?} to {:?}: {passed:#?}", passed.len(), pair[0], pair[1]);
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(passed.len() > 20, "too few cases apply: {passed:?}");
}

fn is_of_durability_or_versions(case: &Case) -> bool {
    let is_of_versions = ["c04", "c05"].iter().any(|clause| case.name.contains(clause));
    case.group == Group::Durability || is_of_versions
}

/// From sled, since a case asks for the levels that the first engine declares. Without the random sequences: their
/// model knows one best level, and here it changes with the engine.
#[test]
fn what_survives_a_reopen_or_a_crash_survives_the_change_of_engine() {
    let is_across = |case: &Case| is_of_durability_or_versions(case) && case.group != Group::Model;
    passes([Name::Sled, Name::Rocks], is_across);
}

#[rstest]
#[case::sled(Name::Sled)]
#[case::rocks(Name::Rocks)]
fn what_survives_a_reopen_or_a_crash_survives_a_restore_into_the_same_engine(#[case] engine: Name) {
    passes([engine; 2], is_of_durability_or_versions);
}
