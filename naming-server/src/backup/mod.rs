//! `naming-server export` and `naming-server restore`: what is durable into one file, and back.
//!
//! A running server is asked over its API by an administrator, and any member will do, since each
//! holds everything. A restoration looks at what is there first and writes only what differs, so
//! that it can be repeated or taken up again; what was written is read once more, and only what
//! arrived counts.

mod arguments;
mod file;
mod plan;
mod report;
mod side;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

pub use arguments::{ExportArguments, PlaceArguments, RestoreArguments};
pub use report::RestoreReport;

use file::Backup;
use plan::{Act, Mode, Plan, Step, plan};
use side::{Known, Side};

use crate::offline::OfflineServer;
use crate::progress::Progress;
use crate::registry::{Item, ItemPlace};
use crate::remote::CallError;

/// Steps that are sent at a time.
const AT_A_TIME: usize = 500;
/// Bytes of the items among them, at most, as they stand in the file.
const BYTES_AT_A_TIME: usize = 1 << 20;
/// What is named of what would be overwritten.
const MAX_NAMED: usize = 10;

/// Makes a backup. Returns what is in it, for people.
///
/// # Errors
/// The data cannot be read as a whole, or the file not be written. There is no file then.
pub async fn export(arguments: &ExportArguments) -> Result<String> {
    let ExportArguments { file, place, without_accounts, .. } = arguments;
    ensure!(
        arguments.overwrite || std::fs::symlink_metadata(file).is_err(),
        "{} is there already; --overwrite writes over it",
        file.display()
    );
    let side = match &place.data_dir {
        Some(folder) => Side::Folder(Box::new(OfflineServer::look_into(folder)?)),
        None => Side::of_server(place).await?,
    };
    let progress = Progress::of("records read");
    let has_accounts = !without_accounts;
    let items = progress.during(side.items(has_accounts, &progress)).await;
    let items = items.with_context(|| format!("cannot read {}", side.name()))?.items;
    check_plain_secrets(&items, arguments.with_check_passwords)?;
    let mut counts = [0; Item::KINDS.len()];
    items.iter().for_each(|item| counts[item.kind()] += 1);
    let source = side.name();
    side.close().await?;
    let backup = Backup { source: source.clone(), has_accounts, items, made: String::new() };
    backup
        .write(file, arguments.overwrite)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut text = format!("saved what is durable at {source} in {}\n", file.display());
    for ((_, name), count) in Item::KINDS.iter().zip(counts) {
        text.push_str(&format!("{name:20} {count:9}\n"));
    }
    Ok(text)
}

/// A hash can stand for the password of a user, not for one that a check logs in with.
fn check_plain_secrets(items: &[Item], may_be: bool) -> Result<()> {
    let with_secret = items.iter().filter(|item| item.has_plain_secret());
    let named: Vec<_> = with_secret.take(MAX_NAMED).map(|item| item.place().to_string()).collect();
    if may_be || named.is_empty() {
        return Ok(());
    }
    bail!(
        "MySQL health checks log in with passwords, which would stand in the file as they are: {}; \
         --with-check-passwords takes them along",
        named.join(", ")
    )
}

/// Puts a backup back.
///
/// # Errors
/// The file is no backup; what is there cannot be read; it would be overwritten, which was not
/// asked for. Nothing was changed then: whatever happens later is in the report.
pub async fn restore(arguments: &RestoreArguments) -> Result<RestoreReport> {
    let RestoreArguments { file, place, merge, replace, dry_run, .. } = arguments;
    let backup = Backup::read(file, arguments.accept_changes)
        .with_context(|| format!("cannot use {}", file.display()))?;
    let mode = match (merge, replace) {
        (true, _) => Mode::Merge,
        (_, true) => Mode::Replace,
        _ => Mode::Fill,
    };
    let side = match &place.data_dir {
        Some(folder) if *dry_run && !OfflineServer::has_data(folder) => {
            Side::Folder(Box::new(OfflineServer::empty(folder)))
        }
        Some(folder) if *dry_run => Side::Folder(Box::new(OfflineServer::look_into(folder)?)),
        Some(folder) => Side::Folder(Box::new(OfflineServer::open_folder(folder).await?)),
        None => Side::of_server(place).await?,
    };
    let restored = carry_out(arguments, &backup, mode, &side).await;
    side.close().await?;
    restored
}

