//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use naming_client::{
    Error, Instance, InstanceKey, InstanceSettings, NameError, NamingClient, ServiceName,
    ServicePattern, ServiceQuery,
};

use crate::profiles::Profiles;

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
    /// Servers, separated by commas; 127.0.0.1:8848 unless the profile says otherwise
    #[arg(long, global = true, env = "NAMING_SERVERS")]
    servers: Option<String>,
    /// Namespace id; public unless the profile says otherwise
    #[arg(long, global = true, env = "NAMING_NAMESPACE")]
    namespace: Option<String>,
    /// auto, grpc or http
    #[arg(long, global = true, env = "NAMING_TRANSPORT")]
    transport: Option<String>,
    /// User, for servers that want a log-in
    #[arg(long, global = true, env = "NAMING_USER", requires = "password")]
    user: Option<String>,
    /// Password of the user; better given by the variable than on the command line
    #[arg(long, global = true, env = "NAMING_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Authorities to trust (PEM), for servers that are named https://host:port
    #[cfg(feature = "tls")]
    #[arg(long, global = true, env = "NAMING_CA")]
    ca: Option<PathBuf>,
    /// Certificate to show (PEM)
    #[cfg(feature = "tls")]
    #[arg(long, global = true, env = "NAMING_CERTIFICATE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[cfg(feature = "tls")]
    #[arg(long, global = true, env = "NAMING_KEY")]
    key: Option<PathBuf>,
    /// Settings of that name in the file of profiles
    #[arg(long, global = true, env = "NAMING_PROFILE")]
    profile: Option<String>,
    /// The file of profiles; ~/.config/naming/profiles.toml unless named
    #[arg(long, global = true, env = "NAMING_PROFILES")]
    profiles_file: Option<PathBuf>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

impl Connection {
    pub(crate) async fn client(&self) -> Result<NamingClient, crate::Problem> {
        let profile = Profiles::read(self.profiles_file.as_ref())?;
        let profile = profile.choose(self.profile.as_deref())?;
        let first = |own: &Option<String>, other: Option<String>| own.clone().or(other);
        let servers = first(&self.servers, profile.servers);
        let namespace = first(&self.namespace, profile.namespace);
        let mut builder = NamingClient::builder()
            .servers([servers.unwrap_or_else(|| "127.0.0.1:8848".to_owned())])
            .namespace(namespace.unwrap_or_default())
            .application("naming");
        if let Some(transport) = first(&self.transport, profile.transport) {
            builder = builder.transport(transport.parse()?);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            builder = builder.credentials(user, password);
        } else if let Some(file) = profile.credentials_file {
            builder = builder.credentials_file(file);
        }
        #[cfg(feature = "tls")]
        {
            let mut tls = naming_client::Tls::new();
            if let Some(ca) = self.ca.clone().or(profile.ca) {
                tls = tls.ca_file(ca);
            }
            let own = self.certificate.clone().or(profile.certificate);
            if let (Some(certificate), Some(key)) = (own, self.key.clone().or(profile.key)) {
                tls = tls.identity_files(certificate, key);
            }
            builder = builder.tls(tls);
        }
        #[cfg(not(feature = "tls"))]
        if profile.ca.or(profile.certificate).or(profile.key).is_some() {
            return Err(
                "the profile has certificates, and this program is built without TLS".into()
            );
        }
        Ok(builder.build().await?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs: one value a line
    Json,
    /// For both
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services of a group
    Services {
        /// The group, * for all
        #[arg(long, default_value = "*")]
        group: String,
    },
    /// Look at a service, make, change or remove it
    #[command(subcommand)]
    Service(ServiceCommand),
    /// List the instances of a service
    Instances(Query),
    /// Register an instance and keep it alive until Ctrl-C
    Register(Wanted),
    /// Set weight, metadata or openness of an instance as an operator
    Set(Change),
    /// List the clients that the server knows, or show one
    Clients {
        /// Id of a client
        id: Option<String>,
    },
    /// List the servers of the cluster
    Members,
    /// Show changes of a service as they come, until Ctrl-C
    Watch(Query),
    /// Show services that come and go, until Ctrl-C
    WatchServices {
        /// Pattern of names, such as order-* or group@@*
        #[arg(default_value = "*@@*")]
        pattern: ServicePattern,
    },
    /// Tell why instances of a service came and went lately
    Why {
        /// Service, or group@@service
        service: ServiceName,
        /// Most events shown
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// List, make and remove namespaces
    #[command(subcommand)]
    Ns(NsCommand),
    /// List, make, change and remove users
    #[command(subcommand)]
    Users(UsersCommand),
    /// Tell which server is spoken to, and how
    Status,
    /// Write a script that completes command lines
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Show its settings
    Show {
        /// Service, or group@@service
        service: ServiceName,
    },
    /// Make it, before anything is registered
    Create {
        /// Service, or group@@service
        service: ServiceName,
        /// Share of healthy instances at or below which all are shown as healthy
        #[arg(long, default_value_t = 0.0)]
        protect_threshold: f64,
        /// Metadata, as key=value; may be repeated
        #[arg(long, value_parser = key_value)]
        metadata: Vec<(String, String)>,
    },
    /// Set its protect threshold
    Threshold {
        /// Service, or group@@service
        service: ServiceName,
        /// Share of healthy instances, 0 to 1
        share: f64,
    },
    /// Remove it
    Delete {
        /// Service, or group@@service
        service: ServiceName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NsCommand {
    /// List them
    List,
    /// Make one
    Create {
        /// Its id
        id: String,
        /// Its name for people; the id unless named
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove one
    Delete {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List them
    List,
    /// Make one
    Create(NewPassword),
    /// Give one another password
    Password(NewPassword),
    /// Remove one
    Delete {
        /// The user
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewPassword {
    /// The user
    pub(crate) name: String,
    /// The password; better given by the variable than on the command line
    #[arg(long, env = "NAMING_NEW_PASSWORD", hide_env_values = true)]
    pub(crate) new_password: String,
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

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Change {
    /// Service, or group@@service
    pub(crate) service: ServiceName,
    /// Address and port, such as 10.0.0.1:8080
    address: SocketAddr,
    /// Cluster
    #[arg(long, default_value = "DEFAULT")]
    cluster: String,
    /// Weight, 0 to 10000
    #[arg(long, group = "what")]
    weight: Option<f64>,
    /// Whether it gets calls
    #[arg(long, group = "what")]
    enabled: Option<bool>,
    /// Metadata that takes the place of what there is, as key=value; may be repeated
    #[arg(long, value_parser = key_value, group = "what")]
    metadata: Vec<(String, String)>,
}

impl Change {
    pub(crate) async fn make(&self, client: &NamingClient) -> Result<(), Error> {
        let ip = self.address.ip().to_string();
        let key = InstanceKey { ip: &ip, port: self.address.port(), cluster: &self.cluster };
        let metadata = self.metadata.iter().cloned().collect();
        let settings = InstanceSettings {
            weight: self.weight,
            enabled: self.enabled,
            metadata: (!self.metadata.is_empty()).then_some(metadata),
        };
        client.operator().set_instance(&self.service, key, &settings).await
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
        assert!(Arguments::try_parse_from(["naming", "set", "s", "10.0.0.1:1"]).is_err());
    }
}
