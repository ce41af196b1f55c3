//! Names of services as names of DNS, and back.
//!
//! ```text
//! orders.nacos.internal                    orders of the default group in namespace public
//! orders.shop.nacos.internal               orders of group shop
//! orders.shop.dev.nacos.internal           the same in namespace dev; `_` is the default of either
//! com_pexample_p_uorders.nacos.internal    com.example.Orders
//! addr-0a000001.nacos.internal             10.0.0.1, which service records point to
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use naming_model::{DEFAULT_GROUP, DEFAULT_NAMESPACE, GROUP_SEPARATOR, ServiceKey};

/// Before the hexadecimal digits of an address.
const ADDRESS: &str = "addr-";
/// A label that stands for the default group or namespace.
const DEFAULT: &str = "_";
/// The default group as people write it. It has no upper case in DNS, and no escape begins so.
const DEFAULT_GROUP_LABEL: &str = "default_group";

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing of this zone.
    Elsewhere,
    /// The zone itself.
    Apex,
    /// An address, written as a name.
    Address(IpAddr),
    /// A service, and whatever else may stand below the same name.
    Service {
        /// The service of this name; none where a label can be that of a group or namespace only.
        key: Option<ServiceKey>,
        /// The labels, from left to right.
        labels: Vec<Label>,
    },
    /// Nothing can have this name.
    Nothing,
}

/// A label without escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Label {
    /// Stands for the default group or namespace.
    Default,
    /// Stands for this.
    Text(String),
}

impl Label {
    fn or<'a>(&'a self, default: &'a str) -> &'a str {
        match self {
            Self::Default => default,
            Self::Text(text) => text,
        }
    }

    /// The group that it names.
    pub(super) fn group(&self) -> &str {
        self.or(DEFAULT_GROUP)
    }

    /// The namespace that it names.
    pub(super) fn namespace(&self) -> &str {
        self.or(DEFAULT_NAMESPACE)
    }
}

/// The names below one suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    suffix: Name,
    labels: usize,
}

impl Zone {
    /// The names below this suffix, which has labels.
    ///
    /// # Errors
    /// It is no name.
    pub(super) fn new(suffix: &str) -> Result<Self, ProtoError> {
        let mut suffix = Name::from_ascii(suffix)?.to_lowercase();
        suffix.set_fqdn(true);
        let labels = suffix.iter().count();
        Ok(Self { suffix, labels })
    }

    pub(super) fn suffix(&self) -> &Name {
        &self.suffix
    }

    /// The name that stands for an address.
    ///
    /// # Errors
    /// The suffix is too long for it, which [`crate::Config`] does not let pass.
    pub(super) fn name_of(&self, ip: IpAddr) -> Result<Name, ProtoError> {
        let label = match ip {
            IpAddr::V4(ip) => format!("{ADDRESS}{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{ADDRESS}{:032x}", ip.to_bits()),
        };
        self.suffix.prepend_label(label.as_bytes())
    }

    /// A name directly below the suffix.
    ///
    /// # Errors
    /// As [`Self::name_of`].
    pub(super) fn below(&self, label: &str) -> Result<Name, ProtoError> {
        self.suffix.prepend_label(label.as_bytes())
    }

    /// What a name stands for, whatever its case.
    pub(super) fn meaning(&self, name: &Name) -> Meaning {
        if !self.suffix.zone_of(name) {
            return Meaning::Elsewhere;
        }
        let own = name.iter().count() - self.labels;
        let labels: Vec<&[u8]> = name.iter().take(own).collect();
        if let [label] = &*labels
            && let Some(ip) = address(label)
        {
            return Meaning::Address(ip);
        }
        let labels: Option<Vec<Label>> = labels.into_iter().map(unescape).collect();
        let Some(labels) = labels else { return Meaning::Nothing };
        let key = match &*labels {
            [] => return Meaning::Apex,
            [service] => key(&Label::Default, &Label::Default, service),
            [service, group] => key(&Label::Default, group, service),
            [service, group, namespace] => key(namespace, group, service),
            _ => return Meaning::Nothing,
        };
        Meaning::Service { key, labels }
    }
}

fn key(namespace: &Label, group: &Label, service: &Label) -> Option<ServiceKey> {
    let Label::Text(service) = service else { return None };
    let grouped = format!("{}{GROUP_SEPARATOR}{service}", group.group());
    ServiceKey::parse(namespace.namespace(), &grouped).ok()
}

fn address(label: &[u8]) -> Option<IpAddr> {
    let (prefix, digits) = label.split_at_checked(ADDRESS.len())?;
    if !prefix.eq_ignore_ascii_case(ADDRESS.as_bytes()) || !digits.iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    match digits.len() {
        8 => Some(Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?).into()),
        _ => None,
    }
}

