//! What operators look at and change.

use std::collections::BTreeMap;

use naming_client::{NamingClient, Selector, ServiceSettings};
use serde_json::json;

use crate::Problem;
use crate::arguments::{NsCommand, Output, ServiceCommand, UsersCommand};
use crate::output::{metadata_text, show, show_done};

pub(crate) async fn service(
    client: &NamingClient,
    command: &ServiceCommand,
    output: Output,
) -> Result<(), Problem> {
    let services = client.services();
    match command {
        ServiceCommand::Show { service } => {
            let detail = services.detail(service).await?;
            let names = detail.clusters.iter().map(|cluster| cluster.name.clone());
            let row = vec![
                detail.group_name.clone(),
                detail.name.clone(),
                detail.protect_threshold.to_string(),
                metadata_text(&detail.metadata),
                names.collect::<Vec<_>>().join(" "),
            ];
            let head = ["group", "service", "protect threshold", "metadata", "clusters"];
            show(output, &detail, &head, [row])
        }
        ServiceCommand::Create { service, protect_threshold, metadata } => {
            let metadata: BTreeMap<String, String> = metadata.iter().cloned().collect();
            let settings = ServiceSettings {
                protect_threshold: *protect_threshold,
                metadata,
                selector: Selector::None,
            };
            services.create(service, &settings).await?;
            show_done(output, "created")
        }
        ServiceCommand::Threshold { service, share } => {
            services.set_protect_threshold(service, *share).await?;
            show_done(output, "set")
        }
        ServiceCommand::Delete { service } => {
            services.delete(service).await?;
            show_done(output, "deleted")
        }
    }
}

pub(crate) async fn clients(
    client: &NamingClient,
    id: Option<&str>,
    output: Output,
) -> Result<(), Problem> {
    let operator = client.operator();
    let Some(id) = id else {
        let ids = operator.client_ids().await?;
        return show(output, &ids, &["client"], ids.iter().map(|id| vec![id.clone()]));
    };
    let one = operator.client(id).await?;
    let row = vec![one.id.clone(), one.kind.clone(), one.address.clone(), one.version.clone()];
    show(output, &one, &["client", "kind", "address", "version"], [row])
}

pub(crate) async fn members(client: &NamingClient, output: Output) -> Result<(), Problem> {
    let members = client.operator().members().await?;
    let rows =
        members.iter().map(|one| vec![one.address.clone(), one.state.clone(), one.version.clone()]);
    show(output, &members, &["address", "state", "version"], rows)
}

pub(crate) async fn namespaces(
    client: &NamingClient,
    command: &NsCommand,
    output: Output,
) -> Result<(), Problem> {
    let operator = client.operator();
    match command {
        NsCommand::List => {
            let found = operator.namespaces().await?;
            let rows = found.iter().map(|one| vec![one.id.clone(), one.name.clone()]);
            show(output, &found, &["id", "name"], rows)
        }
        NsCommand::Create { id, name } => {
            operator.create_namespace(id, name.as_deref().unwrap_or(id)).await?;
            show_done(output, "created")
        }
        NsCommand::Delete { id } => {
            operator.delete_namespace(id).await?;
            show_done(output, "deleted")
        }
    }
}

pub(crate) async fn users(
    client: &NamingClient,
    command: &UsersCommand,
    output: Output,
) -> Result<(), Problem> {
    let operator = client.operator();
    match command {
        UsersCommand::List => {
            let names = operator.users().await?;
            show(output, &names, &["user"], names.iter().map(|name| vec![name.clone()]))
        }
        UsersCommand::Create(new) => {
            operator.create_user(&new.name, &new.new_password).await?;
            show_done(output, "created")
        }
        UsersCommand::Password(new) => {
            operator.set_password(&new.name, &new.new_password).await?;
            show_done(output, "set")
        }
        UsersCommand::Delete { name } => {
            operator.delete_user(name).await?;
            show_done(output, "deleted")
        }
    }
}

pub(crate) fn status(client: &NamingClient, output: Output) -> Result<(), Problem> {
    let status = client.status();
    let transport = status.transport.map(|transport| transport.to_string()).unwrap_or_default();
    let (server, connection) =
        (status.server.unwrap_or_default(), status.connection.unwrap_or_default());
    let value = json!({ "transport": transport, "server": server, "connection": connection });
    let head = ["transport", "server", "connection"];
    show(output, &value, &head, [vec![transport, server, connection]])
}
