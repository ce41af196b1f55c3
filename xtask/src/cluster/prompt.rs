//! Where orders come from: the prompt, the socket, and the signals that mean "end".

use std::io::{BufRead, IsTerminal};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::control;
use super::hub::{Hub, Next};
use super::interrupts::Interrupts;

/// Longer orders are none.
const LONGEST_ORDER: u64 = 1024;

/// Carries out orders until one, or a signal, means the end.
pub(super) async fn serve(
    hub: &mut Hub,
    listener: UnixListener,
    interrupts: &mut Interrupts,
    with_prompt: bool,
) -> Result<()> {
    let mut lines = if with_prompt { Some(read_lines()) } else { None };
    loop {
        let event = tokio::select! {
            () = interrupts.wait() => return Ok(()),
            line = next_line(&mut lines) => match line {
                Some(line) => Event::Line(line),
                None if std::io::stdin().is_terminal() => return Ok(()),
                None => {
                    // Nobody types; the socket and the signals remain.
                    lines = None;
                    continue;
                }
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => Event::Connection(stream),
                Err(_) => continue,
            },
        };
        // Some orders take long; what they leave half done ends with the rest.
        let next = tokio::select! {
            () = interrupts.wait() => Next::End,
            next = handle(hub, event) => next,
        };
        if next == Next::End {
            return Ok(());
        }
    }
}

enum Event {
    Line(String),
    Connection(UnixStream),
}

async fn handle(hub: &mut Hub, event: Event) -> Next {
    match event {
        Event::Line(line) => at_prompt(hub, &line).await,
        Event::Connection(stream) => over_socket(hub, stream).await,
    }
}

/// A thread, since reading a terminal cannot be given up; it ends with the process.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next_line(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

async fn at_prompt(hub: &mut Hub, line: &str) -> Next {
    if line.trim().is_empty() {
        return Next::GoOn;
    }
    let (result, next) = hub.obey(line).await;
    match result {
        Ok(text) => print!("{text}"),
        Err(error) => println!("{error:#}"),
    }
    next
}

async fn over_socket(hub: &mut Hub, stream: UnixStream) -> Next {
    let mut order = String::new();
    let (reader, mut writer) = stream.into_split();
    if reader.take(LONGEST_ORDER).read_to_string(&mut order).await.is_err() || order.is_empty() {
        // Somebody only looked whether there is a cluster.
        return Next::GoOn;
    }
    let (result, next) = hub.obey(&order).await;
    if next == Next::End {
        // Answered when all nodes have ended, so that whoever asked may start anew.
        hub.stop().await;
    }
    // Whoever asked may have gone.
    let _ = writer.write_all(control::reply(&result).as_bytes()).await;
    next
}
