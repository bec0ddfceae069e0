use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use rdb_bench::{Settings, Workload};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::failure::Result;
use crate::wire::bare::bare_server::{Bare, BareServer};
use crate::wire::bare::{BareRequest, BareRequests, BareResponse, BareResponses};

/// Answers from a map.
#[derive(Debug)]
struct Map(Arc<HashMap<Bytes, Bytes>>);

fn answer(map: &HashMap<Bytes, Bytes>, request: &BareRequest) -> BareResponse {
    BareResponse { number: request.number, value: map.get(&request.key).cloned() }
}

#[tonic::async_trait]
impl Bare for Map {
    type StreamStream = Pin<Box<dyn futures::Stream<Item = Result<BareResponses, Status>> + Send>>;

    async fn get(&self, request: Request<BareRequest>) -> Result<Response<BareResponse>, Status> {
        Ok(Response::new(answer(&self.0, request.get_ref())))
    }

    async fn stream(
        &self,
        requests: Request<Streaming<BareRequests>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let map = Arc::clone(&self.0);
        let answers = requests.into_inner().map(move |message| {
            let responses = message?.requests.iter().map(|request| answer(&map, request)).collect();
            Ok(BareResponses { responses })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves records on a free port, which it prints, until it is killed.
pub(crate) async fn serve(records: u64, key_bytes: usize, value_bytes: usize) -> Result<()> {
    let mut settings = Settings::new(Workload::Get);
    (settings.records, settings.key_bytes) = (records, key_bytes);
    let keys = settings.keys()?;
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let map = (0..records).map(|number| (keys.key(number).into_bytes(), value.clone())).collect();
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?.with_nodelay(Some(true));
    println!("listening on {}", incoming.local_addr()?);
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(BareServer::new(Map(Arc::new(map))))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
