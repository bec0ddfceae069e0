//! What is in `deploy/`.

use std::path::{Path, PathBuf};

use rdb_server::settings::Time;

use crate::harness::{file, printed};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap()
}

/// `rdb-server --print-config=example >deploy/flaredb.toml` writes it anew.
#[test]
fn the_example_in_deploy_is_the_one_that_is_printed() {
    assert!(
        text("flaredb.toml") == printed(&["--print-config=example"]),
        "--print-config=example prints another"
    );
}

#[test]
fn the_example_holds_every_setting_with_its_default() {
    let directory = tempfile::tempdir().unwrap();
    let example = printed(&["--print-config=example"]);
    let path = file(&directory, &example);
    let path = path.to_str().unwrap();
    let defaults = printed(&["--engine", "mem", "--print-config"]);
    assert_eq!(printed(&["--engine", "mem", "--config", path, "--print-config"]), defaults);

    // With the # taken away: all of it is accepted but for what has to be filled in.
    let settings =
        example.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let settings: Vec<&str> = settings.collect();
    let known = defaults.lines().filter(|line| !line.starts_with("# The")).count();
    assert_eq!(settings.len(), known, "{settings:?}\n{defaults}");
    let filled =
        settings.iter().filter(|line| !line.ends_with("= \"\"") && !line.starts_with("default-durability"));
    let filled: String = filled.map(|line| format!("{line}\n")).collect();
    std::fs::write(path, filled).unwrap();
    assert_eq!(printed(&["--engine", "mem", "--config", path, "--check-config"]), "ok\n");
}

/// The directives of a unit, without its comments.
fn unit(name: &str) -> Vec<(String, String)> {
    let text = text(name);
    let directives = text.lines().filter(|line| !line.starts_with(['#', '[']));
    directives
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

#[test]
fn the_units_wait_for_the_program_longer_than_it_takes_to_end() {
    let defaults = printed(&["--engine", "mem", "--print-config"]);
    let drain = defaults.lines().find_map(|line| line.strip_prefix("drain-timeout = \"")).unwrap();
    let drain: Time = drain.split('"').next().unwrap().parse().unwrap();
    for name in ["flaredb.service", "flaredb-pd.service"] {
        let unit = unit(name);
        let get = |key: &str| &unit.iter().find(|(known, _)| known == key).unwrap().1[..];
        assert_eq!(get("Type"), "notify");
        let stop: Time = get("TimeoutStopSec").parse().unwrap();
        assert!(stop.0 > drain.0, "{name}");
        let program = if name == "flaredb.service" { "rdb-server" } else { "rdb-pd" };
        let config = name.replace(".service", ".toml");
        assert_eq!(get("ExecStart"), format!("/usr/local/bin/{program} --config /etc/flaredb/{config}"));
        assert_eq!(get("RestartPreventExitStatus"), "2");
        assert_eq!(get("WorkingDirectory"), format!("%S/{}", get("StateDirectory")));
    }
}

#[test]
fn the_images_are_built_with_the_pinned_toolchain_and_run_without_root() {
    let text = text("Containerfile");
    let toolchain = std::fs::read_to_string(deploy("../rust-toolchain.toml")).unwrap();
    let channel = toolchain.split('"').nth(1).unwrap();
    assert!(text.contains(&format!("FROM rust:{channel}-bookworm AS build\n")), "not {channel}");
    assert!(text.contains("\nUSER 10001\n"));
    for toml in text.split("COPY <<'TOML' ").skip(1) {
        let (name, rest) = toml.split_once('\n').unwrap();
        if name == "/etc/flaredb/flaredb.toml" {
            let directory = tempfile::tempdir().unwrap();
            let path = file(&directory, rest.split("TOML\n").next().unwrap());
            let path = path.to_str().unwrap();
            assert_eq!(printed(&["--engine=mem", "--insecure", "--config", path, "--check-config"]), "ok\n");
        }
    }
}
