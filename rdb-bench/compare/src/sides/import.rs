use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;

use crate::failure::Result;
use crate::figures::Figures;
use crate::folder::Folder;
use crate::peers::Node;
use crate::place::Place;
use crate::process;
use crate::side::Side;

/// `rdb import` of a file into a node that is new each time.
pub(crate) struct Import {
    place: Place,
    folder: Folder,
    file: PathBuf,
    how: String,
}

impl Import {
    /// Unpacks the file.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        let (folder, file) = unpacked(place).await?;
        Ok(Self { place: place.clone(), folder, file, how: String::new() })
    }
}

/// The package index as plain lines, in a folder of its own.
pub(crate) async fn unpacked(place: &Place) -> Result<(Folder, PathBuf)> {
    let packed = &place.packages;
    if !packed.is_file() {
        return Err("the package index is not here; say --packages FILE, lines of key TAB value".into());
    }
    let folder = Folder::new(&place.disk, "import")?;
    let file = folder.path().join("packages.tsv");
    if packed.extension().is_some_and(|it| it == "gz") {
        let plain = std::fs::File::create(&file)?;
        let status = Command::new("gzip")
            .arg("-dc")
            .arg(packed)
            .stdin(Stdio::null())
            .stdout(plain)
            .kill_on_drop(true)
            .status()
            .await?;
        if !status.success() {
            return Err(format!("gzip failed: {status}").into());
        }
    } else {
        std::fs::copy(packed, &file)?;
    }
    Ok((folder, file))
}

#[async_trait]
impl Side for Import {
    fn how(&self) -> String {
        self.how.clone()
    }

    async fn measure(&mut self) -> Result<Figures> {
        let node = Node::start(&self.place.server, &self.place.engine, &[], &self.place.disk).await?;
        let file = self.file.display().to_string();
        let arguments = ["--endpoints", node.address(), "-o", "json", "import", &file].map(str::to_owned);
        let told = process::output(&self.place.rdb, &arguments).await?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let line = process::shown(Path::new("rdb"), &arguments, self.folder.path());
        self.how = format!("{}; {}", node.line(), line.replace(node.address(), "ADDRESS"));
        let rate = told.get("records_per_second").and_then(serde_json::Value::as_f64);
        Ok(Figures::rate(rate.ok_or("rdb import did not tell its rate")?))
    }
}
