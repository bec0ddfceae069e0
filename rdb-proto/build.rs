//! Compiles the protobuf definitions, without `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "flaredb/kv/v1/types.proto",
        "flaredb/kv/v1/kv.proto",
        "flaredb/kv/v1/node.proto",
        "flaredb/pd/v1/pd.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("flaredb.bin"), descriptors.encode_to_vec())?;
    // `Bytes` everywhere: decoding takes slices of the receive buffer instead of copies.
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .extern_path(".flaredb.kv.v1.PipelineRequest", "crate::pipeline_request::PipelineRequest")
        .compile_fds(descriptors)?;
    Ok(())
}
