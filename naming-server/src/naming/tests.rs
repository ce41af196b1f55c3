//! A front without HTTP: what it need not do is what this layer does.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distro_net::{Address, Clock, TcpConnector};
use naming_model::{InstanceKey, RecordKey, ServiceKey};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;
use crate::app::{App, Resources, Sockets};
use crate::audit::AuditSettings;
use crate::auth::{
    AuthError, AuthSettings, Credentials, NewUser, Proof, Refusal, TokenKey, TokenKeys,
};
use crate::membership::{Membership, Origin};
use crate::push::{AgentFamily, Place, Subscriber};
use crate::registry::{
    Action, Content, Flavour, Held, Instance, Later, Metadata, Namespace, PERMISSIONS, Page, ROLES,
    RegistryError, SWITCHES, ServiceSettings, View, ViewQuery, permission_key, role_key,
};

const KEY: InstanceKey<'_> = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "DEFAULT" };

/// A front of one client.
struct Stub {
    naming: Arc<Naming>,
    audit: Arc<Audit>,
    folder: TempDir,
    _app: App,
}

impl Stub {
    /// A server with authentication, an audit file, and the users `writer`, who may do everything
    /// in the group `g`, and `reader`, who may look at it. Their passwords are their names.
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("audit.log");
        let settings = AuditSettings { file, max_bytes: 1 << 20, files: 2 };
        let audit = Arc::new(Audit::open(Some(settings)).unwrap());
        let signing = TokenKey::parse("YSBrZXkgb2YgdGVzdHMsIGFuZCBvZiB0ZXN0cyBvbmx5").unwrap();
        let keys = TokenKeys { signing, previous: None };
        let auth = AuthSettings::new(&keys, Duration::from_secs(60), false).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
        let resources =
            Resources { audit: Arc::clone(&audit), auth: Some(auth), ..Resources::default() };
        let origin = Origin::new("127.0.0.1:8848".parse::<Address>().unwrap());
        let app = App::new(&crate::Config::default(), origin, None, sockets, resources);
        let registry = &app.api.registry;
        for (user, action) in [("writer", "rw"), ("reader", "r")] {
            NewUser::new(user, user, false).unwrap().write(registry);
            let (now, role) = (registry.clock.tick(), role_key(user, user));
            registry.write_record(now, ROLES, &role, Some(Content::Grant));
            let permission = permission_key(user, "*:g:*", action);
            registry.write_record(now, PERMISSIONS, &permission, Some(Content::Grant));
        }
        Self { naming: Arc::clone(app.api.naming()), audit, folder, _app: app }
    }

    async fn register(&self, user: Option<&str>) -> Result<(), NamingError> {
        let instance = Instance::new(1.0, Metadata::default()).unwrap();
        let write = self.naming.register(&caller(user), &service(), &KEY, instance, true);
        write.outcome().await
    }

    fn list<R>(
        &self,
        user: &str,
        subscriber: Option<Subscriber>,
        read: impl FnOnce(Option<&View>, u64) -> R,
    ) -> Result<R, NamingError> {
        let query = ViewQuery {
            flavour: Flavour::Grouped,
            healthy_only: false,
            clusters: "",
            null_metadata: false,
        };
        let asked = Asked { service: &service(), query, subscriber };
        self.naming.list(&caller(Some(user)), asked, read)
    }

    /// The lines of the audit file, once all are written.
    async fn audit_lines(&self) -> Vec<serde_json::Value> {
        self.audit.finish(Duration::from_secs(10)).await;
        let text = std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn caller(user: Option<&str>) -> Caller<'_> {
    Caller::new(user, SocketAddr::from(([127, 0, 0, 1], 4_000)), "stub/1.0")
}

fn service() -> ServiceKey {
    ServiceKey::parse("public", "g@@s").unwrap()
}

fn subscriber() -> Subscriber {
    Subscriber {
        service: service(),
        address: SocketAddr::from(([127, 0, 0, 1], 5_000)),
        place: Place::Caller,
        clusters: "".into(),
        agent: "stub/1.0".into(),
        flavour: Flavour::Grouped,
        family: AgentFamily::Other,
        app: "".into(),
        tenant: "".into(),
    }
}

fn not_allowed() -> NamingError {
    NamingError::Auth(AuthError::Refused(Refusal::NotAllowed))
}

