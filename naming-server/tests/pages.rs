//! Browsers: what a page of somebody else cannot make a visitor's browser do, and what goes with
//! the server's own pages.

mod auth_support;

use auth_support::Guarded;
use auth_support::server_support::{Answer, TestServer};

const EVIL: &str = "Origin: http://evil.example\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\r\n";
const BEAT: &str = "/nacos/v1/ns/api/clientBeat?dom=s&ip=10.0.0.1&port=80&beat=\
                    %7B%22ip%22%3A%2210.0.0.1%22%2C%22port%22%3A80%2C%22dom%22%3A%22s%22%7D";

fn hosts(server: &TestServer) -> usize {
    server.get("instance/list?serviceName=s").json()["hosts"].as_array().unwrap().len()
}

fn has(answer: &Answer, header: &str) -> bool {
    answer.head.lines().any(|line| line == header)
}

#[test]
fn the_form_of_a_foreign_page_registers_nothing() {
    let server = TestServer::start();
    let register = |headers: &str| {
        let headers = format!("{FORM}{BROWSER}{headers}");
        let form = "serviceName=s&ip=10.0.0.1&port=80";
        server.send("POST", "/nacos/v1/ns/instance", &headers, form)
    };
    let refusal = register(EVIL).expect(403);
    assert!(refusal.contains("http.allowed_origins"), "{refusal}");
    register("Origin: null\r\n").expect(403);
    assert_eq!(hosts(&server), 0);
    // A form of a page of this server.
    register("Origin: http://h\r\n").expect(200);
    assert_eq!(hosts(&server), 1);
    let delete = "/nacos/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80";
    server.send("DELETE", delete, EVIL, "").expect(403);
    assert_eq!(hosts(&server), 1);
}

#[test]
fn an_image_of_a_foreign_page_registers_nothing() {
    let server = TestServer::start();
    let site = |site| format!("{BROWSER}Sec-Fetch-Site: {site}\r\n");
    for headers in [EVIL, BROWSER, &site("cross-site"), &site("same-site")] {
        server.send("GET", BEAT, headers, "").expect(403);
        let reset = "/nacos/v1/ns/operator/push/state?reset=true";
        server.send("GET", reset, headers, "").expect(403);
    }
    assert_eq!(hosts(&server), 0);
    server.send("GET", "/nacos/v1/ns/operator/push/state", BROWSER, "").expect(200);
    // Typed by the visitor, and sent by a client.
    server.send("GET", BEAT, &site("none"), "").expect(200);
    assert_eq!(hosts(&server), 1);
    server.send("GET", BEAT, "User-Agent: Nacos-C-Client:v1.0.12\r\n", "").expect(200);
}

#[test]
fn a_foreign_page_reads_nothing_unless_its_origin_is_listed() {
    let mut config = naming_server::Config::default();
    config.http.allowed_origins = "https://console.example".parse().unwrap();
    let server = TestServer::start_with(config);
    let list =
        |origin: &str| server.send("GET", "/nacos/v1/ns/instance/list?serviceName=s", origin, "");
    assert!(!list(EVIL).head.contains("access-control-"));
    let listed = list("Origin: https://console.example\r\n");
    assert!(has(&listed, "access-control-allow-origin: https://console.example"), "{listed:?}");
}

#[test]
fn pages_and_refusals_are_guarded_and_secrets_are_not_kept() {
    let site = Guarded::start();
    for path in ["/nacos/", "/nacos/console/main.js", "/nacos/console/style.css"] {
        let page = site.server.get(path);
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "cache-control: no-cache",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ] {
            assert!(has(&page, header), "{header}: {}", page.head);
        }
    }
    let error = site.server.send("GET", "/nacos/v1/ns/nope", "Accept: text/html\r\n", "");
    assert!(has(&error, "x-frame-options: deny") && error.status == 501, "{}", error.head);
    let refusal = site.server.get("/nacos/v1/auth/users?pageNo=1&pageSize=9");
    assert!(has(&refusal, "x-content-type-options: nosniff"), "{}", refusal.head);
    let login = site.try_log_in("root", "root's password");
    assert!(has(&login, "cache-control: no-store") && login.status == 200, "{}", login.head);
    let users = format!("/nacos/v1/auth/users?pageNo=1&pageSize=9&accessToken={}", site.root());
    assert!(has(&site.server.get(&users), "cache-control: no-store"));
}
