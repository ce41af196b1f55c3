//! Rules of the protocol, each of which a simulation can switch off to show what it is good for.
//!
//! In every other build [`Rules`] is empty and each rule is the constant `true`: the compiler leaves
//! the branches out. The feature `simulation` makes them fields; only the tests of this crate need it.

/// Declares the rules in both forms.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which rules of the protocol are in force.
        #[cfg(feature = "simulation")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Rules {
            $($(#[$doc])* pub $name: bool,)*
        }

        #[cfg(feature = "simulation")]
        impl Default for Rules {
            fn default() -> Self {
                Self { $($name: true,)* }
            }
        }

        #[cfg(feature = "simulation")]
        impl Rules {
            /// All rules but one; `None` if there is no rule of that name.
            pub fn without(name: &str) -> Option<Self> {
                let mut rules = Self::default();
                match name {
                    $(stringify!($name) => rules.$name = false,)*
                    _ => return None,
                }
                Some(rules)
            }

            $($(#[$doc])*
            #[allow(dead_code, reason = "some are rules of the driver, which the simulation plays")]
            pub(crate) const fn $name(self) -> bool {
                self.$name
            })*
        }

        /// All rules of the protocol are in force.
        #[cfg(not(feature = "simulation"))]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Rules(());

        #[cfg(not(feature = "simulation"))]
        impl Rules {
            $($(#[$doc])*
            #[allow(dead_code, reason = "some are rules of the driver, which the simulation plays")]
            pub(crate) const fn $name(self) -> bool {
                true
            })*
        }
    };
}

rules! {
    /// A member that heard a record refutes a foreign judgement.
    refute,
    /// Only the owner judges.
    owner_judges,
    /// A slot that was just taken over is judged after full time-outs only.
    takeover_grace,
    /// A member that cannot hear everybody judges slower.
    patience,
    /// A member that hears another again gives every record a full time-out.
    regain_grace,
    /// Members tell an owner what they have heard, and it judges by that before the full time-outs.
    accounts,
    /// What only a lost member can have heard is silent from the cut at the earliest.
    lost_hearing,
    /// A member that was stopped gives every record a full time-out, and asks before it answers.
    pause,
    /// A whole round of judging is as of one moment.
    one_tick,
    /// Time in which the machine sleeps passes for a member.
    counts_sleep,
    /// What was on its way for too long is refused, and the ages in the rest grow by the way.
    refuse_late,
    /// A member that was stopped refuses for a while writes whose client has hung up.
    late_calls,
    /// Beats that the owner does not acknowledge go round by others.
    relay,
    /// Beats that nobody can be given wait until somebody can.
    strand,
    /// While lists of members differ, beats go to all and judging is slower.
    lists,
    /// A judgement of a member that was out of hearing waits for somebody to take it back.
    late_judges,
    /// The owner is shown a judgement that waits.
    show_owner,
    /// A judgement speaks of the registration that it was made of, and of no newer one.
    per_registration,
    /// Closing a datum ends what others hold of it, too.
    close_all,
    /// A removal is remembered while a peer has yet to be told of it, and the budget is of bytes.
    keep_queued_removals,
    /// A member that had to forget removals early does not trust what others show it.
    doubt,
    /// What is in doubt waits for its owner anew after each event.
    doubt_anew,
    /// Clean-up takes empty datums out of this member's own list, and tells nobody.
    local_cleanup,
    /// Members compare which datums they list.
    compare_open,
    /// Members tell each other whom they have heard.
    hearsay,
    /// Members compare what they hold.
    verify,
    /// Beats are renewed with the owner.
    renew,
    /// A new member waits until it has loaded.
    load,
    /// Calls to a member that is taken from the list end as failed.
    end_calls,
    /// A member that was away for longer than removals are remembered drops what it has not heard.
    forget_after_absence,
    /// Members tell each other nothing of what a member outside their protocol owns.
    foreign_apart,
    /// What such a member says gets stamps that are older than every write of this protocol.
    foreign_stamps,
    /// What is missing in the first lists of such a member stays for a full time-out.
    absence_waits,
    /// What was just written here is not undone by lists from before.
    writes_hold,
    /// A member that takes over from such a member writes anew what it holds.
    take_over,
    /// The end of a connection ends something.
    lapses,
    /// The end of a connection ends the registrations that it made, and no others.
    bound_lapses,
    /// A removal by a client over its connection tells from the end of the connection.
    bound_removals,
    /// The holder of a connection registers anew what was lost.
    reassert,
    /// What another one ended is registered anew only for a client that has spoken since.
    speaks_since,
    /// A holder that was stopped waits for its clients to speak.
    signs_after_stop,
    /// The end of a connection waits for its client to come back elsewhere.
    arrivals,
    /// A member that cannot hear most of the others sends its clients to them.
    sends_away_in_cut,
    /// It goes on counting as alive what they had registered, until it hears the others again.
    holds_in_cut,
}
