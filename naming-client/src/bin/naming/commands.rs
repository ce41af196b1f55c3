//! What each command does.

use std::time::{Duration, Instant};

use naming_client::{Error, Failure, NamingClient, ServiceName};
use serde_json::json;

use crate::arguments::{Output, Query, Wanted};
use crate::output::{age, metadata_text, print_json, print_table, utc_time};

pub(crate) type Problem = Box<dyn std::error::Error>;

pub(crate) async fn services(
    client: &NamingClient,
    group: &str,
    output: Output,
) -> Result<(), Problem> {
    let names = client.services().list(group).await?;
    match output {
        Output::Json => print_json(&names.iter().map(ServiceName::grouped).collect::<Vec<_>>())?,
        Output::Table => print_table(
            &["group", "service"],
            names.iter().map(|name| vec![name.group().to_owned(), name.service().to_owned()]),
        ),
    }
    Ok(())
}

pub(crate) async fn instances(
    client: &NamingClient,
    query: &Query,
    output: Output,
) -> Result<(), Problem> {
    let list = client.instances(query.parse()?).await?;
    match output {
        Output::Json => print_json(list.all())?,
        Output::Table => print_table(
            &["address", "cluster", "weight", "healthy", "enabled", "metadata"],
            list.all().iter().map(|one| {
                vec![
                    one.authority(),
                    one.cluster.clone(),
                    one.weight.to_string(),
                    one.healthy.to_string(),
                    one.enabled.to_string(),
                    metadata_text(&one.metadata),
                ]
            }),
        ),
    }
    Ok(())
}

pub(crate) async fn register(
    client: &NamingClient,
    wanted: &Wanted,
    output: Output,
) -> Result<(), Problem> {
    let registration = client.register(&wanted.service, wanted.instance()).await?;
    match output {
        Output::Json => print_json(&json!({
            "event": "registered", "service": wanted.service.grouped(),
            "instance": registration.instance(),
        }))?,
        Output::Table => {
            let address = registration.instance().authority();
            println!("registered {address} for {}; Ctrl-C ends it", registration.service());
        }
    }
    tokio::signal::ctrl_c().await?;
    registration.close().await?;
    match output {
        Output::Json => print_json(&json!({ "event": "deregistered" }))?,
        Output::Table => println!("deregistered"),
    }
    Ok(())
}

pub(crate) async fn watch(
    client: &NamingClient,
    query: &Query,
    output: Output,
) -> Result<(), Problem> {
    let start = Instant::now();
    let mut subscription = client.subscribe(query.parse()?).await?.from_scratch();
    loop {
        let change = tokio::select! {
            change = subscription.changed() => change,
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        };
        let Some(change) = change else { return Ok(()) };
        let seconds = start.elapsed().as_secs_f64();
        if output == Output::Json {
            print_json(&json!({
                "seconds": seconds, "added": change.added, "modified": change.modified,
                "removed": change.removed, "instances": subscription.instances().len(),
            }))?;
            continue;
        }
        let kinds = [('+', &change.added), ('~', &change.modified), ('-', &change.removed)];
        for (sign, list) in kinds {
            for one in list {
                println!(
                    "{seconds:9.3} {sign} {} {} weight {} {} {}",
                    one.authority(),
                    one.cluster,
                    one.weight,
                    if one.healthy { "healthy" } else { "unhealthy" },
                    metadata_text(&one.metadata),
                );
            }
        }
    }
}

pub(crate) async fn why(
    client: &NamingClient,
    service: &ServiceName,
    limit: u32,
    output: Output,
) -> Result<(), Problem> {
    let events = client.services().events(service, limit).await.map_err(explain_missing)?;
    match output {
        Output::Json => print_json(&events)?,
        Output::Table => print_table(
            &["time (UTC)", "ago", "instance", "cluster", "event", "silent", "by"],
            events.iter().map(|event| {
                vec![
                    utc_time(event.time),
                    age(event.time),
                    format!("{}:{}", event.ip, event.port),
                    event.cluster.clone(),
                    event.event.clone(),
                    match event.silent_millis {
                        0 => String::new(),
                        millis => format!("{:.1?}", Duration::from_millis(millis)),
                    },
                    event.by.clone(),
                ]
            }),
        ),
    }
    Ok(())
}

/// Nacos itself keeps no events; say so instead of showing a bare status.
fn explain_missing(error: Error) -> Problem {
    let is_missing =
        |failure: &Failure| matches!(failure, Failure::Status { status: 404 | 501, .. });
    match &error {
        Error::NoServer { attempts }
            if !attempts.is_empty() && attempts.iter().all(|one| is_missing(&one.failure)) =>
        {
            "this registry keeps no record of events".into()
        }
        _ => error.into(),
    }
}
