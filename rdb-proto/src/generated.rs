//! The code generated from the `.proto` files, whose comments are its documentation.
#![allow(clippy::all, clippy::unwrap_used, missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(rustdoc::all)]

tonic::include_proto!("flaredb.kv.v1");
