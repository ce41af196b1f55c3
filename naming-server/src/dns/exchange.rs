//! One question and its answer, as bytes.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::cookie::Shown;
use super::encode::{Extension, HEAD_BYTES, encode, head_only};
use super::resolve::Asked;
use super::{DnsFront, DnsSettings, Way};
use crate::naming::{Caller, Clearance, Front};

/// Bytes of an answer by UDP that everybody takes.
const LEAST_UDP_BYTES: u16 = 512;

impl DnsFront {
    /// The answer to a question, as bytes; `None` where there is to be none. A bug of ours costs one
    /// answer.
    pub(super) fn respond(&self, question: &[u8], peer: SocketAddr, way: Way) -> Option<Vec<u8>> {
        let answer = || self.answer(question, peer, way);
        match catch_unwind(AssertUnwindSafe(answer)) {
            Ok(answer) => answer,
            Err(_) => {
                self.stats.panics.fetch_add(1, Relaxed);
                None
            }
        }
    }

    fn answer(&self, question: &[u8], peer: SocketAddr, way: Way) -> Option<Vec<u8>> {
        let settings = &**self.settings.load();
        self.stats.question(way);
        let ip = peer.ip().to_canonical();
        let is_near = settings.trusted_networks.contain(ip);
        let now_s = self.now_s();
        let most = settings.max_questions_per_second_per_source;
        if !is_near && most > 0 && !self.rates.allow(ip, now_s, most) {
            self.stats.over_rate.fetch_add(1, Relaxed);
            return None;
        }
        // An answer to an answer would go on for ever.
        let Some(asked) = head(question).filter(|head| head.message_type == MessageType::Query)
        else {
            self.stats.unread.fetch_add(1, Relaxed);
            return None;
        };
        let mut head = Metadata::response_from_request(&asked);
        let message = match (asked.op_code, Message::from_vec(question)) {
            (OpCode::Query, Ok(message)) => message,
            (OpCode::Query, Err(_)) => return Some(self.bare(head, ResponseCode::FormErr)),
            _ => return Some(self.bare(head, ResponseCode::NotImp)),
        };
        let [query] = &*message.queries else {
            return Some(self.bare(head, ResponseCode::FormErr));
        };
        let edns = message.edns.as_ref();
        let shown = match edns.and_then(cookie).map(|it| self.cookies.read(it, ip, now_s)) {
            Some(None) => return Some(self.bare(head, ResponseCode::FormErr)),
            Some(Some(shown)) => Some(shown),
            None => None,
        };
        let is_known = is_near || matches!(shown, Some(Shown::Good(_)));
        let limit = match way {
            Way::Tcp => u16::MAX,
            Way::Udp if is_known => whole(settings, edns),
            Way::Udp => whole(settings, edns).min(u16::try_from(question.len()).unwrap_or(0)),
        };
        let extension = edns.map(|edns| Extension {
            payload: settings.max_udp_bytes,
            dnssec_ok: edns.flags().dnssec_ok,
            cookie: shown.map(|shown| self.cookies.make(shown.client(), ip, now_s)),
        });
        let sections = if edns.is_some_and(|edns| edns.version() > 0) {
            head.response_code = ResponseCode::BADVERS;
            super::encode::Sections::default()
        } else {
            let user = Some(&*settings.user).filter(|user| !user.is_empty());
            let clearance = Clearance::default();
            let caller = Caller { user, peer, agent: "", front: Front::Dns, clearance };
            let resolved = Asked { front: self, settings, caller, query }.resolve();
            head.response_code = resolved.code;
            head.authoritative = resolved.is_ours;
            resolved.sections
        };
        match encode(head, query, &sections, extension, limit) {
            Ok(encoded) => {
                if encoded.is_truncated {
                    self.stats.truncated.fetch_add(1, Relaxed);
                }
                self.stats.answer(head.response_code);
                Some(encoded.bytes)
            }
            // Not even the question fits, which may have been shorter by a trick.
            Err(_) => {
                head.truncation = true;
                Some(self.bare(head, head.response_code))
            }
        }
    }

    /// The head alone.
    fn bare(&self, mut head: Metadata, code: ResponseCode) -> Vec<u8> {
        self.stats.answer(code);
        // Codes above 15 have no place in a head.
        head.response_code = if code.high() > 0 { ResponseCode::FormErr } else { code };
        head_only(head)
    }

    /// Seconds by the clock of this process.
    fn now_s(&self) -> u32 {
        (self.naming.registry().clock.tick().as_ms() / 1_000) as u32
    }
}

/// The head of a message, if there is a whole one.
fn head(bytes: &[u8]) -> Option<Metadata> {
    let bytes = bytes.get(..HEAD_BYTES)?;
    Header::read(&mut BinDecoder::new(bytes)).ok().map(|header| header.metadata)
}

fn cookie(edns: &Edns) -> Option<&[u8]> {
    match edns.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, bytes) => Some(bytes),
        _ => None,
    }
}

/// Bytes of an answer by UDP to somebody who is known.
fn whole(settings: &DnsSettings, edns: Option<&Edns>) -> u16 {
    edns.map_or(LEAST_UDP_BYTES, |edns| {
        edns.max_payload().min(settings.max_udp_bytes).max(LEAST_UDP_BYTES)
    })
}
