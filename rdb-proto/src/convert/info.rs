use std::time::Duration;

use rdb_engine_api::{Capabilities, EngineInfo, Error, Limits};

use super::malformed;
use super::record::{answered_durability, to_ms};
use crate::kv::v1;

impl From<&EngineInfo> for v1::EngineInfo {
    fn from(info: &EngineInfo) -> Self {
        Self {
            name: info.name.clone(),
            format: info.format,
            capabilities: Some(v1::Capabilities {
                expiry: info.capabilities.expiry,
                watch: info.capabilities.watch,
                sessions: info.capabilities.sessions,
                restore: info.capabilities.restore,
                blocking: info.capabilities.blocking,
            }),
            best_durability: v1::Durability::from(info.best_durability).into(),
            default_durability: v1::Durability::from(info.default_durability).into(),
            limits: Some((&info.limits).into()),
        }
    }
}

impl TryFrom<v1::EngineInfo> for EngineInfo {
    type Error = Error;

    fn try_from(info: v1::EngineInfo) -> Result<Self, Error> {
        let best = answered_durability(info.best_durability)?;
        let mut converted = Self::new(info.name, info.format, best);
        converted.default_durability = answered_durability(info.default_durability)?;
        let declared = info.capabilities.ok_or_else(|| malformed("capabilities"))?;
        let mut capabilities = Capabilities::default();
        capabilities.expiry = declared.expiry;
        capabilities.watch = declared.watch;
        capabilities.sessions = declared.sessions;
        capabilities.restore = declared.restore;
        capabilities.blocking = declared.blocking;
        converted.capabilities = capabilities;
        converted.limits = info.limits.ok_or_else(|| malformed("limits"))?.into();
        Ok(converted)
    }
}

impl From<&Limits> for v1::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            max_value_bytes: limits.max_value_bytes as u64,
            max_batch_len: limits.max_batch_len as u64,
            max_batch_bytes: limits.max_batch_bytes as u64,
            max_get_many_keys: limits.max_get_many_keys as u64,
            max_scans: limits.max_scans as u64,
            max_waiting_reads: limits.max_waiting_reads as u64,
            max_queued_writes: limits.max_queued_writes as u64,
            max_queued_bytes: limits.max_queued_bytes as u64,
            scan_idle_ms: to_ms(limits.scan_idle),
            max_blocked_writes: limits.max_blocked_writes as u64,
            max_sessions: limits.max_sessions as u64,
            session_window: limits.session_window as u64,
            session_idle_ms: to_ms(limits.session_idle),
            max_watches: limits.max_watches as u64,
            max_history_ops: limits.max_history_ops as u64,
            max_history_bytes: limits.max_history_bytes as u64,
            history_age_ms: to_ms(limits.history_age),
            expiry_lag_ms: to_ms(limits.expiry_lag),
        }
    }
}

impl From<v1::Limits> for Limits {
    fn from(limits: v1::Limits) -> Self {
        // More than this machine can address is no limit here.
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut converted = Self::default();
        converted.max_value_bytes = number(limits.max_value_bytes);
        converted.max_batch_len = number(limits.max_batch_len);
        converted.max_batch_bytes = number(limits.max_batch_bytes);
        converted.max_get_many_keys = number(limits.max_get_many_keys);
        converted.max_scans = number(limits.max_scans);
        converted.max_waiting_reads = number(limits.max_waiting_reads);
        converted.max_queued_writes = number(limits.max_queued_writes);
        converted.max_queued_bytes = number(limits.max_queued_bytes);
        converted.scan_idle = Duration::from_millis(limits.scan_idle_ms);
        converted.max_blocked_writes = number(limits.max_blocked_writes);
        converted.max_sessions = number(limits.max_sessions);
        converted.session_window = number(limits.session_window);
        converted.session_idle = Duration::from_millis(limits.session_idle_ms);
        converted.max_watches = number(limits.max_watches);
        converted.max_history_ops = number(limits.max_history_ops);
        converted.max_history_bytes = number(limits.max_history_bytes);
        converted.history_age = Duration::from_millis(limits.history_age_ms);
        converted.expiry_lag = Duration::from_millis(limits.expiry_lag_ms);
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdb_engine_api::{Durability, ErrorKind};

    fn info() -> EngineInfo {
        let mut info = EngineInfo::new("sled", 3, Durability::Synced);
        info.default_durability = Durability::Process;
        info.capabilities.watch = true;
        info.limits.max_value_bytes = 1;
        info.limits.max_batch_len = 2;
        info.limits.max_batch_bytes = 3;
        info.limits.max_get_many_keys = 4;
        info.limits.max_scans = 5;
        info.limits.max_waiting_reads = 6;
        info.limits.max_queued_writes = 7;
        info.limits.max_queued_bytes = 8;
        info.limits.scan_idle = Duration::from_millis(9);
        info.limits.max_blocked_writes = 10;
        info.limits.max_sessions = 11;
        info.limits.session_window = 12;
        info.limits.session_idle = Duration::from_millis(13);
        info.limits.max_watches = 14;
        info.limits.max_history_ops = 15;
        info.limits.max_history_bytes = 16;
        info.limits.history_age = Duration::from_millis(17);
        info.limits.expiry_lag = Duration::from_millis(18);
        info
    }

    #[test]
    fn all_of_an_engines_info_survives_the_wire() {
        assert_eq!(EngineInfo::try_from(v1::EngineInfo::from(&info())).unwrap(), info());
        let mut other = info();
        other.capabilities.expiry = true;
        other.capabilities.sessions = true;
        other.capabilities.watch = false;
        assert_eq!(EngineInfo::try_from(v1::EngineInfo::from(&other)).unwrap(), other);
    }

    #[test]
    fn an_answer_with_a_hole_is_malformed() {
        let holes: [fn(&mut v1::EngineInfo); 4] = [
            |info| info.limits = None,
            |info| info.capabilities = None,
            |info| info.best_durability = 0,
            |info| info.default_durability = 9,
        ];
        for make_hole in holes {
            let mut answer = v1::EngineInfo::from(&info());
            make_hole(&mut answer);
            assert_eq!(EngineInfo::try_from(answer).unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}
