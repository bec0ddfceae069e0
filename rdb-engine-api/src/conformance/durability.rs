//! Levels of durability, and what is there after a reopen or a crash.

use super::Context;
use super::db::{Db, committed, key, must, record_of, refused, text_of, together, unchanged, until};
use crate::{
    Batch, Commit, Condition, Durability, Entry, ErrorKind, KeyRange, Outcome, Result, Scan, Version,
    WriteOptions,
};

async fn try_write(db: &Db, batch: Batch, durability: Durability) -> Result<Outcome> {
    db.engine().write(batch, WriteOptions::default().durability(durability)).await
}

pub(super) async fn write_at(db: &Db, batch: Batch, durability: Durability) -> Outcome {
    must(try_write(db, batch, durability).await, "a write that asks for a level that the engine declares")
}

/// The levels that the engine declares.
fn levels(db: &Db) -> Vec<Durability> {
    let best = db.engine().info().best_durability;
    Durability::ALL.into_iter().filter(|level| *level <= best).collect()
}

/// C9: the answer reports at least the level that was asked for, and no more than the engine's best.
pub(super) async fn c09_the_level_reached_is_at_least_the_level_asked(cx: &Context) {
    let db = cx.open().await;
    let best = db.engine().info().best_durability;
    for (number, asked) in levels(&db).into_iter().cycle().take(9).enumerate() {
        let batch = Batch::new().put(key(format!("key {number}")), asked.name());
        let Commit { durability: reached, .. } = committed(write_at(&db, batch, asked).await);
        assert!(
            reached >= asked,
            "the level reached is never less than the level asked (C9): {reached} < {asked}"
        );
        assert!(
            reached <= best,
            "no commit is safer than the best that the engine declares (C9): {reached} > {best}"
        );
    }
}

/// C9: a write that asks for no level gets at least the engine's default, which is one it can reach.
pub(super) async fn c09_a_write_without_a_level_gets_the_declared_default(cx: &Context) {
    let db = cx.open().await;
    let (best, default) = (db.engine().info().best_durability, db.engine().info().default_durability);
    assert!(default <= best, "the default level is one that the engine can reach (C9): {default} > {best}");
    let reached = db.commit(Batch::new().put(key("k"), "v")).await.durability;
    assert!(reached >= default, "a write that asks for nothing gets the default (C9): {reached} < {default}");
}

/// C9: a batch that changes nothing still answers at the level asked: what it was judged in is that safe.
pub(super) async fn c09_a_batch_that_changes_nothing_reaches_the_level_asked(cx: &Context) {
    let db = cx.open().await;
    let version =
        committed(write_at(&db, Batch::new().put(key("k"), "v"), Durability::Volatile).await).version;
    for asked in levels(&db) {
        let assertion = Batch::new().when(key("k"), Condition::Present);
        for batch in [assertion, Batch::new().delete(key("absent"))] {
            let answer = unchanged(write_at(&db, batch, asked).await);
            assert_eq!(answer.version, version, "a batch without effect takes no version (C4)");
            let reached = answer.durability;
            assert!(
                reached >= asked,
                "what the batch was judged in is as safe as asked (C9): {reached} < {asked}"
            );
        }
    }
}

/// C9: asking above the engine's best is refused, and nothing is applied.
pub(super) async fn c09_a_level_above_the_best_is_refused_and_nothing_applied(cx: &Context) {
    let db = cx.open().await;
    let before = db.put("k", "old").await;
    let best = db.engine().info().best_durability;
    for asked in Durability::ALL.into_iter().filter(|level| *level > best) {
        for batch in [
            Batch::new().put(key("k"), "new"),
            Batch::new().when(key("k"), Condition::Absent).put(key("k"), "new"),
            Batch::new().delete(key("absent")),
        ] {
            let error = refused(try_write(&db, batch, asked).await, "a level above the engine's best (C9)");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", error.report());
        }
        assert_eq!(db.text("k").await.as_deref(), Some("old"), "a refused write is not applied (C9, C10)");
        assert_eq!(db.version().await, before, "a refused write takes no version (C9, C10)");
    }
}

/// C9: everything acknowledged is there after an orderly end, at whatever level it was asked for.
pub(super) async fn c09_what_was_acknowledged_is_there_after_a_reopen(cx: &Context) {
    let db = cx.open().await;
    db.fill("k", 500, 100).await;
    for (number, level) in levels(&db).into_iter().cycle().take(30).enumerate() {
        committed(write_at(&db, Batch::new().put(key(format!("k{number:05}")), level.name()), level).await);
    }
    committed(db.delete("k00499").await);
    let before = db.scan(Scan::new(KeyRange::all())).await;
    let db = cx.reopen().await;
    let after = db.scan(Scan::new(KeyRange::all())).await;
    assert!(
        after.data == before.data,
        "a reopen changes no record (C9): {} then, {} now",
        before.data.len(),
        after.data.len()
    );
    assert!(after.version >= before.version, "the view's version never goes back (C5)");
}

