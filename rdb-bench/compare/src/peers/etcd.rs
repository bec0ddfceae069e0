use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rdb_bench::{Seen, Swap, Target, TargetInfo};
use rdb_client::Key;
use tonic::transport::{Channel, Endpoint};

use super::{find, free_port, strings, text, version};
use crate::failure::Result;
use crate::folder::Folder;
use crate::process::Process;
use crate::wire::etcd::kv_client::KvClient;
use crate::wire::etcd::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseOp, TxnRequest, TxnResponse,
    compare, request_op, response_op,
};

/// The most operations that etcd takes in a transaction, unless it is told otherwise, are 128.
const TRANSACTION: usize = 100;

/// One node of etcd, which syncs before it answers.
#[derive(Debug)]
pub(crate) struct Etcd {
    process: Process,
    url: String,
    peer_url: String,
    version: String,
    /// Behind the process: it goes when that is gone.
    _data: Folder,
}

impl Etcd {
    /// Starts one on a new data directory.
    pub(crate) async fn start(disk: &Path) -> Result<Self> {
        let program = find("etcd", "etcd-server")?;
        let data = Folder::new(disk, "etcd")?;
        let url = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let data_dir = data.path().join("data");
        let mut arguments = strings(["--name", "bench", "--logger", "zap", "--log-level", "error"]);
        arguments.extend(["--data-dir".to_owned(), data_dir.display().to_string()]);
        for (flag, value) in [
            ("--listen-client-urls", &url),
            ("--advertise-client-urls", &url),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("bench={peer}")),
        ] {
            arguments.extend(strings([flag, value]));
        }
        let mut process = Process::start(&program, &arguments, data.path())?;
        process.ignore_output();
        process
            .serves(async || {
                let mut client = KvClient::new(Endpoint::from_shared(url.clone())?.connect().await?);
                Ok(client.range(one("ready".into())).await?)
            })
            .await?;
        Ok(Self { process, url, peer_url: peer, version: version(&program).await, _data: data })
    }

    /// Asks it over one connection, as its own clients do.
    pub(crate) async fn target(self) -> Result<Arc<dyn Target>> {
        let connection = Endpoint::from_shared(self.url.clone())?.tcp_nodelay(true).connect().await?;
        let line = self.process.line().replace(&self.url, "URL").replace(&self.peer_url, "PEER");
        let info = TargetInfo::new("etcd", self.version.clone(), "synced").command_line(line);
        Ok(Arc::new(EtcdTarget { client: KvClient::new(connection), info, _server: self }))
    }
}

#[derive(Debug)]
struct EtcdTarget {
    client: KvClient<Channel>,
    info: TargetInfo,
    _server: Etcd,
}

impl EtcdTarget {
    async fn transaction(&self, request: TxnRequest) -> rdb_bench::Result<TxnResponse> {
        Ok(self.client.clone().txn(request).await.map_err(text)?.into_inner())
    }
}

fn put(key: Bytes, value: Bytes) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestPut(PutRequest { key, value })) }
}

fn one(key: Bytes) -> RangeRequest {
    RangeRequest { key, ..RangeRequest::default() }
}

fn read(key: Bytes) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestRange(one(key))) }
}

fn seen(answer: RangeResponse) -> Option<Seen> {
    let record = answer.kvs.into_iter().next()?;
    Some(Seen { version: record.mod_revision as u64, value: record.value })
}

fn found(response: ResponseOp) -> Option<Seen> {
    match response.response? {
        response_op::Response::ResponseRange(range) => seen(range),
        response_op::Response::ResponsePut(_) => None,
    }
}

#[async_trait]
impl Target for EtcdTarget {
    fn info(&self) -> TargetInfo {
        self.info.clone()
    }

    /// Linearizable, as FlareDB's.
    async fn get(&self, key: &Key) -> rdb_bench::Result<Option<Seen>> {
        let asked = self.client.clone().range(one(key.to_bytes())).await;
        Ok(seen(asked.map_err(text)?.into_inner()))
    }

    /// Of one view for so many keys as a transaction takes.
    async fn get_many(&self, keys: &[Key]) -> rdb_bench::Result<Vec<Option<Seen>>> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TRANSACTION) {
            let success = keys.iter().map(|key| read(key.to_bytes())).collect();
            let answer = self.transaction(TxnRequest { success, ..TxnRequest::default() }).await?;
            all.extend(answer.responses.into_iter().map(found));
        }
        Ok(all)
    }

    async fn put(&self, key: &Key, value: Bytes) -> rdb_bench::Result<()> {
        self.client.clone().put(PutRequest { key: key.to_bytes(), value }).await.map_err(text)?;
        Ok(())
    }

    /// A transaction on the key's last revision; where it does not hold, the same transaction reads the record,
    /// which spares a second request.
    async fn swap(&self, key: &Key, version: u64, value: Bytes) -> rdb_bench::Result<Swap> {
        let key = key.to_bytes();
        let condition = Compare {
            result: compare::CompareResult::Equal.into(),
            target: compare::CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(compare::TargetUnion::ModRevision(version as i64)),
        };
        let (success, failure) = (vec![put(key.clone(), value)], vec![read(key)]);
        let answer = self.transaction(TxnRequest { compare: vec![condition], success, failure }).await?;
        if answer.succeeded {
            let header = answer.header.ok_or("etcd did not tell its revision")?;
            return Ok(Swap::Done(header.revision as u64));
        }
        Ok(Swap::Conflict(answer.responses.into_iter().find_map(found)))
    }

    async fn scan(&self, from: &Key, limit: u64) -> rdb_bench::Result<u64> {
        let (range_end, limit) = (Bytes::from_static(&[0]), limit.try_into().unwrap_or(i64::MAX));
        let request = RangeRequest { key: from.to_bytes(), range_end, limit };
        let answer = self.client.clone().range(request).await.map_err(text)?;
        Ok(answer.into_inner().kvs.len() as u64)
    }

    async fn load(&self, records: Vec<(Key, Bytes)>) -> rdb_bench::Result<()> {
        for records in records.chunks(TRANSACTION) {
            let success = records.iter().map(|(key, value)| put(key.to_bytes(), value.clone())).collect();
            self.transaction(TxnRequest { success, ..TxnRequest::default() }).await?;
        }
        Ok(())
    }
}
