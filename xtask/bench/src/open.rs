//! Open loop: requests are due at fixed moments whether or not the server keeps up.
//!
//! A latency counts from the moment when the request was due, not from when it could be sent, so
//! a server that stops for a second is charged with every request of that second (what is known as
//! coordinated omission cannot happen).
//!
//! ```text
//! pacer thread ── tick every 0.5 ms ──► dispatcher ── write ──► connection ──► server
//!                                           └ waits in the connection if that one is busy
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::request::Load;
use super::sample::{Latencies, Running, latencies};
use super::tally::Tally;
use super::wire::{is_expected, parse_reply, unexpected};

/// Requests of one kind at a fixed rate over connections of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) load: Load,
    pub(super) per_second: u64,
    pub(super) connections: usize,
}

/// How finely time is divided: all requests of a tick are due at its beginning.
const TICK: Duration = Duration::from_micros(500);
/// How long replies may take after the last request.
const DRAIN: Duration = Duration::from_secs(2);

/// Starts all `streams` on one thread. The latencies are those of the first stream.
pub(super) fn start(address: SocketAddr, streams: Vec<Stream>, tally: &Arc<Tally>) -> Running {
    let shared = Arc::clone(tally);
    let thread = std::thread::spawn(move || {
        drive(address, &streams, &shared).unwrap_or_else(|error| {
            shared.complain(format!("{error:#}"));
            latencies()
        })
    });
    Running::new(Arc::clone(tally), vec![thread])
}

fn drive(address: SocketAddr, streams: &[Stream], tally: &Arc<Tally>) -> Result<Latencies> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut lanes = Vec::new();
        for stream in streams {
            lanes.push(Lane::open(address, *stream, tally).await?);
        }
        dispatch(&lanes, tally).await?;
        drain(&lanes, tally).await;
        Ok(lanes[0].found.replace(latencies()))
    })
}

/// Sends what is due at each tick until the load is stopped.
async fn dispatch(lanes: &[Lane], tally: &Arc<Tally>) -> Result<()> {
    let start = Instant::now();
    let mut ticks = pace(start, Arc::clone(tally));
    while let Some(tick) = ticks.recv().await {
        let due = start + TICK * tick;
        lanes.iter().try_for_each(|lane| lane.send_due(due, due - start))?;
    }
    Ok(())
}

/// Numbers of ticks as they come. A thread, because the timer of tokio counts milliseconds.
fn pace(start: Instant, tally: Arc<Tally>) -> mpsc::UnboundedReceiver<u32> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for tick in 1.. {
            std::thread::sleep((start + TICK * tick).saturating_duration_since(Instant::now()));
            if tally.is_stopped() || sender.send(tick).is_err() {
                break;
            }
        }
    });
    receiver
}

async fn drain(lanes: &[Lane], tally: &Tally) {
    let waiting = || lanes.iter().map(Lane::waiting).sum::<u64>();
    let deadline = Instant::now() + DRAIN;
    while waiting() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tally.count_unanswered(waiting());
}

/// The connections of one stream.
struct Lane {
    stream: Stream,
    connections: Vec<Rc<Slot>>,
    found: Rc<RefCell<Latencies>>,
    sent: std::cell::Cell<u64>,
}

impl Lane {
    async fn open(address: SocketAddr, stream: Stream, tally: &Arc<Tally>) -> Result<Self> {
        let found = Rc::new(RefCell::new(latencies()));
        let mut connections = Vec::with_capacity(stream.connections);
        for _ in 0..stream.connections {
            let slot = Rc::new(Slot::open(address, stream.load).await?);
            connections.push(Rc::clone(&slot));
            let (tally, found) = (Arc::clone(tally), Rc::clone(&found));
            tokio::task::spawn_local(async move {
                if let Err(error) = slot.read_replies(&tally, &found).await {
                    tally.complain(format!("{error:#}"));
                }
            });
        }
        Ok(Self { stream, connections, found, sent: std::cell::Cell::new(0) })
    }

    /// Sends everything that is due `since_start`, on each connection in turn.
    fn send_due(&self, due: Instant, since_start: Duration) -> Result<()> {
        let wanted = due_requests(self.stream.per_second, since_start);
        for number in self.sent.replace(wanted)..wanted {
            let slot = number % self.connections.len() as u64;
            self.connections[slot as usize].ask(Waiting { due, number })?;
        }
        Ok(())
    }

    fn waiting(&self) -> u64 {
        self.connections.iter().map(|slot| slot.waiting.borrow().len() as u64).sum()
    }
}

fn due_requests(per_second: u64, since_start: Duration) -> u64 {
    let due = u128::from(per_second) * since_start.as_nanos() / 1_000_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// One connection; the first of those waiting is under way.
struct Slot {
    stream: TcpStream,
    load: Load,
    waiting: RefCell<VecDeque<Waiting>>,
}

#[derive(Clone, Copy)]
struct Waiting {
    due: Instant,
    number: u64,
}

impl Slot {
    async fn open(address: SocketAddr, load: Load) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, load, waiting: RefCell::default() })
    }

    fn ask(&self, request: Waiting) -> Result<()> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(request);
        if waiting.len() == 1 { self.send(request.number) } else { Ok(()) }
    }

    fn send(&self, number: u64) -> Result<()> {
        let mut request = Vec::with_capacity(1024);
        self.load.write(number, &mut request);
        // Nothing else is under way here, so the socket has room for one small request.
        let written = self.stream.try_write(&request).context("sending a request")?;
        ensure!(written == request.len(), "a request was sent in part only");
        Ok(())
    }

    async fn read_replies(&self, tally: &Tally, found: &RefCell<Latencies>) -> Result<()> {
        let mut input = Vec::with_capacity(16 << 10);
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut input) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => bail!(error),
            }
            while let Some(reply) = parse_reply(&input)? {
                let body = &input[reply.body.clone()];
                let number = self.finish_first(tally, found)?;
                if !is_expected(reply.status, body, self.load.kind(number).expected()) {
                    tally.count_error(|| unexpected(reply.status, body));
                }
                input.drain(..reply.body.end);
            }
        }
    }

    fn finish_first(&self, tally: &Tally, found: &RefCell<Latencies>) -> Result<u64> {
        let mut waiting = self.waiting.borrow_mut();
        let finished = waiting.pop_front().context("a reply that nobody asked for")?;
        tally.count_done();
        if tally.is_recording() {
            let latency = finished.due.elapsed().as_nanos();
            found.borrow_mut().saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        }
        if let Some(next) = waiting.front() {
            self.send(next.number)?;
        }
        Ok(finished.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_due_evenly() {
        assert_eq!(due_requests(20_000, Duration::ZERO), 0);
        assert_eq!(due_requests(20_000, TICK), 10);
        assert_eq!(due_requests(100, TICK * 19), 0);
        assert_eq!(due_requests(100, TICK * 20), 1);
        assert_eq!(due_requests(20_000, Duration::from_secs(20)), 400_000);
    }
}