/// C9: a commit answered at a level that survives the process is there after a crash.
pub(super) async fn c09_what_was_answered_as_safe_survives_a_crash(cx: &Context) {
    let mut db = cx.open().await;
    let best = db.engine().info().best_durability;
    let mut expected = Vec::new();
    // The crash follows the last answer at once, each time after another number of writes.
    for round in 0..4 {
        for number in 0..1 + 20 * round {
            let name = format!("k{round}/{number:02}");
            let commit = committed(write_at(&db, Batch::new().put(key(&name), "v"), best).await);
            expected.push((name, commit.version));
        }
        if round > 0 {
            let (oldest, _) = expected.remove(0);
            committed(write_at(&db, Batch::new().delete(key(oldest)), best).await);
        }
        db = cx.crash().await;
        let found: Vec<(String, Version)> = versions(&db.scan(Scan::new(KeyRange::all())).await.data);
        assert_eq!(found, expected, "what was answered as {best} survives a crash (C9)");
    }
}

/// C9: a write that asks for no level is as safe as its answer says.
pub(super) async fn c09_a_write_without_a_level_is_as_safe_as_its_answer_says(cx: &Context) {
    let mut db = cx.open().await;
    let mut expected = 0;
    for round in 0..3 {
        let name = format!("k{round}");
        let commit = db.commit(Batch::new().put(key(&name), "v")).await;
        if commit.durability > Durability::Volatile {
            expected += 1;
        }
        db = cx.crash().await;
        let found = db.dump().await.len();
        assert!(
            found >= expected,
            "a write that asked for no level survives a crash if its answer says so (C9): {} was answered as {}",
            name,
            commit.durability
        );
    }
}

/// C9: the answer to a batch that changed nothing vouches for the whole view it was judged in.
pub(super) async fn c09_a_batch_that_changes_nothing_vouches_for_its_view(cx: &Context) {
    let mut db = cx.open().await;
    let best = db.engine().info().best_durability;
    for round in 0..4 {
        let (changed, deleted) = (format!("changed {round}"), format!("deleted {round}"));
        committed(write_at(&db, Batch::new().put(key(&deleted), "v"), Durability::Volatile).await);
        committed(write_at(&db, Batch::new().delete(key(&deleted)), Durability::Volatile).await);
        committed(write_at(&db, Batch::new().put(key(&changed), "v"), Durability::Volatile).await);
        let no_change = match round % 2 {
            0 => Batch::new().when(key(&changed), Condition::Present),
            _ => Batch::new().delete(key(&deleted)),
        };
        let answer = unchanged(write_at(&db, no_change, best).await);
        db = cx.crash().await;
        assert_eq!(
            (db.get(&deleted).await, db.text(&changed).await.as_deref()),
            (None, Some("v")),
            "a batch that changed nothing vouches for the whole view it was judged in (C9): answered as {}",
            answer.durability
        );
    }
}

/// C9: what anyone has seen of a write that asked to survive a crash does survive it, even where the crash
/// comes before the write's own answer: nothing is visible before its commit returned.
pub(super) async fn c09_what_anyone_has_seen_survives_a_crash(cx: &Context) {
    let mut db = cx.open().await;
    let best = db.engine().info().best_durability;
    for round in 0..8 {
        let name = format!("k{round}");
        let writer = tokio::spawn({
            let (db, batch) = (db.clone(), Batch::new().put(key(&name), "v"));
            async move { db.engine().write(batch, WriteOptions::default().durability(best)).await }
        });
        until(async || {
            tokio::task::yield_now().await;
            let assertion = |condition| Batch::new().when(key(&name), condition);
            match round % 4 {
                0 => db.get(&name).await,
                1 => db.get_many(&[&name]).await.data.remove(0),
                2 => db.scan(Scan::new(KeyRange::prefix(name.clone()))).await.data.pop()?.record,
                _ => match db.write(assertion(Condition::Absent)).await {
                    Outcome::Conflict(conflict) => conflict.current,
                    _ => None,
                },
            }
        })
        .await;
        db = cx.crash().await;
        // The engine that was left behind may have had no time to answer.
        drop(writer.await.expect("a write does not panic"));
        assert_eq!(
            db.text(&name).await.as_deref(),
            Some("v"),
            "`{name}` was seen, and then lost in a crash: nothing is visible before its commit returned (C9)"
        );
    }
}