async fn carry_out(
    arguments: &RestoreArguments,
    backup: &Backup,
    mode: Mode,
    side: &Side,
) -> Result<RestoreReport> {
    let with_accounts = backup.has_accounts && !arguments.without_accounts;
    let wanted: Vec<Item> =
        backup.items.iter().filter(|item| with_accounts || !item.is_account()).cloned().collect();
    let own = arguments.place.user.as_deref();
    let look = async || {
        let progress = Progress::of("records read");
        let known = progress.during(side.items(with_accounts, &progress)).await;
        let Known { items, takes_accounts } = known?;
        Ok::<_, CallError>((plan(&wanted, items, mode, own), takes_accounts))
    };
    let found = look().await.with_context(|| format!("cannot read {}", side.name()))?;
    let (found, takes_accounts) = found;
    ensure!(
        takes_accounts || !wanted.iter().any(Item::is_account),
        "there are users in the backup, but authentication is off at {}; --without-accounts leaves \
         them out",
        side.name()
    );
    refuse_overwriting(&found.blocked)?;
    let head = head(&arguments.file, backup, side);
    let mut report = RestoreReport::new(head, arguments.dry_run);
    report.found(found.same, found.kept.clone());
    if arguments.dry_run {
        found.steps.iter().for_each(|step| report.count(step.act, step.item.kind()));
        return Ok(report);
    }
    let progress = Progress::of("records written");
    progress.expect(found.steps.len());
    let refused = progress.during(send(side, &found, &progress)).await;
    let refused = match refused {
        Ok(refused) => refused,
        Err(error) => {
            report.stop(&error);
            return Ok(report);
        }
    };
    if found.steps.is_empty() {
        return Ok(report);
    }
    match look().await {
        Ok((now, _)) => settle(&mut report, &found, &now, &refused),
        Err(error) => report.stop(&error),
    }
    Ok(report)
}

fn head(file: &Path, backup: &Backup, side: &Side) -> String {
    let Backup { made, source, .. } = backup;
    format!("{} (made {made} of {source}) into {}", file.display(), side.name())
}

fn refuse_overwriting(blocked: &[ItemPlace]) -> Result<()> {
    if blocked.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = blocked.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    bail!(
        "{} records there differ from the backup or are not in it: {}{}; --merge makes what differs \
         as it is in the backup, --replace removes what is not in it, too",
        blocked.len(),
        named.join(", "),
        if blocked.len() > MAX_NAMED { ", …" } else { "" }
    )
}

/// What was refused, and why.
type Refused = std::collections::BTreeMap<ItemPlace, String>;

/// Sends the steps, kind after kind: what one step needs was done before it is sent.
async fn send(side: &Side, plan: &Plan, progress: &Progress) -> Result<Refused, CallError> {
    let mut refused = Refused::new();
    let same_kind = |one: &Step, other: &Step| {
        one.item.kind() == other.item.kind()
            && (one.act == Act::Remove) == (other.act == Act::Remove)
    };
    for kind in plan.steps.chunk_by(same_kind) {
        let mut rest = kind;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            for (step, outcome) in now.iter().zip(side.carry_out(now).await?) {
                if let Some(reason) = outcome {
                    refused.insert(step.item.place(), reason);
                }
            }
            progress.step(now.len());
            rest = later;
        }
    }
    Ok(refused)
}

/// How many of these are sent together.
fn fitting(steps: &[Step]) -> usize {
    let mut bytes = 0;
    let fits = |step: &&Step| {
        bytes += serde_json::to_string(&step.item).map_or(0, |text| text.len());
        bytes <= BYTES_AT_A_TIME
    };
    // One alone is sent however large it is.
    steps.iter().take(AT_A_TIME).take_while(fits).count().max(1)
}

/// Counts what arrived. `now` is what there would be to do once more.
fn settle(report: &mut RestoreReport, found: &Plan, now: &Plan, refused: &Refused) {
    let left: std::collections::BTreeSet<ItemPlace> =
        now.steps.iter().map(|step| step.item.place()).chain(now.blocked.iter().cloned()).collect();
    for step in &found.steps {
        let place = step.item.place();
        match refused.get(&place) {
            Some(reason) => report.fail(&place, reason),
            None if left.contains(&place) => {
                report.fail(&place, "it is different there; has somebody changed it meanwhile?");
            }
            None => report.count(step.act, step.item.kind()),
        }
    }
}
