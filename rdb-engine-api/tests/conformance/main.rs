//! The contract's cases that need a store which is slow, fails or panics on demand, run on `Local`. The
//! suite itself runs in each engine's own `tests/conformance.rs`.

mod double;
mod lies;

/// Named as the suite's cases are on every engine, so that they are found together.
mod direct {
    mod local {
        mod bounds;
        mod cold;
        mod commit;
        mod expiry;
        mod expiry_failures;
        mod history;
        mod metrics;
        mod previous;
        mod restore;
        mod several;
        mod watch;
    }
}
