use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

/// As Nacos writes it.
const HASH: &str = "$2a$10$EuWPZHzz32dJN7jexM34MOeYirDdFAZm2kuWj7VEOJhhZkDrxfvUu";

fn encoded(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    ContentCodec.encode(content, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Result<String, String> {
    ContentCodec.decode(bytes).map(|content| format!("{content:?}")).map_err(|error| error.0)
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Metadata::new(&pairs.iter().map(owned).collect(), 4_096).unwrap()
}

fn namespace(name: &str, description: &str) -> Content {
    Content::Namespace(Namespace::new("n", name, description).unwrap())
}

fn all_settings() -> ServiceSettings {
    let http = HealthChecker::Http {
        path: "/health".to_owned(),
        headers: "a:b|c:d".to_owned(),
        expected_response_code: -1,
    };
    let mysql = HealthChecker::Mysql {
        user: "u".to_owned(),
        pwd: "p".to_owned(),
        cmd: "select 1".to_owned(),
    };
    let checkers =
        [("A", HealthChecker::Tcp), ("B", http), ("C-1", mysql), ("D", HealthChecker::None)];
    let cluster = |(name, checker): (&str, _)| {
        let settings = ClusterSettings {
            checker,
            check_port: 8_080,
            use_instance_port: name == "A",
            metadata: metadata(&[("cluster", name)]),
        };
        (name.to_owned(), settings)
    };
    let expression = "CONSUMER.label.a = PROVIDER.label.a".to_owned();
    ServiceSettings {
        protect_threshold: 0.8,
        metadata: metadata(&[("k", "v")]),
        selector: Selector::labels_of(expression).unwrap(),
        clusters: checkers.into_iter().map(cluster).collect(),
        explicit: true,
        kind: None,
    }
}

fn operator_values() -> OperatorValues {
    let pairs = [("quote\"", Some("new\nline é")), ("zone", None)];
    let owned = pairs.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    OperatorValues { weight: Some(0.0), enabled: Some(false), metadata: owned.into() }
}

/// One or more of each kind; never to be changed but by adding.
fn examples() -> Vec<(&'static str, Content)> {
    let plain = Instance::new(1.0, Metadata::absent()).unwrap();
    let mut full = Instance::new(
        0.5,
        metadata(&[("preserved.heart.beat.interval", "1234"), ("quote\"", "new\nline é")]),
    );
    full = full.and_then(|instance| instance.with_app("shop"));
    let mut full = full.unwrap();
    full.id = Some("17".into());
    full.enabled = false;
    let persistent = full.clone().into_persistent();
    vec![
        ("instance", Content::Instance(plain)),
        (
            "instance-empty-metadata",
            Content::Instance(Instance::new(0.0, Metadata::default()).unwrap()),
        ),
        ("instance-full", Content::Instance(full)),
        ("instance-persistent", Content::Instance(persistent)),
        ("service", Content::Service(Arc::default())),
        ("service-full", Content::Service(Arc::new(all_settings()))),
        ("switch", Content::Switch(r#"{"/a":403}"#.into())),
        ("namespace", namespace("Dev é", "what is tried")),
        ("namespace-empty", namespace("", "")),
        ("user", Content::User(HASH.into())),
        ("grant", Content::Grant),
        ("operator", Content::Operator(Box::new(operator_values()))),
        ("operator-empty", Content::Operator(Box::default())),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/content-1.0")
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(40) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Members of neighbouring releases give each other these.
#[test]
fn what_was_kept_still_means_the_same() {
    let mut known = BTreeSet::new();
    for (name, content) in examples() {
        let file = format!("{name}.hex");
        let bytes = from_hex(&fs::read_to_string(folder().join(&file)).unwrap());
        assert_eq!(decoded(&bytes).unwrap(), format!("{content:?}"), "{name}");
        known.insert(file);
    }
    let files = fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(known, files);
}

/// An older member must understand what is sent: a difference is only right if it can.
#[test]
fn what_is_sent_is_what_was_kept() {
    for (name, content) in examples() {
        let kept = fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
        assert_eq!(to_hex(&encoded(&content)), kept, "{name}");
    }
}

#[test]
#[ignore = "writes the fixtures; to be run once for each new one"]
fn keep_the_examples() {
    fs::create_dir_all(folder()).unwrap();
    for (name, content) in examples() {
        fs::write(folder().join(format!("{name}.hex")), to_hex(&encoded(&content))).unwrap();
    }
}

#[test]
fn additions_of_a_later_release_are_ignored_and_whole_kinds_passed_on() {
    // Field 15, a text; field 14, a number.
    let additions = [0x7a, 2, b'h', b'i', 0x70, 9];
    for (name, content) in examples() {
        let mut bytes = encoded(&content);
        bytes.extend(additions);
        assert_eq!(decoded(&bytes).unwrap(), format!("{content:?}"), "{name}");
    }
    let mut inside = vec![0x0a, 6];
    inside.extend(additions);
    let plain = Content::Instance(Instance::new(1.0, Metadata::absent()).unwrap());
    assert_eq!(decoded(&inside).unwrap(), format!("{plain:?}"));
    for unknown in [&additions[..], &[]] {
        let content = ContentCodec.decode(unknown).unwrap();
        assert!(matches!(&content, Content::Unknown(bytes) if **bytes == *unknown));
        assert_eq!(encoded(&content), unknown);
    }
}

fn instance_error(change: impl FnOnce(&mut wire::Instance)) -> String {
    let mut instance = wire::Instance::default();
    change(&mut instance);
    error(wire::Kind::Instance(instance))
}

fn service_error(change: impl FnOnce(&mut wire::Service)) -> String {
    let mut service = wire::Service::default();
    change(&mut service);
    error(wire::Kind::Service(service.encode_to_vec()))
}

fn cluster_error(change: impl FnOnce(&mut wire::Cluster)) -> String {
    let mut cluster = wire::Cluster {
        name: "c".to_owned(),
        checker: Some(wire::Checker::Tcp(wire::Nothing {})),
        ..wire::Cluster::default()
    };
    change(&mut cluster);
    service_error(|service| service.clusters = vec![cluster])
}

fn error(kind: wire::Kind) -> String {
    decoded(&wire::Content { kind: Some(kind) }.encode_to_vec()).unwrap_err()
}

#[test]
fn what_a_client_could_not_write_is_refused() {
    for weight in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 10_000.1] {
        assert!(
            instance_error(|it| it.weight = Some(weight)).contains("weights range"),
            "{weight}"
        );
    }
    for text in ["", "x", "[]", r#"{"a":1}"#, r#"{"a":{"b":"c"}}"#] {
        let error = instance_error(|it| it.metadata = Some(text.to_owned()));
        assert_eq!(error, "metadata is no object of texts", "{text}");
    }
    let long = format!(r#"{{"k":"{}"}}"#, "v".repeat(MAX_METADATA));
    assert!(instance_error(|it| it.metadata = Some(long)).contains("'metadata'"));
    for id in ["", "x", "-1", "123456789012345678901"] {
        assert!(instance_error(|it| it.id = Some(id.to_owned())).contains("id"), "{id}");
    }
    assert!(instance_error(|it| it.app = Some("a".repeat(257))).contains("'app'"));
    let held = |weight, id| Some(wire::Held { by: 1, is_unhealthy: false, weight, id });
    let long = || Some("i".repeat(513));
    assert!(instance_error(|it| it.held = held(None, long())).contains("'instanceId'"));
    assert!(instance_error(|it| it.held = held(Some(f64::NAN), None)).contains("'weight'"));
    for threshold in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
        assert!(service_error(|it| it.protect_threshold = threshold).contains("threshold"));
    }
    let nothing = Some(wire::Selector { kind: None });
    assert!(service_error(|it| it.selector = nothing).contains("kind unknown here"));
    for expression in ["garbage".to_owned(), " ".repeat(4_097)] {
        let kind = Some(wire::SelectorKind::Label(expression));
        assert!(
            service_error(|it| it.selector = Some(wire::Selector { kind })).contains("selector")
        );
    }
    assert!(error(wire::Kind::Switch("1".repeat(MAX_SWITCH + 1))).contains("too long"));
    let name = "n".repeat(257);
    let namespace = wire::Namespace { name, description: String::new() };
    assert!(error(wire::Kind::Namespace(namespace)).contains("namespaceName"));
    // One that would take hours to verify, and one that is none.
    for hash in [HASH.replace("$10$", "$31$"), "nacos".to_owned()] {
        assert!(error(wire::Kind::User(hash)).contains("password hash"));
    }
}

#[test]
fn values_of_an_operator_are_refused_that_nobody_could_set() {
    let refused = |change: &dyn Fn(&mut wire::OperatorValues)| {
        let mut values = wire::OperatorValues::default();
        change(&mut values);
        error(wire::Kind::Operator(values))
    };
    for weight in [f64::NAN, -1.0, 10_000.1] {
        assert!(refused(&|it| it.weight = Some(weight)).contains("weights range"), "{weight}");
    }
    for text in ["", "[]", r#"{"a":1}"#, r#"{"a":{}}"#] {
        let error = refused(&|it| it.metadata = Some(text.to_owned()));
        assert!(error.contains("no object of texts and nulls"), "{text}: {error}");
    }
    let long = format!(r#"{{"k":"{}"}}"#, "v".repeat(MAX_METADATA));
    assert!(refused(&|it| it.metadata = Some(long.clone())).contains("too long"));
}

#[test]
fn clusters_are_refused_that_a_client_could_not_write() {
    for name in ["", "a_b", &"c".repeat(129)] {
        assert!(cluster_error(|it| name.clone_into(&mut it.name)).contains("luster"), "{name}");
    }
    assert!(cluster_error(|it| it.checker = None).contains("kind unknown here"));
    assert!(cluster_error(|it| it.check_port = 65_536).contains("port"));
    let long = wire::Http { path: "/".repeat(4_097), ..wire::Http::default() };
    assert!(cluster_error(|it| it.checker = Some(wire::Checker::Http(long))).contains("too long"));
    let many = vec![wire::Cluster::default(); MAX_CLUSTERS + 1];
    assert!(service_error(|it| it.clusters = many).contains("too many"));
}

#[test]
fn metadata_is_kept_in_its_one_form() {
    for sent in
        ["{ \"b\":\"2\",\"a\":\"1\" }", r#"{"b":"2","a":"\u0031"}"#, r#"{"a":"0","b":"2","a":"1"}"#]
    {
        let metadata = Some(sent.to_owned());
        let kind = Some(wire::Kind::Instance(wire::Instance { metadata, ..Default::default() }));
        let content = ContentCodec.decode(&wire::Content { kind }.encode_to_vec()).unwrap();
        let Content::Instance(instance) = content else { panic!("{content:?}") };
        assert_eq!(instance.metadata.as_json(), r#"{"a":"1","b":"2"}"#, "{sent}");
    }
}

fn some_metadata() -> impl Strategy<Value = Metadata> {
    let key = prop_oneof![
        2 => "(?s).{0,8}",
        1 => Just("preserved.heart.beat.timeout".to_owned()),
    ];
    let given = btree_map(key, "(?s).{0,20}", 0..6)
        .prop_map(|map| Metadata::new(&map, MAX_METADATA).unwrap());
    prop_oneof![1 => Just(Metadata::absent()), 5 => given]
}

fn some_instance() -> impl Strategy<Value = Content> {
    let weight = prop_oneof![Just(0.0), Just(1.0), 0.0..=10_000.0_f64];
    let app = option::of(prop_oneof![Just("unknown".to_owned()), "(?s).{0,60}"]);
    let id = option::of("[0-9]{1,20}");
    let held = option::of((any::<u64>(), any::<bool>(), -1e6..=1e6_f64, "(?s).{0,60}"));
    (weight, some_metadata(), id, app, held, any::<[bool; 2]>()).prop_map(
        |(weight, metadata, id, app, held, [enabled, is_persistent])| {
            let mut instance = Instance::new(weight, metadata).unwrap();
            if let Some(app) = app {
                instance = instance.with_app(&app).unwrap();
            }
            instance.id = id.map(Box::from);
            instance.held = held.map(|(by, healthy, weight, id)| {
                let held = Held::new(by, healthy).with_id(&id).unwrap();
                Box::new(held.with_weight(weight).unwrap().0)
            });
            (instance.enabled, instance.is_persistent) = (enabled, is_persistent);
            Content::Instance(instance)
        },
    )
}

fn some_checker() -> impl Strategy<Value = HealthChecker> {
    prop_oneof![
        Just(HealthChecker::Tcp),
        Just(HealthChecker::None),
        (".{0,30}", ".{0,30}", any::<i64>()).prop_map(|(path, headers, expected_response_code)| {
            HealthChecker::Http { path, headers, expected_response_code }
        }),
        (".{0,9}", ".{0,9}", ".{0,30}").prop_map(|(user, pwd, cmd)| HealthChecker::Mysql {
            user,
            pwd,
            cmd
        }),
    ]
}

fn some_cluster() -> impl Strategy<Value = ClusterSettings> {
    (some_checker(), any::<u16>(), any::<bool>(), some_metadata()).prop_map(
        |(checker, check_port, use_instance_port, metadata)| ClusterSettings {
            checker,
            check_port: check_port.into(),
            use_instance_port,
            metadata,
        },
    )
}

fn some_settings() -> impl Strategy<Value = Content> {
    let label = "[a-z]{1,5}".prop_map(|name| {
        let expression = format!("CONSUMER.label.{name} = PROVIDER.label.{name}");
        Selector::labels_of(expression).unwrap()
    });
    let selector = prop_oneof![Just(Selector::None), label];
    let clusters = btree_map("[A-Za-z0-9-]{1,12}", some_cluster(), 0..5);
    let kinds = [ServiceKind::Ephemeral, ServiceKind::Persistent];
    let kind = option::of(proptest::sample::select(kinds.to_vec()));
    (0.0..=1.0_f32, some_metadata(), selector, clusters, any::<bool>(), kind).prop_map(
        |(protect_threshold, metadata, selector, clusters, explicit, kind)| {
            Content::Service(Arc::new(ServiceSettings {
                protect_threshold,
                metadata,
                selector,
                clusters,
                explicit,
                kind,
            }))
        },
    )
}

fn some_operator_values() -> impl Strategy<Value = Content> {
    let weight = option::of(prop_oneof![Just(0.0), 0.01..=10_000.0_f64]);
    let metadata = btree_map("(?s).{0,8}", option::of("(?s).{0,20}"), 0..6);
    (weight, option::of(any::<bool>()), metadata).prop_map(|(weight, enabled, metadata)| {
        Content::Operator(Box::new(OperatorValues { weight, enabled, metadata }))
    })
}

fn some_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        some_instance(),
        some_settings(),
        some_operator_values(),
        "(?s).{0,200}".prop_map(|text| Content::Switch(text.into())),
        (".{0,60}", ".{0,60}").prop_map(|(name, description)| namespace(&name, &description)),
        "[./0-9A-Za-z]{53}".prop_map(|hash| Content::User(format!("$2a$10${hash}").into())),
        Just(()).prop_map(|()| Content::Grant),
    ]
}

proptest! {
    #[test]
    fn everything_comes_back(content in some_content()) {
        let bytes = encoded(&content);
        prop_assert_eq!(decoded(&bytes).unwrap(), format!("{content:?}"));
        let (weight, truth) = (weight(&content), bytes.len());
        let clusters = match &content {
            Content::Service(settings) => settings.clusters.len(),
            _ => 0,
        };
        prop_assert!(weight.abs_diff(truth) <= 32 * (1 + clusters), "{} for {}", weight, truth);
    }

    #[test]
    fn what_is_understood_is_understood_again(bytes in vec(any::<u8>(), 0..200)) {
        check_again(&bytes)?;
    }

    #[test]
    fn damage_never_panics(
        content in some_content(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&content);
        for (at, byte) in damage.into_iter().filter(|_| !encoded(&content).is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_again(&bytes)?;
        check_again(&bytes[..length.index(bytes.len() + 1)])?;
    }
}

/// What comes out of bytes that are no encoding is something that a member can pass on.
fn check_again(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(content) = ContentCodec.decode(bytes) {
        let shown = format!("{content:?}");
        prop_assert_eq!(decoded(&encoded(&content)).unwrap(), shown);
        if let Content::Instance(instance) = &content {
            // Panics unless the metadata has its one form.
            instance.metadata.to_map();
        }
    }
    Ok(())
}