#[tokio::test]
async fn a_front_registers_subscribes_and_deregisters() {
    let stub = Stub::start().await;
    stub.register(Some("writer")).await.unwrap();
    let is_there = |view: Option<&View>, _| view.is_some_and(|view| view.has_candidates);
    assert!(stub.list("reader", None, is_there).unwrap());
    let (_, before) = stub.naming.pusher().subscribers(&service(), Page::new(1, 10));
    let polled_ms = stub.list("reader", None, |_, cache_ms| cache_ms).unwrap();
    let pushed_ms = stub.list("reader", Some(subscriber()), |_, cache_ms| cache_ms).unwrap();
    let (_, after) = stub.naming.pusher().subscribers(&service(), Page::new(1, 10));
    assert_eq!((before, after), (0, 1));
    assert!(pushed_ms > polled_ms, "{pushed_ms} and {polled_ms}");
    let key = RecordKey::ephemeral(KEY);
    let gone = stub.naming.deregister(&caller(Some("writer")), &service(), &key);
    gone.outcome().await.unwrap();
    assert!(!stub.list("reader", None, is_there).unwrap());
}

#[tokio::test]
async fn a_caller_without_the_right_is_refused_and_nothing_is_written() {
    let stub = Stub::start().await;
    assert_eq!(stub.register(Some("reader")).await, Err(not_allowed()));
    assert_eq!(stub.register(None).await, Err(Refusal::UnknownUser.into()));
    assert_eq!(stub.list("stranger", Some(subscriber()), |_, _| ()), Err(not_allowed()));
    assert_eq!(stub.naming.pusher().subscribers(&service(), Page::new(1, 10)).1, 0);
    let foreign = ServiceKey::parse("public", "other@@s").unwrap();
    let settings = ServiceSettings::default();
    let made = stub.naming.create_service(&caller(Some("writer")), &foreign, settings);
    assert_eq!(made.outcome().await, Err(not_allowed()));
    assert_eq!(stub.naming.registry().service_count(), 0);
}

