//! The share of Java servers of 2.x: clients that beat are shared by their addresses, so a write of
//! one that is a Java server's to judge is passed on to it, as these servers do among themselves.
//!
//! What a Java server passes on is taken, whoever this member takes for the owner: views differ for
//! a moment, and a call that is passed on twice fails. What no Java server takes is done here.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use naming_model::ServiceKey;

use super::Api;
use super::beat::parse_beat;
use super::redirect::{OwnedCall, is_about_request, is_beat, written_instance};
use super::route::{Route, Servers};
use crate::http::{Answer, ApiError, Call, Params, Reply};
use crate::java2::{Owners, Peers};
use crate::nacos::{CallError, Redirect};

/// Zeros that are put before a port at most, until a Java server owns what is not this member's to
/// keep. Each owns a share of all tags.
const MOST_ZEROS: usize = 64;
/// What is put before them: a zero never changes whether the number of a tag is even, a sign does.
const SIGNS: [&str; 2] = ["", "+"];

/// What a write of an instance is, whichever API it comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Write {
    Register,
    Deregister,
    Beat,
    /// What an operator sets: Java servers keep that in Raft, of which this member is no part.
    Set,
}

/// How a write is made here.
type Here = Box<dyn Fn(&Api, &Call<'_>) -> Answer + Send + Sync>;

impl Api {
    /// The answer to a write that is for a Java server; `None` for whatever is answered here.
    pub(super) fn share_route(&self, route: Route, call: &Call<'_>) -> Option<Answer> {
        self.java2.as_ref().filter(|_| route.spec().servers == Servers::Pass)?;
        let write = match route {
            _ if is_beat(route) => Write::Beat,
            Route::InstanceRegister => Write::Register,
            Route::InstanceDeregister => Write::Deregister,
            Route::InstanceUpdate | Route::InstancePatch => Write::Set,
            _ => return None,
        };
        let here = move |api: &Self, call: &Call<'_>| api.handle_here(route, call).into();
        self.share(write, call, here)
    }

    /// The same, whichever API the write comes by; `here` makes it here.
    pub(in crate::http) fn share(
        &self,
        write: Write,
        call: &Call<'_>,
        here: impl Fn(&Self, &Call<'_>) -> Answer + Send + Sync + 'static,
    ) -> Option<Answer> {
        let peers = self.java2.as_ref()?;
        let is_passed_on = call.agent.text.contains("Nacos-Server");
        let tag = tag_of(call)?;
        let owners = peers.owners();
        let is_of_raft = match write {
            Write::Register | Write::Deregister => !self.is_ephemeral(call.params),
            Write::Set => true,
            Write::Beat => false,
        };
        let way = match is_of_raft {
            true => Way::Kept(Place::of_any(peers, &owners, call.params)?),
            false if is_passed_on => return None,
            false => {
                let owner = owners.owner(&tag).filter(|owner| peers.is_java(owner))?;
                Way::Shared(Place { owner: Arc::clone(owner), port: None })
            }
        };
        let shared = Shared {
            api: self.me.upgrade()?,
            peers: Arc::clone(peers),
            write,
            here: Box::new(here),
            tag,
            place: call.service().ok().zip(written_instance(call)),
            call: OwnedCall::of(call, call.clearance),
        };
        // A beat counts at once; what is wrong with it shows, too.
        match (write == Write::Beat).then(|| (shared.here)(self, call)) {
            Some(Answer::Now(here)) if here.status == StatusCode::OK => {
                Some(Answer::Later(Box::pin(shared.beat(way, here))))
            }
            Some(answer) => Some(answer),
            None => Some(Answer::Later(Box::pin(shared.write(way)))),
        }
    }
}

/// To whom a write goes.
enum Way {
    /// To the judge of the client.
    Shared(Place),
    /// To whatever Java server keeps it for all.
    Kept(Place),
}

struct Place {
    owner: Arc<str>,
    /// The text of the port with which the owner takes itself for the owner, if it is another.
    port: Option<String>,
}

impl Place {
    /// Some Java server, and the port with which it does not pass the write on: a sign and zeros
    /// before a port change the owner, and not the instance.
    fn of_any(peers: &Peers, owners: &Owners, params: &Params<'_>) -> Option<Self> {
        let ip = params.optional("ip")?;
        let port = params.optional("port")?;
        let (ip, port) = (ip.trim(), port.trim());
        let before = (0..MOST_ZEROS).flat_map(|zeros| SIGNS.map(|sign| (sign, zeros)));
        before.into_iter().find_map(|(sign, zeros)| {
            let port = format!("{sign}{}{port}", "0".repeat(zeros));
            let owner = owners.owner(&format!("{ip}:{port}"))?;
            let is_good = peers.is_java(owner) && peers.is_up(owner);
            is_good.then(|| Self { owner: Arc::clone(owner), port: Some(port) })
        })
    }
}

/// A write on its way to a Java server.
struct Shared {
    api: Arc<Api>,
    peers: Arc<Peers>,
    write: Write,
    here: Here,
    tag: String,
    /// The service and the key of the instance that it is about.
    place: Option<(ServiceKey, String)>,
    call: OwnedCall,
}

/// What became of it.
enum Sent {
    Done(Bytes),
    /// The server says what is wrong with the request.
    Wrong(StatusCode, Bytes),
    /// No Java server wants it.
    Nowhere,
}

impl Shared {
    async fn write(self, way: Way) -> Reply {
        match self.send(way).await {
            Sent::Done(body) => {
                // What the handler says is of no account: the owner has said yes.
                self.make_here().await;
                Reply::json(body)
            }
            Sent::Wrong(status, body) => Reply::json(body).with_status(status),
            Sent::Nowhere => self.make_here().await,
        }
    }

    /// `here` is the answer that this server would give.
    async fn beat(self, way: Way, here: Reply) -> Reply {
        match self.send(way).await {
            Sent::Done(body) => Reply::json(body),
            Sent::Wrong(..) | Sent::Nowhere => here,
        }
    }

    /// Sends it to the owner, and if that does not take it to whoever is the owner then.
    async fn send(&self, way: Way) -> Sent {
        let (mut place, is_kept) = match way {
            Way::Shared(place) => (place, false),
            Way::Kept(place) => (place, true),
        };
        for _ in 0..2 {
            let redirect = self.request(place.port.as_deref());
            match self.peers.caller().redirect(&place.owner, &redirect).await {
                Ok((StatusCode::OK, body)) => return Sent::Done(body),
                // A server of another generation does not know the path: it is made here.
                Ok((status, body)) if !is_about_path(status) && is_about_request(status, &body) => {
                    return Sent::Wrong(status, body);
                }
                Ok((status, _)) => {
                    tracing::debug!(owner = %place.owner, %status, "a Java owner took no write");
                }
                Err(error) => {
                    tracing::debug!(owner = %place.owner, %error, "a Java owner did not answer");
                    if error == CallError::Refused {
                        self.peers.is_gone(&place.owner);
                    }
                }
            }
            let owners = self.peers.owners();
            let next = match is_kept {
                true => self.call.with(|call| Place::of_any(&self.peers, &owners, call.params)),
                false => owners
                    .owner(&self.tag)
                    .filter(|owner| self.peers.is_java(owner))
                    .map(|owner| Place { owner: Arc::clone(owner), port: None }),
            };
            match next.filter(|next| next.owner != place.owner) {
                Some(next) => place = next,
                None => return Sent::Nowhere,
            }
        }
        Sent::Nowhere
    }

    fn request(&self, port: Option<&str>) -> Redirect {
        let mut redirect = self.call.redirect();
        if let Some(port) = port {
            let pairs = redirect.query.split('&').map(|pair| match pair.split_once('=') {
                Some(("port", _)) => Cow::Owned(format!("port={}", port.replace('+', "%2B"))),
                _ => Cow::Borrowed(pair),
            });
            redirect.query = pairs.collect::<Vec<_>>().join("&");
        }
        redirect
    }

    async fn make_here(&self) -> Reply {
        if let (Write::Deregister, Some((service, key))) = (self.write, &self.place) {
            self.peers.withdraw(service.as_str(), key);
        }
        match self.call.with(|call| (self.here)(&self.api, call)) {
            Answer::Now(reply) => reply,
            Answer::Later(later) => later.await,
            Answer::Again(_) => ApiError::internal("internal error").into(),
        }
    }
}

fn is_about_path(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 405 | 410 | 501)
}

/// The text by which Java servers share clients: that of the parameters, however they spell it;
/// `None` for a request about no one instance.
fn tag_of(call: &Call<'_>) -> Option<String> {
    let params = call.params;
    let (ip, port) = match params.optional("ip") {
        Some(ip) => (ip.into_owned(), params.or("port", "0").into_owned()),
        None => {
            let text = params.optional("beat")?;
            let beat = parse_beat(&text).ok()?;
            (beat.ip.clone()?.into(), beat.port.to_string())
        }
    };
    Some(format!("{}:{}", ip.trim(), port.trim()))
}
