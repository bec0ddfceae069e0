//! The contract's cases, run on this engine.

mod direct {
    mod rocks {
        use rdb_engine_api::conformance::LocalHarness;
        use rdb_engine_rocks::RocksConfig;

        fn harness() -> LocalHarness {
            LocalHarness::new(|directory, limits| {
                let mut config = RocksConfig::new(directory);
                config.local.limits = limits;
                rdb_engine_rocks::open(&config)
            })
        }

        rdb_engine_api::conformance_suite!(harness());
        rdb_engine_api::power_cut_suite!(harness());

        mod log {
            use std::sync::Arc;

            use rdb_engine_api::{Batch, Durability, Engine, Key, Outcome, WriteOptions};
            use rdb_engine_rocks::{RocksConfig, RocksEngine, open_with_statistics};

            async fn put(engine: &RocksEngine, name: String, level: Option<Durability>) -> Durability {
                let mut options = WriteOptions::default();
                options.durability = level;
                let batch = Batch::new().put(Key::new(name).expect("the name is a key"), "v");
                let Ok(Outcome::Committed(commit)) = engine.write(batch, options).await else {
                    panic!("a put commits (C4)");
                };
                commit.durability
            }

            /// C9: RocksDB's log is synced for every group in which anyone asked for it, the default
            /// included, and for no other.
            #[tokio::test(flavor = "multi_thread")]
            async fn c09_the_log_is_synced_with_every_synced_group_and_not_without_one() {
                let directory = tempfile::tempdir().unwrap();
                let (engine, statistics) = open_with_statistics(&RocksConfig::new(directory.path())).unwrap();
                let engine = Arc::new(engine);
                for number in 0..10 {
                    let before = statistics.wal_syncs();
                    let level = if number % 2 == 0 { None } else { Some(Durability::Synced) };
                    assert_eq!(put(&engine, format!("synced {number}"), level).await, Durability::Synced);
                    assert_eq!(statistics.wal_syncs(), before + 1, "one write, one synced group");
                }
                let before = statistics.wal_syncs();
                for number in 0..20 {
                    let level = if number % 2 == 0 { Durability::Volatile } else { Durability::Process };
                    assert!(put(&engine, format!("not synced {number}"), Some(level)).await >= level);
                }
                assert_eq!(statistics.wal_syncs(), before, "nobody asked for a sync");

                let writers: Vec<_> = (0..256)
                    .map(|number| {
                        let engine = Arc::clone(&engine);
                        tokio::spawn(async move { put(&engine, format!("together {number}"), None).await })
                    })
                    .collect();
                for writer in writers {
                    assert_eq!(writer.await.unwrap(), Durability::Synced);
                }
                let groups = statistics.wal_syncs() - before;
                assert!((1..=200).contains(&groups), "256 writers at once share their syncs: {groups}");
                engine.close().await.unwrap();
            }
        }
    }
}
