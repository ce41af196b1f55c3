//! What each command does.

use std::time::{Duration, Instant};

use naming_client::{Error, Failure, NamingClient, ServiceName, ServicePattern, ServicesChange};
use serde_json::json;

use crate::Problem;
use crate::arguments::{Output, Query, Wanted};
use crate::output::{age, metadata_text, print_value, show, show_done, utc_time};

pub(crate) async fn services(
    client: &NamingClient,
    group: &str,
    output: Output,
) -> Result<(), Problem> {
    let names = client.services().list(group).await?;
    let value: Vec<&str> = names.iter().map(ServiceName::grouped).collect();
    let rows = names.iter().map(|name| vec![name.group().to_owned(), name.service().to_owned()]);
    show(output, &value, &["group", "service"], rows)
}

pub(crate) async fn instances(
    client: &NamingClient,
    query: &Query,
    output: Output,
) -> Result<(), Problem> {
    let list = client.instances(query.parse()?).await?;
    let rows = list.all().iter().map(|one| {
        vec![
            one.authority(),
            one.cluster.clone(),
            one.weight.to_string(),
            one.healthy.to_string(),
            one.enabled.to_string(),
            metadata_text(&one.metadata),
        ]
    });
    let head = ["address", "cluster", "weight", "healthy", "enabled", "metadata"];
    show(output, list.all(), &head, rows)
}

pub(crate) async fn register(
    client: &NamingClient,
    wanted: &Wanted,
    output: Output,
) -> Result<(), Problem> {
    let registration = client.register(&wanted.service, wanted.instance()).await?;
    match output {
        Output::Json | Output::Yaml => print_value(
            output,
            &json!({
                "event": "registered", "service": wanted.service.grouped(),
                "instance": registration.instance(),
            }),
        )?,
        Output::Table => {
            let address = registration.instance().authority();
            println!("registered {address} for {}; Ctrl-C ends it", registration.service());
        }
    }
    tokio::signal::ctrl_c().await?;
    registration.close().await?;
    show_done(output, "deregistered")
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
        if output != Output::Table {
            print_value(
                output,
                &json!({
                    "seconds": seconds, "added": change.added, "modified": change.modified,
                    "removed": change.removed, "instances": subscription.instances().len(),
                }),
            )?;
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
    let rows = events.iter().map(|event| {
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
    });
    let head = ["time (UTC)", "ago", "instance", "cluster", "event", "silent", "by"];
    show(output, &events, &head, rows)
}

pub(crate) async fn watch_services(
    client: &NamingClient,
    pattern: &ServicePattern,
    output: Output,
) -> Result<(), Problem> {
    let start = Instant::now();
    let mut watch = client.watch_services(pattern).await?;
    let mut change = ServicesChange { added: watch.services(), removed: Vec::new() };
    loop {
        let seconds = start.elapsed().as_secs_f64();
        let names = |list: &[ServiceName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (added, removed) = (names(&change.added), names(&change.removed));
        match output {
            Output::Table => {
                added.iter().for_each(|name| println!("{seconds:9.3} + {name}"));
                removed.iter().for_each(|name| println!("{seconds:9.3} - {name}"));
            }
            Output::Json | Output::Yaml => {
                let value = json!({ "seconds": seconds, "added": added, "removed": removed });
                print_value(output, &value)?;
            }
        }
        let next = tokio::select! {
            change = watch.changed() => change,
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        };
        let Some(next) = next else { return Ok(()) };
        change = next;
    }
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
