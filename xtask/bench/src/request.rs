//! The requests of the load, byte for byte what the Java client 1.4.8 sends.

use std::io::Write;
use std::time::{Duration, Instant};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    BeatLight,
    BeatFull,
    Register,
    /// A registration with another weight each time: unlike [`Kind::Register`] it always alters
    /// what the list shows.
    Change,
    /// The same of a persistent instance.
    Persist,
    Deregister,
}

impl Kind {
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::List => "GET",
            Self::BeatLight | Self::BeatFull => "PUT",
            Self::Register | Self::Change | Self::Persist => "POST",
            Self::Deregister => "DELETE",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::List => "/nacos/v1/ns/instance/list",
            Self::BeatLight | Self::BeatFull => "/nacos/v1/ns/instance/beat",
            Self::Register | Self::Change | Self::Persist | Self::Deregister => {
                "/nacos/v1/ns/instance"
            }
        }
    }

    /// What the body of a reply holds if the server did what was asked. Without this check a
    /// server that answers "unknown instance" quickly would look like a fast one.
    pub(super) fn expected(self) -> &'static [u8] {
        match self {
            Self::List => b"\"hosts\":[{",
            Self::BeatLight | Self::BeatFull => b"\"code\":10200",
            Self::Register | Self::Change | Self::Persist | Self::Deregister => b"ok",
        }
    }
}

/// The instances that a load speaks of: index `i` lies in service `i % services` of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    pub(super) services: u64,
    pub(super) instances: u64,
    /// Added to every index to make its address, so that two populations share no instance.
    pub(super) first: u64,
    /// The number in the name of its first service.
    pub(super) first_service: u64,
    /// Only every so manieth is spoken of; 1 for all.
    pub(super) every: u64,
    pub(super) terms: Terms,
}

impl Population {
    /// Instances that outlive every run.
    pub(super) const fn lasting(services: u64, instances: u64) -> Self {
        Self { services, instances, first: 0, first_service: 0, every: 1, terms: Terms::Days }
    }
}

/// When an instance that sends no beats goes; its two metadata entries say so.
#[derive(Debug, Clone, Copy)]
pub(super) enum Terms {
    /// After a day: nothing expires during a run.
    Days,
    /// As the server sees fit: unhealthy after 15 s, gone after 30 s.
    Defaults,
    /// All at the same moment, whenever they were registered.
    Until(Instant),
}

/// Kinds of requests, in turn, about each member of a population in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) kinds: &'static [Kind],
    pub(super) population: Population,
    /// Visit the population in a scattered order, so that no cache line is warm by luck.
    pub(super) scattered: bool,
}

const PLAIN_METADATA: &str = r#"{"preserved.register.source":"SPRING_CLOUD","version":"2026.11"}"#;
const DAY: Duration = Duration::from_secs(86_400);

impl Terms {
    fn metadata(self) -> String {
        match self {
            Self::Days => Self::silent_for(DAY),
            Self::Defaults => PLAIN_METADATA.to_owned(),
            Self::Until(end) => Self::silent_for(end.saturating_duration_since(Instant::now())),
        }
    }

    fn silent_for(span: Duration) -> String {
        let span_ms = span.as_millis().max(1);
        format!(
            "{{\"preserved.heart.beat.timeout\":\"{span_ms}\",\
             \"preserved.ip.delete.timeout\":\"{span_ms}\"}}"
        )
    }
}

/// The headers of the Java client below its `Host`.
const HEADERS: &str = "Accept-Charset: UTF-8\r\n\
    Accept-Encoding: gzip,deflate,sdch\r\n\
    Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n\
    Client-Version: 1.4.8\r\n\
    User-Agent: Nacos-Java-Client:v1.4.8\r\n\
    RequestId: 5a4e9bc8-3c1f-4e0d-9a55-0c8ef7e1b2d4\r\n\
    Request-Module: Naming\r\n\
    Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n\
    Connection: keep-alive\r\n";

impl Load {
    /// What request number `number` asks for.
    pub(super) fn kind(&self, number: u64) -> Kind {
        self.kinds[(number % self.kinds.len() as u64) as usize]
    }

    /// The number of the first request of each kind.
    pub(super) fn first_of_each_kind(&self) -> Vec<u64> {
        let mut seen = Vec::new();
        let is_new = |number: &u64| {
            let kind = self.kind(*number);
            let is_new = !seen.contains(&kind);
            seen.push(kind);
            is_new
        };
        (0..self.kinds.len() as u64).filter(is_new).collect()
    }

    /// Appends request number `number` to `buffer`. Numbers past the population start over.
    pub(super) fn write(&self, number: u64, buffer: &mut Vec<u8>) {
        let index = self.index(number);
        // Writing to a vector cannot fail.
        let service = self.population.first_service + index % self.population.services;
        let _ = self.write_parts(number, service, index, buffer);
    }

    fn index(&self, number: u64) -> u64 {
        // A prime far above any population: multiplying by it visits every index once per turn.
        const PRIME: u64 = 1_000_000_007;
        let spoken_of = self.population.instances / self.population.every;
        let number = match self.kinds.len() {
            0 | 1 => number % spoken_of,
            // By chance: in turn, each member would only ever be asked for the same kind.
            _ => mixed_up(number) % spoken_of,
        };
        let number = if self.scattered { (number * PRIME) % spoken_of } else { number };
        number * self.population.every
    }

