//! The tests of `client.rs`, where each request goes by itself (`ClientBuilder::pipelines(0)`).

#[path = "client.rs"]
mod suite;
