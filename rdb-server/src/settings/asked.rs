use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches as _, ValueEnum};
use clap_complete::Shell;

use super::logs::LogArgs;

/// What every program takes beside its own settings.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) logs: LogArgs,

    /// The configuration file, TOML: `max-scans = 100` for --max-scans 100
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,

    /// Print every setting with its value and where that comes from, as a configuration file, and end
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "effective", help_heading = "Configuration")]
    pub(super) print_config: Option<What>,

    /// Say `ok` or all that is wrong with the settings, and end; nothing is opened
    #[arg(long, conflicts_with = "print_config", help_heading = "Configuration")]
    pub(super) check_config: bool,

    /// Print what completes this command line in a shell, and end
    #[arg(long, value_name = "SHELL", value_enum, help_heading = "Configuration")]
    completions: Option<Shell>,

    /// Print the manual page, in roff, and end
    #[arg(long, help_heading = "Configuration")]
    man: bool,
}

/// Which configuration to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// What is in force
    Effective,
    /// Every setting with its description and its default, all of it commented out
    Example,
}

impl Asked {
    pub(super) fn of(matches: &ArgMatches) -> clap::error::Result<Self> {
        Self::from_arg_matches(matches)
    }

    /// What is made of the definitions alone, where it is asked for.
    pub(super) fn page(&self, command: &Command) -> Option<Vec<u8>> {
        let mut page = Vec::new();
        if let Some(shell) = self.completions {
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut command.clone(), name, &mut page);
        } else if self.man {
            page = man(command);
        }
        (!page.is_empty()).then_some(page)
    }
}

/// The manual page. The text behind the options is kept as it is laid out, under headings of its own.
fn man(command: &Command) -> Vec<u8> {
    let command = command.clone().mut_args(|arg| match arg.get_env().and_then(|name| name.to_str()) {
        Some(variable) => {
            let help = format!("{} [env: {variable}]", arg.get_help().cloned().unwrap_or_default());
            arg.help(help)
        }
        None => arg,
    });
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    // A vector takes all that is written to it.
    let _ = page
        .render_title(&mut text)
        .and_then(|()| page.render_name_section(&mut text))
        .and_then(|()| page.render_synopsis_section(&mut text))
        .and_then(|()| page.render_description_section(&mut text))
        .and_then(|()| page.render_options_section(&mut text));
    let mut paragraphs = String::new();
    for line in examples.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => {
                paragraphs.push_str(&format!(".fi\n.SH {}\n.nf\n", heading.to_uppercase()));
            }
            // No line of the text begins a request, and no backslash an escape.
            _ => paragraphs.push_str(&format!("\\&{}\n", line.replace('\\', "\\e"))),
        }
    }
    text.extend(paragraphs.trim_start_matches(".fi\n").bytes());
    text.extend(b".fi\n");
    text
}
