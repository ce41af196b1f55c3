//! Writes of clients that beat: each goes to the member that judges its client.

use serde_json::json;

use crate::server_support::wait_for;
use crate::site::Site;

fn instance(service: &str, tag: &str) -> String {
    let (ip, port) = tag.split_once(':').unwrap();
    format!("instance?serviceName={service}&ip={ip}&port={port}")
}

#[test]
fn a_write_goes_to_the_judge_of_its_client_and_is_seen_at_once_where_it_was_made() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 2, 4], &[]);
    let (one, two, ours) = (site.java(1), site.java(2), site.start(4));
    wait_for("all up", || {
        let own = site.address(4);
        [&one, &two].iter().all(|java| java.is_up(&own)) && one.is_up(&two.address)
    });
    let theirs = site.judged_by(&one, 2, 1);
    wait_for("Java servers are known as such", || {
        ours.call("POST", &instance("s", &theirs)).expect(200);
        !two.passed().is_empty()
    });
    assert_eq!(site.listed(4, "s"), [(theirs.clone(), true)], "its client reads its own write");
    let passed = two.passed().pop().unwrap();
    assert!(passed.is_of_server && passed.method == "POST", "{passed:?}");
    wait_for("the others know", || one.list("s") == [(theirs.clone(), true)]);
    ours.call("DELETE", &instance("s", &theirs)).expect(200);
    assert_eq!(site.count(4, "s"), 0);
    wait_for("the others know", || one.list("s").is_empty() && two.list("s").is_empty());

    let own = site.judged_by(&one, 4, 1);
    let before = (one.passed().len(), two.passed().len());
    ours.call("POST", &instance("s", &own)).expect(200);
    assert_eq!((one.passed().len(), two.passed().len()), before, "it is this member's to judge");
    wait_for("Java knows", || one.list("s") == [(own.clone(), true)]);

    // What Java passes on is taken, whatever this member thinks of it.
    let agent = "User-Agent: Nacos-Server:v2.5.1\r\n";
    ours.send("POST", &instance("passed", &theirs), agent, "").expect(200);
    assert_eq!(site.count(4, "passed"), 1);
}

#[test]
fn no_write_fails_because_its_judge_is_dead() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    wait_for("both up", || java.is_up(&site.address(4)));
    let theirs = site.judged_by(&java, 1, 1);
    wait_for("Java servers are known as such", || {
        ours.call("POST", &instance("warm", &theirs)).expect(200);
        !java.passed().is_empty()
    });
    java.freeze(true);
    ours.call("POST", &instance("frozen", &theirs)).expect(200);
    assert_eq!(site.count(4, "frozen"), 1);
    java.kill();
    ours.call("POST", &instance("dead", &theirs)).expect(200);
    assert_eq!(site.listed(4, "dead"), [(theirs.clone(), true)]);
    let (ip, port) = theirs.split_once(':').unwrap();
    let beat = json!({"ip": ip, "port": port.parse::<u16>().unwrap(), "cluster": "DEFAULT"});
    let escaped = beat.to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let target = format!("instance/beat?serviceName=dead&ip={ip}&port={port}&beat={escaped}");
    assert_eq!(ours.put(&target).json()["code"], 10_200);
    ours.call("DELETE", &instance("dead", &theirs)).expect(200);
    assert_eq!(site.count(4, "dead"), 0);
}

#[test]
fn what_is_persistent_is_handed_to_a_java_server_and_kept_here() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    wait_for("both up", || java.is_up(&site.address(4)));
    // Of a tag that is ours: the Java server would pass it back.
    let own = site.judged_by(&java, 4, 1);
    let target = instance("kept", &own) + "&ephemeral=false";
    wait_for("Java servers are known as such", || {
        ours.call("POST", &target).expect(200);
        !java.passed().is_empty()
    });
    let passed = java.passed().pop().unwrap();
    let port = passed.params["port"].replace("%2B", "+");
    let tag = format!("{}:{port}", passed.params["ip"]);
    assert_eq!(java.owner(&tag), java.address, "it takes itself for the owner of {tag}");
    assert_eq!(port.parse::<u16>().unwrap().to_string(), own.split_once(':').unwrap().1);
    assert_eq!(site.count(4, "kept"), 1);
    java.kill();
    wait_for("still there without any Java server", || {
        ours.call("POST", &target).expect(200);
        site.count(4, "kept") == 1
    });
}

#[test]
fn a_write_over_the_api_of_2x_goes_to_the_judge_as_well() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let (java, ours) = (site.java(1), site.start(4));
    wait_for("both up", || java.is_up(&site.address(4)));
    let theirs = site.judged_by(&java, 1, 1);
    let (ip, port) = theirs.split_once(':').unwrap();
    let target = format!("/nacos/v2/ns/instance?serviceName=s&ip={ip}&port={port}");
    wait_for("Java servers are known as such", || {
        ours.call("POST", &target).expect(200);
        java.passed().iter().any(|passed| passed.path == "/nacos/v2/ns/instance")
    });
    // The stand-in does not know the path: the instance is here all the same.
    assert_eq!(site.listed(4, "s"), [(theirs.clone(), true)]);
}
