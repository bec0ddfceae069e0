use rdb_engine_api::{Error, Key, Record, View};

use super::answered_version;
use crate::kv::v1;

impl From<&Key> for v1::GetRequest {
    fn from(key: &Key) -> Self {
        Self { key: key.to_bytes() }
    }
}

impl TryFrom<v1::GetRequest> for Key {
    type Error = Error;

    fn try_from(request: v1::GetRequest) -> Result<Self, Error> {
        Self::new(request.key)
    }
}

impl From<Option<Record>> for v1::GetResponse {
    fn from(record: Option<Record>) -> Self {
        Self { record: record.map(Into::into) }
    }
}

impl TryFrom<v1::GetResponse> for Option<Record> {
    type Error = Error;

    fn try_from(response: v1::GetResponse) -> Result<Self, Error> {
        response.record.map(TryInto::try_into).transpose()
    }
}

impl From<&[Key]> for v1::GetManyRequest {
    fn from(keys: &[Key]) -> Self {
        Self { keys: keys.iter().map(Key::to_bytes).collect() }
    }
}

impl TryFrom<v1::GetManyRequest> for Vec<Key> {
    type Error = Error;

    fn try_from(request: v1::GetManyRequest) -> Result<Self, Error> {
        request.keys.into_iter().map(Key::new).collect()
    }
}

impl From<View<Vec<Option<Record>>>> for v1::GetManyResponse {
    fn from(view: View<Vec<Option<Record>>>) -> Self {
        let slot = |record: Option<Record>| v1::get_many_response::Slot { record: record.map(Into::into) };
        Self { version: view.version.get(), slots: view.data.into_iter().map(slot).collect() }
    }
}

/// The caller checks that there are as many records as it asked for.
impl TryFrom<v1::GetManyResponse> for View<Vec<Option<Record>>> {
    type Error = Error;

    fn try_from(response: v1::GetManyResponse) -> Result<Self, Error> {
        let version = answered_version(response.version)?;
        let slots = response.slots.into_iter();
        let data = slots.map(|slot| slot.record.map(TryInto::try_into).transpose());
        Ok(Self { version, data: data.collect::<Result<_, Error>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rdb_engine_api::{ErrorKind, Version};

    fn record(version: u64) -> Record {
        Record::new(Bytes::from_static(b"v"), Version::new(version).unwrap())
    }

    #[test]
    fn an_absent_record_survives_the_wire() {
        let answer = v1::GetResponse::from(None);
        assert_eq!(<Option<Record>>::try_from(answer).unwrap(), None);
        let answer = v1::GetResponse::from(Some(record(3)));
        assert_eq!(<Option<Record>>::try_from(answer).unwrap(), Some(record(3)));
    }

    #[test]
    fn a_key_that_cannot_be_is_an_invalid_argument() {
        let request = v1::GetRequest { key: Bytes::new() };
        assert_eq!(Key::try_from(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
        let request = v1::GetManyRequest { keys: vec![Bytes::from_static(b"k"), vec![0; 4097].into()] };
        assert_eq!(<Vec<Key>>::try_from(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn many_records_keep_their_places() {
        let keys = [Key::new("b").unwrap(), Key::new("a").unwrap()];
        let request = v1::GetManyRequest::from(&keys[..]);
        assert_eq!(<Vec<Key>>::try_from(request).unwrap(), keys);
        let view = View { version: Version::MIN, data: vec![None, Some(record(2)), None] };
        let back = View::try_from(v1::GetManyResponse::from(view.clone())).unwrap();
        assert_eq!(back.version, view.version);
        assert_eq!(back.data, view.data);
    }

    #[test]
    fn an_answer_without_a_version_is_malformed() {
        let error = View::<Vec<Option<Record>>>::try_from(v1::GetManyResponse::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
