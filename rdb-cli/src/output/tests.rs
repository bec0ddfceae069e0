use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

/// An output that can be looked at.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// What was written, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_record_shows_its_end_and_what_is_left_where_it_has_them() {
    let key = Key::new("k").unwrap();
    let mut record = Record::new("v".into(), rdb_client::Version::MIN);
    let shown = |record: &Record, ttl| serde_json::to_value(JsonEntry::new(&key, Some(record)).with_ttl(ttl));
    let expected = serde_json::json!({ "key": "k", "value": "v", "version": 1 });
    assert_eq!(shown(&record, None).unwrap(), expected);
    record.expires_at = Some(UNIX_EPOCH + Duration::from_millis(99));
    let expected =
        serde_json::json!({ "key": "k", "value": "v", "version": 1, "expires_at_ms": 99, "ttl_ms": 7 });
    assert_eq!(shown(&record, Some(Duration::from_millis(7))).unwrap(), expected);
}
