//! End-to-end tests of FlareDB.
