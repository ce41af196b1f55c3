//! The requests of the load, byte for byte what the Java client 1.4.8 sends.

use std::io::Write;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    BeatLight,
    BeatFull,
    Register,
    Deregister,
}

impl Kind {
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::List => "GET",
            Self::BeatLight | Self::BeatFull => "PUT",
            Self::Register => "POST",
            Self::Deregister => "DELETE",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::List => "/nacos/v1/ns/instance/list",
            Self::BeatLight | Self::BeatFull => "/nacos/v1/ns/instance/beat",
            Self::Register | Self::Deregister => "/nacos/v1/ns/instance",
        }
    }

    /// What the body of a reply holds if the server did what was asked. Without this check a
    /// server that answers "unknown instance" quickly would look like a fast one.
    pub(super) fn expected(self) -> &'static [u8] {
        match self {
            Self::List => b"\"hosts\":[{",
            Self::BeatLight | Self::BeatFull => b"\"code\":10200",
            Self::Register | Self::Deregister => b"ok",
        }
    }
}

/// The instances that a load speaks of: index `i` lies in service `i % services`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Population {
    pub(super) services: u64,
    pub(super) instances: u64,
    /// Added to every index to make its address, so that two populations share no instance.
    pub(super) first: u64,
}

/// A kind of request about each member of a population in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) population: Population,
    /// Visit the population in a scattered order, so that no cache line is warm by luck.
    pub(super) scattered: bool,
}

/// Time-outs long enough that nothing expires during a run; also the two metadata entries that
/// each instance has.
const METADATA: &str =
    r#"{"preserved.heart.beat.timeout":"86400000","preserved.ip.delete.timeout":"86400000"}"#;

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
    /// Appends request number `number` to `buffer`. Numbers past the population start over.
    pub(super) fn write(&self, number: u64, buffer: &mut Vec<u8>) {
        let index = self.index(number);
        let service = index % self.population.services;
        let address = Address(self.population.first + index);
        // Writing to a vector cannot fail.
        let _ = self.write_parts(service, address, buffer);
    }

    fn index(&self, number: u64) -> u64 {
        // A prime far above any population: multiplying by it visits every index once per turn.
        const PRIME: u64 = 1_000_000_007;
        let number = number % self.population.instances;
        if self.scattered { (number * PRIME) % self.population.instances } else { number }
    }

    fn write_parts(
        &self,
        service: u64,
        address: Address,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let (method, path) = (self.kind.method(), self.kind.path());
        write!(buffer, "{method} {path}?app=unknown&namespaceId=public&serviceName=")?;
        write!(buffer, "DEFAULT_GROUP%40%40bench.service.{service:06}")?;
        match self.kind {
            Kind::List => {
                buffer.extend_from_slice(
                    b"&clusters=&udpPort=0&clientIP=127.0.0.1&healthyOnly=false",
                );
            }
            Kind::BeatLight | Kind::BeatFull | Kind::Deregister => {
                write!(buffer, "&clusterName=DEFAULT&ip={address}&port=8080&ephemeral=true")?;
            }
            Kind::Register => {
                write!(
                    buffer,
                    "&groupName=DEFAULT_GROUP&clusterName=DEFAULT&ip={address}&port=8080&weight=1.0\
                     &enable=true&healthy=true&ephemeral=true&metadata="
                )?;
                write_encoded(METADATA, buffer);
            }
        }
        write!(buffer, " HTTP/1.1\r\nHost: 127.0.0.1:8848\r\n{HEADERS}")?;
        if self.kind == Kind::BeatFull {
            write_beat(service, address, buffer)
        } else {
            buffer.extend_from_slice(b"\r\n");
            Ok(())
        }
    }
}

/// The rest of the head and the form body of a full beat.
fn write_beat(service: u64, address: Address, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut body = b"beat=".to_vec();
    let beat = format!(
        "{{\"cluster\":\"DEFAULT\",\"ip\":\"{address}\",\"metadata\":{METADATA},\"period\":5000,\
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

    fn load(kind: Kind) -> Load {
        let population = Population { services: 3, instances: 30, first: 65_536 };
        Load { kind, population, scattered: false }
    }

    #[test]
    fn a_registration_names_service_address_and_encoded_metadata() {
        let request = text(&load(Kind::Register), 4);
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
        let request = text(&load(Kind::BeatFull), 0);
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("beat=%7B%22cluster%22%3A%22DEFAULT%22") && body.ends_with('&'));
    }

    #[test]
    fn a_scattered_load_still_visits_everyone_once_per_turn() {
        let scattered = Load { scattered: true, ..load(Kind::BeatLight) };
        let turn: HashSet<String> = (0..30).map(|number| text(&scattered, number)).collect();
        assert_eq!(turn.len(), 30);
        assert_eq!(text(&scattered, 0), text(&scattered, 30));
        assert_ne!(scattered.index(1), 1);
    }
}
