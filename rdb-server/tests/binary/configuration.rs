//! The file, the environment and flags: what is in force, where it comes from, what is refused.

use crate::harness::{Ended, FREE_PORTS, Running, file, get, mem, printed, program, run};

fn line<'a>(config: &'a str, setting: &str) -> &'a str {
    let found = config.lines().find(|line| line.starts_with(&format!("{setting} = ")));
    found.unwrap_or_else(|| panic!("no `{setting}` in\n{config}"))
}

#[test]
fn a_flag_wins_over_its_variable_that_over_the_file_and_that_over_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        &directory,
        "engine = 'mem'\n\n# a comment\nmax_scans = 1\nmax-connections = 2\nmax-in-flight = 3\ninsecure = true\n",
    );
    let mut command = program();
    command
        .env("FLAREDB_CONFIG", &path)
        .env("FLAREDB_MAX_CONNECTIONS", "20")
        .env("FLAREDB_MAX_IN_FLIGHT", "30");
    command.args(["--print-config", "--max-in-flight", "300", "--insecure=false"]);
    let Ended { code, out, error } = run(&mut command);
    assert_eq!((code, &error[..]), (Some(0), ""));
    let path = path.display();
    assert_eq!(line(&out, "engine"), format!("engine = \"mem\"  # {path}:1"));
    assert_eq!(line(&out, "max-scans"), format!("max-scans = 1  # {path}:4"));
    assert_eq!(line(&out, "max-connections"), "max-connections = 20  # FLAREDB_MAX_CONNECTIONS");
    assert_eq!(line(&out, "max-in-flight"), "max-in-flight = 300  # --max-in-flight");
    assert_eq!(line(&out, "insecure"), "insecure = false  # --insecure");
    assert_eq!(line(&out, "listen"), "listen = \"127.0.0.1:7440\"  # default");
}

#[test]
fn the_file_of_a_flag_wins_over_that_of_the_variable() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "max-scans = 1");
    let mut command = program();
    command.env("FLAREDB_CONFIG", "/no/such/file").args(["--print-config", "--engine", "mem", "--config"]);
    let Ended { code, out, .. } = run(command.arg(path));
    assert_eq!(code, Some(0));
    assert!(line(&out, "max-scans").starts_with("max-scans = 1 "));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let mut command = program();
    command.env("FLAREDB_LISTEN", "").env("FLAREDB_CONFIG", "").env("FLAREDB_TLS_CERT", "");
    let Ended { code, out, .. } = run(command.args(["--engine", "mem", "--print-config"]));
    assert_eq!(code, Some(0));
    assert_eq!(line(&out, "listen"), "listen = \"127.0.0.1:7440\"  # default");
    assert!(out.contains("# tls-cert is not set\n"), "{out}");
}

#[test]
fn computed_defaults_show_their_value() {
    let out = printed(&["--engine", "mem", "--print-config"]);
    assert_eq!(line(&out, "default-durability"), "default-durability = \"volatile\"  # default");
    let size = line(&out, "max-message-size");
    assert!(size.ends_with("KiB\"  # default") || size.ends_with("MiB\"  # default"), "{size}");
    let larger = printed(&["--engine", "mem", "--max-batch-size", "64MiB", "--print-config"]);
    assert_ne!(line(&larger, "max-message-size"), size);
}

#[test]
fn what_is_printed_is_a_configuration_of_the_same_values() {
    let directory = tempfile::tempdir().unwrap();
    let values = |config: &str| -> Vec<String> {
        let value = |line: &str| line.split("  # ").next().unwrap().to_owned();
        config.lines().filter(|line| !line.starts_with('#')).map(value).collect()
    };
    let printed_first = printed(&[
        "--engine=mem",
        "--scan-idle=1500ms",
        "--max-value-size=1000",
        "--tls-cert=C:\\dir\\\"quoted\"\n.pem",
        "--tls-key=key",
        "--tls-client-ca=ca",
        "--tls-allowed-clients=a,b",
        "--pd=pd-1:7430,pd-2:7430",
        "--log=warn,rdb_server=debug",
        "--print-config",
    ]);
    assert!(printed_first.contains("tls-allowed-clients = [\"a\", \"b\"]  # --tls-allowed-clients\n"));
    let path = file(&directory, &printed_first);
    // The harness sets it, and the environment wins over the file.
    let mut command = program();
    command.env_remove("FLAREDB_LOG").arg("--config").arg(&path).arg("--print-config");
    let Ended { code, out, error } = run(&mut command);
    assert_eq!((code, &error[..]), (Some(0), ""));
    assert_eq!(values(&out), values(&printed_first));
    assert!(line(&out, "scan-idle").ends_with(&format!(
        "# {}:{}",
        path.display(),
        1 + line_number(&printed_first)
    )));
}

