//! Clients that stay connected while they are given one job after the other.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::APP;
use super::requests::Asks;
use crate::closed::{nanoseconds_since, stay_awake};
use crate::sample::{Latencies, Running, latencies};
use crate::tally::Tally;
use xtask_grpc::{Connection, Stream};

/// How long all may take to connect.
const CONNECT: Duration = Duration::from_secs(60);

/// What all connections do.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) asks: Asks,
    pub(super) services: u64,
    pub(super) in_flight: usize,
    /// Whether a thread sleeps when all its connections wait for answers.
    pub(super) may_sleep: bool,
    /// How often each connection asks; without it until stopped.
    pub(super) each: Option<u64>,
}

struct Order {
    job: Job,
    tally: Arc<Tally>,
    done: Sender<Latencies>,
}

/// The clients; they disconnect with this handle.
pub(super) struct Fleet {
    orders: Vec<UnboundedSender<Order>>,
    _threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Connects so many clients from so many threads, and waits until all are known.
    pub(super) async fn connect(
        address: SocketAddr,
        connections: usize,
        threads: usize,
    ) -> Result<Self> {
        let (tell, told) = channel();
        let (mut orders, mut all) = (Vec::new(), Vec::new());
        let mut first = 0;
        for thread in 0..threads {
            // The first threads take one more connection each if they do not divide evenly.
            let share = (connections + threads - 1 - thread) / threads;
            let range = first..first + share as u64;
            first = range.end;
            let (order, taken) = unbounded_channel();
            let tell = tell.clone();
            orders.push(order);
            all.push(std::thread::spawn(move || {
                if let Err(error) = serve(address, range, taken, &tell) {
                    let _ = tell.send(Err(error));
                }
            }));
        }
        drop(tell);
        let waited = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + CONNECT;
            for _ in 0..threads {
                let left = deadline.saturating_duration_since(Instant::now());
                told.recv_timeout(left).context("the clients do not get connected")??;
            }
            Ok(())
        });
        waited.await?.map(|()| Self { orders, _threads: all })
    }

    /// Gives all clients a job.
    pub(super) fn start(&self, job: &Job, tally: &Arc<Tally>) -> Running {
        let (done, finished) = channel();
        for order in &self.orders {
            let (tally, done) = (Arc::clone(tally), done.clone());
            // A thread that has ended has complained.
            let _ = order.send(Order { job: job.clone(), tally, done });
        }
        drop(done);
        let collector = std::thread::spawn(move || {
            let mut all = latencies();
            for found in finished {
                // Of the same bounds: nothing can fail.
                let _ = all.add(found);
            }
            all
        });
        Running::new(Arc::clone(tally), vec![collector])
    }
}

fn serve(
    address: SocketAddr,
    range: std::ops::Range<u64>,
    mut orders: UnboundedReceiver<Order>,
    tell: &Sender<Result<()>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut clients: Vec<(Rc<Connection>, Stream)> = Vec::new();
        for _ in range.clone() {
            let connection = Connection::open(address).await?;
            let stream = connection.set_up(APP).await?;
            clients.push((Rc::new(connection), stream));
        }
        let _ = tell.send(Ok(()));
        while let Some(order) = orders.recv().await {
            let found = work(&clients, range.start, &order).await;
            let _ = order.done.send(found);
        }
        Ok(())
    }))
}

async fn work(clients: &[(Rc<Connection>, Stream)], first: u64, order: &Order) -> Latencies {
    let found = Rc::new(RefCell::new(latencies()));
    let working = Rc::new(());
    let mut tasks = Vec::new();
    if !order.job.may_sleep {
        tokio::task::spawn_local(stay_awake(Rc::downgrade(&working)));
    }
    for (number, (connection, _)) in clients.iter().enumerate() {
        let turns = Rc::new(RefCell::new(0..order.job.each.unwrap_or(u64::MAX)));
        for _ in 0..order.job.in_flight {
            let (connection, turns) = (Rc::clone(connection), Rc::clone(&turns));
            let (found, tally, asks) =
                (Rc::clone(&found), Arc::clone(&order.tally), order.job.asks);
            let (client, services) = (first + number as u64, order.job.services);
            tasks.push(tokio::task::spawn_local(async move {
                while !tally.is_stopped() {
                    let Some(turn) = turns.borrow_mut().next() else { break };
                    let asked = ask(&connection, asks, (client, turn, services), &tally, &found);
                    if let Err(error) = asked.await {
                        tally.complain(format!("{error:#}"));
                    }
                }
            }));
        }
    }
    for task in tasks {
        if task.await.is_err() {
            order.tally.complain("a client panicked".to_owned());
        }
    }
    drop(working);
    found.replace(latencies())
}

async fn ask(
    connection: &Connection,
    asks: Asks,
    (client, turn, services): (u64, u64, u64),
    tally: &Tally,
    found: &RefCell<Latencies>,
) -> Result<()> {
    // Clients begin at different services.
    let payload = asks.payload(client, client.wrapping_mul(613).wrapping_add(turn), services);
    let sent = Instant::now();
    let answer = connection.call(&payload).await?;
    if memmem::find(answer.body(), asks.expected()).is_none() {
        let shown = String::from_utf8_lossy(answer.body()).into_owned();
        tally.count_error(|| format!("unexpected answer: {}", shown));
        if shown.is_empty() {
            bail!("an empty answer");
        }
    }
    tally.count_done();
    if tally.is_recording() {
        found.borrow_mut().saturating_record(nanoseconds_since(sent));
    }
    Ok(())
}