/// C9: what was deleted does not come back, not with an orderly end, and not with a crash.
pub(super) async fn c09_what_was_deleted_stays_deleted(cx: &Context) {
    let mut db = cx.open().await;
    let best = db.engine().info().best_durability;
    let names = db.fill("k", 60, 20).await;
    db = cx.reopen().await;
    // One by one, several at once, and one that is made anew and deleted again.
    for name in &names[..10] {
        committed(write_at(&db, Batch::new().delete(key(name)), best).await);
    }
    let several = names[10..30].iter().fold(Batch::new(), |batch, name| batch.delete(key(name)));
    committed(write_at(&db, several, best).await);
    committed(write_at(&db, Batch::new().put(key(&names[0]), "again"), best).await);
    committed(write_at(&db, Batch::new().delete(key(&names[0])), best).await);
    for end in ["a reopen", "a crash", "a second reopen"] {
        db = if end == "a crash" { cx.crash().await } else { cx.reopen().await };
        let found: Vec<String> = db.dump().await.into_iter().map(|(name, _)| name).collect();
        assert!(
            found == names[30..],
            "a deleted key does not come back with {end} (C9): {} keys of {}",
            found.len(),
            names.len() - 30
        );
        let missing = db.get(&names[0]).await;
        assert_eq!(missing, None, "a deleted key does not come back with {end} (C9)");
        committed(write_at(&db, Batch::new().put(key(&names[30]), end), best).await);
    }
}

fn versions(entries: &[Entry]) -> Vec<(String, Version)> {
    entries.iter().map(|entry| (entry.key.to_string(), record_of(entry).version)).collect()
}

/// C9: what survives a crash is a prefix of the commit order that holds every commit answered as safe.
pub(super) async fn c09_what_survives_a_crash_is_a_prefix_of_the_commits(cx: &Context) {
    let db = cx.open().await;
    let best = db.engine().info().best_durability;
    let mut written = Vec::new();
    let mut safe = 0;
    for number in 0..200 {
        let level = if number == 100 { best } else { Durability::Volatile };
        // Keys out of order, so that a prefix of commits is not a range of keys.
        let name = format!("k{:03}", (number * 77) % 200);
        let commit = committed(write_at(&db, Batch::new().put(key(&name), "v"), level).await);
        written.push((name, commit.version));
        if commit.durability > Durability::Volatile {
            safe = written.len();
        }
    }
    let db = cx.crash().await;
    let mut found = versions(&db.scan(Scan::new(KeyRange::all())).await.data);
    found.sort_by_key(|(_, version)| *version);
    assert!(found.len() >= safe, "{safe} commits were answered as safe, {} survived (C9)", found.len());
    assert_eq!(
        found[..],
        written[..found.len().min(written.len())],
        "what survives is a prefix of the commits, none changed (C9)"
    );
}

/// C9: of many writes at once that ask for different levels, each is answered at least as it asked, and what is
/// answered as safe is.
pub(super) async fn c09_each_answer_of_mixed_levels_is_true(cx: &Context) {
    let mut db = cx.open().await;
    for round in 0..8 {
        let asked = levels(&db);
        let written = together((0..40).map(|number| {
            // Strides that share nothing with the number of levels, so that they meet in ever other orders.
            let (db, asked) = (db.clone(), asked[(number * 5 + number / 7 + round) % asked.len()]);
            async move {
                let name = format!("{round}/{number:02}");
                let commit = committed(write_at(&db, Batch::new().put(key(&name), "v"), asked).await);
                assert!(commit.durability >= asked, "each answer is at least as safe as was asked (C9)");
                (commit, name)
            }
        }))
        .await;
        db = cx.crash().await;
        let found = versions(&db.scan(Scan::new(KeyRange::prefix(format!("{round}/")))).await.data);
        let newest = found.iter().map(|(_, version)| *version).max();
        for (commit, name) in &written {
            let there = found.iter().any(|(found, version)| found == name && *version == commit.version);
            assert!(
                there || commit.durability == Durability::Volatile,
                "what was answered as {} survives a crash, whatever the others asked (C9): `{name}`",
                commit.durability
            );
            assert!(
                there || newest.is_none_or(|newest| newest < commit.version),
                "what survives is a prefix of the commits (C9): `{name}` did not, {newest:?} did"
            );
        }
    }
}

/// C2: after a crash a batch is there whole or not at all.
pub(super) async fn c02_a_batch_survives_a_crash_whole_or_not_at_all(cx: &Context) {
    const KEYS: usize = 20;
    let db = cx.open().await;
    for round in 0..60 {
        let batch = (0..KEYS).fold(Batch::new(), |batch, number| {
            batch
                .put(key(format!("{number:02}/{round:02}")), "v")
                .put(key(format!("latest/{number:02}")), format!("{round}"))
        });
        committed(write_at(&db, batch, Durability::Volatile).await);
    }
    let db = cx.crash().await;
    let latest = db.scan(Scan::new(KeyRange::prefix("latest/"))).await.data;
    let rounds: Vec<String> = latest.iter().map(|entry| text_of(record_of(entry))).collect();
    assert!(
        rounds.is_empty() || rounds.len() == KEYS,
        "a batch survives whole or not at all (C2): {}",
        rounds.len()
    );
    assert!(
        rounds.iter().all(|round| *round == rounds[0]),
        "a batch survives whole or not at all (C2): {rounds:?}"
    );
    for round in 0..60 {
        let there = db
            .dump()
            .await
            .iter()
            .filter(|(name, _)| name.ends_with(&format!("/{round:02}")) && !name.starts_with("latest"))
            .count();
        assert!(there == 0 || there == KEYS, "{there} of {KEYS} operations of a batch survived (C2)");
    }
}
