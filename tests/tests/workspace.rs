//! Who may depend on whom, read from what Cargo resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each package of this workspace may depend on, of ours, for other than its tests.
const OURS: [(&str, &[&str]); 13] = [
    ("rdb-checker", &[]),
    // For the conformance suite.
    ("rdb-engine-api", &["rdb-checker"]),
    ("rdb-engine-mem", &["rdb-engine-api"]),
    ("rdb-engine-rocks", &["rdb-engine-api"]),
    ("rdb-engine-sled", &["rdb-engine-api"]),
    ("rdb-proto", &["rdb-engine-api"]),
    // A node is a client of its placement driver.
    (
        "rdb-server",
        &[
            "rdb-client",
            "rdb-engine-api",
            "rdb-engine-mem",
            "rdb-engine-rocks",
            "rdb-engine-sled",
            "rdb-proto",
        ],
    ),
    // Serves with what a node serves with.
    ("rdb-pd", &["rdb-engine-api", "rdb-proto", "rdb-server"]),
    ("rdb-client", &["rdb-engine-api", "rdb-proto"]),
    ("rdb-cli", &["rdb-bench", "rdb-client"]),
    ("rdb-bench", &["rdb-engine-api"]),
    // The only place where an engine meets its rivals.
    (
        "rdb-bench-compare",
        &[
            "rdb-bench",
            "rdb-client",
            "rdb-engine-api",
            "rdb-engine-mem",
            "rdb-engine-rocks",
            "rdb-engine-sled",
        ],
    ),
    ("flaredb-tests", &[]),
];

/// The only packages that may name a library, for other than their tests.
const INSIDE: [(&str, &[&str]); 8] = [
    ("rocksdb", &["rdb-bench-compare", "rdb-engine-rocks"]),
    ("librocksdb-sys", &[]),
    ("sled", &["rdb-engine-sled"]),
    ("imbl", &["rdb-engine-mem"]),
    ("tonic", &["rdb-proto", "rdb-server", "rdb-pd", "rdb-client", "rdb-bench-compare"]),
    ("tonic-prost", &["rdb-proto", "rdb-server", "rdb-pd", "rdb-client", "rdb-bench-compare"]),
    ("prost", &["rdb-proto", "rdb-server", "rdb-pd", "rdb-client", "rdb-bench-compare"]),
    ("prost-types", &["rdb-proto", "rdb-server", "rdb-pd", "rdb-client"]),
];

