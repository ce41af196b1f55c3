//! What to import, from where.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::remote::Place;

/// The variable with the password for the source.
pub(super) const FROM_PASSWORD: &str = "IMPORT_FROM_PASSWORD";
/// The variable with the password for the target.
pub(super) const TO_PASSWORD: &str = "IMPORT_TO_PASSWORD";

/// What to import, from where to where.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArguments {
    /// Server to copy from: HOST, HOST:PORT or http://HOST:PORT/CONTEXT, also https://
    ///
    /// Over https the authorities of this machine are trusted, or those in the file that the variable
    /// SSL_CERT_FILE names.
    #[arg(long, value_name = "URL")]
    pub from: Place,

    /// Server to copy to [default: http://127.0.0.1:8848, with --dry-run none]
    #[arg(long, value_name = "URL")]
    pub to: Option<Place>,

    /// User at the source, if it wants a log-in
    #[arg(long, value_name = "NAME")]
    pub from_user: Option<String>,

    /// File with the password of that user
    #[arg(long, value_name = "FILE", requires = "from_user")]
    pub from_password_file: Option<PathBuf>,

    /// User at the target, if it wants a log-in
    #[arg(long, value_name = "NAME")]
    pub to_user: Option<String>,

    /// File with the password of that user
    #[arg(long, value_name = "FILE", requires = "to_user")]
    pub to_password_file: Option<PathBuf>,

    /// API to read the source by [default: found out]
    #[arg(long, value_enum, value_name = "API", default_value_t = SourceApi::Auto)]
    pub from_api: SourceApi,

    /// Only this namespace, by its id; may be given many times [default: all]
    #[arg(long = "namespace", value_name = "ID")]
    pub namespaces: Vec<String>,

    /// Also create services that have default settings and no persistent instances
    ///
    /// Without it they come into being when their clients register, and go with the last of them.
    /// Created here, they stay until somebody deletes them.
    #[arg(long)]
    pub all_services: bool,

    /// Only say what would be done
    ///
    /// Without --to, or if nobody answers there, everything is counted as new: the target need not run
    /// yet.
    #[arg(long)]
    pub dry_run: bool,

    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
}

/// An API that a source is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceApi {
    /// Whatever it answers.
    Auto,
    /// That of Nacos 1.x and 2.x.
    V1,
    /// The API for administrators of Nacos 3.x.
    V3,
}

impl ImportArguments {
    /// Where to copy to. Only a dry run can do without.
    pub(super) fn target(&self) -> Option<Place> {
        match &self.to {
            None if self.dry_run => None,
            None => Some(Place::local()),
            given => given.clone(),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected whole seconds, 1 to 3600".to_owned()),
    }
}

const EXAMPLES: &str = "\
Examples:
  naming-server import --from http://nacos:8848 --dry-run
  naming-server import --from http://nacos:8848 --from-user nacos --to http://127.0.0.1:8848

It ends with 0 if everything is at the target, with 1 if something could not be taken, and says what.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::{Arguments, Command};

    fn parse(line: &str) -> Result<super::ImportArguments, String> {
        let words = ["naming-server", "import"].into_iter().chain(line.split_whitespace());
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Some(Command::Import(import)) = arguments.command else { panic!("another command") };
        Ok(*import)
    }

    #[test]
    fn the_target_is_the_server_on_this_machine_unless_said() {
        let import = parse("--from nacos").unwrap();
        assert_eq!(import.from.to_string(), "http://nacos:8848/nacos");
        assert_eq!(import.target().unwrap().to_string(), "http://127.0.0.1:8848/nacos");
        assert_eq!(parse("--from nacos --dry-run").unwrap().target(), None);
        let aimed = parse("--from nacos --to a --dry-run").unwrap().target();
        assert_eq!(aimed.unwrap().to_string(), "http://a:8848/nacos");
        assert_eq!((import.dry_run, import.all_services), (false, false));
        assert_eq!(import.timeout.as_secs(), 30);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, part) in [
            ("", "--from"),
            ("--from ftp://a", "no address"),
            ("--from a --timeout 0", "1 to 3600"),
            ("--from a --from-password-file f", "--from-user"),
            ("--from a --to-user u --from-password-file f", "--from-user"),
        ] {
            let refusal = parse(line).unwrap_err();
            assert!(refusal.contains(part), "{line}: {refusal}");
        }
    }
}
