//! Names of services and addresses of instances, and how they are read out of lists.

use std::borrow::Cow;

use serde::Deserialize;

const GROUP: &str = "DEFAULT_GROUP@@";
const PREFIX: &str = "chaos-";

/// As it stands in a query.
pub(super) fn encoded_service(service: usize) -> String {
    format!("DEFAULT_GROUP%40%40chaos-{service}")
}

/// As it stands in a request over gRPC.
pub(super) fn plain_service(service: usize) -> String {
    format!("{PREFIX}{service}")
}

/// A made-up address that nobody connects to.
pub(super) fn address(service: usize, number: usize) -> String {
    format!("10.{}.{}.{}", service / 250, service % 250, number + 1)
}

/// A list of one service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) service: usize,
    /// Number within the service, healthy.
    pub(super) hosts: Vec<(usize, bool)>,
    /// The server's clock, in milliseconds.
    pub(super) made_ms: u64,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    hosts: Vec<Host<'a>>,
    #[serde(default, rename = "lastRefTime")]
    made_ms: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "serviceInfo")]
    list: Wire<'a>,
}

#[derive(Deserialize)]
struct Host<'a> {
    #[serde(borrow)]
    ip: Cow<'a, str>,
    healthy: bool,
}

impl List {
    /// Reads a reply or the data of a push; `None` if it is no list of ours. A host of another
    /// service gets a number that no instance has, so the list is not taken for empty.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        Self::read(serde_json::from_slice(json).ok()?)
    }

    /// Reads a message of gRPC that carries a list.
    pub(super) fn parse_answer(json: &[u8]) -> Option<Self> {
        let answer: Answer<'_> = serde_json::from_slice(json).ok()?;
        Self::read(answer.list)
    }

    fn read(wire: Wire<'_>) -> Option<Self> {
        let name = wire.name.strip_prefix(GROUP).unwrap_or(&wire.name);
        let service = name.strip_prefix(PREFIX)?.parse().ok()?;
        let hosts = wire.hosts.iter();
        let hosts = hosts.map(|host| (number(service, &host.ip), host.healthy)).collect();
        Some(Self { service, hosts, made_ms: wire.made_ms })
    }
}

fn number(service: usize, ip: &str) -> usize {
    let number = ip.rsplit_once('.').and_then(|(_, last)| last.parse::<usize>().ok());
    let number = number.and_then(|number| number.checked_sub(1));
    number.filter(|number| address(service, *number) == ip).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let json = br#"{"hosts":[{"ip":"10.1.49.3","port":8080,"healthy":true},
            {"ip":"10.1.49.1","healthy":false},{"ip":"10.9.9.9","healthy":true}],
            "name":"DEFAULT_GROUP@@chaos-299","lastRefTime":17}"#;
        let hosts = vec![(2, true), (0, false), (usize::MAX, true)];
        let expected = List { service: 299, hosts, made_ms: 17 };
        assert_eq!(List::parse(json), Some(expected));
    }

    #[test]
    fn a_list_of_grpc_is_read() {
        let json =
            br#"{"resultCode":200,"serviceInfo":{"name":"chaos-7","groupName":"DEFAULT_GROUP",
            "hosts":[{"ip":"10.0.7.2","healthy":true}],"lastRefTime":5},"success":true}"#;
        let expected = List { service: 7, hosts: vec![(1, true)], made_ms: 5 };
        assert_eq!(List::parse_answer(json), Some(expected));
        assert_eq!(List::parse_answer(br#"{"resultCode":500}"#), None);
    }

    #[test]
    fn what_is_no_list_of_ours_is_none() {
        assert_eq!(List::parse(br#"{"name":"DEFAULT_GROUP@@other","hosts":[]}"#), None);
        assert_eq!(List::parse(br#"{"name":"DEFAULT_GROUP@@chaos-1"}"#), None);
        assert_eq!(List::parse(b"{"), None);
    }

    #[test]
    fn every_address_leads_back_to_its_instance() {
        for (service, instance) in [(0, 0), (249, 9), (250, 0), (999, 99)] {
            assert_eq!(number(service, &address(service, instance)), instance);
        }
        assert_eq!(number(1, "10.0.1.0"), usize::MAX);
        assert_eq!(number(1, "localhost"), usize::MAX);
    }
}
