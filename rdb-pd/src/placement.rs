use std::collections::BTreeMap;

use rdb_engine_api::{Batch, Condition, Error, ErrorKind, Key, Record, Result, Version};

use crate::rows::{Name, RangeRow, StoreRow, decode_number, encode_number, senseless};

/// The most stores that a cluster remembers, the replaced ones included.
const MAX_STORES: usize = 1_000;

/// A row and its version.
#[derive(Clone, Debug)]
struct Versioned<T> {
    row: T,
    version: Version,
}

/// The stores and who has the key range, as of one view. What is to change is worked out here, without an engine
/// or a clock; the batch that does it holds only where the view still does.
#[derive(Debug)]
pub(crate) struct Placement {
    next_id: Versioned<u64>,
    range: Option<Versioned<RangeRow>>,
    stores: BTreeMap<u64, Versioned<StoreRow>>,
}

impl Placement {
    /// Reads the rows of one view.
    pub(crate) fn of(rows: Vec<(Name, Record)>) -> Result<Self> {
        let (mut next_id, mut range, mut stores) = (None, None, BTreeMap::new());
        for (name, Record { value, version, .. }) in rows {
            match name {
                Name::Ids => next_id = Some(Versioned { row: decode_number(&value, "ids")?, version }),
                Name::Range => range = Some(Versioned { row: RangeRow::decode(&value)?, version }),
                Name::Store(id) => {
                    stores.insert(id, Versioned { row: StoreRow::decode_row(&value)?, version });
                }
                Name::Format | Name::Cluster | Name::Timestamps => {}
            }
        }
        let next_id = next_id.ok_or_else(|| senseless("ids"))?;
        if range.as_ref().is_some_and(|range| !stores.contains_key(&range.row.store_id)) {
            return Err(senseless("range"));
        }
        Ok(Self { next_id, range, stores })
    }

    /// All stores, in the order of their ids.
    pub(crate) fn into_stores(self) -> impl Iterator<Item = (u64, StoreRow)> {
        self.stores.into_iter().map(|(id, store)| (id, store.row))
    }

    /// Makes `row` a store, or the store that its token has made before. Returns its id and the batch to write;
    /// an empty batch where nothing changes.
    pub(crate) fn register_new(&self, row: StoreRow) -> Result<(u64, Batch)> {
        if let Some((id, _)) = self.stores.iter().find(|(_, store)| store.row.token == row.token) {
            // Its first answer may have been lost, and the node been killed since: nobody else has its token.
            return Ok((*id, self.register_known(*id, row, false)?));
        }
        let id = self.next_id.row;
        let next = id.checked_add(1).ok_or_else(ids_used_up)?;
        let mut batch = Batch::new();
        if self.stores.len() >= MAX_STORES {
            // A store that has been replaced never comes back: the oldest one is forgotten.
            let mut replaced = self.stores.iter().filter(|(_, store)| store.row.replaced);
            let Some((oldest, store)) = replaced.next() else {
                let full = "cluster has too many stores";
                return Err(Error::new(ErrorKind::Exhausted, full).with("limit", MAX_STORES));
            };
            let key = Name::Store(*oldest).key()?;
            batch = batch.when(key.clone(), Condition::Version(store.version)).delete(key);
        }
        // Of two registrations at once, one has to look again.
        batch = change(batch, Name::Ids.key()?, &self.next_id, encode_number(next));
        let store_key = Name::Store(id).key()?;
        batch = batch.when(store_key.clone(), Condition::Absent).put(store_key, row.encode());
        let range_key = Name::Range.key()?;
        let Some(range) = &self.range else {
            let first = RangeRow { epoch: 1, store_id: id };
            let batch = batch.when(range_key.clone(), Condition::Absent).put(range_key, first.encode());
            return Ok((id, batch));
        };
        let holder = self.store(range.row.store_id)?;
        if !holder.row.is_volatile {
            return Ok((id, batch.when(range_key, Condition::Version(range.version))));
        }
        // What the holder held is gone with its process, or will be: nobody waits for it.
        let replaced = StoreRow { replaced: true, ..holder.row.clone() };
        batch = change(batch, Name::Store(range.row.store_id).key()?, holder, replaced.encode());
        Ok((id, change(batch, range_key, range, range.row.moved_to(id)?.encode())))
    }

    /// Brings what is known of a store up to date. Returns the batch to write, an empty one where nothing changes.
    ///
    /// A store that is there, by its heartbeats, does not move: two nodes with its data would part ways.
    pub(crate) fn register_known(&self, id: u64, mut row: StoreRow, is_there: bool) -> Result<Batch> {
        let known = self.store(id)?;
        check_present(id, &known.row)?;
        if known.row.is_volatile != row.is_volatile {
            let was = if known.row.is_volatile { "volatile" } else { "durable" };
            return Err(Error::new(ErrorKind::InvalidArgument, "store is not what it was registered as")
                .with("store", id)
                .with("was", was));
        }
        let has_moved = row.address != known.row.address;
        if is_there && has_moved {
            return Err(two_nodes(id, &known.row.address));
        }
        row.token = known.row.token;
        if row == known.row {
            return Ok(Batch::new());
        }
        let batch = change(Batch::new(), Name::Store(id).key()?, known, row.encode());
        match &self.range {
            Some(range) if range.row.store_id == id && has_moved => {
                Ok(change(batch, Name::Range.key()?, range, range.row.moved_to(id)?.encode()))
            }
            _ => Ok(batch),
        }
    }

    fn store(&self, id: u64) -> Result<&Versioned<StoreRow>> {
        self.stores.get(&id).ok_or_else(|| unknown_store(id))
    }
}

impl RangeRow {
    fn moved_to(self, store_id: u64) -> Result<Self> {
        let epoch = self.epoch.checked_add(1).ok_or_else(|| senseless("range"))?;
        Ok(Self { epoch, store_id })
    }
}

/// Whether a store may speak for itself.
pub(crate) fn check_present(id: u64, row: &StoreRow) -> Result<()> {
    if row.replaced {
        return Err(Error::new(ErrorKind::InvalidArgument, "store has been replaced by another one")
            .with("store", id));
    }
    Ok(())
}

pub(crate) fn unknown_store(id: u64) -> Error {
    Error::new(ErrorKind::InvalidArgument, "store was never registered in this cluster").with("store", id)
}

pub(crate) fn two_nodes(id: u64, address: &str) -> Error {
    let message = "store is up at another address; a second node with a copy of its data is refused";
    Error::new(ErrorKind::InvalidArgument, message).with("store", id).with("address", address)
}

pub(crate) fn ids_used_up() -> Error {
    Error::new(ErrorKind::Exhausted, "ids are used up")
}

fn change<T>(batch: Batch, key: Key, from: &Versioned<T>, to: bytes::Bytes) -> Batch {
    batch.when(key.clone(), Condition::Version(from.version)).put(key, to)
}