fn line_number(config: &str) -> usize {
    config.lines().position(|line| line.starts_with("scan-idle")).unwrap()
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line_and_its_key() {
    let directory = tempfile::tempdir().unwrap();
    for (text, line, told) in [
        ("lissten = '127.0.0.1:1'", 1, "unknown key `lissten`; did you mean `listen`?"),
        ("\n\nmax_skans = 1", 3, "unknown key `max_skans`; did you mean `max-scans`?"),
        ("qqqqqqqq = 1", 1, "unknown key `qqqqqqqq`; --print-config shows those that there are"),
        ("config = 'x'", 1, "unknown key `config`"),
        ("[node]\nlisten = 'x'", 1, "unknown key `node`"),
        ("[listen]\nx = 1", 1, "listen: expected a string in quotes, found a table; all keys are at the top"),
        ("listen = 'localhost'", 1, "listen: invalid value `localhost`: an address to listen on is"),
        ("listen = 7440", 1, "listen: expected a string in quotes, found a whole number"),
        ("max-scans = '7'", 1, "max-scans: expected a whole number, found a string"),
        ("max-scans = 0", 1, "max-scans: invalid value `0`: 0 is not in 1.."),
        ("max-scans = 1.5", 1, "max-scans: expected a whole number, found a number with a fraction"),
        ("insecure = 'yes'", 1, "insecure: expected true or false, found a string"),
        (
            "max-value-size = '4MB'",
            1,
            "max-value-size: invalid value `4MB`: a size is a whole number above 0",
        ),
        (
            "max-value-size = true",
            1,
            "expected a size, such as \"256MiB\" or a number of bytes, found true or false",
        ),
        ("drain-timeout = '10'", 1, "drain-timeout: invalid value `10`: a time is a whole number above 0"),
        ("drain-timeout = 10", 1, "drain-timeout: expected a string in quotes, found a whole number"),
        ("engine = 'leveldb'", 1, "engine: invalid value `leveldb`: expected one of rocks, sled, mem"),
        ("default-durability = 'x'", 1, "expected one of volatile, process, synced"),
        ("data-dir = ''", 1, "data-dir: invalid value ``: a value is needed"),
        ("log = 'rdb_server=loud'", 1, "log: invalid value `rdb_server=loud`"),
        ("pd = 'pd:7430'", 1, "pd: expected a list of strings, found a string"),
        ("pd = ['pd:7430', 7]", 1, "pd: expected a list of strings, found a list with a whole number in it"),
        ("pd = ['pd:7430,pd:7431']", 1, "pd: a value of the list has a comma in it"),
        ("pd = ['pd']", 1, "pd: invalid value `pd`: an address to dial is a host and a port"),
        ("max-scans = 1\nmax-scans = 2", 2, "duplicate key `max-scans`"),
        ("max-scans = 1\n\nmax_scans = 2", 3, "duplicate key `max-scans`"),
        ("max-scans = 1\nlisten = ", 2, "string values must be quoted"),
        ("listen = \"127.0.0.1:1", 1, "invalid basic string"),
    ] {
        let path = file(&directory, text);
        for also in ["--check-config", "--print-config", "--insecure"] {
            let Ended { code, out, error } =
                run(program().args(["--engine=mem", "--listen=127.0.0.1:0", also, "--config"]).arg(&path));
            assert_eq!((code, &out[..]), (Some(2), ""), "{text}: {error}");
            assert!(error.starts_with(&format!("error: {}:{line}: ", path.display())), "{text}: {error}");
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "pd = 1\nlisten = 1\nx = 1\n");
    let Ended { code, error, .. } =
        run(program().env("FLAREDB_MAX_SCANS", "many").arg("--config").arg(&path));
    assert_eq!(code, Some(2));
    let path = path.display();
    let starts = ["1: pd:", "2: listen:", "3: unknown key"].map(|start| format!("error: {path}:{start}"));
    let told: Vec<&str> = error.lines().collect();
    for (line, start) in told.iter().zip(&starts) {
        assert!(line.starts_with(start), "{error}");
    }
    assert!(
        told[3].starts_with("error: variable FLAREDB_MAX_SCANS of the environment: invalid value `many`"),
        "{error}"
    );
    assert!(error.contains("try '--help'"), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_told_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let Ended { code, error, .. } = run(program().arg("--config").arg(&missing));
    assert_eq!(code, Some(2));
    let told =
        format!("error: cannot read the configuration file. path=`{}`: No such file", missing.display());
    assert!(error.starts_with(&told), "{error}");
    let bytes = directory.path().join("bytes.toml");
    std::fs::write(&bytes, [0xff, 0xfe]).unwrap();
    let Ended { code, error, .. } = run(program().env("FLAREDB_CONFIG", &bytes));
    assert_eq!(code, Some(2));
    assert!(error.contains("bytes.toml`: stream did not contain valid UTF-8"), "{error}");
}

#[cfg(feature = "sled")]
#[test]
fn a_check_says_ok_and_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut command = program();
    command.args(["--engine", "sled", "--check-config", "--data-dir"]).arg(&data);
    let Ended { code, out, error } = run(&mut command);
    assert_eq!((code, &out[..], &error[..]), (Some(0), "ok\n", ""));
    assert!(!data.exists());
}

#[test]
fn a_contradiction_is_told_beside_the_configuration_that_holds_it() {
    let Ended { code, out, error } = run(program().args(["--engine=mem", "--tls-key=k", "--print-config"]));
    assert_eq!(code, Some(2));
    assert_eq!(line(&out, "tls-key"), "tls-key = \"k\"  # --tls-key");
    assert!(error.starts_with("error: tls-key needs tls-cert. from=`--tls-key`"), "{error}");
}

#[test]
fn only_a_flag_contradicts_an_engine_without_files_and_anything_else_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let path = file(&directory, "cache-size = '1MiB'\nwatch-history = 'durable'");
    let mut command = mem();
    command.env("FLAREDB_DATA_DIR", &data).arg("--config").arg(&path);
    let mut node = Running::start(&mut command);
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
    let error = node.error();
    assert!(error.contains("data-dir of FLAREDB_DATA_DIR is ignored: mem stores nothing on disk"), "{error}");
    assert!(
        error.contains(&format!("cache-size of {}:1 is ignored: mem has no cache", path.display())),
        "{error}"
    );
    assert!(error.contains(":2 is ignored: mem is gone with the process"), "{error}");
    assert!(!data.exists());
}

#[test]
fn a_node_serves_what_its_file_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "engine = \"mem\"\nlisten = \"127.0.0.1:0\"\nops-listen = \"127.0.0.1:0\"\n");
    let mut node = Running::start(program().arg("--config").arg(path));
    assert!(get(node.ops_addr, "/metrics").contains("engine=\"mem\""));
    node.signal("TERM");
    assert_eq!(node.end(), Some(0));
}

