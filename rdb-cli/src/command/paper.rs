//! What a shell and `man` know of this command, made from its own definition.

use std::io;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::Failure;
use crate::output::Output;

/// Write a shell's completions of this command to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where a shell looks for them:
  bash  ~/.local/share/bash-completion/completions/rdb
  zsh   a file _rdb in a folder of $fpath, before compinit
  fish  ~/.config/fish/completions/rdb.fish

Example:
  rdb completions bash > ~/.local/share/bash-completion/completions/rdb")]
pub(crate) struct Completions {
    shell: Shell,
}

/// Write the manual page to standard output, or those of all commands to a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rdb man | man -l -\n  rdb man /usr/local/share/man/man1")]
pub(crate) struct Manual {
    /// The folder, which must be there
    folder: Option<PathBuf>,
}

/// Writes completions.
pub(crate) fn completions(args: &Completions, out: &mut Output) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "rdb", &mut text);
    out.bytes(&text)
}

/// Writes manual pages.
pub(crate) fn manual(args: &Manual, out: &mut Output) -> Result<(), Failure> {
    match &args.folder {
        Some(folder) => {
            let name = folder.display().to_string();
            clap_mangen::generate_to(Args::command(), folder).map_err(|error| Failure::io(&name, &error))
        }
        None => {
            let mut page = Vec::new();
            let rendered: io::Result<()> = Man::new(Args::command()).render(&mut page);
            rendered.map_err(|error| Failure::io("cannot write the manual page", &error))?;
            out.bytes(&page)
        }
    }
}
