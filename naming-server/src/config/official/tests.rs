//! Every variable that the image of Nacos takes, and what becomes of it here.

use super::*;

const TOKEN: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

fn read(variables: &[(&str, &str)]) -> Result<Translation> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    translate(&variables.iter().map(pair).collect(), "nacos-1")
}

/// What is set beside the port of consoles, `key=value` each.
fn settings(variables: &[(&str, &str)]) -> Vec<String> {
    let settings = read(variables).unwrap().settings.into_iter();
    let others = settings.filter(|(key, _)| *key != "console.port");
    others.map(|(key, value)| format!("{key}={value}")).collect()
}

fn notes(variables: &[(&str, &str)]) -> String {
    read(variables).unwrap().notes.join("\n")
}

fn refused(variables: &[(&str, &str)]) -> String {
    let text = read(variables).unwrap_err().to_string();
    let name = variables.iter().find(|(name, _)| text.contains(name));
    assert!(name.is_some(), "{text} names none of {variables:?}");
    text
}

#[test]
fn variables_that_stand_for_one_setting() {
    for (variables, expected) in [
        (&[("NACOS_APPLICATION_PORT", "8850")][..], "port=8850"),
        (&[("NACOS_SERVER_PORT", "8850")], "port=8850"),
        (&[("NACOS_SERVER_PORT", "8850"), ("NACOS_APPLICATION_PORT", "8850")], "port=8850"),
        (&[("NACOS_SERVER_CONTEXTPATH", "/a")], "context_path=/a"),
        (&[("SERVER_SERVLET_CONTEXTPATH", "/a")], "context_path=/a"),
        (&[("NACOS_SERVER_IP", "10.0.0.7")], "advertise=10.0.0.7"),
        (&[("MODE", "standalone"), ("NACOS_SERVER_IP", "10.0.0.7")], "advertise=10.0.0.7"),
        (&[("PREFER_HOST_MODE", "hostname")], "advertise=nacos-1"),
    ] {
        assert_eq!(settings(variables), [expected], "{variables:?}");
    }
}

#[test]
fn a_console_has_a_port_unless_it_is_not_wanted() {
    let port = |variables: &[(&str, &str)]| {
        let settings = read(variables).unwrap().settings;
        settings.into_iter().find(|(key, _)| *key == "console.port").map(|(_, port)| port)
    };
    assert_eq!(port(&[]).as_deref(), Some("8080"));
    assert_eq!(port(&[("NACOS_DEPLOYMENT_TYPE", "merged")]).as_deref(), Some("8080"));
    assert_eq!(port(&[("NACOS_CONSOLE_PORT", "9090")]).as_deref(), Some("9090"));
    assert_eq!(port(&[("NACOS_DEPLOYMENT_TYPE", "server")]), None);
    refused(&[("NACOS_DEPLOYMENT_TYPE", "console")]);
    refused(&[("NACOS_CONSOLE_CONTEXTPATH", "/console")]);
    assert_eq!(notes(&[("NACOS_CONSOLE_CONTEXTPATH", "/"), ("MODE", "standalone")]), "");
}

#[test]
fn members_come_from_either_list() {
    let members = "cluster.members=10.0.0.1:8848,nacos-1.naming:8848,c";
    let own = "advertise=nacos-1.naming:8848";
    let spaces = " 10.0.0.1:8848  nacos-1.naming:8848 c ";
    assert_eq!(settings(&[("MODE", "cluster"), ("NACOS_SERVERS", spaces)]), [members, own]);
    let commas = "10.0.0.1:8848,nacos-1.naming:8848,c";
    assert_eq!(settings(&[("MEMBER_LIST", commas)]), [members, own]);
    assert_eq!(settings(&[("MEMBER_LIST", commas), ("NACOS_SERVERS", spaces)]), [members, own]);
    refused(&[("MEMBER_LIST", "a,b"), ("NACOS_SERVERS", "a c")]);
    refused(&[("MODE", "cluster")]);
    refused(&[("MODE", "clustered")]);
    let alone = [("MODE", "standalone"), ("NACOS_SERVERS", "a b")];
    assert_eq!((settings(&alone).len(), notes(&alone).contains("list of members")), (0, true));
    assert!(notes(&[]).contains("serves alone"));
}