#[cfg(feature = "sled")]
#[test]
fn a_busy_address_is_found_before_a_data_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    for (listen, ops_listen) in [(&address[..], FREE_PORTS[3]), (FREE_PORTS[1], &address)] {
        let mut command = program();
        command.args(["--engine", "sled", "--listen", listen, "--ops-listen", ops_listen, "--data-dir"]);
        let Ended { code, error, .. } = run(command.arg(&data));
        assert_eq!(code, Some(1));
        assert!(error.starts_with("error: cannot listen") && error.contains(&address), "{error}");
        assert!(!data.exists());
    }
}

/// At a start they are an error like any other: they may come right without another setting.
#[test]
fn a_check_reads_certificates_too() {
    let mut command = program();
    command.args(["--engine=mem", "--tls-cert=/no/such.pem", "--tls-key=/no/such.key"]).args(FREE_PORTS);
    let Ended { code, error, .. } = run(&mut command);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.starts_with("error: ") && error.contains("/no/such.pem"), "{error}");
    let Ended { code, error, .. } = run(command.arg("--check-config"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.starts_with("error: ") && error.contains("/no/such.pem"), "{error}");
}

#[test]
fn an_emptied_list_of_clients_does_not_let_everybody_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        &directory,
        "engine = 'mem'\ntls-cert = 'c'\ntls-key = 'k'\ntls-client-ca = 'a'\ntls-allowed-clients = []\n",
    );
    let Ended { code, error, .. } = run(program().arg("--config").arg(&path));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("tls-allowed-clients is empty: leave it out"), "{error}");
    assert!(error.contains(":5"), "{error}");
}
