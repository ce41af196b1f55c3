//! The numbers of packets.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Numbers begin here and end below twice as much, [`LIMIT`]: all have 16 digits.
const FIRST: u64 = 1 << 52;
/// A client that keeps numbers as doubles (Node) returns those below unchanged. Nacos goes beyond.
#[cfg(test)]
const LIMIT: u64 = 1 << 53;

/// Makes the numbers that acks name. An ack proves that somebody at that address wants packets,
/// so nobody may guess the number of a packet that was sent to another address: it is derived
/// from the address and the packet, under a key that only this process ever knew. The order of
/// numbers says nothing: no client compares them.
pub(in crate::push) struct PacketIds {
    /// Computed up to the first byte of the message.
    mac: Hmac<Sha256>,
    next_serial: AtomicU64,
}

impl PacketIds {
    /// With a key of chance.
    ///
    /// # Panics
    /// If the system has no random numbers: nothing that this process makes up would be secret.
    pub(in crate::push) fn new() -> Self {
        let mut key = [0; 32];
        // In tests always the same, so that a simulation can be repeated.
        if !cfg!(test) {
            getrandom::fill(&mut key).expect("the system has random numbers");
        }
        Self::with_key(&key)
    }

    fn with_key(key: &[u8; 32]) -> Self {
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of every length");
        Self { mac, next_serial: AtomicU64::new(0) }
    }

    /// The serial of one more template.
    pub(in crate::push) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Relaxed)
    }

    /// The number of the packet with this template to this address.
    pub(in crate::push) fn of(&self, serial: u64, address: SocketAddr) -> i64 {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mac = self.mac.clone().chain_update(serial.to_le_bytes()).chain_update(ip.octets());
        let digest = mac.chain_update(address.port().to_le_bytes()).finalize().into_bytes();
        let chance = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        i64::try_from(FIRST | (chance % FIRST)).expect("53 bits fit into 63")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_have_sixteen_digits_and_stay_exact_as_doubles() {
        let ids = PacketIds::new();
        for serial in 0..1_000 {
            let id = ids.of(serial, ([10, 0, 0, 1], 5_000).into());
            assert!((FIRST..LIMIT).contains(&u64::try_from(id).unwrap()));
            assert_eq!((id as f64 as i64, id.to_string().len()), (id, 16));
        }
    }

    #[test]
    fn each_packet_and_socket_has_a_number_of_its_own() {
        let ids = PacketIds::new();
        assert_eq!((ids.next_serial(), ids.next_serial()), (0, 1));
        let mut seen = HashSet::new();
        for serial in 0..10 {
            for address in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[fd00::1]:1"] {
                assert!(seen.insert(ids.of(serial, address.parse().unwrap())));
            }
        }
        let other = PacketIds::with_key(&[1; 32]);
        assert!(!seen.contains(&other.of(0, "10.0.0.1:1".parse().unwrap())));
    }
}
