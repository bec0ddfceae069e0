//! The settings of a server program: one clap command is the one definition, and a TOML file, the environment
//! and flags fill it, each over the one before.
//!
//! A program derives [`clap::Parser`] for a struct of its own, flattens the groups that it wants ([`NodeArgs`],
//! [`EngineArgs`], [`LimitArgs`]), and implements [`Settings`]. [`Program::load`] adds flags for logs, for the
//! file, for completions and a manual page, and does the rest. `rdb-server` and `rdb-pd` are such programs.
//!
//! - A setting is named as its flag, without the dashes: `max-scans`. `max_scans` is the same.
//! - Its variable is the program's prefix and its name: `FLAREDB_MAX_SCANS`. An empty one counts as unset.
//! - The file is flat: `max-scans = 100`. All of it has to make sense, also what a flag overrides.
//!
//! ```no_run
//! use rdb_server::settings::{EngineArgs, Findings, LimitArgs, NodeArgs, Program, Settings};
//!
//! /// Serves something.
//! #[derive(Debug, clap::Parser)]
//! #[command(name = "something", version)]
//! struct Something {
//!     #[command(flatten)]
//!     engine: EngineArgs,
//!     #[command(flatten)]
//!     node: NodeArgs,
//!     #[command(flatten)]
//!     limits: LimitArgs,
//! }
//!
//! impl Settings for Something {
//!     fn check(&self, findings: &mut Findings) {
//!         self.engine.check(&self.limits.limits(), self.limits.history(), findings);
//!         self.node.check(self.limits.max_message_bytes(), findings);
//!     }
//!
//!     fn computed(&self) -> Vec<(&'static str, String)> {
//!         let needed = self.limits.max_message_bytes();
//!         vec![("max-message-size", self.node.max_message_size(needed).to_string())]
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let program = Program::new("SOMETHING_").default("listen", "127.0.0.1:0").default("ops-listen", "127.0.0.1:0");
//!     let settings: Something = match program.load() {
//!         Ok(settings) => settings,
//!         Err(ended) => return ended,
//!     };
//!     let (limits, history) = (settings.limits.limits(), settings.limits.history());
//!     rdb_server::run(settings.node.config(), move || settings.engine.open(&limits, history))
//! }
//! ```

mod asked;
mod engine;
mod file;
mod layers;
mod limits;
mod logs;
mod node;
mod origin;
mod pd;
mod print;
mod program;
mod units;

pub use engine::{EngineArgs, EngineName};
pub use limits::LimitArgs;
pub use node::NodeArgs;
pub use origin::{Findings, Origin};
pub use pd::{HostPort, PdArgs, PdConfig, PdTls};
pub use program::{Program, Settings};
pub use units::{Size, Time};
