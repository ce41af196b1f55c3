//! A voice in the old Raft of Java servers, which has no log and stores nothing.
//!
//! Java servers that do not trust all members to know the new Raft fall back on an old one, and
//! because of a defect they cannot read each other's votes in it: only members like this one make
//! a leader possible, without which persistent writes fail on the Java side. So this server votes
//! and acknowledges, as one that keeps nothing. What it acknowledges is on the disks of the Java
//! servers only: a leader that takes our word for a majority has fewer copies than it believes.

use serde::Deserialize;
use serde_json::json;

use super::{BadMessage, parse_json};
use crate::text::decode;

/// How long a follower says that it waits for a leader, in milliseconds; nobody looks at it.
const LEADER_DUE_MS: u64 = 15_000;
/// How often a leader is heard, in milliseconds.
const HEARTBEAT_DUE_MS: u64 = 5_000;
/// The greatest term that is taken: Java counts with 63 bits, and must be able to count on.
const GREATEST_TERM: u64 = 1 << 62;

/// What another member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RaftPeer {
    /// Its address.
    pub(crate) ip: String,
    /// Its term.
    #[serde(default)]
    pub(crate) term: u64,
    /// `LEADER`, `CANDIDATE` or `FOLLOWER`.
    #[serde(default)]
    pub(crate) state: String,
}

/// The vote of this member.
#[derive(Debug)]
pub(crate) struct Voter {
    own: String,
    term: u64,
    vote: Option<String>,
}

impl Voter {
    /// Of the member with this address, in term 0.
    pub(crate) fn new(own: &str) -> Self {
        Self { own: own.to_owned(), term: 0, vote: None }
    }

    /// A candidate asks for a vote and gets it once in each term. The first to ask wins.
    ///
    /// # Errors
    /// A term that is too great.
    pub(crate) fn vote(&mut self, candidate: &RaftPeer) -> Result<String, BadMessage> {
        check_term(candidate)?;
        if candidate.term > self.term {
            self.follow(candidate);
        } else if self.vote.is_none() {
            self.vote = Some(self.own.clone());
        }
        Ok(self.shown())
    }

    /// The leader is heard.
    ///
    /// # Errors
    /// One that is no leader, or not any more.
    pub(crate) fn beat(&mut self, leader: &RaftPeer) -> Result<String, BadMessage> {
        check_term(leader)?;
        if leader.state != "LEADER" {
            return Err(BadMessage::about("a beat of somebody who is no leader", &leader.state));
        }
        if leader.term < self.term {
            let problem = format!("the beat of an earlier term: {} < {}", leader.term, self.term);
            return Err(BadMessage::new(problem));
        }
        self.follow(leader);
        Ok(self.shown())
    }

    fn follow(&mut self, other: &RaftPeer) {
        self.term = other.term;
        self.vote = Some(other.ip.clone());
    }

    /// What this member says of itself, as JSON.
    pub(crate) fn shown(&self) -> String {
        let mut shown = json!({ "ip": self.own });
        if let (Some(vote), Some(fields)) = (&self.vote, shown.as_object_mut()) {
            fields.insert("voteFor".to_owned(), vote.as_str().into());
        }
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("term".to_owned(), self.term.into());
            fields.insert("leaderDueMs".to_owned(), LEADER_DUE_MS.into());
            fields.insert("heartbeatDueMs".to_owned(), HEARTBEAT_DUE_MS.into());
            fields.insert("state".to_owned(), "FOLLOWER".into());
        }
        shown.to_string()
    }
}

fn check_term(peer: &RaftPeer) -> Result<(), BadMessage> {
    match peer.term {
        0..=GREATEST_TERM => Ok(()),
        _ => Err(BadMessage::new("the term is too great")),
    }
}

/// Reads the candidate of a request for a vote.
///
/// # Errors
/// What is no candidate.
pub(crate) fn parse_vote(text: &str) -> Result<RaftPeer, BadMessage> {
    parse_json("vote", text.as_bytes())
}

