//! What a transcript file may say. Fields that are not known are errors, so that a misspelt
//! expectation cannot pass for a met one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::{self, present};
use super::pattern::Pattern;

/// Fields of a step that are for people: they change nothing in the replay.
const INFORMATION: [&str; 4] = ["why", "observed_ms", "observed_bytes", "observed_plain_bytes"];

/// Which expectation holds where a good server should not copy Nacos.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// What Nacos 1.4.8 answered.
    Nacos,
    /// What we ask of our server.
    Want,
}

/// One story: a list of steps that leaves no trace other stories could see, unless `exclusive`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) title: String,
    #[serde(rename = "tags", default)]
    _tags: Vec<String>,
    /// How long it took when it was recorded; unset for the short ones.
    #[serde(default)]
    seconds: u64,
    /// It changes switches of the whole server, so it must have one for itself.
    #[serde(default)]
    pub(crate) exclusive: bool,
    /// How the server must have been prepared.
    #[serde(default)]
    needs: Vec<String>,
    /// The steps as written: variables are replaced just before a step is carried out.
    pub(crate) steps: Vec<Value>,
    /// Steps that run whatever happened before.
    #[serde(default)]
    pub(crate) finally: Vec<Value>,
    #[serde(rename = "spec")]
    _spec: String,
    #[serde(rename = "recorded")]
    _recorded: String,
    #[serde(rename = "about", default)]
    _about: Option<String>,
    /// Which release was recorded.
    #[serde(rename = "server", default)]
    _server: Option<String>,
    /// What other releases do.
    #[serde(rename = "elsewhere", default)]
    _elsewhere: Option<Value>,
}

impl Scenario {
    /// Reads a transcript, of which every step must pass `check` for both sides.
    pub(crate) fn parse(text: &str, check: CheckStep) -> Result<Self, String> {
        let value = json::parse(text)?;
        let scenario: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        for step in scenario.steps.iter().chain(&scenario.finally) {
            for side in [Side::Nacos, Side::Want] {
                check(step, side)
                    .map_err(|error| format!("{error} in step {}", json::shown(step)))?;
            }
        }
        Ok(scenario)
    }

    /// Whether the server must have been prepared in this way.
    pub(crate) fn needs(&self, what: &str) -> bool {
        self.needs.iter().any(|need| need == what)
    }

    /// Whether authentication must be on, and `nacos` an administrator with that password.
    pub(crate) fn needs_auth(&self) -> bool {
        self.needs("auth")
    }

    /// Whether authentication must be on without any user, once.
    // Not every program asks.
    #[allow(dead_code)]
    pub(crate) fn needs_no_user(&self) -> bool {
        self.needs.iter().any(|need| need == "fresh")
    }

    /// Scenarios start in ascending order of this. Slow ones come first, so that the whole takes
    /// little longer than the slowest; exclusive ones come last, because on a server that is not
    /// ours they wait until the others are done.
    pub(crate) fn start_order(&self) -> (bool, Reverse<u64>) {
        (self.exclusive, Reverse(self.seconds))
    }
}

/// Says whether a step can be read.
pub(crate) type CheckStep = fn(&Value, Side) -> Result<(), String>;

/// A file's name without its ending, and what it holds or why it cannot be read.
pub(crate) type Transcript = (String, Result<Scenario, String>);

/// Reads every transcript of `folder`, sorted by name; every step must pass `check`. One that cannot be read does not stop the
/// others.
pub(crate) fn load(folder: &Path, check: CheckStep) -> Result<Vec<Transcript>, String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let scenario = read(&path, &name, check);
            found.insert(name, scenario);
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no transcripts", folder.display()));
    }
    Ok(found.into_iter().collect())
}

fn read(path: &Path, name: &str, check: CheckStep) -> Result<Scenario, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let scenario = Scenario::parse(&text, check)?;
    if scenario.name != name {
        return Err(format!("the scenario calls itself {}", scenario.name));
    }
    Ok(scenario)
}

/// A step as carried out for one side.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Names the moment just before the step.
    pub(crate) mark: Option<String>,
    /// The side it is for; unset for both.
    pub(crate) only: Option<Side>,
    pub(crate) note: Option<String>,
    pub(crate) action: Action,
}

impl Step {
    /// Whether it can be read.
    pub(crate) fn check(source: &Value, side: Side) -> Result<(), String> {
        Self::parse(source, side).map(drop)
    }

