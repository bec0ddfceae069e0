//! The `rdb-check` command.

fn main() {}
