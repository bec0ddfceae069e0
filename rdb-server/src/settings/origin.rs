use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use rdb_engine_api::Error;

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nothing was said about it.
    Default,
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// What a program finds when it checks its settings: see [`Settings::check`](super::Settings::check).
#[derive(Debug)]
pub struct Findings {
    origins: HashMap<String, Origin>,
    is_check: bool,
    pub(super) problems: Vec<Error>,
    pub(super) notes: Vec<String>,
}

impl Findings {
    pub(super) fn new(origins: HashMap<String, Origin>, is_check: bool) -> Self {
        Self { origins, is_check, problems: Vec::new(), notes: Vec::new() }
    }

    /// Where the value of a setting comes from; settings are named as flags are, without the dashes.
    pub fn origin(&self, setting: &str) -> &Origin {
        self.origins.get(setting).unwrap_or(&Origin::Default)
    }

    /// Whether anything was said about a setting.
    pub fn is_given(&self, setting: &str) -> bool {
        *self.origin(setting) != Origin::Default
    }

    /// Whether a setting was given as a flag.
    pub fn is_flag(&self, setting: &str) -> bool {
        matches!(self.origin(setting), Origin::Flag(_))
    }

    /// Whether the settings are checked and nothing else (`--check-config`), so that a look into the files that they
    /// name is worth its time.
    pub fn is_check(&self) -> bool {
        self.is_check
    }

    /// Refuses the settings, for one reason; there may be more.
    pub fn refuse(&mut self, problem: Error) {
        self.problems.push(problem);
    }

    /// Has a line logged once logs are there: a setting that has no effect, for example.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