/// What a label stands for. Letters are small unless an escape says otherwise; `None` for an escape
/// that is none.
fn unescape(label: &[u8]) -> Option<Label> {
    let label = label.to_ascii_lowercase();
    if label == DEFAULT.as_bytes() || label == DEFAULT_GROUP_LABEL.as_bytes() {
        return Some(Label::Default);
    }
    let (mut text, mut rest) = (Vec::with_capacity(label.len()), &*label);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'_' {
            text.push(byte);
            continue;
        }
        let (&sign, after) = rest.split_first()?;
        rest = after;
        match sign {
            b'_' => text.push(b'_'),
            b'p' => text.push(b'.'),
            b'u' | b'w' => {
                let letters = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
                let (letters, after) =
                    rest.split_at(if sign == b'u' { 1.min(letters) } else { letters });
                if letters.is_empty() {
                    return None;
                }
                text.extend(letters.iter().map(u8::to_ascii_uppercase));
                rest = after;
            }
            _ => {
                let (&second, after) = rest.split_first()?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                text.push(u8::try_from(digit(sign)? * 16 + digit(second)?).ok()?);
                rest = after;
            }
        }
    }
    String::from_utf8(text).ok().map(Label::Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone() -> Zone {
        Zone::new("Nacos.Internal").unwrap()
    }

    fn meaning(name: &str) -> Meaning {
        zone().meaning(&Name::from_ascii(name).unwrap())
    }

    fn service(name: &str) -> String {
        match meaning(&format!("{name}.nacos.internal.")) {
            Meaning::Service { key, .. } => {
                key.map_or_else(|| "no service".to_owned(), |key| key.as_str().to_owned())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn up_to_three_labels_name_service_group_and_namespace() {
        assert_eq!(service("orders"), "public##DEFAULT_GROUP@@orders");
        assert_eq!(service("ORDERS.Shop"), "public##shop@@orders");
        assert_eq!(service("orders.shop.dev"), "dev##shop@@orders");
        assert_eq!(service("orders._.dev"), "dev##DEFAULT_GROUP@@orders");
        assert_eq!(service("orders.DEFAULT_GROUP.dev"), "dev##DEFAULT_GROUP@@orders");
        assert_eq!(service("orders.shop._"), "public##shop@@orders");
        assert_eq!(service("a.b.c.d"), "Nothing");
        assert_eq!(meaning("nacos.internal."), Meaning::Apex);
        assert_eq!(meaning("NACOS.internal."), Meaning::Apex);
        assert_eq!(meaning("orders.example.com."), Meaning::Elsewhere);
        assert_eq!(meaning("internal."), Meaning::Elsewhere);
        assert_eq!(meaning("."), Meaning::Elsewhere);
    }

    #[test]
    fn escapes_stand_for_what_a_label_cannot_hold() {
        assert_eq!(
            service("com_pexample_p_uorder_uservice"),
            "public##DEFAULT_GROUP@@com.example.OrderService"
        );
        assert_eq!(
            service("providers_3acom_pa_3a1_p0_3a"),
            "public##DEFAULT_GROUP@@providers:com.a:1.0:"
        );
        assert_eq!(service("orders._wseata___wgroup"), "public##SEATA_GROUP@@orders");
        assert_eq!(service("a_40b_2fc__d"), "public##DEFAULT_GROUP@@a@b/c_d");
        assert_eq!(service("addr_2d0a000001"), "public##DEFAULT_GROUP@@addr-0a000001");
        assert_eq!(service("_c3_a9"), "public##DEFAULT_GROUP@@é");
        assert_eq!(service("a.__"), "public##_@@a");
        for no_service in ["_", "Default_Group", "_.dev"] {
            assert_eq!(service(no_service), "no service");
        }
        for bad in ["a_", "a_x1", "a_4", "_u1", "_w", "_ff", "_g"] {
            assert_eq!(service(bad), "Nothing", "{bad}");
        }
    }

    #[test]
    fn addresses_have_names() {
        for text in ["10.0.0.1", "2001:db8::1", "0.0.0.0"] {
            let ip: IpAddr = text.parse().unwrap();
            let name = zone().name_of(ip).unwrap();
            assert_eq!(zone().meaning(&name), Meaning::Address(ip), "{name}");
        }
        assert_eq!(
            zone().name_of([10, 0, 0, 1].into()).unwrap().to_ascii(),
            "addr-0a000001.nacos.internal."
        );
        assert_eq!(service("addr-0a00001"), "public##DEFAULT_GROUP@@addr-0a00001");
        assert_eq!(service("addr-0a000001.shop"), "public##shop@@addr-0a000001");
    }

    /// The other way, as `docs/dns.md` tells people to write names.
    fn escape(text: &str) -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            b'A'..=b'Z' => format!("_u{}", char::from(byte.to_ascii_lowercase())),
            b'_' => "__".to_owned(),
            b'.' => "_p".to_owned(),
            other => format!("_{other:02x}"),
        };
        text.bytes().map(one).collect()
    }

    proptest! {
        #[test]
        fn every_name_can_be_written(text in "\\PC{0,64}") {
            let label = escape(&text);
            prop_assert_eq!(unescape(label.as_bytes()), Some(Label::Text(text.clone())));
            let label = label.to_ascii_uppercase();
            prop_assert_eq!(unescape(label.as_bytes()), Some(Label::Text(text)));
        }

        #[test]
        fn no_label_panics(label in proptest::collection::vec(any::<u8>(), 0..63)) {
            let _ = (unescape(&label), address(&label));
        }
    }
}