#[tokio::test]
async fn a_clearance_is_good_for_what_was_checked_and_for_nothing_else() {
    let stub = Stub::start().await;
    let (reader, service) = (caller(Some("reader")), service());
    let need = Need::Service(Action::Read, &service);
    let clearance = stub.naming.admit(&reader, &need).unwrap();
    let reader = Caller { clearance, ..reader };
    let instance = || Instance::new(1.0, Metadata::default()).unwrap();
    let refused = stub.naming.register(&reader, &service, &KEY, instance(), true);
    assert_eq!(refused.outcome().await, Err(not_allowed()));
    // What an operator may ask a server that is not ready opens the registry to nobody.
    let writer = caller(Some("writer"));
    let registry = stub.naming.registry();
    let clearance =
        stub.naming.pass(&registry.switches.load(), &writer, Access::Write, false).unwrap();
    let status = Content::Switch(r#""DOWN""#.into());
    registry.write_record(registry.clock.tick(), SWITCHES, "overriddenServerStatus", Some(status));
    let writer = Caller { clearance, ..writer };
    let closed = stub.naming.register(&writer, &service, &KEY, instance(), true);
    assert!(matches!(closed.outcome().await, Err(NamingError::Closed(_))));
    assert_eq!(registry.service_count(), 0);
}

#[tokio::test]
async fn administrative_writes_are_audited_whatever_front_they_come_by() {
    let stub = Stub::start().await;
    for user in ["writer", "reader"] {
        let settings = ServiceSettings::default();
        let made = stub.naming.create_service(&caller(Some(user)), &service(), settings);
        assert_eq!(made.outcome().await.is_ok(), user == "writer");
    }
    stub.register(Some("writer")).await.unwrap();
    let patch = Patch { weight: Some(2.0), ..Patch::default() };
    let patched = stub.naming.patch(&caller(Some("writer")), &service(), &KEY, patch);
    patched.outcome().await.unwrap();
    let lines = stub.audit_lines().await;
    let shown: Vec<_> = lines
        .iter()
        .map(|line| ["action", "user", "outcome", "agent"].map(|name| line[name].as_str().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ["service_create", "writer", "ok", "stub/1.0"],
            ["service_create", "reader", "refused", "stub/1.0"],
            ["instance_patch", "writer", "ok", "stub/1.0"],
        ]
    );
    assert_eq!(lines[2]["parameters"]["ip"], "10.0.0.1");
}

#[tokio::test]
async fn a_closed_gate_holds_for_every_front() {
    let stub = Stub::start().await;
    let status = Content::Switch(r#""READ_ONLY""#.into());
    let registry = stub.naming.registry();
    registry.write_record(registry.clock.tick(), SWITCHES, "overriddenServerStatus", Some(status));
    let refused = stub.register(Some("writer")).await.unwrap_err();
    assert_eq!(refused, NamingError::Closed(crate::registry::ServerStatus::ReadOnly));
    stub.list("reader", None, |_, _| ()).unwrap();
}

#[tokio::test]
async fn what_a_front_holds_for_a_connection_passes_the_layer_as_well() {
    const MARK: u64 = 7;
    let stub = Stub::start().await;
    let held = |user| {
        let mut instance = Instance::new(1.0, Metadata::default()).unwrap();
        instance.held = Some(Box::new(Held::new(MARK, true)));
        stub.naming.hold(&caller(Some(user)), &service(), &KEY, instance, MARK).outcome()
    };
    let let_go = |user, registration| {
        let held = vec![(RecordKey::ephemeral(KEY).text().as_str().into(), registration)];
        stub.naming.let_go(&caller(Some(user)), &service(), (held, MARK), ", and why").outcome()
    };
    let hosts = |user| {
        let caller = caller(Some(user));
        let asked = InfoQuery { clusters: "", healthy_only: false, is_believed: true };
        let info = stub.naming.service_info(&caller, &service(), asked, |_| Ok(()));
        info.map(|info| {
            let json: serde_json::Value = serde_json::from_slice(&info.json.concat()).unwrap();
            json["hosts"].as_array().unwrap().len()
        })
    };
    let names =
        |user| stub.naming.service_names(&caller(Some(user)), "public", "g", Page::new(1, 10));
    assert_eq!(held("reader").await.unwrap_err(), not_allowed());
    assert_eq!(hosts("reader"), Ok(0));
    let (registration, _) = held("writer").await.unwrap().expect("nobody else registered it");
    assert_eq!(hosts("reader"), Ok(1));
    assert_eq!(hosts("stranger"), Err(not_allowed()));
    assert_eq!(names("stranger").unwrap_err(), not_allowed());
    assert_eq!(let_go("reader", registration).await, Err(not_allowed()));
    assert_eq!(hosts("reader"), Ok(1));
    let status = |text: &str| {
        let status = Some(Content::Switch(format!("\"{text}\"").into()));
        let registry = stub.naming.registry();
        registry.write_record(registry.clock.tick(), SWITCHES, "overriddenServerStatus", status);
    };
    status("READ_ONLY");
    assert!(matches!(let_go("writer", registration).await, Err(NamingError::Closed(_))));
    assert!(matches!(held("writer").await, Err(NamingError::Closed(_))));
    status("WRITE_ONLY");
    assert!(matches!(hosts("reader"), Err(NamingError::Closed(_))));
    status("UP");
    assert_eq!(let_go("writer", registration).await, Ok(()));
    assert_eq!(hosts("reader"), Ok(0));
}

/// Owns everything, and remembers what it was told.
#[derive(Default)]
struct ForeignOwner {
    told: Mutex<Vec<String>>,
}

struct Told(Arc<ForeignOwner>);

impl ForeignOwners for Told {
    fn own(&self, _service: &ServiceKey) -> bool {
        true
    }

    fn tell(&self, service: ServiceKey, id: String) -> Later<()> {
        let owner = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::yield_now().await;
            owner.told.lock().push(format!("{} {id}", service.grouped()));
        })
    }

    fn beat(&self, service: ServiceKey, id: String) -> Later<()> {
        let owner = Arc::clone(&self.0);
        Box::pin(async move {
            owner.told.lock().push(format!("beat of {} {id}", service.grouped()));
        })
    }
}

