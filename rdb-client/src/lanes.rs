use std::sync::Arc;

use parking_lot::Mutex;
use rdb_engine_api::Result;

use crate::builder::ClientBuilder;
use crate::dialer::Dialer;
use crate::endpoint::Endpoint;
use crate::pipeline::Pipelines;
use crate::wire::Wire;

/// The most requests that wait on one connection. Servers and proxies allow no fewer than this at once, as
/// HTTP/2 asks of them; beyond what they allow, a request waits unsent.
const PER_CONNECTION: usize = 100;
/// The most connections for requests that wait: more requests than a node lets wait.
const MAX_CONNECTIONS: usize = 128;

/// The connections to a node: one for what is answered soon, and others, made when needed, for watches and writes
/// that wait, which would otherwise keep out what they wait for.
#[derive(Debug)]
pub(crate) struct Lanes {
    settings: ClientBuilder,
    dialer: Arc<Dialer>,
    name: Endpoint,
    prompt: Wire,
    /// For what is answered soon; none where each request shall go by itself.
    pipelines: Option<Pipelines>,
    waiting: Mutex<Vec<Lane>>,
}

/// A connection for requests that wait, and a count of those on it, besides this one.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    wire: Wire,
    count: Arc<()>,
}

impl Lane {
    /// The connection. A request keeps its lane for as long as it waits.
    pub(crate) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    fn waiting(&self) -> usize {
        Arc::strong_count(&self.count) - 1
    }
}

impl Lanes {
    /// Nothing is dialled yet.
    pub(crate) fn new(settings: ClientBuilder, dialer: &Arc<Dialer>, name: Endpoint) -> Result<Self> {
        let prompt = Wire::new(&settings, dialer, &name)?;
        let pipelines = Self::pipelines_over(&prompt, &settings, dialer, &name)?;
        let dialer = Arc::clone(dialer);
        Ok(Self { settings, dialer, name, prompt, pipelines, waiting: Mutex::default() })
    }

    /// The first goes over the connection that there is; each other has one of its own.
    fn pipelines_over(
        prompt: &Wire,
        settings: &ClientBuilder,
        dialer: &Arc<Dialer>,
        name: &Endpoint,
    ) -> Result<Option<Pipelines>> {
        let Some(others) = settings.pipelines.checked_sub(1) else { return Ok(None) };
        let mut wires = vec![prompt.clone()];
        for _ in 0..others {
            wires.push(Wire::new(settings, dialer, name)?);
        }
        Ok(Some(Pipelines::new(wires, dialer)))
    }

    /// The streams for what is answered soon, if there shall be any.
    pub(crate) const fn pipelines(&self) -> Option<&Pipelines> {
        self.pipelines.as_ref()
    }

    /// The connection for what is answered soon.
    pub(crate) const fn prompt(&self) -> &Wire {
        &self.prompt
    }

    /// A connection for a request that waits.
    pub(crate) fn waiting(&self) -> Result<Lane> {
        let mut lanes = self.waiting.lock();
        // One is kept for those to come.
        let mut is_first = true;
        lanes.retain(|lane| std::mem::take(&mut is_first) || lane.waiting() > 0);
        let is_full = lanes.len() >= MAX_CONNECTIONS;
        let with_room = lanes.iter().filter(|lane| is_full || lane.waiting() < PER_CONNECTION);
        if let Some(lane) = with_room.min_by_key(|lane| if is_full { lane.waiting() } else { 0 }) {
            return Ok(lane.clone());
        }
        let lane = Lane { wire: Wire::new(&self.settings, &self.dialer, &self.name)?, count: Arc::default() };
        lanes.push(lane.clone());
        Ok(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lanes() -> Lanes {
        let settings = ClientBuilder::new().endpoint("127.0.0.1:1");
        let dialer = Arc::new(settings.dialer().await.unwrap());
        let name = Endpoint::parse("127.0.0.1:1", 1).unwrap();
        Lanes::new(settings, &dialer, name).unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_made_when_the_others_are_full_and_let_go_when_nobody_waits_on_it() {
        let lanes = lanes().await;
        let connections = || lanes.waiting.lock().len();
        let mut waiting: Vec<_> = (0..PER_CONNECTION * 3).map(|_| lanes.waiting().unwrap()).collect();
        assert_eq!(connections(), 3);
        waiting.truncate(PER_CONNECTION * 2 - 1);
        let _one_more = lanes.waiting().unwrap();
        assert_eq!(connections(), 2);
        drop(waiting);
        drop(lanes.waiting().unwrap());
        assert_eq!(connections(), 2, "the first, and that of the one that still waits");
    }

    #[tokio::test]
    async fn beyond_the_last_connection_requests_share_evenly() {
        let lanes = lanes().await;
        let all = PER_CONNECTION * MAX_CONNECTIONS + MAX_CONNECTIONS;
        let waiting: Vec<_> = (0..all).map(|_| lanes.waiting()).collect::<Result<_>>().unwrap();
        let lanes = lanes.waiting.lock();
        assert_eq!(lanes.len(), MAX_CONNECTIONS);
        assert!(lanes.iter().all(|lane| lane.waiting() == PER_CONNECTION + 1));
        drop(waiting);
    }
}
