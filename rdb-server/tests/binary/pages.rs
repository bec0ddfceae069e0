//! Help, completions and the manual page: all from the one definition.

use crate::harness::printed;

#[test]
fn help_teaches_with_examples() {
    let text = printed(&["--help"]);
    for part in [
        "Serves a FlareDB engine over gRPC",
        "Examples:",
        "Configuration:",
        "--config /etc/flaredb/flaredb.toml --check-config",
        "--data-dir",
        "[env: FLAREDB_DATA_DIR]",
        "[default: 127.0.0.1:7440]",
        "[default: 4MiB]",
        "[env: FLAREDB_CONFIG]",
        "Exit codes:",
        "rocks",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("FLAREDB_PRINT_CONFIG"), "{text}");
}

#[test]
fn every_setting_is_in_the_manual_page_and_in_each_shells_completions() {
    let defaults = printed(&["--engine", "mem", "--print-config"]);
    let settings = defaults.lines().filter(|line| !line.starts_with("# The")).map(|line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        line.split(' ').next().unwrap()
    });
    let settings: Vec<&str> = settings.collect();
    assert!(settings.contains(&"listen") && settings.contains(&"tls-cert"));

    let man = printed(&["--man"]);
    assert!(man.contains(".TH rdb-server 1"), "{man}");
    let man = man.replace('\\', "");
    for setting in &settings {
        assert!(man.contains(&format!("--{setting}")), "no --{setting}");
    }
    assert!(man.contains("FLAREDB_DATA_DIR") && man.contains(".SH EXIT CODES\n"), "{man}");

    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["--completions", shell]);
        for setting in &settings {
            assert!(script.contains(setting), "no {setting} for {shell}");
        }
    }
}

#[test]
fn pages_are_printed_whatever_the_configuration_is() {
    let mut command = crate::harness::program();
    command.env("FLAREDB_CONFIG", "/no/such/file").env("FLAREDB_LISTEN", "nonsense");
    let ended = crate::harness::run(command.args(["--completions", "bash"]));
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("complete "));
}
