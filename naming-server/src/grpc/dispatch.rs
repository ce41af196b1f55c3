//! From a message to its answer: the checks, in the order of Nacos, and what each kind of request
//! does.

use std::sync::Arc;

use bytes::Bytes;
use naming_model::payload::{Metadata, Payload};

use super::Front;
use super::answer::{Answer, Fields, code};
use super::body::{Empty, read};
use super::connections::Connection;
use super::kind::Kind;
use super::refusal::Refusal;
use crate::naming::Access;

/// A request of a client that has been set up.
pub(super) struct Request<'a> {
    pub(super) front: &'a Arc<Front>,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) kind: Kind,
    pub(super) metadata: &'a Metadata,
    pub(super) body: &'a Bytes,
}

/// Answers a unary call, whatever it is.
pub(super) async fn dispatch(
    front: &Arc<Front>,
    connection: &Arc<Connection>,
    payload: Payload,
) -> Answer {
    let (metadata, body) = payload.into_parts();
    let kind = Kind::of(&metadata.kind);
    let answer = match early(front, connection, kind, &metadata.kind) {
        Some(answer) => answer,
        None if kind == Kind::OfServers => front.answer_member(connection, &metadata, &body),
        None => {
            let request = Request { front, connection, kind, metadata: &metadata, body: &body };
            request.answer().await.unwrap_or_else(|refusal| refusal.answer(kind))
        }
    };
    front.stats.request(kind, answer.code);
    answer
}

/// What is answered whatever the body is.
fn early(front: &Front, connection: &Arc<Connection>, kind: Kind, name: &str) -> Option<Answer> {
    if kind == Kind::OfServers && front.peers.is_none() {
        let text = format!(" invoke {name} from sdk is forbidden");
        return Some(Answer::error(code::BAD_BODY, &text));
    }
    if !front.is_ready_for(kind, connection) {
        let text = "Server is starting, please try later.";
        return Some(Answer::error(code::STARTING, text));
    }
    if kind == Kind::ServerCheck {
        front.heard(connection);
        let fields = Fields::new()
            .text("connectionId", connection.id())
            .flag("supportAbilityNegotiation", true);
        return Some(Answer::success(kind.answer(), fields));
    }
    if kind == Kind::Unknown || front.peers.is_some() && !kind.is_of_members() {
        return Some(Answer::error(code::NO_HANDLER, "RequestHandler Not Found"));
    }
    if connection.client().is_none() {
        let text = "Connection is unregistered. No stream of this connection has been set up; a \
                    proxy between client and server must keep both on one connection.";
        return Some(Answer::error(code::UNREGISTERED, text));
    }
    None
}

impl Front {
    /// Whether this server knows enough to answer. The question whether the client is there is
    /// answered whatever the server knows.
    fn is_ready_for(&self, kind: Kind, connection: &Connection) -> bool {
        match kind {
            Kind::ServerCheck => self.is_open(connection, Access::Write),
            kind if kind.is_read() => self.is_open(connection, Access::Read),
            kind if kind.is_write() => self.is_open(connection, Access::Write),
            _ => true,
        }
    }

    /// Whether the gate is open for a client.
    pub(super) fn is_open(&self, connection: &Connection, access: Access) -> bool {
        let switches = self.registry().switches.load();
        self.naming.pass(&switches, &connection.caller(), access, true).is_ok()
    }
}

impl Request<'_> {
    async fn answer(&self) -> Result<Answer, Refusal> {
        match self.kind {
            Kind::HealthCheck => self.health_check(),
            Kind::Instance => self.instance().await,
            Kind::BatchInstance => self.batch().await,
            Kind::PersistentInstance => self.persistent().await,
            Kind::Subscribe => self.subscribe().await,
            Kind::Query => self.query().await,
            Kind::List => self.list().await,
            Kind::FuzzyWatch => self.fuzzy_watch().await,
            Kind::ConfigQuery | Kind::ConfigListen | Kind::ConfigPublish | Kind::ConfigRemove => {
                self.configuration()
            }
            Kind::ServerCheck | Kind::OfServers | Kind::Unknown => {
                unreachable!("it is answered before")
            }
        }
    }

    /// Reads the body. A client that sends a whole one is alive.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        let body = read(self.body)?;
        self.front.heard(self.connection);
        Ok(body)
    }

    /// The success of this request.
    pub(super) fn success(&self, fields: Fields) -> Answer {
        Answer::success(self.kind.answer(), fields)
    }

    fn health_check(&self) -> Result<Answer, Refusal> {
        self.read::<Empty>()?;
        Ok(self.success(Fields::new()))
    }

    /// Applications often have a client for configuration beside that for naming. There is none
    /// here, and these are the answers after which such a client gives peace.
    fn configuration(&self) -> Result<Answer, Refusal> {
        /// In the answer to a query: there is no such configuration.
        const NO_CONFIG: i32 = 300;
        self.read::<Empty>()?;
        let refused = |text| Answer::failure(self.kind.answer(), code::NOT_OFFERED, text);
        Ok(match self.kind {
            Kind::ConfigListen => {
                self.success(Fields::new().texts("changedConfigs", [].into_iter()))
            }
            Kind::ConfigQuery => {
                let fields = ["content", "contentType", "encryptedDataKey", "md5"];
                let fields = fields.iter().fold(Fields::new(), |all, name| all.text(name, ""));
                let fields = fields.number("lastModified", 0).flag("beta", false);
                let text = "config data not exist";
                Answer::failure_with(self.kind.answer(), NO_CONFIG, text, fields)
            }
            _ => refused("this server keeps no configuration"),
        })
    }
}
