//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::LogFormat;
use crate::{ExportArguments, ImportArguments, MigrateCommand, Probe, RestoreArguments};

/// A service registry that Nacos 1.x clients can use.
///
/// Settings come from the file, then from variables, flags and --set; the later wins. A variable is
/// named after its key: http.max_connections is NAMING_HTTP__MAX_CONNECTIONS.
#[derive(Debug, Default, Clone, Parser)]
#[command(name = "naming-server", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address to listen on: IPv4, IPv6 or a host name [default: 0.0.0.0]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,

    /// TCP port to listen on, 0 for any free one [default: 8848]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,

    /// Address clients and members reach this server at: HOST or HOST:PORT [default: found out]
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,

    /// Addresses of all members of the cluster [default: none, serve alone]
    #[arg(long, value_name = "IP:PORT,...")]
    pub members: Option<String>,

    /// File with the secret that the members of a cluster share
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// Folder of the durable data [default: one of the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Keep nothing on disk
    #[arg(long, conflicts_with = "data_dir")]
    pub in_memory: bool,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting by its key; may be given many times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,

    /// Understand the variables of the image of Nacos, as MODE and NACOS_SERVERS
    #[arg(long)]
    pub nacos_env: bool,

    /// Form of the log lines on standard error [default: text]
    #[arg(long, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,

    /// Print all settings as they would be used, as TOML, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// What the program does beside serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Copy what a running Nacos 1.x, 2.x or 3.x keeps into a running server
    ///
    /// Namespaces, services with their settings and those of their clusters, and persistent
    /// instances. Nothing is changed at the source and nothing is removed at the target; what
    /// differs at the target becomes as it is at the source. It may be run again at any time.
    /// Ephemeral instances are not copied: their clients register them. Nor are switches, users and
    /// permissions.
    ///
    /// Passwords come from a file, from the variable IMPORT_FROM_PASSWORD or IMPORT_TO_PASSWORD, or
    /// are asked for.
    Import(Box<ImportArguments>),
    /// Check settings, and the files that they name, without starting
    ///
    /// Settings are those of the same flags, file and variables. Exits with 0 if a server would take
    /// them. A server that runs takes a changed file by itself, or refuses it as a whole.
    CheckConfig,
    /// Save what is durable into one file, from a running server or from a folder
    ///
    /// Namespaces, services with their settings, persistent instances, what operators set of
    /// instances, users with the hashes of their passwords, roles and permissions. Not in it:
    /// ephemeral instances, which their clients register, and switches.
    ///
    /// The password of the administrator comes from a file, from the variable BACKUP_PASSWORD, or is
    /// asked for.
    Export(Box<ExportArguments>),
    /// Put such a file back, into a running server or into the folder of one that is stopped
    ///
    /// Unless told otherwise it adds what is missing, and does nothing at all if anything that is
    /// there would have to change. It may be broken off and run again.
    Restore(Box<RestoreArguments>),
    /// Help for moving a running cluster, step by step
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Ask the server that runs here with the same settings how it is
    ///
    /// Exits with 0 if it is well. For containers, which have no other program to ask with.
    Probe {
        /// What to ask.
        probe: Probe,
    },
    /// Users of this server, while authentication is on
    #[command(subcommand)]
    User(UserCommand),
}

/// What can be done to users.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Make a user, in the data folder of a server that is stopped or through one that runs
    ///
    /// The first administrator is made in the folder: the one that the server would use with the
    /// same settings. With --server an administrator makes another user. Passwords come from files,
    /// from the variables USER_ADD_PASSWORD and USER_ADD_AS_PASSWORD, or are asked for.
    Add(UserAddArguments),
}

/// The new user, and where to write it.
#[derive(Debug, Default, Clone, Args)]
pub struct UserAddArguments {
    /// Name of the user
    pub name: String,

    /// The user may do everything
    #[arg(long)]
    pub admin: bool,

    /// File with the password; the end of its line does not count
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Address of a running server to ask, http://host:port
    #[arg(long, value_name = "URL", requires = "as_user", conflicts_with_all = ["data_dir", "config", "settings"])]
    pub server: Option<String>,

    /// Administrator to be there
    #[arg(long = "as", value_name = "NAME", requires = "server")]
    pub as_user: Option<String>,

    /// File with the password of that administrator
    #[arg(long, value_name = "FILE", requires = "server")]
    pub as_password_file: Option<PathBuf>,

    /// Folder of the durable data [default: that of a server with these settings]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// TOML file with the settings of the server
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting by its key; may be given many times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

impl UserAddArguments {
    /// The command line of the server whose folder is meant: `outer` is what stood before the
    /// command, what stands behind it wins.
    pub fn server_arguments(&self, outer: &Arguments) -> Arguments {
        let mut arguments = outer.clone();
        arguments.data_dir = self.data_dir.clone().or(arguments.data_dir);
        arguments.config = self.config.clone().or(arguments.config);
        arguments.settings.extend(self.settings.iter().cloned());
        arguments
    }
}

const EXAMPLES: &str = "\
Examples:
  naming-server                                   serve on port 8848 of all interfaces
  naming-server --bind 127.0.0.1 --port 0         only for this machine, on any free port
  naming-server --members 10.0.0.1:8848,10.0.0.2:8848,10.0.0.3:8848 --secret-file cluster.secret
                                                  serve as one of three
  naming-server --data-dir /var/lib/naming-server serve with its data there
  naming-server --set http.max_connections=50000  change one setting
  naming-server --print-config > naming.toml      write down all settings, to be edited
  naming-server --config naming.toml              and use them
  naming-server import --from http://nacos:8848   copy what a running Nacos keeps
  naming-server export backup.json --as root      save what is durable
  naming-server user add --admin root             make the first administrator
  naming-server user add guest --server http://10.0.0.1:8848 --as root
                                                  make another user through a running server

SIGTERM and Ctrl-C stop it within five seconds, after the requests in flight.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn without_a_command_it_serves() {
        Arguments::command().debug_assert();
        let arguments = Arguments::try_parse_from(["naming-server", "--port", "9"]).unwrap();
        assert_eq!((arguments.command.is_none(), arguments.port), (true, Some(9)));
        Arguments::try_parse_from(["naming-server", "nonsense"]).unwrap_err();
    }

    #[test]
    fn settings_of_the_server_may_stand_on_both_sides_of_a_command() {
        let line = "naming-server --data-dir a --set port=1 user add --admin root --data-dir b --set port=2";
        let outer = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::User(UserCommand::Add(add))) = &outer.command else { panic!("{line}") };
        assert_eq!((&*add.name, add.admin), ("root", true));
        let arguments = add.server_arguments(&outer);
        assert_eq!(arguments.data_dir.unwrap().to_str(), Some("b"));
        assert_eq!(arguments.settings, ["port=1", "port=2"]);
        Arguments::try_parse_from("naming-server user add root --password x".split(' '))
            .unwrap_err();
    }
}
