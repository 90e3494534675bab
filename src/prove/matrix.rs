//! Many runs: which of them are ours, how many side by side, and a hand for each.

mod room;

pub use room::Room;

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

/// The I-th of N shares of a list: every N-th of it, beginning with the I-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    number: usize,
    of: usize,
}

impl Share {
    /// Whether the `at`-th of the list, counted from 0, is in it.
    #[must_use]
    pub fn has(self, at: usize) -> bool {
        at % self.of == self.number - 1
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // cargo-nextest deals its tests out in the same way under this name.
        let shares = text.strip_prefix("count:").unwrap_or(text);
        let number = |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let (Some(number), Some(of)) = shares.split_once('/').map_or((None, None), |(i, n)| (number(i), number(n)))
        else {
            return Err("a share is I/N, as in 1/4; or count:I/N, as cargo-nextest has it".to_owned());
        };
        if number < 1 || of < number {
            return Err(format!("the shares of {of} are 1/{of} to {of}/{of}"));
        }
        Ok(Share { number, of })
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Does `each` for every item, up to `jobs` of them at a time, each on a thread of its own. What they send on the way
/// goes to `tell` with the item's place, on the caller's own thread.
pub fn side_by_side<T: Sync, S: Send>(
    items: &[T],
    jobs: usize,
    each: &(impl Fn(&T, &dyn Fn(S)) + Sync),
    tell: &mut dyn FnMut(usize, S),
) {
    let next = &AtomicUsize::new(0);
    let (send, receive) = channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            let send = send.clone();
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    // The receiver is gone only when all of it is.
                    each(item, &|said| drop(send.send((at, said))));
                }
            });
        }
        drop(send);
        for (at, said) in receive {
            tell(at, said);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Barrier;

    proptest! {
        #[test]
        fn the_shares_have_every_run_once_and_are_even(runs in 0_usize..200, of in 1_usize..300) {
            let shares: Vec<Share> = (1..=of).map(|i| format!("{i}/{of}").parse().unwrap()).collect();
            for at in 0..runs {
                prop_assert_eq!(shares.iter().filter(|s| s.has(at)).count(), 1);
            }
            let sizes: Vec<_> = shares.iter().map(|s| (0..runs).filter(|at| s.has(*at)).count()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }

        #[test]
        fn no_text_is_a_share_but_one(text in "[a-z:]{0,6}[-+ 0-9]{0,3}/?[-+ 0-9]{0,3}") {
            if let Ok(share) = text.parse::<Share>() {
                prop_assert!(1 <= share.number && share.number <= share.of, "{}", text);
                prop_assert_eq!(share.to_string().parse(), Ok(share));
            }
        }
    }

    #[test]
    fn a_share_is_read_as_cargo_nextest_reads_it() {
        assert_eq!("2/3".parse(), Ok(Share { number: 2, of: 3 }));
        assert_eq!("count:2/3".parse::<Share>(), "2/3".parse());
        let form = Err("a share is I/N, as in 1/4; or count:I/N, as cargo-nextest has it".to_owned());
        for text in
            ["", "1", "/", "1/", "/1", "a/2", "+1/2", "1/2/3", "-1/2", " 1/2", "hash:1/2", "1/99999999999999999999"]
        {
            assert_eq!(text.parse::<Share>(), form, "{text}");
        }
        assert_eq!("0/3".parse::<Share>(), Err("the shares of 3 are 1/3 to 3/3".to_owned()));
        assert_eq!("4/3".parse::<Share>(), Err("the shares of 3 are 1/3 to 3/3".to_owned()));
    }

    #[test]
    fn every_item_is_done_once_and_tells_its_own_place() {
        for (items, jobs) in [(0, 3), (1, 0), (7, 1), (7, 3), (3, 9)] {
            let all: Vec<usize> = (0..items).collect();
            let mut told = Vec::new();
            side_by_side(&all, jobs, &|item, say| (0..3).for_each(|n| say(item * 10 + n)), &mut |at, said| {
                told.push((at, said));
            });
            told.sort_unstable();
            let wanted: Vec<_> = all.iter().flat_map(|at| (0..3).map(move |n| (*at, at * 10 + n))).collect();
            assert_eq!(told, wanted, "{items} by {jobs}");
        }
    }

    #[test]
    fn as_many_run_at_once_as_were_asked_for() {
        // Each waits for two others: with fewer than three at a time nobody would ever come back.
        let meet = Barrier::new(3);
        let mut done = 0;
        side_by_side(&[(); 6], 3, &|(), say| say(meet.wait().is_leader()), &mut |_, _| done += 1);
        assert_eq!(done, 6);
    }
}
