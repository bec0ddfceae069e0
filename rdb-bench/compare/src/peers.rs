//! The programs that are measured, started and stopped by this one, and what asks them.

mod bare;
mod etcd;
mod node;
mod redis;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

pub(crate) use bare::{Bare, serve};
pub(crate) use etcd::Etcd;
pub(crate) use node::Node;
pub(crate) use redis::{Persistence, Redis};

use crate::failure::Result;
use crate::process;

/// Finds a program in the folders of `PATH`.
fn find(program: &str, package: &str) -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(program));
    let found = paths.find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed; on Debian: apt-get install {package}").into())
}

/// A port that was free a moment ago, for programs that cannot choose one themselves.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The versions of the rivals that are installed.
pub(crate) async fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for program in ["etcd", "redis-server"] {
        if let Ok(path) = find(program, "") {
            versions.push((program.to_owned(), version(&path).await));
        }
    }
    versions
}

/// The version that a program tells of itself: the first word with a number in front, or with `v=` before it.
async fn version(program: &Path) -> String {
    let told = process::output(program, &["--version".to_owned()]).await.unwrap_or_default();
    let mut words = told.split_whitespace().map(|word| word.trim_start_matches("v="));
    words.find(|word| word.starts_with(|it: char| it.is_ascii_digit())).unwrap_or("unknown").to_owned()
}

fn strings<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<String> {
    arguments.into_iter().map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect()
}

/// How a target tells an error.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// How a target answers what it cannot do.
pub(crate) fn unsupported<T>(what: &str) -> rdb_bench::Result<T> {
    Err(format!("{what} is not measured here"))
}
