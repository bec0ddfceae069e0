//! The FlareDB placement driver.
