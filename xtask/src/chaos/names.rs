//! A name server that knows the members as that of Kubernetes knows the pods of a headless service:
//! by service records, whose names stay.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What the members look for.
const SERVICE: &str = "_client._tcp.naming.test";
/// A datagram is not longer.
const MOST_BYTES: usize = 4_096;

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct Names {
    address: SocketAddr,
    members: Arc<Mutex<Vec<(usize, SocketAddr)>>>,
    task: JoinHandle<()>,
}

impl Names {
    /// Answers at a free port of this address. Nobody is known yet.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(super) async fn serve(ip: IpAddr) -> Result<Self> {
        let socket = UdpSocket::bind((ip, 0)).await.context("open a port for names")?;
        let address = socket.local_addr()?;
        let members = Arc::<Mutex<Vec<_>>>::default();
        let known = Arc::clone(&members);
        let task = tokio::spawn(async move {
            let mut buffer = [0; MOST_BYTES];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let members = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(answer) = answer(&buffer[..length], &members) {
                    // A question whose answer is lost is asked again.
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        Ok(Self { address, members, task })
    }

    /// Who is known from now on: nodes by number, and where they are.
    pub(super) fn set(&self, members: Vec<(usize, SocketAddr)>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Settings of a node that finds the others here. The later of two settings of one key counts.
    pub(super) fn settings(&self, node: usize, address: SocketAddr) -> Vec<String> {
        vec![
            format!("advertise={}:{}", host(node), address.port()),
            "cluster.members_file=".to_owned(),
            format!("cluster.dns_name={SERVICE}"),
            format!("cluster.dns_server={}", self.address),
            "cluster.dns_period_ms=1000".to_owned(),
        ]
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn host(node: usize) -> String {
    format!("naming-{node}.naming.test")
}

/// `None` for what is no question.
fn answer(bytes: &[u8], members: &[(usize, SocketAddr)]) -> Option<Vec<u8>> {
    let query = Message::from_vec(bytes).ok()?;
    let question = query.queries.first()?;
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(question.clone());
    let asked = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let mut is_known = asked == SERVICE && !members.is_empty();
    for (node, address) in members {
        let (name, target) = (host(*node), Name::from_ascii(format!("{}.", host(*node))).ok()?);
        let data = match (question.query_type(), address.ip()) {
            (RecordType::SRV, _) if asked == SERVICE => {
                RData::SRV(SRV::new(0, 1, address.port(), target))
            }
            (RecordType::A, IpAddr::V4(ip)) if asked == name => RData::A(A(ip)),
            _ => {
                is_known |= asked == name;
                continue;
            }
        };
        is_known = true;
        answer.add_answer(Record::from_rdata(question.name().clone(), 1, data));
    }
    let code = if is_known { ResponseCode::NoError } else { ResponseCode::NXDomain };
    (answer.metadata.response_code, answer.metadata.authoritative) = (code, true);
    answer.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    fn ask(name: &str, kind: RecordType, members: &[(usize, SocketAddr)]) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        Message::from_vec(&answer(&query.to_vec().unwrap(), members).unwrap()).unwrap()
    }

    #[test]
    fn members_are_known_by_names_that_stand_for_their_addresses() {
        let members = [(0, "127.0.0.1:81".parse().unwrap()), (3, "127.0.0.2:82".parse().unwrap())];
        let services = ask("_client._tcp.naming.test.", RecordType::SRV, &members);
        assert_eq!(services.answers.len(), 2);
        let host = ask("Naming-3.naming.test.", RecordType::A, &members);
        assert_eq!(host.answers[0].data, RData::A(A::new(127, 0, 0, 2)));
        let other = ask("naming-3.naming.test.", RecordType::AAAA, &members);
        assert_eq!((other.answers.len(), other.metadata.response_code), (0, ResponseCode::NoError));
        let gone = ask("naming-3.naming.test.", RecordType::A, &members[..1]);
        assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
        assert!(answer(b"nonsense", &members).is_none());
    }
}
