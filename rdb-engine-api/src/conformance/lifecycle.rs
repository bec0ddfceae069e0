//! Opening and closing.

use std::fs;
use std::process;
use std::sync::Arc;

use futures::StreamExt as _;

use super::Context;
use super::db::{Db, drain, key, must, refused, together, until};
use crate::{Batch, Durability, ErrorKind, KeyRange, Limits, Outcome, Result, Scan, WriteOptions};

/// C12: closing twice is the same as closing once.
pub(super) async fn c12_closing_twice_is_closing_once(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    must(db.engine().close().await, "the first close");
    must(db.engine().close().await, "the second close");
    let both = together([(); 2].map(|()| {
        let db = db.clone();
        async move { db.engine().close().await }
    }))
    .await;
    for closed in both {
        must(closed, "a close among others");
    }
}

/// C12: a closed engine answers every call with `Closed`.
pub(super) async fn c12_a_closed_engine_answers_closed(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    must(db.engine().close().await, "close");
    let engine = db.engine();
    let answers: [(&str, Result<()>); 4] = [
        ("a get", engine.get(&key("k")).await.map(drop)),
        ("a get of several keys", engine.get_many(&[key("k")]).await.map(drop)),
        ("a scan", engine.scan(Scan::new(KeyRange::all())).await.map(drop)),
        ("a write", engine.write(Batch::new().put(key("k"), "w"), WriteOptions::default()).await.map(drop)),
    ];
    for (what, answer) in answers {
        let what = format!("{what} on a closed engine (C12)");
        let error = refused(answer, &what);
        assert_eq!(error.kind(), ErrorKind::Closed, "{what}: {}", error.report());
    }
}

/// C8, C12: close ends open scans with `Closed`, never silently short.
pub(super) async fn c12_close_ends_scans_with_closed(cx: &Context) {
    let db = cx.open().await;
    // More than a scan may read ahead.
    let all = db.fill("k", 4_096, 4_096).await.len();
    let mut scan = db.open_scan(Scan::new(KeyRange::all())).await.data;
    let mut delivered = must(scan.next().await.expect("the scan has entries"), "a scan").len();
    must(db.engine().close().await, "close");
    let error = loop {
        match scan.next().await {
            Some(Ok(chunk)) => delivered += chunk.len(),
            Some(Err(error)) => break error,
            None => panic!(
                "after close a scan ended like a whole one, with {delivered} of {all} entries (C8, C12)"
            ),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Closed, "close ends scans with Closed (C12): {}", error.report());
}

/// C12: close leaves no caller without an answer.
pub(super) async fn c12_close_answers_every_write(cx: &Context) {
    let db = cx.open().await;
    let writers: Vec<_> = (0..64)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                db.engine()
                    .write(Batch::new().put(key(format!("k{number}")), "v"), WriteOptions::default())
                    .await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    must(db.engine().close().await, "close");
    for writer in writers {
        match writer.await.expect("a write does not panic") {
            Ok(outcome) => {
                assert!(matches!(outcome, Outcome::Committed(_)), "a put commits (C4), saw {outcome:?}")
            }
            Err(error) => {
                let honest =
                    matches!(error.kind(), ErrorKind::Closed | ErrorKind::Unavailable | ErrorKind::Unknown);
                assert!(
                    honest,
                    "a write that close overtakes is Closed (C12): {}: {}",
                    error.kind(),
                    error.report()
                );
            }
        }
    }
}

/// C10, C12: every write answered as committed before or during close is there afterwards, and none that
/// was answered as not applied.
pub(super) async fn c10_answers_given_while_closing_are_true(cx: &Context) {
    let db = cx.open().await;
    let writers: Vec<_> = (0..16)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for number in 0.. {
                    // An engine may answer at once, always: leave the others their turn.
                    tokio::task::yield_now().await;
                    let name = format!("{task}/{number}");
                    let batch = Batch::new().put(key(&name), "v");
                    match db.engine().write(batch, WriteOptions::default()).await {
                        Ok(outcome) => answers.push((name, Ok(outcome.version()))),
                        Err(error) => {
                            answers.push((name, Err(error)));
                            break;
                        }
                    }
                }
                answers
            })
        })
        .collect();
    until(async || db.get("3/3").await).await;
    let db = cx.reopen().await;
    for writer in writers {
        for (name, answer) in writer.await.expect("a write does not panic") {
            let there = db.get(&name).await.map(|record| record.version);
            match answer {
                Ok(version) => {
                    assert_eq!(there, Some(version), "`{name}` was acknowledged before the close (C9, C12)")
                }
                Err(error) if error.may_have_been_applied() => {}
                Err(error) => {
                    assert_eq!(there, None, "`{name}` was answered as not applied (C10): {}", error.report())
                }
            }
        }
    }
}

