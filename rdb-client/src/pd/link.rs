use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdb_engine_api::{Error, ErrorKind, Result};
use rdb_proto::Call;
use rdb_proto::pd::v1::{self, pd_client::PdClient};
use tonic::{Request, Response, Status};

use crate::builder::ClientBuilder;
use crate::call::{Deadline, Tell, attempt, repeat};
use crate::dialer::Dialer;
use crate::retry::RetryPolicy;
use crate::scan::malformed;
use crate::wire::Wire;

/// The port of a placement driver that was not told another.
const DEFAULT_PORT: u16 = 7430;

/// What is said of a server that is something else.
const NO_PD: &str = "cannot connect: no FlareDB placement driver answers there";

/// The connection to the placement driver of one cluster.
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) dialer: Arc<Dialer>,
    pub(super) retry: RetryPolicy,
    pub(super) cluster_id: u64,
    pub(super) server_version: String,
    /// How many connections there had been when the placement driver last said that it is this cluster's.
    verified: AtomicU64,
}

impl Link {
    pub(super) async fn open(settings: &ClientBuilder) -> Result<Self> {
        let deadline = Deadline::after(settings.dial_limit());
        let dialer = Arc::new(settings.fixed(DEFAULT_PORT)?);
        let cannot = |error: Error| {
            let (kind, message) = match error.kind() {
                ErrorKind::Unsupported => (ErrorKind::Unsupported, NO_PD),
                kind => (kind, "cannot connect to the placement driver"),
            };
            Error::new(kind, message).with("endpoints", &dialer).because(error)
        };
        dialer.prepare().await.map_err(cannot)?;
        let reached = dialer.reached().ok_or_else(|| malformed("there is no endpoint"))?;
        let wire = Wire::new(settings, &dialer, &reached)?;
        let cluster = cluster(wire.clone(), deadline).await.map_err(cannot)?;
        if cluster.cluster_id == 0 {
            return Err(malformed("placement driver does not say which cluster it is"));
        }
        let verified = AtomicU64::new(dialer.connections());
        let (cluster_id, server_version) = (cluster.cluster_id, cluster.server_version);
        Ok(Self { wire, dialer, retry: settings.retry.clone(), cluster_id, server_version, verified })
    }

    /// Sends a request until it is answered, as far as `policy` goes. All that a placement driver is asked
    /// can be asked again without harm.
    pub(super) async fn call<Req, Res, Fut>(
        &self,
        policy: &RetryPolicy,
        timeout: Duration,
        message: Req,
        send: impl Fn(PdClient<Wire>, Request<Req>) -> Fut,
    ) -> Result<Res>
    where
        Req: Clone,
        Fut: Future<Output = Result<Response<Res>, Status>>,
    {
        let deadline = Deadline::after(timeout);
        let answer = repeat(policy, deadline, || {
            let message = message.clone();
            Some(attempt(Call::Read, deadline, Tell::Deadline, message, |request| {
                send(PdClient::new(self.wire.clone()), request)
            }))
        })
        .await?;
        self.verify(deadline).await?;
        Ok(answer)
    }

    /// Makes sure that what was answered over the connection of now comes from this cluster. Only a new
    /// connection takes a question.
    pub(super) async fn verify(&self, deadline: Deadline) -> Result<()> {
        let connections = self.dialer.connections();
        if self.verified.load(Ordering::Acquire) == connections {
            return Ok(());
        }
        self.check(cluster(self.wire.clone(), deadline).await?.cluster_id)?;
        self.verified.store(connections, Ordering::Release);
        Ok(())
    }

    /// Refuses another cluster.
    pub(super) fn check(&self, cluster_id: u64) -> Result<()> {
        if cluster_id == self.cluster_id {
            return Ok(());
        }
        let message = "placement driver is another cluster's than at first";
        Err(Error::new(ErrorKind::InvalidArgument, message)
            .with("endpoints", &self.dialer)
            .with("expected", self.cluster_id)
            .with("found", cluster_id))
    }
}

async fn cluster(wire: Wire, deadline: Deadline) -> Result<v1::ClusterResponse> {
    let ask = |request| async move { PdClient::new(wire).cluster(request).await };
    attempt(Call::Read, deadline, Tell::Deadline, v1::ClusterRequest {}, ask).await
}
