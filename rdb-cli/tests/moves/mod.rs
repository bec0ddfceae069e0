//! From engine to engine, those of RocksDB apart: they are built with it, in the workspace's own tests.

#[path = "../../../tests/tests/operations/moved.rs"]
mod moved;

use std::path::Path;
use std::sync::Arc;

use rdb_client::Engine;
use rdb_engine_mem::MemConfig;
use rdb_engine_sled::SledConfig;

use moved::check;

fn mem() -> Arc<dyn Engine> {
    Arc::new(rdb_engine_mem::open(&MemConfig::default()).unwrap())
}

fn sled(directory: &Path) -> Arc<dyn Engine> {
    Arc::new(rdb_engine_sled::open(&SledConfig::new(directory)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_from_mem_to_sled_is_the_view_that_the_backup_names() {
    let to = tempfile::tempdir().unwrap();
    check(&mem, &|| sled(to.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_from_sled_to_mem_is_the_view_that_the_backup_names() {
    let from = tempfile::tempdir().unwrap();
    check(&|| sled(from.path()), &mem).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_moved_from_sled_to_sled_is_the_view_that_the_backup_names() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    check(&|| sled(from.path()), &|| sled(to.path())).await;
}
