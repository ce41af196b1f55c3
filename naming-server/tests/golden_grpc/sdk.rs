//! How SDKs set a connection up.

use serde_json::{Value, json};

/// The SDK of a connection that names none.
pub(crate) const DEFAULT: &str = "java-2.5";

/// The setup that an SDK sends; `None` for one that is not known.
pub(crate) fn setup(name: &str) -> Option<Value> {
    let java = |version: &str, labels: Value, abilities: Value| {
        json!({
            "headers": {}, "clientVersion": version, "labels": labels, "abilityTable": abilities,
            "module": "internal",
        })
    };
    let labels = json!({"source": "sdk", "module": "naming", "AppName": "unknown"});
    Some(match name {
        "java-2.5" => java("Nacos-Java-Client:v2.5.1", labels, json!({})),
        "java-3.0" => {
            let abilities = json!({"fuzzyWatch": true, "lock": true, "mcp": true});
            java("Nacos-Java-Client:v3.0.3", labels, abilities)
        }
        "java-config" => {
            let labels = json!({
                "source": "sdk", "module": "config", "AppName": "unknown", "taskId": "0",
            });
            java("Nacos-Java-Client:v2.5.1", labels, json!({}))
        }
        "java-2.0" => json!({
            "headers": {}, "clientVersion": "Nacos-Java-Client:v2.0.4",
            "abilities": {
                "remoteAbility": {"supportRemoteConnection": true, "grpcReportEnabled": true},
                "configAbility": {"supportRemoteMetrics": false},
                "namingAbility": {"supportDeltaPush": false, "supportRemoteMetric": false},
            },
            "labels": {"source": "sdk", "module": "naming"}, "module": "internal",
        }),
        "rust-0.8" => json!({
            "requestId": null, "headers": {}, "clientVersion": "Nacos-Rust-Client:0.8.0",
            "abilities": {
                "remoteAbility": {"supportRemoteConnection": true},
                "configAbility": {"supportRemoteMetrics": true},
                "namingAbility": {"supportDeltaPush": false, "supportRemoteMetric": false},
            },
            "tenant": "public", "labels": {"source": "sdk", "module": "naming"},
        }),
        "python-3" => json!({
            "headers": {}, "requestId": "", "module": "",
            "clientVersion": "Nacos-Python-Client:v3.2.0", "tenant": "",
            "labels": {"source": "sdk", "module": "naming"},
            "abilityTable": {"mcp": true, "agent": true},
        }),
        "go-2.3" => json!({
            "clientVersion": "Nacos-Go-Client:v2.3.5", "tenant": "", "labels": labels,
            "clientAbilities": {}, "module": "internal", "requestId": "",
        }),
        _ => return None,
    })
}

/// Whether the SDK sets up first and checks the server afterwards.
pub(crate) fn checks_last(name: &str) -> bool {
    name == "rust-0.8"
}
