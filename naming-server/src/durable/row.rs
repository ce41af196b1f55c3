//! A record as it stands in the file. Field numbers are for ever, as those of messages are.

use std::sync::Arc;

use distro_core::{Health, MemberId, Record, Stamp};
use distro_net::ValueCodec;
use prost::Message;

use crate::registry::{Content, ContentCodec};

/// One record, tombstones included.
#[derive(Clone, PartialEq, Message)]
struct Row {
    /// Absent is never, as in all three.
    #[prost(message, optional, tag = "1")]
    registration: Option<Moment>,
    #[prost(message, optional, tag = "2")]
    liveness: Option<Moment>,
    #[prost(message, optional, tag = "3")]
    deregistered: Option<Moment>,
    /// 0 healthy, 1 unhealthy, 2 expired.
    #[prost(uint32, tag = "4")]
    judged: u32,
    /// As it travels between members; absent if the record is gone.
    #[prost(bytes = "vec", optional, tag = "5")]
    content: Option<Vec<u8>>,
}

/// A stamp.
#[derive(Clone, Copy, PartialEq, Message)]
struct Moment {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(fixed32, tag = "2")]
    member: u32,
    #[prost(uint32, tag = "3")]
    incarnation: u32,
}

/// The bytes of a record.
pub(super) fn encode(record: &Record<Content>) -> Vec<u8> {
    let content = record.value.as_ref().map(|value| {
        let mut bytes = Vec::new();
        ContentCodec.encode(value, &mut bytes);
        bytes
    });
    let judged = match record.judged {
        Health::Healthy => 0,
        Health::Unhealthy => 1,
        Health::Expired => 2,
    };
    let row = Row {
        registration: moment(record.registration),
        liveness: moment(record.liveness),
        deregistered: moment(record.deregistered),
        judged,
        content,
    };
    row.encode_to_vec()
}

/// The record that these bytes stand for.
///
/// # Errors
/// The text says what is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<Record<Content>, String> {
    let row = Row::decode(bytes).map_err(|error| error.to_string())?;
    let judged = match row.judged {
        0 => Health::Healthy,
        1 => Health::Unhealthy,
        2 => Health::Expired,
        other => return Err(format!("health {other} is unknown")),
    };
    let value = row.content.map(|bytes| ContentCodec.decode(&bytes)).transpose();
    let value = value.map_err(|error| error.to_string())?.map(Arc::new);
    Ok(Record {
        registration: stamp(row.registration)?,
        liveness: stamp(row.liveness)?,
        deregistered: stamp(row.deregistered)?,
        judged,
        value,
    })
}

fn moment(stamp: Stamp) -> Option<Moment> {
    let (member, incarnation) = (stamp.member().0, stamp.incarnation());
    (!stamp.is_never()).then(|| Moment { time: stamp.time(), member, incarnation })
}

fn stamp(moment: Option<Moment>) -> Result<Stamp, String> {
    let Some(Moment { time, member, incarnation }) = moment else { return Ok(Stamp::NEVER) };
    if time > Stamp::LATEST_TIME {
        return Err(format!("time {time} is later than any can be"));
    }
    Ok(Stamp::from_parts(time, MemberId(member), incarnation))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0..=Stamp::LATEST_TIME, any::<u32>(), any::<u32>()).prop_map(|(time, member, start)| {
            match time {
                0 => Stamp::NEVER,
                _ => Stamp::from_parts(time, MemberId(member), start),
            }
        })
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(
            stamps in [any_stamp(), any_stamp(), any_stamp()],
            judged in 0_usize..3,
            text in proptest::option::of(".{0,40}"),
        ) {
            let [registration, liveness, deregistered] = stamps;
            let judged = [Health::Healthy, Health::Unhealthy, Health::Expired][judged];
            let value = text.as_ref().map(|text| Arc::new(Content::Switch(text.as_str().into())));
            let record = Record { registration, liveness, deregistered, judged, value };
            let again = decode(&encode(&record)).unwrap();
            prop_assert_eq!(again.stamps(), record.stamps());
            prop_assert_eq!(again.judged, judged);
            let shown = again.value.as_deref().map(|value| format!("{value:?}"));
            prop_assert_eq!(shown, record.value.as_deref().map(|value| format!("{value:?}")));
        }

        #[test]
        fn whatever_the_bytes_are_reading_them_ends(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn what_cannot_have_been_written_is_refused() {
        let refused = |row: Row| decode(&row.encode_to_vec()).unwrap_err();
        assert!(refused(Row { judged: 3, ..Row::default() }).contains("health 3"));
        let late = Moment { time: Stamp::LATEST_TIME + 1, ..Moment::default() };
        assert!(refused(Row { liveness: Some(late), ..Row::default() }).contains("later"));
        let content = Some(vec![0xff]);
        assert!(!refused(Row { content, ..Row::default() }).is_empty());
    }
}
