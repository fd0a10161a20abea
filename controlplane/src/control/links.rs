//! The links of ports, looked at now and then: a change is logged, and the kernel's part of the port follows.

use crate::ports::Ports;
use tether_dataplane::clock::Millis;

/// Between two looks, in milliseconds.
const LOOK_MS: u64 = 250;

/// Which links were up when they were last looked at; before that, all are taken to be.
#[derive(Debug, Default)]
pub(crate) struct Links {
    looked: Millis,
    up: Vec<bool>,
}

impl Links {
    /// Looks at the links, if it is time to.
    pub(crate) fn look(&mut self, ports: &dyn Ports, now: Millis) {
        if now.since(self.looked) < LOOK_MS {
            return;
        }
        self.looked = now;
        let views = ports.view();
        self.up.resize(views.len(), true);
        for (place, (known, view)) in self.up.iter_mut().zip(views).enumerate() {
            if *known == view.link_up {
                continue;
            }
            *known = view.link_up;
            if view.link_up {
                log::info!("port {}: the link is up", view.device);
            } else {
                log::warn!(
                    "port {}: the link is down, nothing comes or goes by it: see its cable, its switch, its \
                     interface (`ip link`)",
                    view.device
                );
            }
            ports.follow_link(place, view.link_up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::PortView;
    use std::cell::{Cell, RefCell};
    use tether_api::operator::PortCounters;
    use tether_dataplane::Mac;

    #[derive(Default)]
    struct Nics {
        up: [Cell<bool>; 2],
        followed: RefCell<Vec<(usize, bool)>>,
    }

    impl Ports for Nics {
        fn view(&self) -> Vec<PortView> {
            let view = |up: &Cell<bool>| PortView {
                device: "net_null0".to_owned(),
                driver: "net_null".to_owned(),
                mac: Mac([2; 6]),
                offloads: Vec::new(),
                link_up: up.get(),
                counters: PortCounters::default(),
            };
            self.up.iter().map(view).collect()
        }

        fn cycles_per_second(&self) -> u64 {
            1
        }

        fn follow_link(&self, port: usize, up: bool) {
            self.followed.borrow_mut().push((port, up));
        }
    }

    #[test]
    fn a_change_is_followed_once_and_not_looked_for_too_often() {
        let (nics, mut links) = (Nics::default(), Links::default());
        nics.up[0].set(true);
        let mut look = |now, expected: &[(usize, bool)]| {
            links.look(&nics, Millis(now));
            assert_eq!(nics.followed.take(), expected, "at {now}");
        };
        look(1000, &[(1, false)]);
        look(1250, &[]);
        nics.up[0].set(false);
        look(1499, &[]);
        look(1500, &[(0, false)]);
        nics.up[1].set(true);
        look(1750, &[(1, true)]);
    }
}