/// Libraries that must not be anywhere below a package, with whatever features.
const NOWHERE_BELOW: [(&str, &[&str]); 7] = [
    ("rdb-engine-api", &["tonic", "prost", "rocksdb", "sled", "hyper"]),
    ("rdb-engine-mem", &["tonic", "prost", "rocksdb", "sled", "hyper"]),
    ("rdb-engine-sled", &["tonic", "prost", "rocksdb", "hyper"]),
    ("rdb-engine-rocks", &["tonic", "prost", "sled", "hyper"]),
    ("rdb-proto", &["rocksdb", "sled"]),
    ("rdb-client", &["rocksdb", "librocksdb-sys", "sled"]),
    ("rdb-cli", &["rocksdb", "librocksdb-sys", "sled"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Dev,
    Build,
}

/// Every package that Cargo resolved, all features on: its name, and what it depends on.
struct Workspace {
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
    edges: BTreeMap<String, Vec<(String, BTreeSet<Kind>)>>,
}

impl Workspace {
    fn read() -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
            // Else what other systems need is looked up too, and may have to be downloaded.
            .args(["--filter-platform", &host(), "--manifest-path", manifest])
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        Self::of(&serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON"))
    }

    fn of(metadata: &Value) -> Self {
        let packages = metadata["packages"].as_array().expect("there are packages");
        let names = packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let members = metadata["workspace_members"].as_array().expect("there are members");
        let nodes = metadata["resolve"]["nodes"].as_array().expect("there is a resolution");
        let edges = nodes.iter().map(|node| (text(&node["id"]), dependencies(node))).collect();
        Self { names, members: members.iter().map(text).collect(), edges }
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    fn member(&self, name: &str) -> &str {
        let found = self.members.iter().find(|id| self.name(id) == name);
        found.unwrap_or_else(|| panic!("no member is called `{name}`"))
    }

    /// The names of what a package itself depends on, for other than its tests.
    fn direct(&self, id: &str) -> BTreeSet<&str> {
        let of_all = self.edges.get(id).into_iter().flatten();
        of_all
            .filter(|(_, kinds)| *kinds != BTreeSet::from([Kind::Dev]))
            .map(|(to, _)| self.name(to))
            .collect()
    }

    /// The names of everything that is linked into what uses a package.
    fn below(&self, id: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            for (to, kinds) in self.edges.get(id).into_iter().flatten() {
                if kinds.contains(&Kind::Normal) && found.insert(to.as_str()) {
                    left.push(to);
                }
            }
        }
        found.into_iter().map(|id| self.name(id)).collect()
    }

    /// Every rule that is broken, in words.
    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let known: BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
        for id in &self.members {
            let name = self.name(id);
            if !known.contains(name) {
                violations.push(format!("`{name}` is not in the table of what may depend on what"));
            }
            for (library, owners) in INSIDE {
                if self.direct(id).contains(library) && !owners.contains(&name) {
                    violations.push(format!(
                        "`{name}` depends on `{library}`, which is the business of {owners:?}"
                    ));
                }
            }
        }
        for (name, allowed) in OURS {
            for ours in self.direct(self.member(name)).intersection(&known) {
                if !allowed.contains(ours) {
                    violations.push(format!("`{name}` depends on `{ours}`, which it may not"));
                }
            }
        }
        for (name, forbidden) in NOWHERE_BELOW {
            let below = self.below(self.member(name));
            for library in forbidden.iter().filter(|library| below.contains(**library)) {
                violations.push(format!("`{library}` is somewhere below `{name}`"));
            }
        }
        violations
    }
}

fn host() -> String {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc runs");
    String::from_utf8(output.stdout).expect("rustc prints text").trim().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo metadata holds text here").to_owned()
}

fn dependencies(node: &Value) -> Vec<(String, BTreeSet<Kind>)> {
    let of_node = node["deps"].as_array().expect("a node has dependencies");
    of_node
        .iter()
        .map(|dependency| {
            let kinds = dependency["dep_kinds"].as_array().expect("a dependency has kinds");
            let kinds = kinds.iter().map(|kind| match kind["kind"].as_str() {
                Some("dev") => Kind::Dev,
                Some("build") => Kind::Build,
                _ => Kind::Normal,
            });
            (text(&dependency["pkg"]), kinds.collect())
        })
        .collect()
}

#[test]
fn every_library_stays_inside_its_crate() {
    let violations = Workspace::read().violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// The check above can fail: each forbidden dependency that is slipped in is found.
#[test]
fn a_forbidden_dependency_is_found() {
    for (package, library, promised) in [
        ("rdb-engine-api", "tonic", "`tonic` is somewhere below `rdb-engine-sled`"),
        ("rdb-client", "rdb-engine-rocks", "`librocksdb-sys` is somewhere below `rdb-cli`"),
        ("rdb-server", "rocksdb", "`rdb-server` depends on `rocksdb`"),
        ("rdb-server", "sled", "`rdb-server` depends on `sled`"),
        ("rdb-cli", "tonic", "`rdb-cli` depends on `tonic`"),
        ("rdb-engine-mem", "rdb-engine-sled", "`rdb-engine-mem` depends on `rdb-engine-sled`"),
    ] {
        let mut workspace = Workspace::read();
        let to = workspace.names.iter().find(|(_, name)| *name == library).map(|(id, _)| id.clone());
        let from = workspace.member(package).to_owned();
        let edge = (to.expect("the library is in use"), BTreeSet::from([Kind::Normal]));
        workspace.edges.entry(from).or_default().push(edge);
        let violations = workspace.violations();
        assert!(violations.iter().any(|found| found.contains(promised)), "{promised}: {violations:#?}");
    }
}
