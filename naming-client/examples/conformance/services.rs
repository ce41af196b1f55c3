//! Checks of services and of instances that are closed for calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naming_client::{Selector, ServiceName, ServicePattern, ServiceSettings};

use crate::checks::{NOTICED, VISIBLE, ensure, ip, reaches};
use crate::{Outcome, Target};

pub(crate) async fn service_administration(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("admin"));
    let (services, name) = (client.services(), service.parse::<ServiceName>()?);
    let missing = services.detail(&name).await;
    let told = missing.is_err_and(|error| error.is_not_found());
    ensure(told, "a missing service is not told as such")?;
    let metadata = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let settings = ServiceSettings { protect_threshold: 0.25, metadata, selector: Selector::None };
    services.create(&name, &settings).await?;
    let start = Instant::now();
    let detail = loop {
        match services.detail(&name).await {
            Err(error) if error.is_not_found() && start.elapsed() < VISIBLE => {}
            found => break found?,
        }
    };
    let same = detail.protect_threshold == 0.25 && detail.metadata == settings.metadata;
    ensure(same, format!("created as {detail:?}"))?;
    services.set_protect_threshold(&name, 0.5).await?;
    let detail = services.detail(&name).await?;
    let same = detail.protect_threshold == 0.5 && detail.metadata == settings.metadata;
    ensure(same, format!("updated to {detail:?}"))?;
    let listed = services.list(name.group()).await?.contains(&name);
    ensure(listed, "the service is not listed")?;
    ensure(services.create(&name, &settings).await.is_err(), "it could be created twice")?;
    services.delete(&name).await?;
    let start = Instant::now();
    while services.detail(&name).await.is_ok() {
        ensure(start.elapsed() < VISIBLE, "it can be seen after its deletion")?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok("created, changed, listed, deleted".to_owned())
}

pub(crate) async fn services_by_pattern(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("pattern"));
    let pattern = ServicePattern::new("conformance", &format!("pattern-{}*", target.run))?;
    let mut watch = client.watch_services(pattern).await?;
    ensure(watch.services().is_empty(), format!("there already: {:?}", watch.services()))?;
    let _guard = client.register(service.as_str(), ip(1)).await?;
    let start = Instant::now();
    let change = tokio::time::timeout(NOTICED, watch.changed()).await;
    let change = change.map_err(|_| format!("no change within {NOTICED:?}"))?;
    let added = change.ok_or("the client was shut down")?.added;
    ensure(added.len() == 1 && added[0].grouped() == service, format!("{added:?}"))?;
    Ok(format!("noticed after {:?}", start.elapsed()))
}

pub(crate) async fn closed_and_opened_for_calls(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("closed"));
    let guard = client.register(service.as_str(), ip(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    guard.disable().await?;
    let start = Instant::now();
    // Closed ones are in no list of 2.x, and marked in those of 1.x.
    while client.instances(service.as_str()).await?.usable().next().is_some() {
        ensure(start.elapsed() < VISIBLE, "it still gets calls")?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    guard.enable().await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    guard.leave(Duration::from_millis(100)).await?;
    reaches(&client, &service, 0, VISIBLE).await?;
    Ok("closed, opened, gone".to_owned())
}
