//! FlareDB measured side by side with RocksDB, Redis and etcd.
mod failure;
mod figures;
mod peers;
mod place;
mod process;
mod wire;

fn main() {}
