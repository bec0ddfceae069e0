use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rdb_engine_api::{Key, Limits, Local, LocalOptions, Record, Result, SystemClock};

use super::double::Double;

/// A store in memory that outlives its engines, and what the defects remember about it.
#[derive(Debug)]
pub(crate) struct Lineage {
    store: Double,
    pub(crate) deleted: Mutex<HashMap<Key, Record>>,
    pub(crate) last: Mutex<Option<Key>>,
}

/// How a store was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// In the directory where it was last.
    InPlace,
    /// In a copy of that: its process has died, as far as it can tell.
    AfterACrash,
}

impl Lineage {
    pub(crate) fn open(&self, limits: Limits) -> Result<Local<Double>> {
        let mut options = LocalOptions::default();
        options.limits = limits;
        Local::open(self.store.clone(), options, Arc::new(SystemClock::new()))
    }
}

/// The stores, by the number that each has in a file of its directory: a copy of it finds the same one.
#[derive(Debug, Default)]
pub(crate) struct Lineages {
    all: Mutex<Vec<(Arc<Lineage>, PathBuf)>>,
}

impl Lineages {
    pub(crate) fn at(&self, directory: &Path) -> (Arc<Lineage>, Opened) {
        let file = directory.join("number");
        let mut all = self.all.lock();
        match fs::read_to_string(&file) {
            Ok(number) => {
                let (lineage, home) = &mut all[number.parse::<usize>().expect("the file holds a number")];
                let opened = if home == directory { Opened::InPlace } else { Opened::AfterACrash };
                directory.clone_into(home);
                (Arc::clone(lineage), opened)
            }
            Err(_) => {
                let lineage = Arc::new(Lineage {
                    store: Double::new(),
                    deleted: Mutex::default(),
                    last: Mutex::default(),
                });
                fs::write(file, all.len().to_string()).expect("the directory can be written");
                all.push((Arc::clone(&lineage), directory.to_owned()));
                (lineage, Opened::InPlace)
            }
        }
    }
}
