//! What a restoration has to do: the backup compared with what is there. Without IO.

use std::collections::{BTreeMap, BTreeSet};

use crate::registry::{ADMIN_ROLE, Item, ItemPlace};

/// What becomes of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing: whatever is there must be in the backup just so.
    Fill,
    /// It becomes as it is in the backup; what is there alone stays.
    Merge,
    /// Nothing else is left than what is in the backup.
    Replace,
}

/// What is to be done with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Create,
    Change,
    Remove,
}

/// One step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) item: Item,
    /// Whether nothing checks the health of the instance.
    pub(super) by_hand: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are done.
    pub(super) steps: Vec<Step>,
    /// Records that are there already, by kind.
    pub(super) same: [usize; Item::KINDS.len()],
    /// What stays as it is since the one who restores is it.
    pub(super) kept: Vec<ItemPlace>,
    /// What a restoration that fills must not change.
    pub(super) blocked: Vec<ItemPlace>,
}

/// Compares. `own` is the user who restores, whose right to do so must not end with it.
pub(super) fn plan(wanted: &[Item], known: Vec<Item>, mode: Mode, own: Option<&str>) -> Plan {
    let unchecked = unchecked_clusters(wanted);
    let mut known: BTreeMap<ItemPlace, Item> =
        known.into_iter().map(|item| (item.place(), item)).collect();
    let mut plan = Plan::default();
    for item in wanted {
        let place = item.place();
        let by_hand = is_by_hand(item, &unchecked);
        let act = match known.remove(&place) {
            Some(there) if item.is_same(&there, by_hand) => {
                plan.same[item.kind()] += 1;
                continue;
            }
            Some(_) if is_own(item, own) => {
                plan.kept.push(place);
                continue;
            }
            Some(_) if mode == Mode::Fill => {
                plan.blocked.push(place);
                continue;
            }
            Some(_) => Act::Change,
            None => Act::Create,
        };
        plan.steps.push(Step { act, item: item.clone(), by_hand });
    }
    for (place, item) in known {
        match mode {
            _ if is_own(&item, own) && mode != Mode::Merge => plan.kept.push(place),
            Mode::Fill => plan.blocked.push(place),
            Mode::Merge => {}
            Mode::Replace => {
                plan.steps.push(Step { act: Act::Remove, item, by_hand: false });
            }
        }
    }
    plan.steps.sort_by_key(order);
    plan
}

/// Writes first, so that nothing is missing meanwhile, then removals, in the opposite order. What
/// operators set goes before anything registers, or it would be laid over that.
fn order(step: &Step) -> (bool, usize) {
    const VALUES: usize = 2;
    let kind = step.item.kind();
    match step.act {
        Act::Remove if kind == VALUES => (false, VALUES),
        Act::Remove => (true, Item::KINDS.len() - kind),
        Act::Create | Act::Change => (false, kind),
    }
}

/// Whether it makes this user an administrator.
fn is_own(item: &Item, own: Option<&str>) -> bool {
    match item {
        Item::User { name, .. } => own == Some(name),
        Item::Role { role, user } => role == ADMIN_ROLE && own == Some(user),
        _ => false,
    }
}

/// The clusters whose instances nothing checks: namespace, service, cluster.
fn unchecked_clusters(items: &[Item]) -> BTreeSet<(&str, &str, &str)> {
    let mut unchecked = BTreeSet::new();
    for item in items {
        let Item::Service { namespace, service, clusters, .. } = item else { continue };
        for cluster in clusters.iter().filter(|one| one.health_checker.kind() == "NONE") {
            unchecked.insert((&**namespace, &**service, &*cluster.name));
        }
    }
    unchecked
}

