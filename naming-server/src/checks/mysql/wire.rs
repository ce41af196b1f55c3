//! Packets of MySQL's protocol: a length of three bytes, a number that counts up, the content.

use distro_net::Io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{End, NO_MYSQL};

/// Bytes of all that is read in one check.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// The first byte of answers.
pub(super) const OK: u8 = 0x00;
const ERROR: u8 = 0xff;
const END: u8 = 0xfe;
/// Rows may be as long as they like, the end of them is short.
const MOST_END: usize = 8;
/// In place of the length of a value: there is none.
const NULL: u8 = 0xfb;

/// The first byte of commands.
pub(super) const QUERY: u8 = 0x03;
pub(super) const QUIT: u8 = 0x01;

/// A connection to somebody who should speak MySQL.
pub(super) struct Wire {
    io: Box<dyn Io>,
    /// The number of the next packet, from either side.
    next: u8,
    /// Bytes that may still be read.
    left: usize,
}

impl Wire {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { io, next: 0, left: MOST_BYTES }
    }

    /// The next packet.
    pub(super) async fn read(&mut self) -> Result<Vec<u8>, End> {
        let mut head = [0; 4];
        self.io.read_exact(&mut head).await?;
        let [low, middle, high, number] = head;
        if number != self.next {
            return Err(NO_MYSQL);
        }
        self.next = self.next.wrapping_add(1);
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        let left = self.left.checked_sub(head.len() + length);
        self.left = left.ok_or_else(|| {
            End::Broken(format!("it says more than {} KiB", MOST_BYTES >> 10).into())
        })?;
        let mut content = vec![0; length];
        self.io.read_exact(&mut content).await?;
        Ok(content)
    }

    /// The next packet, unless that is an error.
    pub(super) async fn read_unless_error(&mut self) -> Result<Vec<u8>, End> {
        let packet = self.read().await?;
        match packet.split_first() {
            Some((&ERROR, error)) => Err(refusal(error)),
            _ => Ok(packet),
        }
    }

    pub(super) async fn write(&mut self, content: &[u8]) -> Result<(), End> {
        // Settings of a cluster are much shorter than what one packet can hold.
        let length = u32::try_from(content.len()).ok().filter(|length| length >> 24 == 0);
        let [low, middle, high, _] = length.ok_or(TOO_LONG)?.to_le_bytes();
        let packet = [&[low, middle, high, self.next], content].concat();
        self.next = self.next.wrapping_add(1);
        self.io.write_all(&packet).await?;
        Ok(self.io.flush().await?)
    }

    /// Begins anew with a command.
    pub(super) async fn command(&mut self, command: u8, content: &[u8]) -> Result<(), End> {
        self.next = 0;
        self.write(&[&[command], content].concat()).await
    }
}

const TOO_LONG: End = End::Refused(std::borrow::Cow::Borrowed("the command is too long"));

/// What an error packet says but for its text, which may repeat a command or a name: the number,
/// and if it has one the state, five letters or digits.
fn refusal(error: &[u8]) -> End {
    let Some(([low, high], rest)) = error.split_first_chunk() else { return NO_MYSQL };
    let number = u16::from_le_bytes([*low, *high]);
    let state = match rest {
        [b'#', state @ ..] => state.get(..5).and_then(|state| std::str::from_utf8(state).ok()),
        _ => None,
    };
    let state = state.filter(|state| state.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let text = match state {
        Some(state) => format!("error {number} ({state})"),
        None => format!("error {number}"),
    };
    End::Refused(text.into())
}

/// Whether a packet is the end of columns or rows.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() <= MOST_END
}

/// A number of one to nine bytes at the beginning of `bytes`, which is taken away.
pub(super) fn length(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let count = match first {
        0..NULL => {
            *bytes = rest;
            return Some(first.into());
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        NULL | 0xff => return None,
    };
    let (number, rest) = rest.split_at_checked(count)?;
    *bytes = rest;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// A value at the beginning of `bytes`, which is taken away; `Some(None)` if it is null.
pub(super) fn text<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    if let [NULL, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(None);
    }
    let length = usize::try_from(length(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(text))
}
