//! What to save, and what to put back where.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::remote::Place;

/// The variable with the password of the administrator.
pub(super) const PASSWORD: &str = "BACKUP_PASSWORD";

/// Where the data is: at a running server, or in a folder that no server uses.
#[derive(Debug, Clone, Args)]
pub struct PlaceArguments {
    /// Running server, any member of a cluster: HOST, HOST:PORT or http://HOST:PORT/CONTEXT
    /// [default: http://127.0.0.1:8848]
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub server: Option<Place>,

    /// Administrator at that server, if it wants a log-in
    #[arg(long = "as", value_name = "NAME", conflicts_with = "data_dir")]
    pub user: Option<String>,

    /// File with the password of that administrator
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,

    /// Data folder of a server that is stopped
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
}

/// What to save, and where.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArguments {
    /// The backup: a file that is made, readable by its owner alone
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the data is.
    #[command(flatten)]
    pub place: PlaceArguments,

    /// Leave users, roles and permissions out
    #[arg(long)]
    pub without_accounts: bool,

    /// Take passwords of MySQL health checks along, which stand in the file as they are
    #[arg(long)]
    pub with_check_passwords: bool,

    /// Write over the file if there is one
    #[arg(long)]
    pub overwrite: bool,
}

/// What to put back, and where.
#[derive(Debug, Clone, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where to put it.
    #[command(flatten)]
    pub place: PlaceArguments,

    /// What differs there becomes as it is in the backup; what is there alone stays
    #[arg(long, conflicts_with = "replace")]
    pub merge: bool,

    /// Afterwards there is what is in the backup and nothing else
    #[arg(long)]
    pub replace: bool,

    /// Leave users, roles and permissions of the backup out, and those that are there alone
    #[arg(long)]
    pub without_accounts: bool,

    /// Take a file that somebody changed since it was made
    #[arg(long)]
    pub accept_changes: bool,

    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected whole seconds, 1 to 3600".to_owned()),
    }
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  naming-server export backup.json --as root            from the server on this machine
  naming-server export backup.json --data-dir /var/lib/naming-server

It ends with 0 if the file is whole, else there is no file.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  naming-server restore backup.json --as root --dry-run
  naming-server restore backup.json --as root           refuses to change what is there
  naming-server restore backup.json --data-dir /var/lib/naming-server

It ends with 0 if everything is there, with 1 if something is not, and says what. Run it again to go
on after an interruption.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{Arguments, Command};

    fn parse(line: &str) -> Result<Command, String> {
        let words = ["naming-server"].into_iter().chain(line.split_whitespace());
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        arguments.command.ok_or_else(|| "no command".to_owned())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "export",
            "export f --server a --data-dir b",
            "export f --as root --data-dir b",
            "export f --password-file p",
            "restore f --merge --replace",
            "restore f --timeout 0",
            "restore f --server https://u:p@a",
        ] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn a_backup_needs_a_file_and_nothing_else() {
        let Ok(Command::Export(export)) = parse("export f") else { panic!("another command") };
        assert!(export.place.server.is_none() && !export.overwrite);
        let Ok(Command::Restore(restore)) = parse("restore f --data-dir d --dry-run") else {
            panic!("another command")
        };
        assert!(restore.dry_run && !restore.merge && !restore.replace);
    }
}
