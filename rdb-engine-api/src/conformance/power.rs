//! What is there after a power cut (C2, C5, C9, C10).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::Context;
use super::db::{Db, Numbers, committed, key, must, until};
use crate::{Batch, Durability, ErrorKind, Version, WriteOptions};

fn level(level: Durability) -> WriteOptions {
    WriteOptions::default().durability(level)
}

async fn put_at(db: &Db, name: &str, value: &str, asked: Durability) -> Version {
    let batch = Batch::new().put(key(name), value.to_owned());
    committed(must(db.engine().write(batch, level(asked)).await, "a put")).version
}

/// C9: what was answered as synced is there after a power cut, in a directory that was made just before,
/// too; and so is whatever was committed before it, at whatever level.
pub(super) async fn c09_what_was_answered_as_synced_survives_a_power_cut(cx: &Context) {
    let mut db = cx.open().await;
    let mut expected = BTreeMap::new();
    for round in 0..4 {
        for number in 0..12 {
            let (name, value) = (format!("k{number:02}"), format!("{round}-{number}"));
            let asked = if number % 3 == 0 { Durability::Process } else { Durability::Synced };
            put_at(&db, &name, &value, asked).await;
            expected.insert(name, value);
        }
        let removed = format!("k{:02}", round + 1);
        let batch = Batch::new().delete(key(&removed)).put(key("last"), round.to_string());
        committed(must(db.engine().write(batch, level(Durability::Synced)).await, "a batch"));
        expected.remove(&removed);
        expected.insert("last".to_owned(), round.to_string());

        db = cx.cut_power().await;
        let found: BTreeMap<String, String> = db.dump().await.into_iter().collect();
        assert_eq!(found, expected, "what was answered as synced is there after a power cut (C9)");
    }
}

/// C2, C9: what survives a power cut is a prefix of the commits, each whole, that holds every synced one.
pub(super) async fn c02_c09_what_survives_a_power_cut_is_a_prefix_of_the_commits(cx: &Context) {
    const COMMITS: usize = 40;
    let mut numbers = Numbers(7);
    let mut db = cx.open().await;
    for round in 0..6 {
        let mut states = vec![db.dump().await];
        let mut safe = 0;
        for number in 1..=COMMITS {
            let asked = Durability::ALL[numbers.below(8).min(2)];
            let asked = if asked == Durability::Synced && numbers.below(6) > 0 {
                Durability::Volatile
            } else {
                asked
            };
            let text = format!("{round}-{number}");
            let batch = (0..4).fold(Batch::new(), |batch, _| {
                let name = key(format!("k{}", numbers.below(12)));
                if numbers.below(4) == 0 { batch.delete(name) } else { batch.put(name, text.clone()) }
            });
            let batch = batch.put(key("count"), text.clone());
            let outcome = must(db.engine().write(batch, level(asked)).await, "a batch");
            if committed(outcome).durability == Durability::Synced {
                safe = number;
            }
            states.push(db.dump().await);
        }
        db = cx.cut_power().await;
        let found = db.dump().await;
        let survived = states.iter().position(|state| *state == found);
        let survived = survived.unwrap_or_else(|| {
            panic!("what survives a power cut is the state after one of the commits (C2, C9), saw {found:?}")
        });
        assert!(survived >= safe, "commit {safe} was synced, and only {survived} survived (C9)");
    }
}

/// C5: a version that was seen before a power cut is not given again, even if its commit is gone.
pub(super) async fn c05_a_version_that_a_power_cut_took_away_is_not_given_again(cx: &Context) {
    let mut db = cx.open().await;
    for round in 0..4 {
        put_at(&db, "safe", "v", Durability::Synced).await;
        let mut seen = db.version().await;
        for number in 0..50 {
            seen = seen.max(put_at(&db, &format!("k{number}"), "v", Durability::Volatile).await);
        }
        db = cx.cut_power().await;
        let next = put_at(&db, "next", &round.to_string(), Durability::Synced).await;
        assert!(
            next > seen,
            "version {seen} was seen before the power cut, and {next} is given after it (C5)"
        );
    }
}

/// C9, C10: a power cut in the middle of writes takes none that was answered, and leaves none that was
/// answered as not applied.
pub(super) async fn c09_c10_a_power_cut_among_writers_takes_nothing_that_was_answered(cx: &Context) {
    const WRITERS: usize = 8;
    let mut db = cx.open().await;
    for round in 0..4 {
        let answered = Arc::new(AtomicUsize::new(0));
        let cut = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (db, answered, cut) = (db.clone(), Arc::clone(&answered), Arc::clone(&cut));
                tokio::spawn(async move {
                    let (mut applied, mut refused) = (Vec::new(), Vec::new());
                    for number in 0.. {
                        let name = format!("{round}/{writer}/{number}");
                        let batch = Batch::new().put(key(&name), "v");
                        match db.engine().write(batch, level(Durability::Synced)).await {
                            Ok(outcome) => {
                                committed(outcome);
                                // At the very instant of the cut a sync may still succeed in vain, which no
                                // machine without power would live to tell.
                                if !cut.load(SeqCst) {
                                    applied.push(name);
                                    answered.fetch_add(1, SeqCst);
                                }
                            }
                            Err(error) => {
                                if error.kind() != ErrorKind::Unknown {
                                    refused.push(name);
                                }
                                break;
                            }
                        }
                    }
                    (applied, refused)
                })
            })
            .collect();
        until(async || (answered.load(SeqCst) >= 40 * (round + 1)).then_some(())).await;
        cut.store(true, SeqCst);
        db = cx.cut_power().await;
        for writer in writers {
            let (applied, refused) = writer.await.expect("a writer does not panic");
            for name in applied {
                assert!(db.get(&name).await.is_some(), "`{name}` was answered as synced, and is gone (C9)");
            }
            for name in refused {
                assert!(
                    db.get(&name).await.is_none(),
                    "`{name}` was answered as not applied, and is there (C10)"
                );
            }
        }
    }
}
