use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, BytesMut};
use rdb_engine_api::{Clock as _, Engine as _, Error, ErrorKind, Result, SystemClock, Version};

use super::damaged;
use crate::Client;

/// Where and when a backup was made. For people: a restore looks at none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The engine's short name.
    pub engine: String,
    /// When, to the millisecond.
    pub made_at: SystemTime,
    /// The version of the node that served the view; empty where there was none.
    pub server_version: String,
    /// The id of the cluster that the node belongs to; empty where it was not found by a placement driver.
    pub cluster_id: String,
}

impl Meta {
    /// The backup of an engine, made at this time.
    pub fn new(engine: impl Into<String>, made_at: SystemTime) -> Self {
        let (server_version, cluster_id) = Default::default();
        Self { engine: engine.into(), made_at, server_version, cluster_id }
    }

    /// The backup of a node, made now.
    pub fn of(client: &Client) -> Self {
        let mut meta = Self::new(&*client.info().name, SystemClock::new().wall());
        client.server_version().clone_into(&mut meta.server_version);
        meta.cluster_id = client.cluster_id().map(|id| id.to_string()).unwrap_or_default();
        meta
    }

    pub(super) fn encode(&self, version: Version) -> Result<BytesMut> {
        let made_at = self.made_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut body = BytesMut::new();
        body.put_u64(version.get());
        body.put_u64(u64::try_from(made_at).unwrap_or(u64::MAX));
        for text in [&self.engine, &self.server_version, &self.cluster_id] {
            let length = u16::try_from(text.len())
                .map_err(|_| Error::new(ErrorKind::InvalidArgument, "backup's description is too long"))?;
            body.put_u16(length);
            body.put_slice(text.as_bytes());
        }
        Ok(body)
    }

    pub(super) fn decode(mut body: &[u8]) -> Result<(Self, Version)> {
        let unreadable = || damaged("backup's description cannot be read");
        let version = body.try_get_u64().ok().and_then(Version::new).ok_or_else(unreadable)?;
        let made_at = body.try_get_u64().map_err(|_| unreadable())?;
        let made_at = UNIX_EPOCH.checked_add(Duration::from_millis(made_at)).ok_or_else(unreadable)?;
        let mut text = || -> Option<String> {
            let length = body.try_get_u16().ok()?;
            let (text, rest) = body.split_at_checked(length.into())?;
            body = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (engine, server_version, cluster_id) = (text(), text(), text());
        match (engine, server_version, cluster_id) {
            (Some(engine), Some(server_version), Some(cluster_id)) if body.is_empty() => {
                Ok((Self { engine, made_at, server_version, cluster_id }, version))
            }
            _ => Err(unreadable()),
        }
    }
}
