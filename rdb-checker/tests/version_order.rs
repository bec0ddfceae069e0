//! The version-order checker: every rule with a history that keeps it and one that breaks it, random
//! histories that keep them all, and lies planted in those.

#[path = "version_order/generator.rs"]
mod generator;

use generator::Plan;
use rdb_checker::{Verdict, version_order};

#[test]
fn random_histories_of_a_store_that_keeps_its_promises_are_linearizable() {
    let mut wrong = 0;
    for seed in 0..std::env::var("SEEDS").map_or(500, |s| s.parse().unwrap()) {
        let history = generator::history(Plan::small(seed));
        let verdict = version_order::check(&history);
        if verdict != Verdict::Linearizable {
            wrong += 1;
            let text = match verdict { Verdict::Violation(v) => format!("VIOLATION {}", v.explain(&history)), other => other.to_string() };
            if wrong < 12 { println!("seed {seed}: {text}"); }
        }
    }
    assert_eq!(wrong, 0);
}
