//! What the checkers say of callers that were lied to.

use std::sync::Arc;
use std::time::Duration;

use rdb_checker::{History, Lie, Verdict, version_order, wgl};
use rdb_engine_api::conformance::{Recorded, Recorder, Workload};
use rdb_engine_api::{Engine as _, Local, LocalOptions, SystemClock};

use crate::double::Double;

async fn recorded() -> History {
    let engine = Local::open(Double::new(), LocalOptions::default(), Arc::new(SystemClock::default()))
        .expect("the double opens");
    let recorder = Recorder::new();
    let engine = Arc::new(Recorded::new(Arc::new(engine), recorder.clone()));
    Workload::new(8, 4_000).run(engine.clone(), Arc::default()).await.expect("no operation fails");
    engine.close().await.expect("the engine closes");
    recorder.history()
}

fn verdicts(history: &History) -> [Verdict; 2] {
    [version_order::check(history), wgl::check(history, Duration::from_secs(60))]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lie_in_a_true_history_is_caught_by_both_checkers() {
    let history = recorded().await;
    assert_eq!(verdicts(&history), [Verdict::Linearizable, Verdict::Linearizable]);
    for lie in Lie::ALL {
        for seed in 0..20 {
            let mut told = history.clone();
            let place = lie.plant(&mut told, seed * 7).expect("there is room for a lie in 4,000 operations");
            for verdict in verdicts(&told) {
                assert!(matches!(verdict, Verdict::Violation(_)), "{lie:?} at {place}: {verdict}");
            }
        }
    }
}
