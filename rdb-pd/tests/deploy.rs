//! What is in `deploy/` for the placement driver.
#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

use std::path::Path;
use std::process::Command;

fn printed(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdb-pd"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLAREDB_PD_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn deploy(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)).unwrap()
}

/// `rdb-pd --print-config=example >deploy/flaredb-pd.toml` writes it anew.
#[test]
fn the_example_in_deploy_is_the_one_that_is_printed() {
    assert!(
        deploy("flaredb-pd.toml") == printed(&["--print-config=example"]),
        "--print-config=example prints another"
    );
}

#[test]
fn the_configuration_of_the_image_is_accepted() {
    let containerfile = deploy("Containerfile");
    let start = "COPY <<'TOML' /etc/flaredb/flaredb-pd.toml\n";
    let toml = containerfile.split(start).nth(1).unwrap().split("TOML\n").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pd.toml");
    std::fs::write(&path, toml).unwrap();
    let arguments = ["--engine=mem", "--insecure", "--check-config", "--config", path.to_str().unwrap()];
    assert_eq!(printed(&arguments), "ok\n");
}
