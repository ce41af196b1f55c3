//! Push packets, as a client opens them.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

/// The id of a packet and its list, which a probe has not.
pub(super) fn open(datagram: &[u8]) -> Option<(u64, Option<Value>)> {
    let packet: Value = if datagram.starts_with(b"{") {
        serde_json::from_slice(datagram).ok()?
    } else {
        let mut text = Vec::new();
        GzDecoder::new(datagram).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()?
    };
    let list = match packet["type"].as_str()? {
        "probe" => None,
        _ => Some(serde_json::from_str(packet["data"].as_str()?).ok()?),
    };
    Some((packet["lastRefTime"].as_u64()?, list))
}
