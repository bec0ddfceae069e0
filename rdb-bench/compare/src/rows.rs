//! The table of targets.

use rdb_bench::Workload::{Cas, Counter, Get};

use crate::contender::{Contender, Sdk};
use crate::row::{Direction, Figure, Row};

const CAS: Contender = Contender::Sdk(Sdk::new(Cas, 64));
const GET: Contender = Contender::Sdk(Sdk::new(Get, 64));

/// A rate that is to be at least the target.
const fn rate(
    name: &'static str,
    title: &'static str,
    (target, stretch): (f64, f64),
    (ours, rival): (Contender, Contender),
    how: &'static str,
) -> Row {
    let (figure, direction) = (Figure::PerSecond, Direction::AtLeast);
    Row { name, title, how, figure, direction, target, stretch, ours, rival, slow: false }
}

/// A time that is to be at most the target.
const fn time(
    name: &'static str,
    title: &'static str,
    figure: Figure,
    (target, stretch): (f64, f64),
    (ours, rival): (Contender, Contender),
    how: &'static str,
) -> Row {
    Row { name, title, how, figure, direction: Direction::AtMost, target, stretch, ours, rival, slow: false }
}

/// Every row, in the order of the targets.
pub(crate) const ROWS: [Row; 17] = [
    rate(
        "get-redis-benchmark",
        "SDK get on rocks against redis-benchmark GET, 64 clients, unpipelined",
        (1.9, 2.4),
        (GET, Contender::RedisBenchmarkGet { clients: 64 }),
        "64 callers share one client. redis-benchmark has a connection for each of its clients; Redis keeps \
         nothing on disk.",
    ),
    rate(
        "get-redis-benchmark-256",
        "SDK get on rocks, 256 callers, against redis-benchmark GET, 256 clients",
        (2.7, 3.4),
        (Contender::Sdk(Sdk::new(Get, 256)), Contender::RedisBenchmarkGet { clients: 256 }),
        "As the row before, with 256 on both sides.",
    ),
    rate(
        "get-redis-multiplexed",
        "SDK get on rocks against Redis GET through its multiplexed Rust client",
        (0.6, 0.8),
        (GET, Contender::Redis { workload: Get, callers: 64 }),
        "64 callers with one request each on both sides, driven by the same loop; those of Redis share one \
         connection of the crate `redis`. Redis keeps nothing on disk.",
    ),
    rate(
        "get-ceiling",
        "SDK get on rocks against a bare stream server answering from a hash map",
        (0.62, 0.8),
        (GET, Contender::BareStream { callers: 64 }),
        "The rival is what gRPC allows at best: one both-ways stream, its 64 callers' requests drained into \
         messages of up to 256 without waiting, a server that does nothing but look into a map.",
    ),
    rate(
        "cas-etcd",
        "SDK durable CAS on own keys against etcd's CAS transaction",
        (12.0, 18.0),
        (CAS, Contender::Etcd { workload: Cas, callers: 64 }),
        "64 callers, each on keys of its own whose versions it remembers; every answer is synced on both \
         sides. etcd's is a transaction on mod_revision, over one connection.",
    ),
    rate(
        "cas-redis-durable-set",
        "SDK durable CAS on own keys against Redis SET, appendfsync always, 64 clients",
        (1.8, 2.4),
        (CAS, Contender::RedisBenchmarkDurableSet { clients: 64 }),
        "Redis writes without a condition; both sync before they answer. Redis does not rewrite its file \
         meanwhile.",
    ),
    rate(
        "cas-raw",
        "SDK durable CAS on own keys against raw RocksDB, one thread, get + put in synced groups of 64",
        (1.0, 1.3),
        (CAS, Contender::RawGroups { size: 64 }),
        "The rival is in this process, without a network, versions, or a second caller.",
    ),
    time(
        "cas-one-caller-raw",
        "one caller, durable CAS, against in-process raw get + put + sync",
        Figure::P50,
        (2.2, 1.7),
        (Contender::Sdk(Sdk::new(Cas, 1)), Contender::RawGroups { size: 1 }),
        "The time that half of the operations stay below. The rival is in this process, without a network.",
    ),
    time(
        "cas-one-caller-etcd",
        "one caller, durable CAS, against etcd's",
        Figure::P50,
        (0.9, 0.7),
        (Contender::Sdk(Sdk::new(Cas, 1)), Contender::Etcd { workload: Cas, callers: 1 }),
        "The time that half of the operations stay below; both sync before they answer.",
    ),
    rate(
        "get-unary",
        "unary get against a bare tonic unary echo",
        (0.8, 0.9),
        (Contender::Sdk(Sdk { unary: true, ..Sdk::new(Get, 64) }), Contender::BareUnary { callers: 64 }),
        "64 callers and one connection on both sides; the SDK sends each request in a call of its own, as \
         clients in other languages do. The rival's server looks into a map.",
    ),
    rate(
        "get-in-process",
        "Local over rocks in process, get, against raw RocksDB on as many threads",
        (0.8, 0.95),
        (Contender::InProcess, Contender::RawGet),
        "A task, or a thread, for each processor. Both copy the value out of the cache; FlareDB reads the \
         version, checks the record's checksum, and keeps RocksDB's statistics.",
    ),
    rate(
        "cas-exactly-once",
        "exactly-once on against off, durable CAS",
        (0.85, 0.95),
        (CAS, Contender::Sdk(Sdk { exactly_once: false, ..Sdk::new(Cas, 64) })),
        "`ClientBuilder::exactly_once`, on as it is by itself, and off; 64 callers on keys of their own.",
    ),
    time(
        "cas-stalled-watcher",
        "commits with one stalled watcher against none",
        Figure::P99,
        (1.2, 1.05),
        (Contender::Sdk(Sdk { stalled_watcher: true, ..Sdk::new(Cas, 64) }), CAS),
        "The time that 99 of a hundred durable CAS stay below, 64 callers on keys of their own. The watch is \
         over all keys, is opened before each measurement, and is never read.",
    ),
    rate(
        "scan",
        "SDK scan, records per second, against one raw RocksDB iterator",
        (0.5, 0.8),
        (Contender::SdkScan, Contender::RawScan),
        "Everything in one scan, again and again, on both sides without filling the block cache. The SDK \
         decodes every record; the rival looks at keys and values in place.",
    ),
    rate(
        "import",
        "rdb import of the Debian package index, synced in batches, against raw RocksDB batches of the same size",
        (0.5, 0.8),
        (Contender::RdbImport, Contender::RawImport),
        "63,666 records, 13 MB, in batches of up to 1,000 records or 1 MiB, each synced, into a new store each \
         time. Reading and splitting the file is in the time on both sides.",
    ),
    Row {
        slow: true,
        ..rate(
            "get-many-records",
            "get at 10,000,000 records against 100,000, both served",
            (0.5, 0.8),
            (Contender::Sdk(Sdk { many_records: true, ..Sdk::new(Get, 64) }), GET),
            "64 callers. The many records are more than the node's block cache of 256 MiB, and less than the \
             machine's memory. They are measured when the compaction that follows their load has ended, or after \
             300 s of it.",
        )
    },
    rate(
        "counter-etcd",
        "contended CAS: 64 callers on one counter, useful increments per second, against etcd's",
        (6.0, 12.0),
        (Contender::Sdk(Sdk::new(Counter, 64)), Contender::Etcd { workload: Counter, callers: 64 }),
        "An increment is a read and as many compare-and-swaps as it takes; on both sides a conflict brings the \
         present record along, so that it takes no second read. Only increments that succeed count.",
    ),
];

/// Rows by their names; all of them where none is named.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        let known = || ROWS.map(|row| row.name).join(", ");
        ROWS.iter()
            .find(|row| row.name == name)
            .ok_or_else(|| format!("no row is named `{name}`; known: {}", known()))
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_stretch_beyond_its_target() {
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<HashSet<_>>().len(), ROWS.len());
        for row in &ROWS {
            assert!(row.direction.is_met(row.stretch, row.target), "{}", row.name);
            assert!(!row.direction.is_met(row.target, row.stretch), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let names: Vec<_> =
            chosen(&["scan".into(), "import".into()]).unwrap().iter().map(|row| row.name).collect();
        assert_eq!(names, ["scan", "import"]);
        assert!(chosen(&["nothing".into()]).unwrap_err().contains("known: get-redis-benchmark, "));
    }
}
