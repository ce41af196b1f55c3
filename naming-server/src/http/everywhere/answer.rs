//! Answering as one of the members.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use distro_net::{MOST_TOLD_BYTES, Questions};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::clients::{
    AddressClients, AddressListens, ClientIds, ConnectionIds, ConnectionOf, ConnectionRows,
    Holders, HoldersOf, Load, Subscribers,
};
use super::part::Ask;
use super::seen::{Changes, EventsSeen};
use crate::http::v1::Api;

/// A question as it comes.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    ask: Cow<'a, str>,
    #[serde(borrow)]
    of: &'a RawValue,
}

type Answering = fn(&Api, &RawValue) -> Option<Vec<u8>>;

/// All questions.
const ANSWERS: &[(&str, Answering)] = &[
    (AddressClients::NAME, answer::<AddressClients>),
    (AddressListens::NAME, answer::<AddressListens>),
    (Changes::NAME, answer::<Changes>),
    (ClientIds::NAME, answer::<ClientIds>),
    (ConnectionIds::NAME, answer::<ConnectionIds>),
    (ConnectionOf::NAME, answer::<ConnectionOf>),
    (ConnectionRows::NAME, answer::<ConnectionRows>),
    (EventsSeen::NAME, answer::<EventsSeen>),
    (Holders::NAME, answer::<Holders>),
    (HoldersOf::NAME, answer::<HoldersOf>),
    (Load::NAME, answer::<Load>),
    (Subscribers::NAME, answer::<Subscribers>),
];

fn answer<A: Ask>(api: &Api, of: &RawValue) -> Option<Vec<u8>> {
    let ask: A = serde_json::from_str(of.get()).ok()?;
    serde_json::to_vec(&ask.here(api, MOST_TOLD_BYTES)?).ok()
}

/// Answers the others.
struct Member(Weak<Api>);

impl Questions for Member {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let api = self.0.upgrade()?;
        let Asked { ask, of } = serde_json::from_slice(question).ok()?;
        let (_, answering) = ANSWERS.iter().find(|(name, _)| *name == ask)?;
        answering(&api, of)
    }
}

/// The other members may ask this one from now on.
pub(crate) fn connect(api: &Arc<Api>) {
    api.answer_members(Arc::new(Member(Arc::downgrade(api))));
}
