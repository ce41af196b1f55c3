//! Subscribers over gRPC that take no notice of what they are sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use xtask_grpc::messages::message;
use xtask_grpc::{Connection, is_success, messages};

use super::provider::call_any;
use super::{Load, Shared};

/// Of each kind, at each node.
const SUBSCRIBERS: usize = 10;
/// Instances of the service that they subscribe to, one of which changes all the time.
const INSTANCES: usize = 300;
const CHANGE_INTERVAL: Duration = Duration::from_millis(250);
/// More often than an SDK, to see soon that a connection has been ended.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A node says good-bye 15 s after the first list that is not acknowledged, and looks each few
/// seconds.
const PATIENCE: Duration = Duration::from_secs(25);
const SERVICE: &str = "noise";

/// The subscribers and those who change what they subscribe to; they end with it.
pub(in crate::chaos) struct Crowd {
    noted: Rc<Noted>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Noted {
    /// Connections that a node has ended.
    ended: Cell<usize>,
    longest: Cell<Duration>,
    /// When each of those that stand began.
    standing: RefCell<Vec<Option<Instant>>>,
}

impl Crowd {
    /// Registers the service, subscribes, and begins to change it.
    ///
    /// # Errors
    ///
    /// If no node takes a registration.
    pub(in crate::chaos) async fn gather(load: &Load, nodes: &[usize]) -> Result<Self> {
        let shared = Rc::clone(&load.shared);
        for number in 0..INSTANCES {
            change(&shared, number, 0).await?;
        }
        let noted = Rc::<Noted>::default();
        let mut tasks = Vec::new();
        for &node in nodes {
            for number in 0..2 * SUBSCRIBERS {
                let place = noted.standing.borrow().len();
                noted.standing.borrow_mut().push(None);
                let subscriber = Subscriber {
                    shared: Rc::clone(&shared),
                    noted: Rc::clone(&noted),
                    node,
                    place,
                    reads: number.is_multiple_of(2),
                };
                tasks.push(tokio::task::spawn_local(subscriber.live()));
            }
        }
        tasks.push(tokio::task::spawn_local(async move {
            for turn in 1.. {
                // One that fails is followed by the next.
                let _ = change(&shared, turn % INSTANCES, turn).await;
                sleep(CHANGE_INTERVAL).await;
            }
        }));
        Ok(Self { noted, tasks })
    }

    /// What became of the connections.
    ///
    /// # Errors
    ///
    /// If a node bore with one for longer than it says.
    pub(in crate::chaos) fn ended(&self) -> Result<String> {
        let standing = self.noted.standing.borrow();
        let oldest = standing.iter().flatten().map(Instant::elapsed).max().unwrap_or_default();
        let (ended, longest) = (self.noted.ended.get(), self.noted.longest.get().max(oldest));
        ensure!(ended > 0, "no connection without acknowledgement was ended");
        ensure!(longest <= PATIENCE, "one without acknowledgement stood for {longest:?}");
        Ok(format!(
            "{ended} connections ended, none after more than {:.1} s",
            longest.as_secs_f64()
        ))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Subscriber {
    shared: Rc<Shared>,
    noted: Rc<Noted>,
    node: usize,
    place: usize,
    /// Whether it takes what it is sent out of its socket.
    reads: bool,
}

impl Subscriber {
    async fn live(self) {
        loop {
            // It asks for signs of life like any other client, so it is not silent.
            if self.subscribe().await.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
            if let Some(begun) = self.note(None) {
                self.noted.ended.set(self.noted.ended.get() + 1);
                self.noted.longest.set(self.noted.longest.get().max(begun.elapsed()));
            }
        }
    }

    fn note(&self, at: Option<Instant>) -> Option<Instant> {
        let mut standing = self.noted.standing.borrow_mut();
        standing.get_mut(self.place).and_then(|place| std::mem::replace(place, at))
    }

    /// Until the node ends the connection.
    async fn subscribe(&self) -> Result<()> {
        let Some(address) = self.shared.streamed(self.node) else { return Ok(()) };
        let connection = Connection::open(address).await?;
        let mut stream = connection.set_up(&format!("deaf-{}", self.place)).await?;
        let wish = message("SubscribeServiceRequest", messages::subscribe(SERVICE));
        connection.ask(&wish, b"\"resultCode\":200").await?;
        self.note(Some(Instant::now()));
        let check = async {
            while connection.check_health().await.is_ok_and(|answer| is_success(&answer)) {
                sleep(KEEP_ALIVE).await;
            }
        };
        let read = async {
            while self.reads && stream.next().await.is_ok() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = check => {}
            () = read => {}
        }
        Ok(())
    }
}

/// An instance that may be silent for an hour, with something new to tell.
async fn change(shared: &Shared, number: usize, turn: usize) -> Result<()> {
    let metadata = format!(
        "%7B%22preserved.heart.beat.timeout%22%3A%223600000%22%2C\
         %22preserved.ip.delete.timeout%22%3A%223600000%22%2C%22turn%22%3A%22{turn}%22%7D"
    );
    let ip = format!("10.230.{}.{}", number / 250, number % 250 + 1);
    let path = format!(
        "/nacos/v1/ns/instance?serviceName={SERVICE}&ip={ip}&port=80&ephemeral=true&metadata={metadata}"
    );
    call_any(shared, usize::MAX, &Method::POST, &path).await.map(|_| ())
}
