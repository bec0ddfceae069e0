//! The tests of `exactly_once.rs`, where each request goes by itself (`ClientBuilder::pipelines(0)`).

#[path = "exactly_once.rs"]
mod suite;
