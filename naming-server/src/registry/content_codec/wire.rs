//! What records carry, as bytes. Field numbers are for ever: a field that goes leaves its number
//! unused, a field that comes gets the next one and a meaning for its absence. Absent is mostly
//! what nearly every record has, so that it costs nothing.

use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Content {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 8, 9, 10")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    /// An ephemeral one.
    #[prost(message, tag = "1")]
    Instance(Instance),
    /// A [`Service`], to be looked at before it is decoded: see [`count`].
    #[prost(bytes = "vec", tag = "2")]
    Service(Vec<u8>),
    /// JSON.
    #[prost(string, tag = "3")]
    Switch(String),
    #[prost(message, tag = "4")]
    Namespace(Namespace),
    /// Not a field of an instance: a member that does not know the field must not judge the
    /// instance by its silence.
    #[prost(message, tag = "5")]
    Persistent(Instance),
    /// The bcrypt hash of a password.
    #[prost(string, tag = "8")]
    User(String),
    #[prost(message, tag = "9")]
    Grant(Nothing),
    #[prost(message, tag = "10")]
    Operator(OperatorValues),
}

/// What an operator set of an instance; absent is what nobody set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorValues {
    #[prost(double, optional, tag = "1")]
    pub(super) weight: Option<f64>,
    #[prost(bool, optional, tag = "2")]
    pub(super) enabled: Option<bool>,
    /// A JSON object of texts, and of nulls for what is removed.
    #[prost(string, optional, tag = "3")]
    pub(super) metadata: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Instance {
    /// A JSON object of texts; absent if nobody ever gave any.
    #[prost(string, optional, tag = "1")]
    pub(super) metadata: Option<String>,
    /// Absent is 1.
    #[prost(double, optional, tag = "2")]
    pub(super) weight: Option<f64>,
    /// Digits; absent for the id that follows from the key.
    #[prost(string, optional, tag = "3")]
    pub(super) id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) app: Option<String>,
    #[prost(bool, tag = "5")]
    pub(super) is_disabled: bool,
    /// Absent if no connection holds it.
    #[prost(message, optional, tag = "6")]
    pub(super) held: Option<Held>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Held {
    /// Which connection.
    #[prost(fixed64, tag = "1")]
    pub(super) by: u64,
    #[prost(bool, tag = "2")]
    pub(super) is_unhealthy: bool,
    /// Absent if it is that of the instance.
    #[prost(double, optional, tag = "3")]
    pub(super) weight: Option<f64>,
    /// Absent if the client chose none.
    #[prost(string, optional, tag = "4")]
    pub(super) id: Option<String>,
}

/// Number of the field of [`Service`] with its clusters.
pub(super) const CLUSTERS: u32 = 4;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Service {
    #[prost(float, tag = "1")]
    pub(super) protect_threshold: f32,
    /// As that of an instance.
    #[prost(string, optional, tag = "2")]
    pub(super) metadata: Option<String>,
    /// Absent is no selector.
    #[prost(message, optional, tag = "3")]
    pub(super) selector: Option<Selector>,
    #[prost(message, repeated, tag = "4")]
    pub(super) clusters: Vec<Cluster>,
    #[prost(bool, tag = "5")]
    pub(super) is_explicit: bool,
    /// Absent if nobody said of which kind the service is. Members of an earlier release ignore it.
    #[prost(bool, optional, tag = "6")]
    pub(super) is_persistent: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Selector {
    #[prost(oneof = "SelectorKind", tags = "1")]
    pub(super) kind: Option<SelectorKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum SelectorKind {
    /// The expression.
    #[prost(string, tag = "1")]
    Label(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cluster {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(oneof = "Checker", tags = "2, 3, 4, 5")]
    pub(super) checker: Option<Checker>,
    #[prost(uint32, tag = "6")]
    pub(super) check_port: u32,
    #[prost(bool, tag = "7")]
    pub(super) use_instance_port: bool,
    /// As that of an instance.
    #[prost(string, optional, tag = "8")]
    pub(super) metadata: Option<String>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Checker {
    #[prost(message, tag = "2")]
    Tcp(Nothing),
    #[prost(message, tag = "3")]
    Http(Http),
    #[prost(message, tag = "4")]
    Mysql(Mysql),
    #[prost(message, tag = "5")]
    None(Nothing),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Http {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) headers: String,
    #[prost(sint64, tag = "3")]
    pub(super) expected_response_code: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mysql {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) pwd: String,
    #[prost(string, tag = "3")]
    pub(super) cmd: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Namespace {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
}

/// How often a message has this field. A list may take much more memory than its bytes.
pub(super) fn count(mut source: &[u8], field: u32) -> Result<usize, DecodeError> {
    let mut count = 0;
    while !source.is_empty() {
        let (number, kind) = decode_key(&mut source)?;
        skip_field(kind, number, &mut source, DecodeContext::default())?;
        count += usize::from(number == field);
    }
    Ok(count)
}
