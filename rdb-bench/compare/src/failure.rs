use std::error::Error;

/// Why something cannot be measured, in words for whoever reads the table.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What measuring gives.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;
