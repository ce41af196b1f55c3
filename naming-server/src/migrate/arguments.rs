//! What to check, and where.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::remote::Place;

/// The variable with the password of the user.
pub(super) const PASSWORD: &str = "MIGRATE_PASSWORD";
/// Servers that one command asks.
const MAX_SERVERS: usize = 64;

/// What can be done for a migration.
#[derive(Debug, Clone, Subcommand)]
pub enum MigrateCommand {
    /// Compare the views of all servers and say whether the next step may be taken
    ///
    /// Each server is asked for its list of members, their states, its own state, the switch `check`
    /// and its number of instances. The command changes nothing, at servers of either kind.
    Check(Box<CheckArguments>),
    /// Say what a migration comes to, and which step is next, with its commands
    ///
    /// Each Java server is asked for its version, its list and the clients of configuration that are
    /// connected; ports are tried. The command changes nothing.
    Plan(Box<PlanArguments>),
    /// Compare what all servers list, and show what differs
    ///
    /// Each server is asked for its services and the instances that it shows to clients. What differs
    /// is looked at again a few times: changes are under way for a second or two. The command changes
    /// nothing. The exit code is 0 if all list the same, 1 if not.
    Status(Box<StatusArguments>),
}

/// Which servers are compared.
#[derive(Debug, Clone, Args)]
pub struct StatusArguments {
    /// Every server that runs, of either kind: HOST, HOST:PORT or http://HOST:PORT/CONTEXT
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', required = true)]
    pub servers: Vec<Place>,

    /// How long to wait for the answers of one server, in seconds from 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub timeout: Duration,
}

/// Which servers a migration is about.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// The Java servers: HOST, HOST:PORT or http://HOST:PORT/CONTEXT
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', required = true)]
    pub java: Vec<Place>,

    /// The servers that are to take their place, as the lists will write them
    #[arg(long, value_name = "IP:PORT,...", value_delimiter = ',', value_parser = address, required = true)]
    pub new: Vec<String>,

    /// How long to wait for the answers of one server, in seconds from 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub timeout: Duration,
}

/// Whether servers of Nacos judge beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// They do.
    On,
    /// They do not.
    Off,
}

impl Switch {
    pub(super) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// What to check, and where.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArguments {
    /// Every server that runs, of either kind: HOST, HOST:PORT or http://HOST:PORT/CONTEXT
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', required = true)]
    pub servers: Vec<Place>,

    /// The list that every server must have, as it is written there [default: the servers asked]
    ///
    /// Members that are not asked need not run yet.
    #[arg(long, value_name = "IP:PORT,...", value_delimiter = ',', value_parser = address)]
    pub expect: Vec<String>,

    /// What the switch `check` must be at every server of Nacos [default: the same at all]
    #[arg(long, value_enum, value_name = "on|off")]
    pub health_check: Option<Switch>,

    /// By how many instances the servers may differ
    ///
    /// Those that come and go in these seconds, and persistent ones that were not imported.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub instances_may_differ: u64,

    /// How long to wait until the servers agree, in seconds from 0 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = pause)]
    pub within: Duration,

    /// How long the servers must agree without a break, in seconds from 0 to 3600
    #[arg(long = "for", value_name = "SECONDS", default_value = "0", value_parser = pause)]
    pub hold: Duration,

    /// How long to wait for the answers of one server, in seconds from 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub timeout: Duration,

    /// User, for servers that want a log-in
    #[arg(long, visible_alias = "username", value_name = "NAME")]
    pub user: Option<String>,

    /// File with the password of that user
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
}

impl CheckArguments {
    /// # Errors
    /// More servers than one command asks.
    pub(crate) fn ensure_bounded(&self) -> Result<(), String> {
        match self.servers.len() {
            0..=MAX_SERVERS => Ok(()),
            many => Err(format!("--servers: {many} servers, more than {MAX_SERVERS}")),
        }
    }
}

fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok() && !text.contains(['/', ' ', ','])
    });
    match has_port {
        true => Ok(text.to_owned()),
        false => Err("expected HOST:PORT, as the list of members writes it".to_owned()),
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    seconds(text, 0, 3_600)
}

fn deadline(text: &str) -> Result<Duration, String> {
    seconds(text, 1, 60)
}

fn seconds(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("expected whole seconds, {least} to {most}")),
    }
}

const EXAMPLES: &str = "\
Examples:
  naming-server migrate check --servers 10.0.0.1:8848,10.0.0.2:8848,10.0.0.3:8848
  naming-server migrate check --servers $JAVA --expect $JAVA,$NEW --health-check off

The exit code is 0 if the next step may be taken, 1 if not; the last line says so in words.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Arguments, Command};

    fn parse(line: &str) -> Result<CheckArguments, String> {
        let words = ["naming-server", "migrate", "check"].into_iter().chain(line.split(' '));
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        match arguments.command {
            Some(Command::Migrate(MigrateCommand::Check(check))) => Ok(*check),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn servers_and_lists_are_read() {
        let check = parse("--servers a:1,b --expect a:1,b:8848 --health-check off --for 60");
        let check = check.unwrap();
        let servers: Vec<String> = check.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["http://a:1/nacos", "http://b:8848/nacos"]);
        assert_eq!(check.expect, ["a:1", "b:8848"]);
        assert_eq!(check.health_check, Some(Switch::Off));
        assert_eq!((check.within.as_secs(), check.hold.as_secs()), (30, 60));
        assert!(check.ensure_bounded().is_ok());
    }

    #[test]
    fn bad_arguments_are_refused_by_name() {
        for (line, part) in [
            ("--expect a:1", "--servers"),
            ("--servers a --expect b", "--expect"),
            ("--servers a --expect http://b:1", "--expect"),
            ("--servers a --health-check maybe", "--health-check"),
            ("--servers a --timeout 0", "1 to 60"),
            ("--servers a --within 3601", "0 to 3600"),
            ("--servers a --password-file f", "--user"),
        ] {
            let refusal = parse(line).unwrap_err();
            assert!(refusal.contains(part), "{line}: {refusal}");
        }
        let many = vec!["a"; MAX_SERVERS + 1].join(",");
        let refusal = parse(&format!("--servers {many}")).unwrap().ensure_bounded().unwrap_err();
        assert!(refusal.contains("--servers"), "{refusal}");
    }
}
