use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// The machine that figures were taken on; what cannot be found out is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processors.
    pub cpu: String,
    /// How many of them this process may use at once.
    pub cores: usize,
    /// Its memory.
    pub memory_bytes: u64,
    /// The operating system.
    pub system: String,
    /// The kernel's version.
    pub kernel: String,
}

impl Machine {
    /// The machine that this runs on.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name", ':'),
            cores: available_parallelism().map_or(0, Into::into),
            memory_bytes: kibibytes(&field(&read("/proc/meminfo"), "MemTotal", ':')),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The file system that a directory is on, such as `ext4`; empty where it cannot be found out.
pub(crate) fn file_system(directory: &Path) -> String {
    let Ok(directory) = directory.canonicalize() else { return String::new() };
    mounted(&fs::read_to_string("/proc/mounts").unwrap_or_default(), &directory)
}

/// Of the mounts above the directory the lowest, and of those the last, which hides the others.
fn mounted(mounts: &str, directory: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let above = mounts.filter(|(point, _)| directory.starts_with(point));
    above.max_by_key(|(point, _)| point.components().count()).map_or("", |(_, kind)| kind).to_owned()
}

fn field(text: &str, name: &str, separator: char) -> String {
    let fields = text.lines().filter_map(|line| line.split_once(separator));
    let mut found = fields.filter(|(key, _)| key.trim() == name);
    found.next().map_or("", |(_, value)| value.trim()).to_owned()
}

fn kibibytes(text: &str) -> u64 {
    text.strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "MemTotalHuge:  1 kB\nMemTotal:       8 kB\n";
        assert_eq!(kibibytes(&field(text, "MemTotal", ':')), 8 * 1024);
        assert_eq!(field(text, "Nothing", ':'), "");
    }

    #[test]
    fn the_lowest_mount_says_the_file_system() {
        let mounts = "a / ext4 rw 0 0\nb /var xfs rw 0 0\nc /var/tmp tmpfs rw 0 0\nd /var/tmp btrfs rw 0 0\n";
        assert_eq!(mounted(mounts, Path::new("/var/tmp/x")), "btrfs");
        assert_eq!(mounted(mounts, Path::new("/var/tmpx")), "xfs");
        assert_eq!(mounted(mounts, Path::new("/home")), "ext4");
    }
}