/// Reads the leader of a beat, of which the text has been unpacked. What it wants stored is left
/// out.
///
/// # Errors
/// What is no beat.
pub(crate) fn parse_leader_beat(text: &[u8]) -> Result<RaftPeer, BadMessage> {
    #[derive(Deserialize)]
    struct Outer {
        beat: String,
    }
    #[derive(Deserialize)]
    struct Inner {
        peer: RaftPeer,
    }
    // Java undoes percent-encoding twice; its own beats have none.
    let once = decode(text);
    let twice = decode(once.as_bytes());
    let outer: Outer = parse_json("a beat", twice.as_bytes())?;
    let inner: Inner = parse_json("beat", outer.beat.as_bytes())?;
    Ok(inner.peer)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const A: &str = "10.0.0.1:8848";
    const B: &str = "10.0.0.2:8848";
    const OWN: &str = "10.0.0.3:8848";

    fn peer(ip: &str, term: u64, state: &str) -> RaftPeer {
        RaftPeer { ip: ip.to_owned(), term, state: state.to_owned() }
    }

    fn vote_in(shown: &str) -> (Option<String>, u64) {
        let shown: Value = serde_json::from_str(shown).unwrap();
        assert_eq!((&shown["ip"], &shown["state"]), (&Value::from(OWN), &Value::from("FOLLOWER")));
        (shown["voteFor"].as_str().map(str::to_owned), shown["term"].as_u64().unwrap())
    }

    #[test]
    fn each_term_has_one_vote() {
        let mut voter = Voter::new(OWN);
        assert_eq!(vote_in(&voter.shown()), (None, 0));
        let asked = voter.vote(&peer(A, 1, "CANDIDATE")).unwrap();
        assert_eq!(vote_in(&asked), (Some(A.to_owned()), 1));
        let asked = voter.vote(&peer(B, 1, "CANDIDATE")).unwrap();
        assert_eq!(vote_in(&asked), (Some(A.to_owned()), 1), "given already");
        let asked = voter.vote(&peer(B, 2, "CANDIDATE")).unwrap();
        assert_eq!(vote_in(&asked), (Some(B.to_owned()), 2));
    }

    #[test]
    fn a_candidate_of_no_term_gets_no_vote() {
        let mut voter = Voter::new(OWN);
        let asked = voter.vote(&peer(A, 0, "CANDIDATE")).unwrap();
        assert_eq!(vote_in(&asked), (Some(OWN.to_owned()), 0));
    }

    #[test]
    fn a_leader_is_followed_unless_it_is_an_old_one() {
        let mut voter = Voter::new(OWN);
        assert_eq!(vote_in(&voter.beat(&peer(A, 3, "LEADER")).unwrap()).1, 3);
        assert!(voter.beat(&peer(B, 2, "LEADER")).is_err());
        assert!(voter.beat(&peer(B, 4, "FOLLOWER")).is_err());
        assert!(voter.beat(&peer(B, u64::MAX, "LEADER")).is_err());
        assert!(voter.vote(&peer(B, u64::MAX, "CANDIDATE")).is_err());
        assert_eq!(vote_in(&voter.shown()), (Some(A.to_owned()), 3));
    }

    #[test]
    fn beats_are_read_with_and_without_percent_encoding() {
        let text = r#"{"beat":"{\"peer\":{\"ip\":\"10.0.0.1:8848\",\"term\":1,\"state\":\"LEADER\"},\"datums\":[]}"}"#;
        assert_eq!(parse_leader_beat(text.as_bytes()), Ok(peer(A, 1, "LEADER")));
        let encoded = text.replace('"', "%2522");
        assert_eq!(parse_leader_beat(encoded.as_bytes()), Ok(peer(A, 1, "LEADER")));
        for bad in ["", "{}", r#"{"beat":1}"#, r#"{"beat":"{}"}"#, r#"{"beat":"{\"peer\":1}"}"#] {
            assert!(parse_leader_beat(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