#[test]
fn a_member_is_known_as_its_list_says() {
    let own = |list: &str, others: &[(&str, &str)]| {
        let found = settings(&[&[("MEMBER_LIST", list)], others].concat());
        found.into_iter().find_map(|one| one.strip_prefix("advertise=").map(str::to_owned))
    };
    assert_eq!(own("nacos-1:8850,nacos-2", &[]).as_deref(), Some("nacos-1:8850"));
    assert_eq!(own("nacos-10,nacos-1?raft_port=1", &[]).as_deref(), Some("nacos-1"));
    let by_name = [("PREFER_HOST_MODE", "hostname")];
    assert_eq!(own("10.0.0.1,10.0.0.2", &by_name).as_deref(), Some("nacos-1"));
    assert_eq!(own("10.0.0.1,10.0.0.2", &[("PREFER_HOST_MODE", "ip")]), None);
    assert_eq!(own("nacos-1", &[("NACOS_SERVER_IP", "10.0.0.1")]).as_deref(), Some("10.0.0.1"));
    assert_eq!(own("nacos-1:1,nacos-1:2", &[]), None, "which of them is not known");
    refused(&[("PREFER_HOST_MODE", "name")]);
}

#[test]
fn in_kubernetes_the_service_tells_the_members() {
    let variables = [("SERVICE_NAME", "nacos-headless"), ("POD_NAMESPACE", "prod")];
    let expected = |domain: &str| {
        let service = format!("nacos-headless.prod.svc.{domain}");
        [format!("cluster.dns_name=_client._tcp.{service}"), format!("advertise=nacos-1.{service}")]
    };
    assert_eq!(settings(&variables), expected("cluster.local"));
    let other = [&variables[..], &[("DOMAIN_NAME", "example")]].concat();
    assert_eq!(settings(&other), expected("example"));
    let replicas = [&variables[..], &[("NACOS_REPLICAS", "3")]].concat();
    assert!(notes(&replicas).contains("NACOS_REPLICAS (the name of the service"));
    refused(&[("SERVICE_NAME", "nacos-headless")]);
}

#[test]
fn users_are_switched_on_with_a_good_key_only() {
    let on = ("NACOS_AUTH_ENABLE", "true");
    assert_eq!(
        settings(&[on, ("NACOS_AUTH_TOKEN", TOKEN), ("NACOS_AUTH_TOKEN_EXPIRE_SECONDS", "60")]),
        ["auth.enabled=true", &format!("auth.token_key={TOKEN}"), "auth.token_ttl_s=60"]
    );
    let public = "SecretKey012345678901234567890123456789012345678901234567890123456789";
    let text = refused(&[on, ("NACOS_AUTH_TOKEN", public)]);
    assert!(text.contains("everybody knows") && !text.contains(public), "{text}");
    refused(&[on, ("NACOS_AUTH_TOKEN", "c2hvcnQ=")]);
    refused(&[on, ("NACOS_AUTH_TOKEN_EXPIRE_SECONDS", "soon")]);
    refused(&[("NACOS_AUTH_ENABLE", "yes")]);
    assert_eq!(settings(&[("NACOS_AUTH_TOKEN", public)]), [""; 0], "nobody uses it");
}

