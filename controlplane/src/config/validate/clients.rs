//! Checks of the lists of clients that a service takes or refuses.

use toml::Spanned;

use super::{MOST_PREFIXES, at_most, unique};
use crate::config::Prefix;
use crate::config::problem::Problem;
use crate::config::schema::{Known, Service};

pub(super) fn check(service: &Service, problems: &mut Vec<Problem>) {
    let listed = || {
        let lists = [&service.allow, &service.deny];
        lists.into_iter().flatten().flatten()
    };
    let places = listed().map(Spanned::span);
    at_most(
        MOST_PREFIXES,
        "prefixes in \"allow\" and \"deny\"",
        places,
        problems,
    );
    // A prefix that is in both lists decides nothing; twice in one it is a slip.
    unique(
        listed().map(|prefix| (*prefix.get_ref(), prefix.span())),
        |prefix| format!("prefix {prefix} in \"allow\" or \"deny\""),
        problems,
    );
    for prefix in listed() {
        check_family(prefix, service, problems);
    }
}

fn check_family(prefix: &Spanned<Prefix>, service: &Service, problems: &mut Vec<Problem>) {
    let Some((vip, _)) = service.address.known() else {
        return;
    };
    let clients = prefix.get_ref();
    if vip.address.is_ipv4() != clients.address.is_ipv4() {
        let message = format!(
            "{clients} is not of the family of the service's address {}",
            vip.address
        );
        let help = "clients come with addresses of the VIP's family: leave it out";
        problems.push(Problem::new(prefix.span(), message).help(help));
    }
}
