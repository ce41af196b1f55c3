//! Keys under which a registry stores instances.

use std::fmt;

use crate::key::{InstanceKey, OPERATOR_MARK, PERSISTENT_MARK};

/// The key of the record of an instance within its service: its names, and which of the two kinds
/// it is of. An ephemeral and a persistent instance may have the same names; they are two.
///
/// Written `<ip>#<port>#<cluster>`, with [`PERSISTENT_MARK`] before that of a persistent one. The
/// text is unambiguous for addresses that [`Self::is_address`] allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordKey<'a> {
    /// Address, port and cluster.
    pub instance: InstanceKey<'a>,
    /// Kept until somebody deregisters it (true), or for as long as its beats come (false).
    pub is_persistent: bool,
}

impl<'a> RecordKey<'a> {
    /// That of an instance that lives by its beats.
    pub fn ephemeral(instance: InstanceKey<'a>) -> Self {
        Self { instance, is_persistent: false }
    }

    /// That of an instance that stays until it is deregistered.
    pub fn persistent(instance: InstanceKey<'a>) -> Self {
        Self { instance, is_persistent: true }
    }

    /// Whether the text of a key with this address says of which kind it is: the address must not
    /// begin with a mark.
    pub fn is_address(ip: &str) -> bool {
        !ip.starts_with([PERSISTENT_MARK, OPERATOR_MARK])
    }

    /// Whether this is the text of the key of a persistent instance.
    pub fn is_text_of_persistent(text: &str) -> bool {
        text.starts_with(PERSISTENT_MARK)
    }

    /// Splits the text form; `None` if it is not one. The place of an
    /// [operator's values](Self::operator_text) is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.starts_with(OPERATOR_MARK) {
            return None;
        }
        let names = text.strip_prefix(PERSISTENT_MARK);
        let is_persistent = names.is_some();
        let (rest, cluster) = names.unwrap_or(text).rsplit_once('#')?;
        let (ip, port) = rest.rsplit_once('#')?;
        let instance = InstanceKey { ip, port: port.parse().ok()?, cluster };
        Some(Self { instance, is_persistent })
    }

    /// The key of the record beside that of an instance, which keeps what an operator set of it;
    /// made of the text form of the instance's own.
    pub fn operator_text(text: &str) -> String {
        let mut key = String::with_capacity(text.len() + 1);
        key.push(OPERATOR_MARK);
        key.push_str(text);
        key
    }

    /// The text form, as [`Display`](fmt::Display) writes it but faster.
    pub fn text(&self) -> String {
        const LONGEST_PORT: usize = 5;
        let InstanceKey { ip, port, cluster } = self.instance;
        let marks = 2 + usize::from(self.is_persistent);
        let mut text = String::with_capacity(ip.len() + cluster.len() + marks + LONGEST_PORT);
        if self.is_persistent {
            text.push(PERSISTENT_MARK);
        }
        text.push_str(ip);
        text.push('#');
        push_port(&mut text, port);
        text.push('#');
        text.push_str(cluster);
        text
    }
}

fn push_port(text: &mut String, port: u16) {
    let mut rest = port;
    let mut divisor = 10_000;
    while divisor > 1 && rest < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        // A single digit by then; the conversion cannot cut anything.
        text.push(char::from(b'0' + (rest / divisor) as u8));
        rest %= divisor;
        divisor /= 10;
    }
}

impl fmt::Display for RecordKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_persistent {
            write!(f, "{PERSISTENT_MARK}")?;
        }
        self.instance.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(instance: InstanceKey<'_>) -> [RecordKey<'_>; 2] {
        [RecordKey::ephemeral(instance), RecordKey::persistent(instance)]
    }

    #[test]
    fn the_text_of_a_key_is_what_it_displays() {
        for port in [0, 1, 9, 10, 99, 100, 999, 1_000, 8_080, 9_999, 10_000, 65_535] {
            for key in both(InstanceKey { ip: "10.0.0.1", port, cluster: "c" }) {
                assert_eq!(key.text(), format!("{key}"));
            }
        }
    }

    #[test]
    fn a_key_survives_its_text_and_says_its_kind() {
        for ip in ["10.0.0.1", "fe80::1%eth0", "node-1.example", ""] {
            assert!(RecordKey::is_address(ip));
            for key in both(InstanceKey { ip, port: 8080, cluster: "DEFAULT" }) {
                let text = key.text();
                assert_eq!(RecordKey::parse(&text), Some(key));
                assert_eq!(RecordKey::is_text_of_persistent(&text), key.is_persistent);
            }
        }
        assert!(!RecordKey::is_address("!10.0.0.1") && !RecordKey::is_address("=10.0.0.1"));
        for text in ["", "!", "!a#1", "a#b#c", "!a#65536#c", "a"] {
            assert_eq!(RecordKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_place_of_an_operators_values_is_no_instance() {
        for key in both(InstanceKey { ip: "10.0.0.1", port: 80, cluster: "c" }) {
            let place = RecordKey::operator_text(&key.text());
            assert_eq!(RecordKey::parse(&place), None);
            assert!(!RecordKey::is_text_of_persistent(&place));
            assert_eq!(place.strip_prefix(OPERATOR_MARK), Some(&*key.text()));
        }
    }

    #[test]
    fn persistent_instances_come_first() {
        for ip in ["10.0.0.1", "[::1]", "a"] {
            let [ephemeral, persistent] = both(InstanceKey { ip, port: 1, cluster: "c" });
            assert!(persistent.text() < ephemeral.text());
        }
    }
}