/// C10: a write to a closed engine is not applied, as its answer says.
pub(super) async fn c10_a_write_after_close_is_not_applied(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "before").await;
    must(db.engine().close().await, "close");
    let late = db.engine().write(Batch::new().put(key("k"), "after"), WriteOptions::default()).await;
    assert_eq!(refused(late, "a write after close").kind(), ErrorKind::Closed);
    let db = cx.reopen().await;
    assert_eq!(
        db.text("k").await.as_deref(),
        Some("before"),
        "a write answered with Closed is not applied (C10)"
    );
}

/// C12: what was closed can be opened again at once, several times over.
pub(super) async fn c12_close_frees_the_engine_for_a_reopen(cx: &Context) {
    let mut db = cx.open().await;
    let persistent = db.engine().info().best_durability > Durability::Volatile;
    for round in 0..5 {
        db.put(format!("k{round}"), "v").await;
        db = cx.reopen().await;
        let expected = if persistent { round + 1 } else { 0 };
        assert_eq!(
            db.dump().await.len(),
            expected,
            "an engine holds after a reopen what it declares to keep (C9, C12)"
        );
    }
}

/// C12: what the engine declares does not change from one opening to the next.
pub(super) async fn c12_a_reopen_declares_the_same(cx: &Context) {
    let db = cx.open().await;
    let before = db.engine().info().clone();
    db.put("k", "v").await;
    let db = cx.reopen().await;
    assert_eq!(*db.engine().info(), before, "what an engine declares is constant");
}

/// C12: a second open of a directory fails at once, and names the directory and the holder.
pub(super) async fn c12_a_second_opener_is_refused(cx: &Context) {
    let db = cx.open().await;
    db.put("k", "v").await;
    for _ in 0..2 {
        let error =
            refused(cx.open_at(&cx.directory()).await.map(drop), "a second open of a directory (C12)");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
        let text = error.report();
        let directory = cx.directory().display().to_string();
        assert!(text.contains(&directory), "the error names the directory (C12): {text}");
        assert!(
            text.contains(&process::id().to_string()),
            "the error names the holder's process id (C12): {text}"
        );
    }
    db.put("k", "w").await;
    assert_eq!(db.text("k").await.as_deref(), Some("w"), "the first opener is not disturbed (C12)");
}

/// C12: a directory is free again as soon as close has returned, and when an engine was just dropped.
pub(super) async fn c12_a_dropped_engine_frees_its_directory(cx: &Context) {
    let elsewhere = cx.directory().with_file_name("dropped");
    fs::create_dir(&elsewhere).expect("the suite can write in its temporary directory");
    let running = must(cx.harness().open(&elsewhere, Limits::default()).await, "opening a fresh engine");
    let db = Db::new(Arc::clone(running.engine()));
    db.put("k", "v").await;
    drop((running, db));
    let again = until(async || cx.open_at(&elsewhere).await.ok()).await;
    let db = Db::new(Arc::clone(again.engine()));
    assert_eq!(
        db.text("k").await.as_deref(),
        Some("v"),
        "dropping an engine closes it in the background (C12)"
    );
    must(again.stop().await, "close");
}

/// C8: a scan that was opened before close and read to its end before it is whole.
pub(super) async fn c08_a_scan_read_before_close_is_whole(cx: &Context) {
    let db = cx.open().await;
    let all = db.fill("k", 1_000, 100).await;
    let scan = db.open_scan(Scan::new(KeyRange::all())).await;
    let entries = must(drain(scan.data).await, "a scan");
    must(db.engine().close().await, "close");
    assert_eq!(entries.len(), all.len(), "a scan read to its end is whole (C8)");
}