#[test]
fn a_header_of_the_operator_is_taken_unless_everybody_knows_it() {
    let with = |key: &'static str, value: &'static str| {
        let identity = [("NACOS_AUTH_IDENTITY_KEY", key), ("NACOS_AUTH_IDENTITY_VALUE", value)];
        [&[("NACOS_AUTH_ENABLE", "true"), ("NACOS_AUTH_TOKEN", TOKEN)][..], &identity].concat()
    };
    let found = settings(&with("who", "0f1e2d3c4b5a"));
    assert_eq!(found[2..], ["auth.identity_key=who", "auth.identity_value=0f1e2d3c4b5a"]);
    for (key, value) in
        [("serverIdentity", "security"), ("example", "example"), ("long-enough", "long-enough")]
    {
        assert!(refused(&with(key, value)).contains("everybody knows"), "{key} {value}");
    }
    assert!(refused(&with("who", "s3cret")).contains("at least 8 bytes"));
    assert!(refused(&with("who", "")).contains("set together"));
    assert_eq!(
        settings(&with("who", "0f1e2d3c4b5a")[2..]),
        [""; 0],
        "without users it opens nothing"
    );
}

#[test]
fn what_would_be_unsafe_is_refused() {
    for name in ["NACOS_AUTH_ADMIN_ENABLE", "NACOS_AUTH_CONSOLE_ENABLE"] {
        assert!(refused(&[(name, "true")]).contains("NACOS_AUTH_ENABLE is not true"));
        let on = [("NACOS_AUTH_ENABLE", "true"), ("NACOS_AUTH_TOKEN", TOKEN)];
        assert!(notes(&[&on[..], &[(name, "false")]].concat()).contains("need users, too"));
    }
    refused(&[("NACOS_AUTH_USER_AGENT_AUTH_WHITE_ENABLE", "true")]);
    refused(&[("NACOS_AUTH_ENABLE", "true"), ("NACOS_AUTH_SYSTEM_TYPE", "ldap")]);
    refused(&[("NACOS_REMOTE_SERVER_RPC_TLS_ENABLETLS", "true")]);
    refused(&[("FUNCTION_MODE", "config")]);
    assert!(notes(&[("FUNCTION_MODE", "all")]).contains("configuration"));
    refused(&[("NACOS_APPLICATION_PORT", "0")]);
    refused(&[("NACOS_APPLICATION_PORT", "1"), ("NACOS_SERVER_PORT", "2")]);
}

#[test]
fn members_share_a_secret_that_comes_from_the_key_of_tokens() {
    let secret = |token: &str| {
        let variables = [("MEMBER_LIST", "nacos-1,nacos-2"), ("NACOS_AUTH_TOKEN", token)];
        let found = settings(&variables);
        found.into_iter().find_map(|one| one.strip_prefix("cluster.secret=").map(str::to_owned))
    };
    let made = secret(TOKEN).unwrap();
    assert_eq!((made.len(), secret(TOKEN)), (64, Some(made.clone())));
    let other = "r83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
    assert_ne!(secret(other), Some(made));
    assert_eq!(secret("ThisIsMyCustomSecretKey0123456789"), None, "everybody has that one");
    assert_eq!(settings(&[("NACOS_AUTH_TOKEN", TOKEN)]), [""; 0], "nobody to share it with");
}

