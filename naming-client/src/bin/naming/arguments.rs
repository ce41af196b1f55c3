//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use naming_client::{Error, Instance, NameError, NamingClient, ServiceName, ServiceQuery};

/// Look into a Nacos-compatible registry, and register services by hand.
#[derive(Debug, Parser)]
#[command(name = "naming", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Servers, separated by commas
    #[arg(long, global = true, env = "NAMING_SERVERS", default_value = "127.0.0.1:8848")]
    servers: String,
    /// Namespace id
    #[arg(long, global = true, env = "NAMING_NAMESPACE", default_value = "public")]
    namespace: String,
    /// User, for servers that want a log-in
    #[arg(long, global = true, env = "NAMING_USER", requires = "password")]
    user: Option<String>,
    /// Password of the user; better given by the variable than on the command line
    #[arg(long, global = true, env = "NAMING_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

impl Connection {
    pub(crate) async fn client(&self) -> Result<NamingClient, Error> {
        let mut builder = NamingClient::builder()
            .servers([&self.servers])
            .namespace(&self.namespace)
            .application("naming");
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            builder = builder.credentials(user, password);
        }
        builder.build().await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services of a group
    Services {
        /// The group, * for all
        #[arg(long, default_value = "*")]
        group: String,
    },
    /// List the instances of a service
    Instances(Query),
    /// Register an instance and keep it alive until Ctrl-C
    Register(Wanted),
    /// Show changes of a service as they come, until Ctrl-C
    Watch(Query),
    /// Tell why instances of a service came and went lately
    Why {
        /// Service, or group@@service
        service: ServiceName,
        /// Most events shown
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Service, or group@@service
    service: ServiceName,
    /// Only these clusters
    #[arg(long = "cluster")]
    clusters: Vec<String>,
}

impl Query {
    pub(crate) fn parse(&self) -> Result<ServiceQuery, NameError> {
        ServiceQuery::new(self.service.clone()).clusters(self.clusters.iter())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Service, or group@@service
    pub(crate) service: ServiceName,
    /// Address and port, such as 10.0.0.1:8080
    address: SocketAddr,
    /// Weight, 0 to 10000
    #[arg(long, default_value_t = 1.0)]
    weight: f64,
    /// Cluster
    #[arg(long, default_value = "DEFAULT")]
    cluster: String,
    /// Metadata, as key=value; may be repeated
    #[arg(long, value_parser = key_value)]
    metadata: Vec<(String, String)>,
}

impl Wanted {
    pub(crate) fn instance(&self) -> Instance {
        let instance = Instance::new(self.address.ip(), self.address.port())
            .weight(self.weight)
            .cluster(&self.cluster);
        self.metadata.iter().fold(instance, |instance, (key, value)| instance.metadata(key, value))
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_instance_is_read_from_its_arguments() {
        let line = "naming register g@@s [::1]:80 --weight 2 --metadata a=b=c --cluster x";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Register(wanted) = arguments.command else { panic!("another command") };
        let expected = Instance::new("::1", 80).weight(2.0).cluster("x").metadata("a", "b=c");
        assert_eq!(wanted.instance(), expected);
        assert!(Arguments::try_parse_from(["naming", "instances", "a b"]).is_err());
        assert!(Arguments::try_parse_from(["naming", "why", "s", "--limit", "0"]).is_err());
    }
}
