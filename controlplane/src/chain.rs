//! Many lists of small numbers, each number in at most one of them, linked through one array.
//!
//! ```text
//! heads   [ 3 | - | 0 ]          chain 0: 3 ⇄ 1      chain 2: 0
//! links   0:(- -)  1:(3 -)  3:(- 1)
//! ```
//!
//! Adding and removing are a few loads and stores whatever the length; 12 bytes a number, and
//! nothing is left behind by what was removed.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    // Invariant: NONE exactly while the number is in no chain.
    chain: u32,
    previous: u32,
    next: u32,
}

const FREE: Link = Link {
    chain: NONE,
    previous: NONE,
    next: NONE,
};

/// The lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    heads: Vec<u32>,
    links: Vec<Link>,
}

impl Chains {
    /// Puts a number, which is in no chain, at the front of a chain.
    pub(crate) fn push(&mut self, chain: u32, number: u32) {
        grow(&mut self.heads, chain, NONE);
        grow(&mut self.links, number, FREE);
        let head = &mut self.heads[chain as usize];
        let next = std::mem::replace(head, number);
        let link = &mut self.links[number as usize];
        debug_assert_eq!(link.chain, NONE, "{number} is in a chain");
        *link = Link {
            chain,
            previous: NONE,
            next,
        };
        if next != NONE {
            self.links[next as usize].previous = number;
        }
    }

    /// Takes a number out of its chain; false where it is in none.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let Some(link) = self.links.get_mut(number as usize) else {
            return false;
        };
        let Link {
            chain,
            previous,
            next,
        } = std::mem::replace(link, FREE);
        if chain == NONE {
            return false;
        }
        match previous {
            NONE => self.heads[chain as usize] = next,
            previous => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        true
    }

    /// The number at the front of a chain.
    pub(crate) fn first(&self, chain: u32) -> Option<u32> {
        let head = self.heads.get(chain as usize).copied();
        head.filter(|head| *head != NONE)
    }

    /// The numbers of a chain, the latest first.
    pub(crate) fn iter(&self, chain: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.first(chain), |number| {
            let next = self.links[*number as usize].next;
            (next != NONE).then_some(next)
        })
    }
}

fn grow<T: Clone>(list: &mut Vec<T>, place: u32, with: T) {
    let place = place as usize;
    if place >= list.len() {
        list.resize(place + 1, with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chains_are_lists(steps in prop::collection::vec((0_u32..4, 0_u32..16, any::<bool>()), 0..200)) {
            let mut chains = Chains::default();
            let mut lists = vec![Vec::new(); 4];
            for (chain, number, push) in steps {
                let was_in = lists.iter().any(|list| list.contains(&number));
                prop_assert_eq!(chains.remove(number), was_in);
                for list in &mut lists {
                    list.retain(|it: &u32| *it != number);
                }
                if push {
                    chains.push(chain, number);
                    lists[chain as usize].insert(0, number);
                }
                for (chain, list) in (0..).zip(&lists) {
                    prop_assert_eq!(&chains.iter(chain).collect::<Vec<_>>(), list);
                    prop_assert_eq!(chains.first(chain), list.first().copied());
                }
            }
        }
    }
}