#[test]
fn one_line_says_what_is_ignored_and_why() {
    let text = notes(&[
        ("MODE", "standalone"),
        ("JVM_XMS", "1g"),
        ("JVM_XMX", "2g"),
        ("JAVA_OPT_EXT", "-Dx"),
        ("MYSQL_SERVICE_HOST", "db"),
        ("MYSQL_SERVICE_PASSWORD", "s3cret"),
        ("SPRING_DATASOURCE_PLATFORM", "mysql"),
        ("EMBEDDED_STORAGE", "embedded"),
        ("TOMCAT_ACCESSLOG_ENABLED", "false"),
        ("NACOS_NEW", "1"),
        ("NACOS_CONSOLE_UI_ENABLED", "true"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(
        text,
        "variables without effect: JAVA_OPT_EXT, JVM_XMS, JVM_XMX, TOMCAT_ACCESSLOG_ENABLED (no \
         Java here); EMBEDDED_STORAGE, MYSQL_SERVICE_HOST, MYSQL_SERVICE_PASSWORD, \
         SPRING_DATASOURCE_PLATFORM (no database needed); NACOS_NEW (not known); \
         NACOS_CONSOLE_UI_ENABLED (the console has no such setting)"
    );
}

#[test]
fn what_kubernetes_says_of_services_is_no_setting() {
    let variables = [
        ("MODE", "standalone"),
        ("NACOS_SERVER_PORT", "tcp://10.96.0.7:8848"),
        ("NACOS_SERVER_PORT_8848_TCP", "tcp://10.96.0.7:8848"),
        ("NACOS_SERVER_PORT_8848_TCP_ADDR", "10.96.0.7"),
        ("NACOS_SERVER_SERVICE_HOST", "10.96.0.7"),
        ("NACOS_SERVER_SERVICE_PORT", "8848"),
        ("NACOS_SERVER_SERVICE_PORT_CLIENT", "8848"),
    ];
    assert_eq!((settings(&variables).len(), notes(&variables)), (0, String::new()));
}

/// The variables of a server that speaks TLS to clients.
const TLS: [(&str, &str); 3] = [
    ("NACOS_REMOTE_SERVER_RPC_TLS_ENABLETLS", "true"),
    ("NACOS_REMOTE_SERVER_RPC_TLS_CERTCHAINFILE", "/tls/server.pem"),
    ("NACOS_REMOTE_SERVER_RPC_TLS_CERTPRIVATEKEY", "/tls/server.key"),
];

/// The same of one that speaks it to other servers.
const PEER_TLS: [(&str, &str); 4] = [
    ("NACOS_REMOTE_PEER_RPC_TLS_ENABLETLS", "true"),
    ("NACOS_REMOTE_PEER_RPC_TLS_CERTCHAINFILE", "/tls/peer.pem"),
    ("NACOS_REMOTE_PEER_RPC_TLS_CERTPRIVATEKEY", "/tls/peer.key"),
    ("NACOS_REMOTE_PEER_RPC_TLS_TRUSTCOLLECTIONCERTFILE", "/tls/ca.pem"),
];

fn with<'a>(
    variables: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [variables, more].concat()
}

#[test]
fn clients_get_tls_in_any_spelling() {
    let files = ["tls.certificate=/tls/server.pem", "tls.key=/tls/server.key"];
    let expected = |mode: &str| {
        let modes = ["tls.mode=compatibility".to_owned(), format!("tls.grpc_mode={mode}")];
        modes.into_iter().chain(files.map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(settings(&TLS), expected("compatibility"));
    let dotted = [
        ("nacos.remote.server.rpc.tls.enableTls", "true"),
        ("nacos.remote.server.rpc.tls.certChainFile", "/tls/server.pem"),
        ("nacos_remote_server_rpc_tls_certPrivateKey", "file:/tls/server.key"),
        ("NACOS_REMOTE_SERVER_RPC_TLS_COMPATIBILITY", "false"),
    ];
    assert_eq!(settings(&dotted), expected("required"));
    assert!(notes(&dotted).contains("HTTP takes plain requests, too"), "{}", notes(&dotted));
    let apart = [("NACOS_REMOTE_SERVER_RPC_TLS_ENABLE_TLS", "true"), TLS[1], TLS[2]];
    assert_eq!(settings(&apart), expected("compatibility"));
    let off = [("NACOS_REMOTE_SERVER_RPC_TLS_ENABLETLS", "false"), ("MODE", "standalone")];
    assert_eq!((settings(&off), notes(&off)), (Vec::new(), String::new()));
}

#[test]
fn clients_show_certificates_where_both_sides_have_to() {
    let mutual = [
        ("NACOS_REMOTE_SERVER_RPC_TLS_MUTUALAUTH", "true"),
        ("NACOS_REMOTE_SERVER_RPC_TLS_TRUSTCOLLECTIONCERTFILE", "/tls/ca.pem"),
    ];
    let found = settings(&with(&TLS, &mutual));
    assert_eq!(found[4..], ["tls.client_auth=required", "tls.client_ca=/tls/ca.pem"]);
}

#[test]
fn members_get_tls_on_the_port_of_members_of_nacos() {
    let members = [("MEMBER_LIST", "nacos-1,nacos-2"), ("NACOS_APPLICATION_PORT", "8850")];
    let found = settings(&with(&members, &PEER_TLS));
    let expected = [
        "cluster.bind_port=9851",
        "cluster.tls.mode=compatibility",
        "cluster.tls.connect=true",
        "cluster.tls.certificate=/tls/peer.pem",
        "cluster.tls.key=/tls/peer.key",
        "cluster.tls.ca=/tls/ca.pem",
    ];
    assert_eq!(found[found.len() - 6..], expected, "{found:?}");
    let strict = [("NACOS_REMOTE_PEER_RPC_TLS_COMPATIBILITY", "false")];
    let found = settings(&with(&with(&members, &PEER_TLS), &strict));
    assert!(found.contains(&"cluster.tls.mode=required".to_owned()), "{found:?}");
    // Alone there is nobody to speak it to, and one line says so.
    let text = notes(&with(&[("MODE", "standalone")], &PEER_TLS));
    assert!(text.contains("PEER_RPC_TLS_ENABLETLS") && text.contains("nothing that"), "{text}");
    refused(&with(&with(&members[..1], &PEER_TLS), &[("NACOS_APPLICATION_PORT", "65000")]));
}

#[test]
fn what_of_tls_has_no_meaning_is_named_in_the_line_of_the_ignored() {
    let text = notes(&with(
        &TLS,
        &[
            ("MODE", "standalone"),
            ("NACOS_REMOTE_SERVER_RPC_TLS_PROTOCOLS", "TLSv1.2"),
            ("NACOS_REMOTE_SERVER_RPC_TLS_CIPHERS", "X"),
            ("nacos.remote.server.rpc.tls.sslProvider", "OPENSSL"),
            ("NACOS_REMOTE_SERVER_RPC_TLS_TRUSTALL", "true"),
        ],
    ));
    assert_eq!(
        text,
        "variables without effect: NACOS_REMOTE_SERVER_RPC_TLS_CIPHERS, \
         NACOS_REMOTE_SERVER_RPC_TLS_PROTOCOLS (TLS 1.2 and 1.3 with the suites that are held to be \
         safe); nacos.remote.server.rpc.tls.sslProvider (no Java here); \
         NACOS_REMOTE_SERVER_RPC_TLS_TRUSTALL (nothing that it would change is switched on)"
    );
}

#[test]
fn what_of_tls_would_be_less_safe_than_it_looks_is_refused() {
    let client = |name: &'static str, value: &'static str| refused(&with(&TLS, &[(name, value)]));
    let hush = client("NACOS_REMOTE_SERVER_RPC_TLS_CERTPRIVATEKEYPASSWORD", "hush");
    assert!(hush.contains("openssl pkey") && !hush.contains("hush"), "{hush}");
    client("NACOS_REMOTE_SERVER_RPC_TLS_MUTUALAUTH", "true");
    client("NACOS_REMOTE_SERVER_RPC_TLS_COMPATIBILITY", "maybe");
    client("nacos.remote.server.rpc.tls.enableTls", "false");
    let mutual = ("NACOS_REMOTE_SERVER_RPC_TLS_MUTUALAUTH", "true");
    let all = ("NACOS_REMOTE_SERVER_RPC_TLS_TRUSTALL", "true");
    refused(&with(&TLS, &[mutual, all]));
    refused(&[TLS[0], TLS[1], ("NACOS_REMOTE_SERVER_RPC_TLS_CERTPRIVATEKEY", "classpath:a")]);
    let members = [("MEMBER_LIST", "nacos-1,nacos-2")];
    let all = [("NACOS_REMOTE_PEER_RPC_TLS_TRUSTALL", "true")];
    refused(&with(&with(&members, &PEER_TLS), &all));
    refused(&with(&members, &PEER_TLS[..3]));
}