#[tokio::test]
async fn a_foreign_owner_is_told_even_if_the_front_has_gone() {
    let stub = Stub::start().await;
    let owner = Arc::<ForeignOwner>::default();
    let naming = Naming::new(NamingParts {
        registry: Arc::clone(stub.naming.registry()),
        writes: stub.naming.writes().clone(),
        pusher: stub.naming.pusher().clone(),
        cluster: None,
        owners: Some(Arc::new(Told(Arc::clone(&owner)))),
        auth: None,
        audit: Arc::clone(&stub.audit),
        server: "127.0.0.1:8848".to_owned(),
    });
    let instance = |is_persistent| {
        let mut instance = Instance::new(1.0, Metadata::default()).unwrap();
        instance.is_persistent = is_persistent;
        instance
    };
    let (caller, service) = (caller(None), service());
    drop(naming.register(&caller, &service, &KEY, instance(false), true));
    // Persistent instances are none of its business.
    naming.register(&caller, &service, &KEY, instance(true), true).outcome().await.unwrap();
    let key = InstanceKey { port: 81, ..KEY };
    naming.register(&caller, &service, &key, instance(false), true).outcome().await.unwrap();
    let patch = Patch { weight: Some(2.0), ephemeral: Some(true), ..Patch::default() };
    naming.patch(&caller, &service, &key, patch).outcome().await.unwrap();
    let passed_on = Caller { clearance: naming.told(caller.clearance), ..caller };
    let gone = naming.deregister(&passed_on, &service, &RecordKey::ephemeral(key));
    gone.outcome().await.unwrap();
    // A beat is passed on, if its front has not done so.
    for caller in [&caller, &passed_on] {
        let whole = None::<fn() -> Result<Instance, RegistryError>>;
        naming.beat(caller, &service, &KEY, whole).outcome().await.unwrap();
    }
    let told = || owner.told.lock().clone();
    let id = |key: InstanceKey<'_>| format!("g@@s {}", RecordKey::ephemeral(key).text());
    tokio::time::timeout(Duration::from_secs(10), async {
        while told().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let mut all = told();
    all.sort_unstable();
    assert_eq!(all, [format!("beat of {}", id(KEY)), id(KEY), id(key), id(key)]);
}

#[tokio::test]
async fn credentials_are_known_now_or_later() {
    let stub = Stub::start().await;
    let with = |proof| Credentials { address: Ipv4Addr::LOCALHOST.into(), proof };
    let password = |password: &'static str| {
        with(Proof::Password { user: "writer".into(), password: password.into() })
    };
    let Identity::Unverified(check) = stub.naming.identify(&password("writer")) else {
        panic!("nobody has verified the password");
    };
    check.await.unwrap();
    let Identity::User(user) = stub.naming.identify(&password("writer")) else {
        panic!("the password is verified");
    };
    assert_eq!(&*user, "writer");
    let token = stub.naming.auth().unwrap().token_for(&password("writer")).unwrap();
    let known = stub.naming.identify(&with(Proof::Token(token.into())));
    assert!(matches!(known, Identity::User(user) if &*user == "writer"));
    let bad = stub.naming.identify(&with(Proof::Token(Cow::Borrowed("x"))));
    assert!(matches!(bad, Identity::Refused(Refusal::TokenInvalid)));
    let nobody = stub.naming.identify(&with(Proof::Nothing));
    assert!(matches!(nobody, Identity::Refused(Refusal::UnknownUser)));
}

#[tokio::test]
async fn a_front_manages_users_roles_and_permissions() {
    let stub = Stub::start().await;
    NewUser::new("root", "root", true).unwrap().write(stub.naming.registry());
    let of = |user| stub.naming.administration(caller(Some(user))).unwrap();
    assert_eq!(of("writer").view().err(), Some(not_allowed()));
    let refused = of("writer").create_user("ann".to_owned(), "secret".to_owned(), true);
    assert_eq!(refused.err(), Some(not_allowed()));
    of("root").create_user("ann".to_owned(), "secret".to_owned(), false).unwrap().await.unwrap();
    let again = of("root").create_user("ann".to_owned(), "secret".to_owned(), false);
    assert!(matches!(again.err(), Some(NamingError::Registry(RegistryError::Conflict(_)))));
    of("root").add_role("auditor", "ann").outcome().await.unwrap();
    of("root").add_permission("auditor", "*:g:*", "r").outcome().await.unwrap();
    stub.list("ann", None, |_, _| ()).unwrap();
    // One's own password, and nobody else's.
    of("ann").change_password("ann".to_owned(), "other".to_owned()).unwrap().await.unwrap();
    let others = of("ann").change_password("root".to_owned(), "other".to_owned());
    assert_eq!(others.err(), Some(not_allowed()));
    let last = of("root").delete_role("ROLE_ADMIN", "").outcome().await;
    assert!(matches!(last, Err(NamingError::Registry(RegistryError::Conflict(_)))), "{last:?}");
    of("root").delete_user("ann".to_owned()).outcome().await.unwrap();
    assert_eq!(stub.list("ann", None, |_, _| ()), Err(not_allowed()));
    let lines = stub.audit_lines().await;
    let actions: Vec<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    let of_ann = ["user_create", "role_add", "permission_add", "user_password", "user_delete"];
    assert!(of_ann.iter().all(|action| actions.contains(action)), "{actions:?}");
    assert!(lines.iter().all(|line| !line.to_string().contains("secret")), "{lines:?}");
}

#[tokio::test]
async fn a_front_manages_namespaces_and_switches() {
    let stub = Stub::start().await;
    NewUser::new("root", "root", true).unwrap().write(stub.naming.registry());
    let (root, writer) = (caller(Some("root")), caller(Some("writer")));
    let named = || Namespace::new("namespaceName", "Development", "").unwrap();
    let refused = stub.naming.create_namespace(&writer, "dev", named()).err();
    assert_eq!(refused, Some(NotMade::Refused(not_allowed())));
    let made = stub.naming.create_namespace(&root, "dev", named()).ok().unwrap();
    made.outcome().await.unwrap();
    assert!(stub.naming.has_namespace("dev") && !stub.naming.has_namespace("test"));
    for (id, why) in [("dev", NotMade::Exists), ("public", NotMade::Exists), ("a b", NotMade::NoId)]
    {
        assert_eq!(stub.naming.create_namespace(&root, id, named()).err(), Some(why), "{id}");
    }
    assert!(!stub.naming.update_namespace(&root, "test", named()).outcome().await.unwrap());
    stub.naming.delete_namespace(&root, "dev").outcome().await.unwrap();
    assert!(!stub.naming.has_namespace("dev"));

    let off = serde_json::value::to_raw_value(&false).unwrap();
    let fields = || [("pushEnabled".to_owned(), off.clone())].into();
    let denied = stub.naming.set_switches(&writer, fields(), false).outcome().await;
    assert_eq!(denied, Err(not_allowed()));
    assert!(stub.naming.registry().switches.load().push_enabled);
    stub.naming.set_switches(&root, fields(), false).outcome().await.unwrap();
    let is_off = || !stub.naming.registry().switches.load().push_enabled;
    tokio::time::timeout(Duration::from_secs(10), async {
        while !is_off() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// For how long the clocks of the test below have stood still while time went on.
static FROZEN_MS: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn a_write_that_was_let_in_before_a_stop_gets_no_stamp_of_after_it() {
    // The service is this member's own, or nobody's as long as the others are not heard.
    for others in ["", ",127.0.0.1:2"] {
        let folder = TempDir::new().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret of thirty-two characters or more").unwrap();
        let mut config = crate::Config::default();
        config.cluster.members = format!("127.0.0.1:1{others}");
        config.cluster.secret_file = secret.to_str().unwrap().to_owned();
        let address = "127.0.0.1:1".parse::<Address>().unwrap();
        let origin = Origin::with(address, Clock::of_sleeper(&FROZEN_MS), 1);
        let connector = Arc::new(TcpConnector);
        let membership = Membership::prepare(&config, &origin, connector.clone()).await.unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sockets = Sockets { push: socket.into(), checks: connector };
        let app = App::new(&config, origin, Some(membership), sockets, Resources::default());
        let (writes, registry) = (&app.api.naming().writes, &app.api.registry);
        let (service, nobody) = (service(), &String::new);
        let instance = || Instance::new(1.0, Metadata::default()).unwrap();
        let (other, record) = (InstanceKey { port: 81, ..KEY }, RecordKey::ephemeral(KEY));
        let taken = writes.register(&service, &KEY, instance(), true, nobody).outcome().await;
        assert_eq!(taken, Ok(()));
        assert_eq!(registry.store.owns(service.as_str()), others.is_empty());

        FROZEN_MS.fetch_add(10_000, Ordering::Relaxed);
        let settings = |_: Option<&ServiceSettings>| Ok(ServiceSettings::default());
        let grant = Some(Content::Grant);
        for refused in [
            writes.register(&service, &other, instance(), true, nobody).outcome().await,
            writes.register(&service, &KEY, instance(), true, nobody).outcome().await,
            writes.deregister(&service, &record, nobody).outcome().await,
            writes.set_health(&service, &record, false, nobody).outcome().await,
            writes.change_settings(&service, settings).outcome().await,
            writes.delete_service(&service, nobody).outcome().await.map(|_| ()),
            writes.write_record(ROLES, "role", grant).outcome().await,
        ] {
            assert!(matches!(refused, Err(RegistryError::NotReady(_))), "{refused:?}");
        }
        assert!(registry.is_known(&service, &KEY) && !registry.is_known(&service, &other));
    }
}