    /// Reads a step, taking from it what is expected on `side`.
    pub(crate) fn parse(source: &Value, side: Side) -> Result<Self, String> {
        let (frame, fields) = Frame::of(source, side)?;
        let read = |error: serde_json::Error| error.to_string();
        let action = serde_json::from_value(Value::Object(fields)).map_err(read)?;
        let Frame { mark, only, note } = frame;
        Ok(Self { mark, only, note, action })
    }
}

/// What steps of every kind have.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) mark: Option<String>,
    pub(crate) only: Option<Side>,
    pub(crate) note: Option<String>,
}

impl Frame {
    /// Takes it from a step; what is left are the fields of its kind, as they are on `side`.
    pub(crate) fn of(source: &Value, side: Side) -> Result<(Self, Map<String, Value>), String> {
        let mut fields = source.as_object().cloned().ok_or("a step is an object")?;
        for name in INFORMATION {
            fields.remove(name);
        }
        let (nacos, want) = (fields.remove("nacos"), fields.remove("want"));
        let own = if side == Side::Nacos { nacos } else { want };
        if let Some(own) = own {
            let is_push = fields.get("step").is_some_and(|step| step == "expect_push");
            fields.insert(if is_push { "outer" } else { "expect" }.to_owned(), own);
        }
        if let Some(ours) = fields.remove("want_deadline_ms").filter(|_| side == Side::Want) {
            fields.insert("deadline_ms".to_owned(), ours);
        }
        let read = |error: serde_json::Error| error.to_string();
        let text = |value: Option<Value>| serde_json::from_value(value.unwrap_or_default());
        let mark = text(fields.remove("mark")).map_err(read)?;
        let note = text(fields.remove("note")).map_err(read)?;
        let only = fields.remove("only").map(serde_json::from_value).transpose().map_err(read)?;
        Ok((Self { mark, only, note }, fields))
    }
}

/// What a step does. Times are milliseconds; `since` is the name of a mark, or the start of the
/// step if it is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Action {
    Http(Exchange),
    Poll(Box<Poll>),
    Sleep {
        ms: u64,
    },
    SleepUntil {
        since: String,
        ms: u64,
    },
    /// Does nothing but set its mark.
    Mark,
    OpenUdp {
        socket: String,
    },
    ExpectPush(Box<ExpectPush>),
    AckPush {
        socket: String,
        #[serde(default)]
        ref_as: ReferenceForm,
    },
    ExpectNoPush {
        socket: String,
        ms: u64,
    },
    DrainPush {
        socket: String,
        quiet_ms: u64,
    },
}

/// A request whose reply is compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) expect: Option<Box<Expectation>>,
    #[serde(default)]
    pub(crate) capture: Captures,
}

/// A request repeated until the reply is as expected, no earlier and no later than allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    pub(crate) request: Request,
    pub(crate) expect: Expectation,
    pub(crate) every_ms: u64,
    pub(crate) since: Option<String>,
    #[serde(default)]
    pub(crate) not_before_ms: u64,
    pub(crate) deadline_ms: u64,
    #[serde(default)]
    pub(crate) capture: Captures,
}

/// A packet that must arrive; others before it are passed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectPush {
    pub(crate) socket: String,
    pub(crate) since: Option<String>,
    #[serde(default)]
    pub(crate) not_before_ms: u64,
    pub(crate) deadline_ms: u64,
    /// Whether the datagram is compressed; not compared if left out.
    pub(crate) gzip: Option<bool>,
    pub(crate) outer: Pattern,
    /// The JSON inside the packet's `data` text.
    pub(crate) data: Option<Pattern>,
    #[serde(default)]
    pub(crate) capture: Captures,
}

/// Variables to set and where from: a JSON pointer or `header:NAME`.
pub(crate) type Captures = BTreeMap<String, String>;

/// A request exactly as it is sent: nothing but `Host` is added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The port it goes to, unless that is the server's own.
    pub(crate) at: Option<Port>,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) query: Vec<(String, String)>,
    /// Sent as it is, in place of `query`.
    pub(crate) raw_query: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) form: Option<Vec<(String, String)>>,
    pub(crate) body: Option<String>,
}

/// A port beside that of the server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Port {
    /// That for consoles.
    Console,
}

/// What a reply must be. What is left out is not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    pub(crate) status: Option<Pattern>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) text: Option<Pattern>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) json: Option<Pattern>,
    /// By name in any case; `null` means absent.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Pattern>,
}

/// How an ack writes `lastRefTime`; clients do both.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReferenceForm {
    #[default]
    String,
    Number,
}
