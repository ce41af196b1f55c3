//! A plain client of DNS, which sees every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::server_support::TestServer;

/// No answer takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is not answered at all is not answered within this time.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// A question, to be changed before it is asked.
pub(crate) fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// The same with EDNS.
pub(crate) fn extended(name: &str, kind: RecordType, payload: u16, cookie: &[u8]) -> Message {
    let mut message = question(name, kind);
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    if !cookie.is_empty() {
        edns.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
    }
    message.set_edns(edns);
    message
}

pub(crate) fn cookie_of(answer: &Message) -> Option<Vec<u8>> {
    match answer.edns.as_ref()?.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, bytes) => Some(bytes.clone()),
        _ => None,
    }
}

pub(crate) struct Client {
    pub(crate) server: SocketAddr,
    socket: UdpSocket,
}

impl Client {
    pub(crate) fn of(server: &TestServer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { server: server.dns.expect("it answers DNS"), socket }
    }

    /// Sends bytes, and gives the bytes of the answer.
    pub(crate) fn udp(&self, bytes: &[u8]) -> Vec<u8> {
        self.try_udp(bytes, PATIENCE).expect("an answer")
    }

    pub(crate) fn try_udp(&self, bytes: &[u8], patience: Duration) -> Option<Vec<u8>> {
        self.send(bytes);
        self.receive(patience)
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).unwrap();
    }

    pub(crate) fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut answer = vec![0; 65_535];
        let (length, from) = self.socket.recv_from(&mut answer).ok()?;
        assert_eq!(from, self.server);
        answer.truncate(length);
        Some(answer)
    }

    /// Asks by UDP; the answer must be one to this question.
    #[track_caller]
    pub(crate) fn ask(&self, question: &Message) -> Message {
        let answer = Message::from_vec(&self.udp(&question.to_vec().unwrap())).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        assert_eq!(answer.queries, question.queries);
        answer
    }

    /// Asks by TCP, each on a connection of its own.
    pub(crate) fn tcp(&self, question: &Message) -> Message {
        let mut stream = self.connect();
        send(&mut stream, &question.to_vec().unwrap());
        Message::from_vec(&receive(&mut stream).expect("an answer")).unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Code and data of the answers.
    #[track_caller]
    pub(crate) fn find(&self, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
        let answer = self.ask(&question(name, kind));
        let mut data: Vec<_> = answer.answers.iter().map(|record| text(&record.data)).collect();
        data.sort();
        (answer.metadata.response_code, data)
    }

    #[track_caller]
    pub(crate) fn code(&self, name: &str, kind: RecordType) -> ResponseCode {
        self.find(name, kind).0
    }

    /// The data of answers that there must be.
    #[track_caller]
    pub(crate) fn found(&self, name: &str, kind: RecordType) -> Vec<String> {
        let (code, data) = self.find(name, kind);
        assert_eq!(code, ResponseCode::NoError);
        data
    }
}

pub(crate) fn text(data: &RData) -> String {
    data.to_string()
}

pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap();
    let mut message = length.to_be_bytes().to_vec();
    message.extend(bytes);
    stream.write_all(&message).unwrap();
}

/// `None` if the connection is closed instead.
pub(crate) fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
