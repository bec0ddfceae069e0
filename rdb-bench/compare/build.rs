//! Compiles the protobuf definitions of what FlareDB is measured against, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let lock = "../../Cargo.lock";
    println!("cargo:rerun-if-changed={lock}");
    println!(
        "cargo:rustc-env=ROCKSDB_VERSION={}",
        rocksdb(&std::fs::read_to_string(lock).unwrap_or_default())
    );
    let descriptors = protox::compile(["bare.proto", "etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

/// The version of RocksDB itself, which its bindings carry behind a plus sign.
fn rocksdb(lock: &str) -> &str {
    let bindings = lock.split_once("name = \"librocksdb-sys\"").map_or("", |(_, rest)| rest);
    let version = bindings.split('"').nth(1).and_then(|version| version.split_once('+'));
    version.map_or("unknown", |(_, rocksdb)| rocksdb)
}
