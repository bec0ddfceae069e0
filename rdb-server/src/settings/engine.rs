//! The one place that knows engines by name.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use rdb_engine_api::{Durability, Engine, Error, ErrorKind, History, Limits, LocalOptions, Result};

use super::{Findings, Size};

/// Which engine stores, and where.
#[derive(Clone, Debug, Args)]
#[non_exhaustive]
pub struct EngineArgs {
    /// The engine that stores
    #[arg(long, value_enum, default_value_t = EngineName::Rocks)]
    pub engine: EngineName,

    /// Where rocks and sled keep their data; made where it is missing
    #[arg(long, value_name = "DIRECTORY", default_value = "flaredb-data")]
    pub data_dir: PathBuf,

    /// The durability of writes that ask for none [default: the engine's best]
    #[arg(long, value_name = "LEVEL", value_parser = durability())]
    pub default_durability: Option<Durability>,

    /// The memory for cached data, of rocks and sled
    #[arg(long, value_name = "SIZE", default_value_t = Size(256 << 20))]
    pub cache_size: Size,
}

/// The engines, compiled in or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum EngineName {
    /// RocksDB: production; writes are on stable storage before they are answered
    Rocks,
    /// sled: writes survive the process, not a power cut
    Sled,
    /// Memory: everything is gone with the process
    Mem,
}

impl EngineName {
    /// The name, as `--engine` takes it; also that of the cargo feature.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rocks => "rocks",
            Self::Sled => "sled",
            Self::Mem => "mem",
        }
    }

    /// The best durability that the engine reaches (C9).
    pub const fn best_durability(self) -> Durability {
        match self {
            Self::Rocks => Durability::Synced,
            Self::Sled => Durability::Process,
            Self::Mem => Durability::Volatile,
        }
    }

    const fn is_compiled_in(self) -> bool {
        match self {
            Self::Rocks => cfg!(feature = "rocks"),
            Self::Sled => cfg!(feature = "sled"),
            Self::Mem => cfg!(feature = "mem"),
        }
    }
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(Durability::ALL.map(Durability::name))
        .try_map(|name| name.parse::<Durability>())
}

impl EngineArgs {
    /// Refuses what opening the engine would, and flags without effect; notes other settings without effect.
    pub fn check(&self, limits: &Limits, history: History, findings: &mut Findings) {
        if !self.engine.is_compiled_in() {
            findings.refuse(not_compiled_in(self.engine));
        }
        if let Err(error) = self.options(limits, history).check(self.engine.best_durability()) {
            findings.refuse(error.with("engine", self.engine.name()));
        }
        if self.engine == EngineName::Mem {
            let durable =
                (history == History::Durable).then_some(("watch-history", "mem is gone with the process"));
            let always = [("data-dir", "mem stores nothing on disk"), ("cache-size", "mem has no cache")];
            for (setting, why) in always.into_iter().chain(durable) {
                if findings.is_flag(setting) {
                    let message = format!("--{setting} and --engine mem contradict each other: {why}");
                    findings.refuse(Error::new(ErrorKind::InvalidArgument, message));
                } else if findings.is_given(setting) {
                    findings.note(format!("{setting} of {} is ignored: {why}", findings.origin(setting)));
                }
            }
        }
    }

    /// The durability of writes that ask for none.
    pub fn default_durability(&self) -> Durability {
        self.default_durability.unwrap_or(self.engine.best_durability())
    }

    /// Opens the engine.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where it is not compiled in; what opening it reports.
    pub fn open(&self, limits: &Limits, history: History) -> Result<Arc<dyn Engine>> {
        match self.engine {
            EngineName::Rocks => open_rocks(self, self.options(limits, history)),
            EngineName::Sled => open_sled(self, self.options(limits, history)),
            EngineName::Mem => open_mem(self, self.options(limits, history)),
        }
    }

    /// Where the engine keeps its data; none for one that keeps nothing.
    pub fn directory(&self) -> Option<PathBuf> {
        (self.engine != EngineName::Mem).then(|| self.data_dir.clone())
    }

    fn options(&self, limits: &Limits, history: History) -> LocalOptions {
        let mut options = LocalOptions::default();
        options.limits = limits.clone();
        options.default_durability = self.default_durability;
        options.history = history;
        options
    }
}

#[cfg(feature = "rocks")]
fn open_rocks(args: &EngineArgs, options: LocalOptions) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_rocks::RocksConfig::new(&args.data_dir);
    config.local = options;
    config.block_cache_bytes = args.cache_size.0;
    Ok(Arc::new(rdb_engine_rocks::open(&config)?))
}

#[cfg(feature = "sled")]
fn open_sled(args: &EngineArgs, options: LocalOptions) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_sled::SledConfig::new(&args.data_dir);
    config.local = options;
    config.cache_bytes = args.cache_size.0 as u64;
    Ok(Arc::new(rdb_engine_sled::open(&config)?))
}

#[cfg(feature = "mem")]
fn open_mem(_: &EngineArgs, options: LocalOptions) -> Result<Arc<dyn Engine>> {
    let mut config = rdb_engine_mem::MemConfig::default();
    config.local = options;
    // Nothing is there afterwards that could be read.
    config.local.history = History::Memory;
    Ok(Arc::new(rdb_engine_mem::open(&config)?))
}

#[cfg(not(feature = "rocks"))]
use missing as open_rocks;

#[cfg(not(feature = "sled"))]
use missing as open_sled;

#[cfg(not(feature = "mem"))]
use missing as open_mem;

#[cfg(not(all(feature = "rocks", feature = "sled", feature = "mem")))]
fn missing(args: &EngineArgs, _: LocalOptions) -> Result<Arc<dyn Engine>> {
    Err(not_compiled_in(args.engine))
}

fn not_compiled_in(engine: EngineName) -> Error {
    let name = engine.name();
    let message = "this program was built without the engine; build it with the cargo feature of that name";
    Error::new(ErrorKind::Unsupported, message).with("engine", name).with("feature", name)
}

#[cfg(all(test, any(feature = "rocks", feature = "sled", feature = "mem")))]
mod tests {
    use super::*;

    #[test]
    fn each_engine_says_of_itself_what_its_name_says_of_it() {
        for name in EngineName::value_variants().iter().filter(|name| name.is_compiled_in()) {
            let directory = tempfile::tempdir().unwrap();
            let args = EngineArgs {
                engine: *name,
                data_dir: directory.path().join("data"),
                default_durability: None,
                cache_size: Size(4 << 20),
            };
            // An engine starts threads of its runtime.
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let _entered = runtime.enter();
            let engine = args.open(&Limits::default(), History::Memory).unwrap();
            assert_eq!(engine.info().name, name.name());
            assert_eq!(engine.info().best_durability, name.best_durability());
            assert_eq!(engine.info().default_durability, args.default_durability());
            runtime.block_on(engine.close()).unwrap();
        }
    }
}
