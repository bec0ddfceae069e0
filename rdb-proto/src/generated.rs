//! The code generated from the `.proto` files, whose comments are its documentation.
#![allow(clippy::all, clippy::unwrap_used, missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(rustdoc::all)]

pub(crate) mod kv {
    tonic::include_proto!("flaredb.kv.v1");
}

pub(crate) mod pd {
    tonic::include_proto!("flaredb.pd.v1");
}
