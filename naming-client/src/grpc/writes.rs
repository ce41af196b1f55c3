//! Writing the places of the connection.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Context;
use super::hold::Flight;
use super::link::Mode;
use super::messages::Request;
use super::session::{Problem, Session};
use crate::schedule::sleep_until;

/// Writes in flight at once.
const MAX_IN_FLIGHT: usize = 128;

type Landed = (Flight, Result<(), Problem>, String);

/// Makes the writes that are due, for as long as it is polled.
pub(super) async fn run(context: &Arc<Context>) {
    let holder = &context.link().holder;
    let mut mode = context.link().mode();
    let mut flights: JoinSet<Landed> = JoinSet::new();
    loop {
        let session = match &*mode.borrow_and_update() {
            Mode::Grpc(session) if !session.is_over() => Some(session.clone()),
            _ => None,
        };
        while let Some(session) = &session
            && flights.len() < MAX_IN_FLIGHT
            && let Some(flight) = holder.take()
        {
            flights.spawn(fly(context.clone(), session.clone(), flight));
        }
        let retry = session.as_ref().and_then(|_| holder.next_retry());
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            () = holder.wake.notified() => {}
            () = sleep_until(retry) => {}
            Some(landed) = flights.join_next() => {
                // A flight ends without a result only when the thread ends.
                if let Ok((flight, outcome, place)) = landed {
                    let how = (&*place, context.link().may_use_http());
                    let homeless = holder.land(flight, outcome, how);
                    homeless.iter().for_each(|entry| entry.keep_by_http());
                    context.beats.take_back(homeless);
                }
            }
        }
    }
}

async fn fly(context: Arc<Context>, session: Arc<Session>, flight: Flight) -> Landed {
    let core = &context.core;
    let gone = flight.gone.as_ref();
    let request = Request::hold(&core.namespace, &flight.service, &flight.instances, gone);
    let outcome = match request {
        Ok(request) => {
            session.call(core, &context.http, &request, core.request_timeout).await.map(drop)
        }
        Err(error) => Err(Problem::Final(error)),
    };
    core.counters.note("grpc", outcome.is_ok());
    (flight, outcome, session.place.clone())
}
