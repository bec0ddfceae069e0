use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as _, Command, CommandFactory, FromArgMatches};
use rdb_engine_api::Error;

use super::asked::{Asked, What};
use super::file::nearest;
use super::layers::{self, Environment, Unread, setting};
use super::origin::Findings;
use super::print;

/// How alike a variable and a setting have to be to be taken for one another: other programs have variables, too.
const ALIKE: f64 = 0.75;

/// What every program's help ends with. Its own examples come before it.
const HELP: &str = "\
Configuration:
  Every setting can be a key of the file that --config names, a variable of the environment, and a flag:
          drain-timeout = \"5s\"    {PREFIX}DRAIN_TIMEOUT=5s    --drain-timeout 5s
  A flag wins over a variable, a variable over the file. Sizes are in bytes or with KiB, MiB or GiB, times with
  ms, s, m or h. --print-config tells what is in force, and why; --print-config=example begins a file.

Signals:
  SIGTERM or Ctrl-C finishes what has begun and closes the engine. A second one ends at once, and so does the
  first where the engine is still being opened.

Exit codes:
  0  ended in order
  1  an error: told on standard error
  2  wrong usage or configuration; nothing was opened or made";

/// A program's own settings: a struct that derives [`clap::Parser`]. Its arguments are all named and none is
/// required: what has to be there may come from any layer, and is for [`check`](Self::check) to miss.
pub trait Settings: CommandFactory + FromArgMatches {
    /// Refuses what no single value shows: settings that contradict each other. All of it, not only the first.
    fn check(&self, findings: &mut Findings);

