//! What a gRPC step may say. Fields that are not known are errors.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::golden_support::json::present;
use crate::golden_support::pattern::Pattern;
use crate::golden_support::scenario::{Captures, Frame, Side, Step};

/// Kinds of steps that are carried out here; all others are of `golden_support`.
const KINDS: [&str; 16] = [
    "open",
    "request",
    "poll_request",
    "expect_server",
    "reply_server",
    "stream_send",
    "expect_none",
    "drain",
    "acks",
    "close",
    "half_close",
    "abort",
    "freeze",
    "expect_close",
    "expect_open",
    "for",
];

/// Whether a step is carried out here.
pub(crate) fn is_grpc(step: &Value) -> bool {
    step["step"].as_str().is_some_and(|kind| KINDS.contains(&kind))
}

/// Whether a step can be read, be it of this kind or of another.
pub(crate) fn check(step: &Value, side: Side) -> Result<(), String> {
    if !is_grpc(step) {
        return Step::check(step, side);
    }
    // Numbers may stand as text until the variables in it are known.
    let mut numbered = step.clone();
    number_variables(&mut numbered);
    let expanded = super::template::expand(&numbered)?;
    match GrpcStep::parse(&expanded, side)?.action {
        GrpcAction::For { steps, .. } => steps.iter().try_for_each(|step| check(step, side)),
        _ => Ok(()),
    }
}

/// Puts a digit in the place of variables in `$int`, where only the loop knows them.
fn number_variables(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(number_variables),
        Value::Object(entries) => {
            if let Some(Value::String(text)) = entries.get_mut("$int")
                && let (Some(start), Some(end)) = (text.find("${"), text.find('}'))
            {
                text.replace_range(start..=end, "1");
            }
            entries.values_mut().for_each(number_variables);
        }
        _ => {}
    }
}

/// A gRPC step as it is carried out for one side.
#[derive(Clone, Debug)]
pub(crate) struct GrpcStep {
    pub(crate) frame: Frame,
    pub(crate) action: GrpcAction,
}

impl GrpcStep {
    /// Reads a step, taking from it what is expected on `side`.
    pub(crate) fn parse(source: &Value, side: Side) -> Result<Self, String> {
        let (frame, fields) = Frame::of(source, side)?;
        let action = serde_json::from_value(Value::Object(fields));
        let action: GrpcAction = action.map_err(|error| error.to_string())?;
        let is_whole = match &action {
            GrpcAction::Request(request) => request.is_single(),
            GrpcAction::StreamSend(message) => message.is_single() && message.expect.is_none(),
            GrpcAction::PollRequest(poll) => poll.pace().is_some() && poll.expect.is_some(),
            _ => true,
        };
        if !is_whole {
            return Err("a step of this kind has other fields".to_owned());
        }
        Ok(Self { frame, action })
    }
}

/// What a step does. Times are milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GrpcAction {
    Open(Box<Open>),
    Request(Box<Request>),
    PollRequest(Box<Request>),
    ExpectServer(Box<ExpectServer>),
    ReplyServer {
        conn: String,
        #[serde(rename = "type")]
        kind: Option<String>,
        body: Option<Value>,
    },
    StreamSend(Box<Request>),
    ExpectNone {
        conn: String,
        #[serde(rename = "type")]
        kind: Option<String>,
        ms: u64,
    },
    Drain {
        conn: String,
        #[serde(rename = "type")]
        kind: Option<String>,
        quiet_ms: u64,
    },
    Acks {
        conn: String,
        acks: Acks,
    },
    Close {
        conn: String,
    },
    HalfClose {
        conn: String,
    },
    Abort {
        conn: String,
    },
    Freeze {
        conn: String,
    },
    ExpectClose(ExpectClose),
    ExpectOpen {
        conn: String,
    },
    For {
        var: String,
        from: u64,
        to: u64,
        steps: Vec<Value>,
    },
}

