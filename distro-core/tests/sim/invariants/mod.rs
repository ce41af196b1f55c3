//! What must hold all the time, one file for each promise. Each is looked at several times in a
//! second of a run.

use crate::world::World;

mod agreement;
mod bounded;
mod counts;
mod dead_go;
mod kept;
mod lapses;
mod live_stay;
mod no_resurrection;
mod one_judge;
mod open;
mod revisions;
mod versions;

#[derive(Default)]
pub(crate) struct Invariants {
    pub(crate) live_stay: live_stay::LiveStay,
    pub(crate) no_resurrection: no_resurrection::NoResurrection,
    pub(crate) versions: versions::Versions,
    pub(crate) revisions: revisions::Revisions,
    pub(crate) agreement: agreement::Agreement,
    pub(crate) counts: counts::Counts,
    pub(crate) dead_go: dead_go::DeadGo,
    pub(crate) kept: kept::Kept,
    pub(crate) one_judge: one_judge::OneJudge,
    /// Stories about a broken rule look for one failure themselves.
    pub(crate) are_off: bool,
}

impl Invariants {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        if self.are_off {
            return Ok(());
        }
        bounded::check(world)?;
        open::check(world)?;
        self.revisions.check(world)?;
        self.versions.check(world)?;
        self.no_resurrection.check(world)?;
        self.live_stay.check(world)?;
        self.dead_go.check(world)?;
        lapses::check(world)?;
        self.counts.check()?;
        self.kept.check(world)?;
        self.agreement.check(world)?;
        self.one_judge.check(world)
    }

    /// A member started or was killed: what it showed before does not bind it.
    pub(crate) fn forget(&mut self, node: usize) {
        self.live_stay.forget(node);
        self.no_resurrection.forget(node);
        self.versions.forget(node);
        self.revisions.forget(node);
    }
}
