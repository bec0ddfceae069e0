use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use rdb_engine_api::{Engine, Result};
use rdb_proto::FILE_DESCRIPTOR_SET;
use rdb_proto::kv::v1::kv_server::{self, KvServer};
use rdb_proto::kv::v1::node_server::{self, NodeServer};
use tonic::service::Routes;

use crate::kv::KvService;
use crate::method::{Method, Reception};
use crate::node_service::NodeService;
use crate::server::{Bound, Server, Services};
use crate::{EngineMetrics, NodeConfig};

/// The methods of a node.
const METHODS: [Method; 17] = [
    Method::read("/flaredb.kv.v1.Kv/Get", "get"),
    Method::read("/flaredb.kv.v1.Kv/GetMany", "get_many"),
    Method::write("/flaredb.kv.v1.Kv/Put", "put"),
    Method::write("/flaredb.kv.v1.Kv/Delete", "delete"),
    Method::write("/flaredb.kv.v1.Kv/CompareAndSwap", "compare_and_swap"),
    Method::write("/flaredb.kv.v1.Kv/Write", "write"),
    Method::read("/flaredb.kv.v1.Kv/Scan", "scan"),
    Method::write("/flaredb.kv.v1.Kv/Restore", "restore").received(Reception::Upload),
    Method::read("/flaredb.kv.v1.Kv/Watch", "watch").lasting(),
    Method::write("/flaredb.kv.v1.Kv/OpenSession", "open_session"),
    Method::read("/flaredb.kv.v1.Kv/ResumeSession", "resume_session"),
    Method::write("/flaredb.kv.v1.Kv/EndSession", "end_session"),
    Method::read("/flaredb.kv.v1.Kv/Settle", "settle"),
    Method::read("/flaredb.kv.v1.Kv/Time", "time"),
    // Its commands count as reads and writes of their own.
    Method::read("/flaredb.kv.v1.Kv/Pipeline", "pipeline").received(Reception::Dialogue),
    Method::read("/flaredb.kv.v1.Node/Info", "info"),
    Method::read("/flaredb.kv.v1.Node/Status", "status"),
];

/// Serves an engine. When this returns, clients can connect.
///
/// # Errors
/// As of [`Bound::new`] and [`serve_on`]. The engine stays open then.
pub async fn serve(engine: Arc<dyn Engine>, config: NodeConfig) -> Result<Node> {
    serve_on(Bound::new(config).await?, engine).await
}

/// Serves an engine on addresses that are known already: for a node that has to tell someone where it is before
/// clients come.
///
/// # Errors
/// As of [`Bound::serve`]. The engine stays open then.
pub async fn serve_on(bound: Bound, engine: Arc<dyn Engine>) -> Result<Node> {
    serve_with(bound, engine, |_| {}).await
}

/// Serves an engine, with more on the node's metrics.
pub(crate) async fn serve_with(
    bound: Bound,
    engine: Arc<dyn Engine>,
    register: impl FnOnce(&mut Registry),
) -> Result<Node> {
    let mut services = Services::new();
    register(&mut services.registry);
    let info = engine.info();
    EngineMetrics::register(Arc::clone(&engine), &mut services.registry);
    services.limits = vec![
        ("max_value_bytes", info.limits.max_value_bytes),
        ("max_batch_len", info.limits.max_batch_len),
        ("max_batch_bytes", info.limits.max_batch_bytes),
        ("max_get_many_keys", info.limits.max_get_many_keys),
        ("max_scans", info.limits.max_scans),
        ("max_waiting_reads", info.limits.max_waiting_reads),
        ("max_queued_writes", info.limits.max_queued_writes),
        ("max_queued_bytes", info.limits.max_queued_bytes),
        ("max_blocked_writes", info.limits.max_blocked_writes),
        ("max_sessions", info.limits.max_sessions),
        ("session_window", info.limits.session_window),
        ("max_watches", info.limits.max_watches),
        ("max_history_ops", info.limits.max_history_ops),
        ("max_history_bytes", info.limits.max_history_bytes),
    ];
    services.limit_times = vec![
        ("scan_idle", info.limits.scan_idle),
        ("session_idle", info.limits.session_idle),
        ("history_age", info.limits.history_age),
        ("expiry_lag", info.limits.expiry_lag),
    ];
    services.max_message_bytes = rdb_proto::max_message_bytes(&info.limits);
    let max_message_bytes = bound.config().max_message_bytes.unwrap_or(services.max_message_bytes);
    let kv = KvService::new(Arc::clone(&engine), max_message_bytes, &mut services.registry);
    let node =
        NodeService::new(Arc::clone(&engine), max_message_bytes, kv.scans().clone(), kv.watches().clone());
    services.routes = Routes::new(KvServer::new(kv).max_decoding_message_size(usize::MAX))
        .add_service(NodeServer::new(node));
    services.methods = METHODS.into();
    services.names = vec![kv_server::SERVICE_NAME, node_server::SERVICE_NAME];
    services.descriptors = FILE_DESCRIPTOR_SET;
    services.close = Box::new(|| Box::pin(async move { engine.close().await }));
    Ok(Node { server: bound.serve(services).await? })
}

/// A node that serves. Dropping it cuts its connections and leaves its engine open;
/// [`shutdown`](Self::shutdown) is the orderly way.
#[derive(Debug)]
pub struct Node {
    pub(crate) server: Server,
}

impl Node {
    /// The address of the gRPC services.
    pub const fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The address of the operations services.
    pub const fn ops_addr(&self) -> SocketAddr {
        self.server.ops_addr()
    }

    /// Waits until the engine has answered that it is closed, which it stays (C11): a node that has stopped
    /// taking writes.
    pub fn engine_closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.server.engine_closed()
    }

    /// Ends the node within [`NodeConfig::drain_timeout`], whatever its clients do, and closes the engine
    /// ([`Server::shutdown`]).
    ///
    /// # Errors
    /// What closing the engine reports; [`Unavailable`](rdb_engine_api::ErrorKind::Unavailable) where it did not
    /// close in time.
    pub async fn shutdown(self) -> Result<()> {
        self.server.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_methods_are_those_of_the_services_and_each_streams_as_its_definition_says() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let services = [kv_server::SERVICE_NAME, node_server::SERVICE_NAME];
        let mut defined = BTreeSet::new();
        for file in &files {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                if services.contains(&&*service_name) {
                    defined.extend(service.method.iter().map(|method| {
                        let is_upload = method.client_streaming();
                        (format!("/{service_name}/{}", method.name()), is_upload)
                    }));
                }
            }
        }
        let served = METHODS.map(|method| (method.path.to_owned(), method.reception != Reception::Whole));
        assert_eq!(BTreeSet::from(served), defined);
        let names: BTreeSet<_> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len(), "a name is one method's");
    }
}
