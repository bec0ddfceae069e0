use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Result;

/// How long a program may take until it serves.
const START: Duration = Duration::from_secs(120);
/// How long a program may take to end that was asked to.
const END: Duration = Duration::from_secs(60);

/// A program that this one started. It is killed, by its process id, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The command line, without the folders of program and data.
    line: String,
    /// Its standard output, for as long as it is read.
    output: Option<Lines<BufReader<ChildStdout>>>,
}

impl Process {
    /// Starts a program; whatever is `folder` in its arguments is shown as `DIR`.
    pub(crate) fn start(program: &Path, arguments: &[String], folder: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", name(program)))?;
        let output = child.stdout.take().map(|output| BufReader::new(output).lines());
        Ok(Self { child, line: shown(program, arguments, folder), output })
    }

    /// Its command line, without machine paths.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it prints a line that begins so, and returns the line's rest.
    pub(crate) async fn printed(&mut self, beginning: &str) -> Result<String> {
        let Some(output) = &mut self.output else { return Err("its output is not read any more".into()) };
        let found = timeout(START, async {
            while let Some(line) = output.next_line().await? {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return Ok(Some(rest.to_owned()));
                }
            }
            Ok::<_, std::io::Error>(None)
        });
        match found.await.map_err(|_| format!("it does not serve in time: {}", self.line))?? {
            Some(rest) => Ok(rest),
            None => Err(format!("it ended instead of serving: {}", self.line).into()),
        }
    }

    /// Reads its output and throws it away from now on, so that it never waits for a reader.
    pub(crate) fn ignore_output(&mut self) {
        if let Some(mut output) = self.output.take() {
            tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        }
    }

    /// Waits until a question is answered.
    pub(crate) async fn serves<T, F: Future<Output = Result<T>>>(
        &mut self,
        ask: impl Fn() -> F,
    ) -> Result<T> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended instead of serving: {}: {status}", self.line).into());
            }
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Asks it to end in good order, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        // The one way without unsafe code to send a signal that can be handled.
        Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        timeout(END, self.child.wait()).await.map_err(|_| format!("it does not end: {}", self.line))??;
        Ok(())
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// What a program prints that ends by itself.
pub(crate) async fn output(program: &Path, arguments: &[String]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot start {}: {error}", name(program)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", name(program), said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command line as it is told.
pub(crate) fn shown(program: &Path, arguments: &[String], folder: &Path) -> String {
    let folder = folder.display().to_string();
    let arguments = arguments.iter().map(|argument| match argument.replace(&folder, "DIR") {
        argument if argument.is_empty() => "''".to_owned(),
        argument => argument,
    });
    [name(program)].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn name(program: &Path) -> String {
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}
