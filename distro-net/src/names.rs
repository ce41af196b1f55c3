//! Names of members, looked up at a name server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::net::TcpStream;

use crate::address::Address;
use crate::connect::{Connecting, Connector, Io};

/// What one question may take before it is asked once more.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often a question is asked.
const ATTEMPTS: usize = 2;

/// Port of name servers.
const DNS_PORT: u16 = 53;

/// A name server, `ip` or `ip:port`; port 53 if none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameServer(SocketAddr);

/// Not a name server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name server; write ip or ip:port")]
pub struct BadNameServer(pub String);

impl FromStr for NameServer {
    type Err = BadNameServer;

    fn from_str(text: &str) -> Result<Self, BadNameServer> {
        let text = text.trim();
        let bad = || BadNameServer(text.chars().take(64).collect());
        let address = text.parse::<SocketAddr>();
        let address = address.or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, DNS_PORT)));
        address.ok().filter(|address| address.port() != 0).map(Self).ok_or_else(bad)
    }
}

/// All members that the service records of a name point at, by name and port, each once.
///
/// A member is then known by a name that stays when its address changes. `server` answers; without
/// one the name servers of this machine do, which are read anew each time. Nothing is kept: an
/// answer is as old as the name server lets it be.
///
/// # Errors
/// No answer, no such name, or no name servers on this machine.
pub(crate) async fn look_up_services(
    name: &str,
    server: Option<NameServer>,
) -> io::Result<Vec<Address>> {
    let lookup = resolver(server)?.lookup(name, RecordType::SRV).await.map_err(io::Error::other)?;
    let records = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(service) => Some(service),
        _ => None,
    });
    let addresses = records.filter_map(|service| {
        let target = service.target.to_ascii();
        format!("{}:{}", target.trim_end_matches('.'), service.port).parse().ok()
    });
    Ok(addresses.collect())
}

/// All addresses of a host, as `server` knows them, with this port.
///
/// # Errors
/// No answer, or no such name.
pub(crate) async fn look_up_host(
    name: &str,
    port: u16,
    server: NameServer,
) -> io::Result<Vec<SocketAddr>> {
    let found = resolver(Some(server))?.lookup_ip(name).await.map_err(io::Error::other)?;
    Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn resolver(server: Option<NameServer>) -> io::Result<TokioResolver> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio().map_err(io::Error::other)?,
        Some(NameServer(address)) => {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            server.connections.iter_mut().for_each(|way| way.port = address.port());
            let config = ResolverConfig::from_name_servers(vec![server]);
            let mut builder =
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        }
    };
    let options = builder.options_mut();
    (options.timeout, options.attempts, options.cache_size) = (ASK_AGAIN, ATTEMPTS, 0);
    builder.build().map_err(io::Error::other)
}

/// Connects over TCP to hosts that one name server knows, whatever the machine says of them.
#[derive(Debug, Clone, Copy)]
pub struct NamedConnector(pub NameServer);

impl Connector for NamedConnector {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
            let stream = match port.parse() {
                Ok(port) if is_name => {
                    let addresses = look_up_host(host, port, self.0).await?;
                    TcpStream::connect(addresses.as_slice()).await?
                }
                _ => TcpStream::connect(address).await?,
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use parking_lot::Mutex;
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::{MemberSource, Spelling};

    /// Answers with these records, and knows no other names.
    async fn serve(records: Arc<Mutex<Vec<Record>>>) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1_232];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = Message::response(query.metadata.id, OpCode::Query);
                let question = &query.queries[0];
                answer.add_query(question.clone());
                let matches = |record: &&Record| {
                    record.name == *question.name() && record.record_type() == question.query_type()
                };
                answer.add_answers(records.lock().iter().filter(matches).cloned());
                if answer.answers.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        NameServer(address)
    }

    fn service(host: &str, port: u16) -> Record {
        let target = Name::from_ascii(format!("{host}.naming.test.")).unwrap();
        let name = Name::from_ascii("_client._tcp.naming.test.").unwrap();
        Record::from_rdata(name, 5, RData::SRV(SRV::new(0, 1, port, target)))
    }

    fn host(host: &str, address: [u8; 4]) -> Record {
        let name = Name::from_ascii(format!("{host}.naming.test.")).unwrap();
        Record::from_rdata(name, 5, RData::A(A(address.into())))
    }

    fn texts(addresses: &[Address]) -> Vec<&str> {
        addresses.iter().map(Address::as_str).collect()
    }

    #[tokio::test]
    async fn members_behind_service_records_are_known_by_their_names() {
        let records = Arc::new(Mutex::new(vec![service("Naming-1", 81), service("naming-0", 80)]));
        let server = serve(Arc::clone(&records)).await;
        let source = MemberSource::Dns {
            name: "_client._tcp.naming.test".to_owned(),
            port: 8_848,
            server: Some(server),
            period: Duration::from_millis(10),
        };
        let (first, mut watch) = source.start(Spelling::Normal).await.unwrap();
        assert_eq!(texts(&first), ["naming-0.naming.test:80", "naming-1.naming.test:81"]);
        records.lock().push(service("naming-2", 80));
        let changed = watch.changed().await;
        assert_eq!(texts(&changed)[2..], ["naming-2.naming.test:80"]);
        records.lock().clear();
        let waited = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
        assert!(waited.is_err(), "a name that nobody knows any more changes nothing");
    }

    #[tokio::test]
    async fn a_name_may_be_known_only_some_time_after_the_start() {
        let records = Arc::new(Mutex::new(Vec::new()));
        let server = serve(Arc::clone(&records)).await;
        let source = MemberSource::Dns {
            name: "naming.test".to_owned(),
            port: 80,
            server: Some(server),
            period: Duration::from_secs(5),
        };
        let later = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let name = Name::from_ascii("naming.test.").unwrap();
            let address = RData::A(A([127, 0, 0, 7].into()));
            records.lock().push(Record::from_rdata(name, 5, address));
        };
        let (started, ()) = tokio::join!(source.start(Spelling::Normal), later);
        assert_eq!(texts(&started.unwrap().0), ["127.0.0.7:80"]);
    }

    #[tokio::test]
    async fn a_host_that_moves_is_found_at_its_new_address() {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let records = Arc::new(Mutex::new(vec![host("naming-0", [127, 0, 0, 1])]));
        let connector = NamedConnector(serve(Arc::clone(&records)).await);
        let address = format!("naming-0.naming.test:{port}");
        connector.connect(&address).await.unwrap();
        first.accept().await.unwrap();
        *records.lock() = vec![host("naming-0", [127, 0, 0, 2])];
        connector.connect(&address).await.unwrap();
        second.accept().await.unwrap();
        connector.connect(&format!("127.0.0.1:{port}")).await.unwrap();
        assert!(connector.connect(&format!("other.test:{port}")).await.is_err());
    }

    #[test]
    fn a_name_server_is_an_address_with_or_without_a_port() {
        let read = |text: &str| text.parse::<NameServer>().map(|server| server.0.to_string());
        assert_eq!(read("10.96.0.10").unwrap(), "10.96.0.10:53");
        assert_eq!(read("[::1]:5353").unwrap(), "[::1]:5353");
        assert_eq!(read("::1").unwrap(), "[::1]:53");
        for bad in ["", "dns", "dns:53", "10.0.0.1:0", "10.0.0.1:x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