    /// The real values of settings without a fixed default, by name, for `--print-config`.
    fn computed(&self) -> Vec<(&'static str, String)>;
}

/// How a program takes its settings: the prefix of its variables, and where its defaults are its own.
#[derive(Clone, Debug)]
pub struct Program {
    prefix: &'static str,
    defaults: Vec<(&'static str, &'static str)>,
}

/// What is to be done with settings that make sense.
enum Read<S> {
    Run(S, Asked, Option<PathBuf>, Vec<String>),
    Print(Vec<u8>),
}

/// Why there are none: what is to be printed all the same, and the problems.
struct Refused {
    print: Vec<u8>,
    why: Unread,
}

impl From<Unread> for Refused {
    fn from(why: Unread) -> Self {
        Self { print: Vec::new(), why }
    }
}

impl Program {
    /// A program whose variables begin with a prefix, such as `FLAREDB_`.
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix, defaults: Vec::new() }
    }

    /// Gives a setting of a shared group another default.
    #[must_use]
    pub fn default(mut self, setting: &'static str, value: &'static str) -> Self {
        self.defaults.push((setting, value));
        self
    }

    /// Reads and checks the process's settings and starts its logs.
    ///
    /// # Errors
    /// The exit code that `main` is to return at once: success, where something was asked for and has been
    /// printed (help, the configuration, a manual page); 2, where the settings make no sense, which standard
    /// error tells.
    pub fn load<S: Settings>(&self) -> Result<S, ExitCode> {
        let line: Vec<OsString> = std::env::args_os().collect();
        let read = self.read(&line, &|name| std::env::var_os(name));
        match read {
            Ok(Read::Run(settings, asked, config, notes)) => {
                asked.logs.start();
                if let Some(path) = config {
                    tracing::info!(path = %path.display(), "configured by a file");
                }
                let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
                for note in notes.into_iter().chain(self.misspelt(&self.command::<S>(), names)) {
                    tracing::warn!("{note}");
                }
                Ok(settings)
            }
            Ok(Read::Print(page)) => {
                print(&page);
                Err(ExitCode::SUCCESS)
            }
            Err(Refused { print: page, why }) => {
                print(&page);
                Err(tell(why))
            }
        }
    }

    fn read<S: Settings>(&self, line: &[OsString], environment: Environment<'_>) -> Result<Read<S>, Refused> {
        let command = self.command::<S>();
        let given = layers::read_line(&command, line)?;
        let asked = Asked::of(&given).map_err(Unread::Clap)?;
        if let Some(page) = asked.page(&command) {
            return Ok(Read::Print(page));
        }
        if asked.print_config == Some(What::Example) {
            let defaults = layers::read_line(&command, &line[..line.len().min(1)])?;
            let computed = S::from_arg_matches(&defaults).map_err(Unread::Clap)?.computed();
            return Ok(Read::Print(print::example(&command, &computed).into_bytes()));
        }
        let layers = layers::read(&command, line, &given, environment)?;
        let asked = Asked::of(&layers.matches).map_err(Unread::Clap)?;
        let settings = S::from_arg_matches(&layers.matches).map_err(Unread::Clap)?;
        let mut findings = Findings::new(layers.origins, asked.check_config);
        settings.check(&mut findings);

        let page = match (asked.print_config, asked.check_config) {
            (Some(_), _) => {
                print::effective(&command, &layers.matches, &settings.computed(), &findings).into_bytes()
            }
            (None, true) if findings.problems.is_empty() => b"ok\n".to_vec(),
            _ => Vec::new(),
        };
        if !findings.problems.is_empty() {
            return Err(Refused { print: page, why: Unread::Problems(findings.problems) });
        }
        Ok(match page.is_empty() {
            true => Read::Run(settings, asked, layers.config, findings.notes),
            false => Read::Print(page),
        })
    }

    /// Variables that are no setting and look like one. They may be another program's, so they are no error.
    fn misspelt(&self, command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
        let known: Vec<&str> = command
            .get_arguments()
            .filter_map(|arg| arg.get_env())
            .filter_map(|name| name.to_str())
            .collect();
        // Without what all have in common, which would make all alike.
        let rest = |name: &str| name.strip_prefix(self.prefix).map(str::to_owned);
        let short: Vec<String> = known.iter().filter_map(|name| rest(name)).collect();
        let is_strange = |name: &String| {
            let others = ["FLAREDB_PD_", "FLAREDB_CLIENT_"];
            !known.contains(&name.as_str())
                && !others.iter().any(|other| *other != self.prefix && name.starts_with(other))
        };
        let note = |name: String| {
            let meant = nearest(&rest(&name)?, short.iter().map(String::as_str), ALIKE)?;
            Some(format!("variable {name} is no setting; did you mean {}{meant}?", self.prefix))
        };
        names.filter(is_strange).filter_map(note).collect()
    }

    /// The one definition of all settings.
    fn command<S: Settings>(&self) -> Command {
        let own = S::command();
        let about = own.get_about().cloned();
        // The group's own description would take the place of the program's.
        let command = Asked::augment_args(own).about(about.unwrap_or_default()).long_about(None);
        debug_assert!(
            self.defaults.iter().all(|(own, _)| command.get_arguments().any(|arg| setting(arg) == Some(own))),
            "a default for a setting that there is not: {:?}",
            self.defaults
        );
        let examples = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        let help = examples + &HELP.replace("{PREFIX}", self.prefix);
        command.after_help(help).max_term_width(110).mut_args(|arg| {
            let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
            let own = self.defaults.iter().find(|(setting, _)| *setting == long);
            let arg = match own {
                Some((_, value)) => arg.default_value(*value),
                None => arg,
            };
            let has_variable = setting(&arg).is_some() || long == "config";
            if !has_variable || arg.get_env().is_some() {
                return arg.hide_env_values(true);
            }
            let variable = format!("{}{}", self.prefix, long.to_uppercase().replace('-', "_"));
            arg.env(variable).hide_env_values(true)
        })
    }
}

/// Whether anyone reads it does not matter.
fn print(page: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(page).and_then(|()| out.flush());
}