    fn write_parts(
        &self,
        number: u64,
        service: u64,
        index: u64,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let kind = self.kind(number);
        let address = Address(self.population.first + index);
        let (method, path) = (kind.method(), kind.path());
        write!(buffer, "{method} {path}?app=unknown&namespaceId=public&serviceName=")?;
        write!(buffer, "DEFAULT_GROUP%40%40bench.service.{service:06}")?;
        match kind {
            Kind::List => {
                buffer.extend_from_slice(
                    b"&clusters=&udpPort=0&clientIP=127.0.0.1&healthyOnly=false",
                );
            }
            Kind::BeatLight | Kind::BeatFull | Kind::Deregister => {
                write!(buffer, "&clusterName=DEFAULT&ip={address}&port=8080&ephemeral=true")?;
            }
            Kind::Register | Kind::Change | Kind::Persist => {
                let weight = if kind == Kind::Register { 1 } else { number % 997 + 2 };
                let ephemeral = kind != Kind::Persist;
                write!(
                    buffer,
                    "&groupName=DEFAULT_GROUP&clusterName=DEFAULT&ip={address}&port=8080\
                     &weight={weight}.0&enable=true&healthy=true&ephemeral={ephemeral}&metadata="
                )?;
                write_encoded(&self.population.terms.metadata(), buffer);
            }
        }
        write!(buffer, " HTTP/1.1\r\nHost: 127.0.0.1:8848\r\n{HEADERS}")?;
        if kind == Kind::BeatFull {
            write_beat(service, address, &self.population.terms.metadata(), buffer)
        } else {
            buffer.extend_from_slice(b"\r\n");
            Ok(())
        }
    }
}

/// Another number for each number, all bits of it as good as random (splitmix64).
fn mixed_up(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The rest of the head and the form body of a full beat.
fn write_beat(
    service: u64,
    address: Address,
    metadata: &str,
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut body = b"beat=".to_vec();
    let beat = format!(
        "{{\"cluster\":\"DEFAULT\",\"ip\":\"{address}\",\"metadata\":{metadata},\"period\":5000,\
         \"port\":8080,\"scheduled\":false,\
         \"serviceName\":\"DEFAULT_GROUP@@bench.service.{service:06}\",\
         \"stopped\":false,\"weight\":1.0}}"
    );
    write_encoded(&beat, &mut body);
    body.push(b'&');
    write!(buffer, "Content-Length: {}\r\n\r\n", body.len())?;
    buffer.extend_from_slice(&body);
    Ok(())
}

/// Percent-encodes as `URLEncoder` of Java does.
fn write_encoded(text: &str, buffer: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'*' => {
                buffer.push(byte);
            }
            _ => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                buffer.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
            }
        }
    }
}

/// An address of 10.0.0.0/8 made of a number.
#[derive(Clone, Copy)]
struct Address(u64);

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |shift: u32| (self.0 >> shift) & 255;
        write!(formatter, "10.{}.{}.{}", part(16), part(8), part(0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(load: &Load, number: u64) -> String {
        let mut buffer = Vec::new();
        load.write(number, &mut buffer);
        String::from_utf8(buffer).expect("requests are text")
    }

    fn load(kinds: &'static [Kind]) -> Load {
        let population = Population { first: 65_536, ..Population::lasting(3, 30) };
        Load { kinds, population, scattered: false }
    }

    #[test]
    fn a_registration_names_service_address_and_encoded_metadata() {
        let request = text(&load(&[Kind::Register]), 4);
        assert!(request.starts_with("POST /nacos/v1/ns/instance?"), "{request}");
        assert!(request.contains("serviceName=DEFAULT_GROUP%40%40bench.service.000001&"));
        assert!(request.contains("&ip=10.1.0.4&port=8080&"));
        assert!(
            request.contains("metadata=%7B%22preserved.heart.beat.timeout%22%3A%2286400000%22")
        );
        assert!(request.ends_with("\r\n\r\n") && !request.contains("Content-Length"));
    }

    #[test]
    fn a_full_beat_carries_its_json_in_a_form_of_the_stated_length() {
        let request = text(&load(&[Kind::BeatFull]), 0);
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("beat=%7B%22cluster%22%3A%22DEFAULT%22") && body.ends_with('&'));
    }

    #[test]
    fn a_scattered_load_still_visits_everyone_once_per_turn() {
        let scattered = Load { scattered: true, ..load(&[Kind::BeatLight]) };
        let turn: HashSet<String> = (0..30).map(|number| text(&scattered, number)).collect();
        assert_eq!(turn.len(), 30);
        assert_eq!(text(&scattered, 0), text(&scattered, 30));
        assert_ne!(scattered.index(1), 1);
    }

    #[test]
    fn each_kind_of_a_mix_gets_to_every_instance() {
        let mix = load(&[Kind::BeatLight, Kind::List, Kind::Change]);
        assert_eq!(mix.first_of_each_kind(), [0, 1, 2]);
        let changes = (0..900).filter(|number| mix.kind(*number) == Kind::Change);
        let changed: HashSet<u64> = changes.map(|number| mix.index(number)).collect();
        assert_eq!(changed.len(), 30);
    }

    #[test]
    fn a_sample_is_spread_over_the_population() {
        let population = Population { every: 10, ..Population::lasting(3, 30) };
        let sample = Load { kinds: &[Kind::List], population, scattered: true };
        let indexes: HashSet<u64> = (0..100).map(|number| sample.index(number)).collect();
        assert_eq!(indexes, HashSet::from([0, 10, 20]));
    }

    #[test]
    fn instances_that_last_until_a_moment_say_how_long_that_is() {
        let end = Instant::now() + Duration::from_secs(7);
        let metadata = Terms::Until(end).metadata();
        assert!(metadata.contains("\"preserved.ip.delete.timeout\":\"6"), "{metadata}");
    }
}