fn is_by_hand(item: &Item, unchecked: &BTreeSet<(&str, &str, &str)>) -> bool {
    match item {
        Item::Instance { namespace, service, cluster, .. } => {
            unchecked.contains(&(&**namespace, &**service, &**cluster))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn items(items: Value) -> Vec<Item> {
        serde_json::from_value(items).unwrap()
    }

    fn namespace(id: &str, name: &str) -> Value {
        json!({"kind": "namespace", "id": id, "name": name, "description": ""})
    }

    fn role(role: &str, user: &str) -> Value {
        json!({"kind": "role", "role": role, "user": user})
    }

    fn acts(plan: &Plan) -> Vec<String> {
        plan.steps.iter().map(|step| format!("{:?} {}", step.act, step.item.place())).collect()
    }

    #[test]
    fn filling_changes_nothing_that_is_there() {
        let wanted = items(json!([namespace("a", "A"), namespace("b", "B")]));
        let known = |name| items(json!([namespace("a", name)]));
        let plan_of = |known| plan(&wanted, known, Mode::Fill, None);
        assert_eq!(acts(&plan_of(known("A"))), ["Create namespace b"]);
        assert_eq!(plan_of(known("A")).same[0], 1);
        assert_eq!(plan_of(known("X")).blocked.len(), 1);
        assert_eq!(plan_of(items(json!([namespace("c", "C")]))).blocked.len(), 1);
    }

    #[test]
    fn merging_leaves_and_replacing_removes_what_is_there_alone() {
        let wanted = items(json!([namespace("a", "A"), role("r", "u")]));
        let known = || items(json!([namespace("a", "X"), namespace("c", "C"), role("s", "u")]));
        let merged = plan(&wanted, known(), Mode::Merge, None);
        assert_eq!(acts(&merged), ["Change namespace a", "Create role r u"]);
        let replaced = plan(&wanted, known(), Mode::Replace, None);
        let expected =
            ["Change namespace a", "Create role r u", "Remove role s u", "Remove namespace c"];
        assert_eq!(acts(&replaced), expected);
    }

    #[test]
    fn who_restores_stays_an_administrator() {
        let user = |hash: &str| json!({"kind": "user", "name": "root", "passwordHash": hash});
        let known = || items(json!([user("now"), role(ADMIN_ROLE, "root"), role("r", "root")]));
        let wanted = items(json!([user("then")]));
        for (mode, kept) in [(Mode::Replace, 2), (Mode::Merge, 1)] {
            let plan = plan(&wanted, known(), mode, Some("root"));
            assert_eq!(plan.kept.len(), kept, "{mode:?}");
            let removed: &[&str] =
                if mode == Mode::Replace { &["Remove role r root"] } else { &[] };
            assert_eq!(acts(&plan), removed, "{mode:?}");
        }
        let filled = plan(&items(json!([])), items(json!([user("now")])), Mode::Fill, Some("root"));
        assert_eq!((filled.blocked.len(), filled.kept.len()), (0, 1));
    }

    #[test]
    fn values_of_operators_go_before_instances_come() {
        let values = json!({"kind": "operatorValues", "namespace": "public", "service": "g@@s",
            "instances": "persistent", "cluster": "c", "ip": "10.0.0.1", "port": 1, "weight": 2.0});
        let instance = json!({"kind": "instance", "namespace": "public", "service": "g@@s",
            "cluster": "c", "ip": "10.0.0.1", "port": 1, "weight": 1.0, "enabled": true,
            "healthy": false});
        let cluster = json!({"name": "c", "healthChecker": {"type": "NONE"}, "checkPort": 80,
            "useInstancePort": true});
        let service = json!({"kind": "service", "namespace": "public", "service": "g@@s",
            "protectThreshold": 0.0, "explicit": true, "clusters": [cluster]});
        let wanted = items(json!([instance, service]));
        let plan = plan(&wanted, items(json!([values])), Mode::Replace, None);
        let kinds: Vec<_> = plan.steps.iter().map(|step| step.item.kind()).collect();
        assert_eq!(kinds, [1, 2, 3]);
        assert!(plan.steps[2].by_hand && !plan.steps[0].by_hand);
    }
}