fn tell(why: Unread) -> ExitCode {
    match why {
        Unread::Clap(error) => {
            let _ = error.print();
            // Help is no error.
            if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
        Unread::Problems(problems) => {
            let problems: Vec<String> = problems.iter().map(Error::report).collect();
            // As clap tells what it finds wrong itself.
            eprintln!("error: {}\n\nFor more information, try '--help'.", problems.join("\nerror: "));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EngineArgs, LimitArgs, NodeArgs, PdArgs};

    /// What a node takes.
    #[derive(Debug, clap::Parser)]
    #[command(name = "node", version)]
    struct Everything {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        pd: PdArgs,
    }

    impl Settings for Everything {
        fn check(&self, _: &mut Findings) {}

        fn computed(&self) -> Vec<(&'static str, String)> {
            Vec::new()
        }
    }

    fn read(program: &Program, line: &str, environment: &[(&str, &str)]) -> Everything {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let given = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        match program.read(&line, &given) {
            Ok(Read::Run(settings, ..)) => settings,
            Ok(Read::Print(_)) => panic!("nothing to print was asked for"),
            Err(refused) => panic!("{:?}", refused.why),
        }
    }

    #[test]
    fn a_variable_that_looks_like_a_setting_is_noted_and_another_programs_is_not() {
        let program = Program::new("FLAREDB_");
        let command = program.command::<Everything>();
        let misspelt = |name: &str| program.misspelt(&command, [name.to_owned()].into_iter());
        assert_eq!(
            misspelt("FLAREDB_MAX_SCAN"),
            ["variable FLAREDB_MAX_SCAN is no setting; did you mean FLAREDB_MAX_SCANS?"]
        );
        for name in [
            "FLAREDB_MAX_SCANS",
            "FLAREDB_PD_LISTEN",
            "FLAREDB_CLIENT_TLS_CERT",
            "FLAREDB_ENDPOINTS",
            "FLAREDB_TIMEOUT",
            "FLAREDB_CONNECT_TIMEOUT",
            "FLAREDB_PRINT",
            "FLAREDB_PD",
            "PATH",
        ] {
            assert!(misspelt(name).is_empty(), "{name}");
        }
        let program = Program::new("FLAREDB_PD_");
        let command = program.command::<Everything>();
        let misspelt = program.misspelt(&command, ["FLAREDB_PD_LISTNE".to_owned()].into_iter());
        assert_eq!(misspelt, ["variable FLAREDB_PD_LISTNE is no setting; did you mean FLAREDB_PD_LISTEN?"]);
    }

    #[test]
    fn the_definition_is_consistent() {
        Program::new("FLAREDB_").command::<Everything>().debug_assert();
    }

    #[test]
    fn a_program_has_a_prefix_and_defaults_of_its_own() {
        let program =
            Program::new("OTHER_").default("listen", "127.0.0.1:1").default("data-dir", "elsewhere");
        let settings = read(&program, "other", &[("FLAREDB_MAX_SCANS", "7"), ("OTHER_MAX_SCANS", "9")]);
        assert_eq!(settings.node.listen.port(), 1);
        assert_eq!(settings.engine.data_dir.to_str(), Some("elsewhere"));
        assert_eq!(settings.limits.limits().max_scans, 9);
        assert_eq!(read(&program, "other --listen [::1]:2", &[]).node.listen.port(), 2);
    }

    #[test]
    fn without_a_word_all_is_as_the_library_has_it() {
        let settings = read(&Program::new("FLAREDB_"), "node", &[]);
        assert_eq!(format!("{:?}", settings.node.config()), format!("{:?}", crate::NodeConfig::default()));
        assert_eq!(settings.limits.limits(), rdb_engine_api::Limits::default());
        assert_eq!(settings.pd.config(), None);
    }

    #[test]
    fn lists_come_from_variables_too() {
        let environment = [("FLAREDB_PD", "a:1,b:2"), ("FLAREDB_PD_CA", "ca"), ("FLAREDB_ADVERTISE", "n:3")];
        let settings = read(&Program::new("FLAREDB_"), "node", &environment);
        let pd = settings.pd.config().unwrap();
        assert_eq!(pd.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(pd.advertise.unwrap().as_str(), "n:3");
        assert_eq!(pd.tls.unwrap().authorities.to_str(), Some("ca"));
    }

    /// Both may be started with the same environment.
    #[test]
    fn no_variable_of_a_node_is_one_of_the_placement_driver() {
        let variables = |prefix| -> Vec<OsString> {
            let command = Program::new(prefix).command::<Everything>();
            let arguments = command.get_arguments();
            arguments.filter_map(|arg| Some(arg.get_env()?.to_owned())).collect()
        };
        let node = variables("FLAREDB_");
        assert!(node.contains(&"FLAREDB_PD_CA".into()));
        let own = variables("FLAREDB_PD_");
        let of_groups = own.iter().filter(|name| {
            name.to_str().is_some_and(|name| {
                // A placement driver has none itself.
                name.starts_with("FLAREDB_PD_")
                    && !["CA", "CERT", "KEY"].contains(&&name["FLAREDB_PD_".len()..])
            })
        });
        for variable in of_groups {
            assert!(!node.contains(variable), "{variable:?}");
        }
    }
}
