use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// Asks ext4 to stop at once, as when the power goes: nothing that is not on the disk gets there, the
/// journal included (`EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`). Perl, since Rust has no ioctl
/// without `unsafe`; a minimal Debian has it.
const SHUTDOWN: &str = r#"
    open(my $mount, "<", $ARGV[0]) or die "open: $!\n";
    my $how = pack("L", 2);
    ioctl($mount, 0x8004587d, $how) or die "ioctl: $!\n";
"#;

/// A small disk of its own whose power can be cut: an ext4 file system in a file. It writes back nothing by
/// itself while a case runs, so that what was not synced is lost.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Why there can be no such disk here; none where there can.
    pub(super) fn impossible() -> Option<&'static str> {
        static REASON: OnceLock<Option<String>> = OnceLock::new();
        let reason = REASON.get_or_init(|| {
            let attempt = || -> io::Result<()> {
                let home = tempfile::tempdir()?;
                Self::new(home.path())?.cut_and_restore()
            };
            attempt().err().map(|error| {
                format!("cutting the power wants root, loop mounts, mkfs.ext4 and perl here: {error}")
            })
        });
        reason.as_deref()
    }

    /// Makes a disk of which the files are in `home`.
    pub(super) fn new(home: &Path) -> io::Result<Self> {
        // Sparse. Engines set space aside in advance: RocksDB a write buffer for each log.
        const BYTES: u64 = 4 << 30;
        let disk = Self { image: home.join("disk.image"), mount: home.join("disk") };
        fs::File::create(&disk.image)?.set_len(BYTES)?;
        fs::create_dir(&disk.mount)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where its files are.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power: from now on nothing reaches the disk.
    pub(super) fn cut(&self) -> io::Result<()> {
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(&self.mount))
    }

    /// Starts again with what is on the disk. Nobody may have a file of it open any more; a file that is
    /// closed a moment from now is waited for.
    pub(super) fn restore(&self) -> io::Result<()> {
        const ATTEMPTS: u32 = 500;
        for attempt in 1.. {
            match run(Command::new("umount").arg(&self.mount)) {
                Err(error) if attempt == ATTEMPTS => return Err(error),
                #[allow(clippy::disallowed_methods)] // a blocking thread that waits for the operating system
                Err(_) => thread::sleep(Duration::from_millis(20)),
                Ok(()) => break,
            }
        }
        self.mount()
    }

    fn cut_and_restore(&self) -> io::Result<()> {
        self.cut()?;
        self.restore()
    }

    fn mount(&self) -> io::Result<()> {
        run(Command::new("mount").args(["-o", "loop,commit=600"]).arg(&self.image).arg(&self.mount))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a case that failed may have left something open. It is gone with its last file.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|error| {
        io::Error::other(format!("{} cannot be run: {error}", command.get_program().to_string_lossy()))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", command.get_program().to_string_lossy(), said.trim())))
}
