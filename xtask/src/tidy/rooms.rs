//! Which room of the server may use which, and that no two files use each other.
//!
//! ```text
//! fronts     http grpc dns             parse, call one use case, format
//!    │
//! naming     the use cases             gate, rights, audit, limits
//!    │
//! rooms      registry push auth audit durable checks nacos java2 tls  know no front and no status
//!    │
//! tools      text pace networks metrics source_rates
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Module, Modules};
use super::{TrackedFile, Violation};

const FOLDER: &str = "naming-server/src/";

/// What each room may use. Rooms that are not listed put the others together, and may use all.
const ROOMS: &[(&str, &[&str])] = &[
    ("audit", &["pace"]),
    ("auth", &["networks", "pace", "registry", "text"]),
    ("checks", &["networks", "registry"]),
    // Where connections come from, and how many of one address, is the same as of HTTP.
    ("dns", &["http", "metrics", "naming", "networks", "registry", "source_rates"]),
    ("durable", &["registry"]),
    // Sockets, connections by address and their limits are those of the HTTP front.
    (
        "grpc",
        &[
            "auth",
            "config",
            "http",
            "java2",
            "metrics",
            "naming",
            "pace",
            "push",
            "registry",
            "source_rates",
            "text",
            "tls",
        ],
    ),
    (
        "http",
        &[
            "audit", "auth", "checks", "durable", "java2", "logging", "metrics", "nacos", "naming",
            "networks", "push", "registry", "text", "tls",
        ],
    ),
    // Reports to old members, and writes of clients, go over the same calls as among those of 1.4.
    ("java2", &["nacos", "registry", "text"]),
    ("metrics", &[]),
    ("nacos", &["registry", "text"]),
    ("naming", &["audit", "auth", "networks", "pace", "push", "registry", "source_rates", "text"]),
    ("networks", &[]),
    ("pace", &[]),
    ("push", &["networks", "registry"]),
    // `durable` and `nacos` are told apart from the registry, and yet it waits for the one and
    // speaks the lists of the other.
    ("registry", &["durable", "metrics", "nacos", "networks", "text"]),
    ("source_rates", &["networks"]),
    ("text", &[]),
    ("tls", &["config", "metrics", "pace"]),
];

/// Crates that rooms below the fronts must not name, since they belong to one front.
const OF_FRONTS: &[&str] = &["hyper", "http"];
/// Rooms that must not name them. Health checks and Java servers are called over HTTP.
const WITHOUT_FRONTS: &[&str] = &["naming", "registry", "durable", "auth", "push", "audit", "tls"];

/// Arrows that close a circle and stand all the same, with the reason.
const MAY_CLOSE_A_CIRCLE: &[(&str, &str, &str)] = &[
    (
        "durable/saver",
        "durable/keeper",
        "the keeper starts the thread that saves, and that thread reads what the keeper notes",
    ),
    ("durable/rejoin", "durable/keeper", "the start of a keeper after a long absence"),
    (
        "push/udp/targets",
        "push/udp/subscription",
        "a target holds subscriptions, which count its acks",
    ),
];

/// Checks the rooms of the server.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    check_with(files, ROOMS, MAY_CLOSE_A_CIRCLE)
}

fn check_with(
    files: &[TrackedFile],
    rooms: &[(&str, &[&str])],
    may_close: &[(&str, &str, &str)],
) -> Vec<Violation> {
    let arrows = Modules::read(files, FOLDER).arrows();
    let mut violations = check_rooms(&arrows, rooms);
    violations.extend(files.iter().filter_map(check_crates));
    violations.extend(check_circles(&arrows, may_close));
    violations
}

fn check_rooms(arrows: &BTreeSet<(Module, Module)>, rooms: &[(&str, &[&str])]) -> Vec<Violation> {
    let forbidden = arrows.iter().filter(|(source, target)| {
        let (Some(room), Some(other)) = (source.first(), target.first()) else { return false };
        let row = rooms.iter().find(|(name, _)| name == room);
        room != other && row.is_some_and(|(_, allowed)| !allowed.contains(&other.as_str()))
    });
    forbidden
        .map(|(source, target)| {
            let (room, other) = (&source[0], &target[0]);
            let problem = format!("{room} must not use {other}, see the table in rooms.rs");
            Violation::new(place(source), problem)
        })
        .collect()
}

