//! FlareDB measured side by side with RocksDB, Redis and etcd.

fn main() {}
