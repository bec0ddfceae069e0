//! Where exports go, and how transfers end before their end.

use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdb_client::EngineExt;
use rdb_engine_mem::MemConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::shell::{HEEDFUL, Ran, SIGNALS, Shell, ended, send, serve_engine, start_through};
use crate::{NeverAnswers, key};

/// A node with one record, and a directory.
async fn one_record() -> (Shell, TempDir) {
    let shell = Shell::new().await;
    shell.engine.put(&key("k"), "v").await.unwrap();
    (shell, tempfile::tempdir().unwrap())
}

async fn export(shell: &Shell, path: &Path) -> Ran {
    let line = ["export", "--format", "tsv", "--output"].map(OsStr::new);
    shell.rdb(line.into_iter().chain([path.as_os_str()])).await
}

async fn sh(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().await.unwrap().success(), "{script}");
}

#[tokio::test]
async fn an_export_to_a_pipe_goes_through_it_and_leaves_it_a_pipe() {
    let (shell, directory) = one_record().await;
    let pipe = directory.path().join("pipe");
    sh(&format!("mkfifo {}", pipe.display())).await;
    let reading = tokio::task::spawn_blocking({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    let ran = timeout(Duration::from_secs(10), export(&shell, &pipe)).await.unwrap();
    assert_eq!((ran.code, reading.await.unwrap()), (0, b"k\tv\n".to_vec()), "{}", ran.err);
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_export_through_a_link_to_a_pipe_leaves_both() {
    // A pipe of our own stands for every device: run as root, a regression would destroy a real one.
    let (shell, directory) = one_record().await;
    let [pipe, link] = ["pipe", "link"].map(|name| directory.path().join(name));
    sh(&format!("mkfifo {}", pipe.display())).await;
    symlink("pipe", &link).unwrap();
    // Opened to read and write, so that neither side waits for the other.
    let _open = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let ran = timeout(Duration::from_secs(10), export(&shell, &link)).await.unwrap();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(export(&shell, directory.path()).await.code, 1, "a directory is no place to write to");
}

#[tokio::test]
async fn an_export_replaces_what_a_link_leads_to_and_keeps_its_permissions() {
    let (shell, directory) = one_record().await;
    let [file, link, nowhere] = ["file", "link", "nowhere"].map(|name| directory.path().join(name));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    symlink("file", &link).unwrap();
    symlink("new", &nowhere).unwrap();
    for path in [&link, &nowhere] {
        let ran = export(&shell, path).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(std::fs::symlink_metadata(path).unwrap().is_symlink());
        assert_eq!(std::fs::read(path).unwrap(), b"k\tv\n");
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
}

#[tokio::test]
async fn a_dash_and_dev_stdout_are_standard_output() {
    let (shell, _) = one_record().await;
    for path in ["-", "/dev/stdout"] {
        let ran = export(&shell, Path::new(path)).await;
        assert_eq!((ran.code, ran.out.as_slice()), (0, &b"k\tv\n"[..]), "{}", ran.err);
        assert!(ran.err.starts_with("exported 1 record at version "), "{}", ran.err);
    }
    assert!(!Path::new("-").exists());
}

#[tokio::test]
async fn a_signal_ends_an_import_with_what_was_acknowledged() {
    for (signal, code, name) in SIGNALS {
        let shell = Shell::new().await;
        let mut child = start_through(&HEEDFUL, &shell.endpoint, ["import", "--format", "tsv", "-"]);
        let mut stdin = child.stdin.take().unwrap();
        // More than a batch, less than two: the first is sent, the rest is being gathered.
        let text: String = (0..1_500).map(|line| format!("{line}\tv\n")).collect();
        stdin.write_all(text.as_bytes()).await.unwrap();
        let stored = async { while shell.text("scan --count-only").await != "1000\n" {} };
        timeout(Duration::from_secs(10), stored).await.expect("the first batch is stored");

        send(signal, &child).await;
        let ran = ended(child).await;
        assert_eq!(ran.code, code, "{}", ran.err);
        let said = format!(
            "rdb: {name}\n1000 records had been acknowledged; all lines before 1001 were acknowledged; "
        );
        assert!(ran.err.starts_with(&said), "{}", ran.err);
        drop(stdin);
    }
}

#[tokio::test]
async fn a_signal_ends_an_export_and_leaves_no_file() {
    let mem = rdb_engine_mem::open(&MemConfig::default()).unwrap();
    let node = serve_engine(Arc::new(NeverAnswers(mem))).await;
    for (signal, code, name) in SIGNALS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.tsv");
        let args = [OsStr::new("--timeout"), OsStr::new("1m"), OsStr::new("export"), OsStr::new("--output")];
        let args = args.into_iter().chain([path.as_os_str()]);
        let child = start_through(&HEEDFUL, &node.addr().to_string(), args);
        let begun = async {
            while std::fs::read_dir(directory.path()).unwrap().count() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), begun).await.expect("the unfinished file is there");
        send(signal, &child).await;
        let ran = ended(child).await;
        assert_eq!((ran.code, ran.err), (code, format!("rdb: {name}; export is not whole\n")));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_signal_ends_an_export_whose_reader_takes_nothing() {
    let shell = Shell::new().await;
    for name in ["a", "b"] {
        shell.engine.put(&key(name), vec![b'v'; 1 << 20]).await.unwrap();
    }
    let mut child = start_through(&HEEDFUL, &shell.endpoint, ["export", "--format", "tsv"]);
    let mut stdout = child.stdout.take().unwrap();
    // What was written is far more than a pipe takes, and of it one byte is read.
    timeout(Duration::from_secs(10), stdout.read_u8()).await.unwrap().unwrap();
    send("TERM", &child).await;
    let status = timeout(Duration::from_secs(10), child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(143));
    drop(stdout);
}

#[tokio::test]
async fn a_signal_that_was_to_be_ignored_is_ignored() {
    let shell = Shell::new().await;
    let heedless = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let mut child = start_through(&heedless, &shell.endpoint, ["import", "--format", "tsv", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let text: String = (0..1_001).map(|line| format!("{line}\tv\n")).collect();
    stdin.write_all(text.as_bytes()).await.unwrap();
    let stored = async { while shell.text("scan --count-only").await != "1000\n" {} };
    timeout(Duration::from_secs(10), stored).await.expect("the first batch is stored");
    send("HUP", &child).await;
    drop(stdin);
    let ran = ended(child).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with(b"imported 1001 records "), "{}", ran.out.escape_ascii());
}