/// Finds `use` lines that name a crate of the fronts below them.
fn check_crates(file: &TrackedFile) -> Option<Violation> {
    let path = file.path.strip_prefix(FOLDER)?;
    let room = path.split(['/', '.']).next()?;
    if !WITHOUT_FRONTS.contains(&room) {
        return None;
    }
    let text = file.text.as_deref().unwrap_or_default();
    let named = OF_FRONTS
        .iter()
        .find(|name| text.lines().any(|line| line.contains(&format!("use {name}::"))))?;
    Some(Violation::new(
        &file.path,
        format!("must not name {name}: it knows no front", name = named),
    ))
}

fn check_circles(
    arrows: &BTreeSet<(Module, Module)>,
    may_close: &[(&str, &str, &str)],
) -> Vec<Violation> {
    let excused = |(source, target): &&(Module, Module)| {
        may_close.iter().any(|(from, to, _)| source.join("/") == *from && target.join("/") == *to)
    };
    let mut targets: BTreeMap<&Module, Vec<&Module>> = BTreeMap::new();
    for (source, target) in arrows.iter().filter(|arrow| !excused(arrow)) {
        targets.entry(source).or_default().push(target);
    }
    let closing = arrows.iter().filter(|arrow| !excused(arrow)).filter_map(|(source, target)| {
        let way = way(&targets, target, source)?;
        // Each circle is told of once, at the first of its files.
        way.iter().all(|module| source <= *module).then(|| {
            let names: Vec<_> = way.iter().map(|module| module.join("/")).collect();
            let problem = format!("is on a circle: it uses {}", names.join(", which uses "));
            Violation::new(place(source), problem)
        })
    });
    let needless = may_close.iter().filter(|(from, to, _)| {
        !arrows.iter().any(|(source, target)| source.join("/") == *from && target.join("/") == *to)
    });
    let needless = needless.map(|(from, to, _)| {
        Violation::new("rooms.rs", format!("{from} does not use {to} any more"))
    });
    closing.chain(needless).collect()
}

/// The shortest way from one file to another, both included.
fn way<'a>(
    targets: &BTreeMap<&'a Module, Vec<&'a Module>>,
    from: &'a Module,
    to: &'a Module,
) -> Option<Vec<&'a Module>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = vec![vec![from]];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().copied()?;
            if last == to {
                return Some(way);
            }
            for next in targets.get(last).into_iter().flatten() {
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([*next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

fn place(module: &Module) -> String {
    format!("{FOLDER}{}", module.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn server(path: &str, text: &str) -> TrackedFile {
        file(&format!("{FOLDER}{path}"), text)
    }

    #[test]
    fn a_room_that_uses_a_front_is_found() {
        let files = [
            server("registry/mod.rs", "mod a;\n"),
            server("registry/a.rs", "use crate::http::ApiError;\n"),
            server("http/mod.rs", "use crate::registry::a;\n"),
        ];
        let found = check_with(&files, &[("registry", &[]), ("http", &["registry"])], &[]);
        let told: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("registry must not use http"), "{told:?}");
        assert!(told[1].contains("circle"), "{told:?}");
    }

    #[test]
    fn crates_of_the_fronts_are_found_below_them() {
        let found = |path, text: &str| check_with(&[server(path, text)], &[], &[]).len();
        assert_eq!(found("registry/a.rs", "use hyper::StatusCode;\n"), 1);
        assert_eq!(found("auth/mod.rs", "    use http::HeaderMap;\n"), 1);
        assert_eq!(found("http/v1/mod.rs", "use hyper::StatusCode;\n"), 0);
        assert_eq!(found("registry/a.rs", "use crate::registry::b;\n"), 0);
    }

    #[test]
    fn circles_are_found_once_and_may_be_excused() {
        let files = [
            server("a.rs", "use crate::b;\n"),
            server("b.rs", "use crate::c;\n"),
            server("c.rs", "use crate::a;\nuse crate::d;\n"),
            server("d.rs", ""),
        ];
        let found = check_with(&files, &[], &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].problem.ends_with("uses b, which uses c, which uses a"), "{found:?}");
        assert!(check_with(&files, &[], &[("c", "a", "reason")]).is_empty());
        let needless = check_with(&files, &[], &[("c", "a", "reason"), ("d", "a", "reason")]);
        assert!(needless[0].problem.contains("d does not use a any more"), "{needless:?}");
    }
}
