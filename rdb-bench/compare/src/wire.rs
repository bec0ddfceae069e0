//! What build.rs made of `proto/`.
#![allow(missing_docs, unreachable_pub, missing_debug_implementations)]

pub(crate) mod bare {
    tonic::include_proto!("flaredb.bench.v1");
}

pub(crate) mod etcd {
    tonic::include_proto!("etcdserverpb");
}