/// A new connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) conn: String,
    /// How it is set up, unless `setup` says so itself.
    pub(crate) sdk: Option<String>,
    /// The body of the setup; `false` sends none.
    pub(crate) setup: Option<Value>,
    #[serde(default = "yes")]
    pub(crate) check: bool,
    #[serde(default = "yes")]
    pub(crate) stream: bool,
    pub(crate) client_ip: Option<String>,
    #[serde(default)]
    pub(crate) acks: Acks,
    #[serde(default)]
    pub(crate) keep_alive: bool,
    #[serde(default)]
    pub(crate) headers: HashMap<String, String>,
    #[serde(default)]
    pub(crate) expect: OpenExpectation,
}

/// How the server takes a connection in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenExpectation {
    /// The answer to the check of the server.
    pub(crate) check: Option<MessageExpectation>,
    /// The body of the ack of the setup; `null` if none may come.
    #[serde(default, deserialize_with = "present")]
    pub(crate) ack: Option<Value>,
}

/// A call, or a message on the stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) conn: String,
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    body: Option<Value>,
    /// Sent as it is, in place of `body`.
    raw: Option<String>,
    /// Bytes of the body: `${pad}` in it grows until it has as many.
    pad_to: Option<usize>,
    #[serde(default)]
    pub(crate) headers: HashMap<String, String>,
    pub(crate) client_ip: Option<String>,
    #[serde(default)]
    pub(crate) type_url: String,
    pub(crate) expect: Option<MessageExpectation>,
    #[serde(default)]
    pub(crate) not_before_ms: u64,
    #[serde(default)]
    pub(crate) capture: Captures,
    /// Only of calls that are repeated until the answer is as expected.
    pub(crate) since: Option<String>,
    every_ms: Option<u64>,
    deadline_ms: Option<u64>,
}

impl Request {
    /// The body as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        const PAD: &str = "${pad}";
        if let Some(raw) = &self.raw {
            return raw.clone().into_bytes();
        }
        let text = self.body.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
        let Some(bytes) = self.pad_to else { return text.into_bytes() };
        let missing = (bytes + PAD.len()).saturating_sub(text.len());
        text.replace(PAD, &"x".repeat(missing)).into_bytes()
    }

    /// How often it is repeated and for how long, in milliseconds.
    pub(crate) fn pace(&self) -> Option<(u64, u64)> {
        Some((self.every_ms?, self.deadline_ms?))
    }

    fn is_single(&self) -> bool {
        (&self.since, self.every_ms, self.deadline_ms) == (&None, None, None)
    }
}

/// A request of the server that must come.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectServer {
    pub(crate) conn: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) since: Option<String>,
    pub(crate) deadline_ms: u64,
    #[serde(default)]
    pub(crate) not_before_ms: u64,
    #[serde(default)]
    pub(crate) expect: MessageExpectation,
    #[serde(default)]
    pub(crate) capture: Captures,
}

/// The server must end the connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectClose {
    pub(crate) conn: String,
    #[serde(default)]
    pub(crate) how: How,
    /// The status with which the stream ends.
    pub(crate) status: Option<Pattern>,
    pub(crate) since: Option<String>,
    pub(crate) deadline_ms: u64,
    #[serde(default)]
    pub(crate) not_before_ms: u64,
}

/// Which end counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// That of TCP.
    Tcp,
    /// That of the stream.
    Stream,
    /// Either, the stream not with OK.
    #[default]
    Any,
}

/// Which requests of the server are answered at once.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(from = "Value")]
pub(crate) enum Acks {
    #[default]
    All,
    Types(Vec<String>),
}

impl Acks {
    pub(crate) fn take(&self, kind: &str) -> bool {
        match self {
            Self::All => true,
            Self::Types(types) => types.iter().any(|known| known == kind),
        }
    }
}

impl From<Value> for Acks {
    fn from(source: Value) -> Self {
        match source {
            Value::Array(types) => {
                Self::Types(types.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => Self::All,
        }
    }
}

/// What a message must be. What is left out is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageExpectation {
    #[serde(rename = "type")]
    pub(crate) kind: Option<Pattern>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) body: Option<Value>,
    /// The status with which the call fails.
    pub(crate) grpc: Option<Pattern>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Pattern>,
}

fn yes() -> bool {
    true
}
