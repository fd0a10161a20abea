//! What single values must be: each a function from a TOML value to what it means, or to how it
//! does not fit. Relations between values are for `validate`.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tether_dataplane::Mac;
use toml::de::DeValue;

use super::duration;
use super::problem::{Place, Problem};
use super::words::Word;
use super::{PortAddress, Prefix};

/// How a value does not fit its key.
pub(super) struct Misfit {
    message: String,
    help: Option<String>,
}

impl Misfit {
    /// `message` goes on from the subject: "must not be empty".
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// A value of the wrong type.
    pub(super) fn kind(expected: &str, value: &DeValue<'_>) -> Self {
        let found = match value.type_str() {
            found @ ("integer" | "array") => format!("an {found}"),
            found => format!("a {found}"),
        };
        Self::new(format!("must be {expected}, not {found}"))
    }

    /// What to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The problem of `subject` at `place`.
    pub(super) fn into_problem(self, subject: &str, place: Place) -> Problem {
        let problem = Problem::new(place, format!("{subject} {}", self.message));
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

/// The candidate that `given` may be a slip of.
pub(super) fn closest<'a>(
    given: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Misfit> {
    let text = value
        .as_str()
        .ok_or_else(|| Misfit::kind("a string", value))?;
    if text.is_empty() {
        return Err(Misfit::new("must not be empty"));
    }
    if text.contains('\0') {
        return Err(Misfit::new("must not contain a NUL character"));
    }
    Ok(text)
}

/// Text that is not empty and has no NUL.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Misfit> {
    string(value).map(str::to_owned)
}

/// Text of at most `longest` bytes whose characters are all `allowed`.
fn limited(
    value: &DeValue<'_>,
    longest: usize,
    allowed: fn(char) -> bool,
    what: &str,
) -> Result<String, Misfit> {
    let text = string(value)?;
    if text.len() <= longest && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Misfit::new(format!("cannot be {text:?}")).help(format!("at most {longest} {what}")))
}

/// The name of a service or backend: one word on a command line and in a metric's label.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Misfit> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    limited(
        value,
        64,
        allowed,
        "letters, digits, \"-\", \"_\" and \".\"",
    )
}

/// A name in a certificate: a DNS name (RFC 1035: 255 bytes) or a URI.
pub(super) fn identity(value: &DeValue<'_>) -> Result<String, Misfit> {
    limited(
        value,
        255,
        |c| c.is_ascii_graphic(),
        "visible ASCII characters",
    )
}

/// A DPDK device name: at most `RTE_DEV_NAME_MAX_LEN` (64) with its NUL; a comma ends it in `--vdev`.
pub(super) fn device(value: &DeValue<'_>) -> Result<String, Misfit> {
    limited(
        value,
        63,
        |c| c.is_ascii_graphic() && c != ',',
        "visible ASCII characters without a comma",
    )
}

/// A kernel interface's name: at most `IFNAMSIZ` (16) with its NUL. Fewer characters than the kernel takes: none
/// that means something in the options of a DPDK device.
pub(super) fn interface(value: &DeValue<'_>) -> Result<String, Misfit> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let name = limited(
        value,
        15,
        allowed,
        "letters, digits, \"-\", \"_\", \".\" and \"@\"",
    )?;
    if name == "." || name == ".." {
        return Err(Misfit::new(format!("cannot be {name:?}")));
    }
    Ok(name)
}

/// The MAC address of one station.
pub(super) fn mac(value: &DeValue<'_>) -> Result<Mac, Misfit> {
    let text = string(value)?;
    let bytes = text.split(':').map(|byte| {
        let is_byte = byte.len() == 2 && byte.bytes().all(|it| it.is_ascii_hexdigit());
        is_byte.then(|| u8::from_str_radix(byte, 16).ok()).flatten()
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    let mac = bytes.and_then(|bytes| bytes.try_into().ok()).map(Mac);
    let mac = mac.ok_or_else(|| {
        Misfit::new(format!("is no MAC address: {text:?}")).help("such as 52:54:00:12:34:56")
    })?;
    if mac.is_unicast() {
        Ok(mac)
    } else {
        Err(Misfit::new(format!("cannot be {mac}")).help("it must be one station's, not a group's"))
    }
}

/// A file's path; whether the file is there is seen at start.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Misfit> {
    string(value).map(PathBuf::from)
}

/// The path of a Unix socket, which fits `sun_path` (108 bytes with its NUL, unix(7)).
pub(super) fn socket_path(value: &DeValue<'_>) -> Result<PathBuf, Misfit> {
    let path = string(value)?;
    if path.len() > 107 {
        let message = format!("must be at most 107 bytes, not {}", path.len());
        let help =
            "the address of a Unix socket has no room for more (unix(7)): take a shorter path";
        return Err(Misfit::new(message).help(help));
    }
    Ok(PathBuf::from(path))
}

/// The path of an HTTP request in origin form (RFC 9112, section 3.2.1).
pub(super) fn request_path(value: &DeValue<'_>) -> Result<String, Misfit> {
    let path = string(value)?;
    if path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(path.to_owned());
    }
    let help = "it starts with \"/\" and has visible ASCII characters only, such as \"/health\"";
    Err(Misfit::new(format!("cannot be {path:?}")).help(help))
}

/// One of an enum's words.
pub(super) fn word<W: Word>(value: &DeValue<'_>) -> Result<W, Misfit> {
    let text = string(value)?;
    let words = || W::ALL.iter().map(|word| word.word());
    if let Some(word) = W::ALL.iter().find(|word| word.word() == text) {
        return Ok(*word);
    }
    let help = match closest(text, words()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("one of: {}", words().collect::<Vec<_>>().join(", ")),
    };
    Err(Misfit::new(format!("cannot be {text:?}")).help(help))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Misfit> {
    value
        .as_bool()
        .ok_or_else(|| Misfit::kind("true or false", value))
}

/// An integer of `range`; `why` says what limits it.
pub(super) fn integer<T>(
    range: RangeInclusive<T>,
    why: &'static str,
) -> impl Fn(&DeValue<'_>) -> Result<T, Misfit>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    move |value| {
        let integer = value
            .as_integer()
            .ok_or_else(|| Misfit::kind("an integer", value))?;
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = number.and_then(|number| T::try_from(number).ok());
        fitting
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                Misfit::new(format!("must be {least} to {most}, not {integer}")).help(why)
            })
    }
}

/// A duration of `range`, in the form of [`duration::FORM`]; `why` says what limits it.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
    why: &'static str,
) -> impl Fn(&DeValue<'_>) -> Result<Duration, Misfit> {
    move |value| {
        let text = value.as_str().ok_or_else(|| {
            Misfit::kind("a string that says a duration", value).help(duration::FORM)
        })?;
        let duration = duration::parse(text)
            .ok_or_else(|| Misfit::new(format!("is no duration: {text:?}")).help(duration::FORM))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (
            duration::format(*range.start()),
            duration::format(*range.end()),
        );
        Err(Misfit::new(format!("must be {least} to {most}, not {text}")).help(why))
    }
}

/// Any address but one written as IPv4 within IPv6 (contract rule S4: it equals the IPv4 one).
fn address(text: &str) -> Result<IpAddr, Misfit> {
    let refusal = || Misfit::new(format!("is no IP address: {text:?}"));
    let address: IpAddr = text
        .parse()
        .map_err(|_| refusal().help("such as 10.9.0.2 or fd00:9::2; names are not resolved"))?;
    if address.to_canonical() == address {
        Ok(address)
    } else {
        let message = format!("cannot be {address}, an IPv4 address within IPv6");
        Err(Misfit::new(message).help(format!("write {}", address.to_canonical())))
    }
}

/// Why no single host has `address`.
fn not_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address == Ipv4Addr::BROADCAST => Some("the broadcast address"),
        _ => None,
    }
}

fn cannot_be(address: IpAddr, what: &str) -> Misfit {
    Misfit::new(format!("cannot be {address}, {what}"))
}

/// The address of a host that talks to the kernel's sockets; may be loopback.
pub(super) fn peer(value: &DeValue<'_>) -> Result<IpAddr, Misfit> {
    let address = address(string(value)?)?;
    match not_a_host(address) {
        Some(what) => Err(cannot_be(address, what)),
        None => Ok(address),
    }
}

fn wire(text: &str) -> Result<IpAddr, Misfit> {
    let address = address(text)?;
    let loopback = address.is_loopback().then_some("a loopback address");
    match not_a_host(address).or(loopback) {
        Some(what) => {
            Err(cannot_be(address, what).help("packets on a wire need a unicast address"))
        }
        None => Ok(address),
    }
}

/// The unicast address of a host on a wire.
pub(super) fn host(value: &DeValue<'_>) -> Result<IpAddr, Misfit> {
    wire(string(value)?)
}

/// A port's own address with its prefix length.
pub(super) fn port_address(value: &DeValue<'_>) -> Result<PortAddress, Misfit> {
    let text = string(value)?;
    let Some((address, length)) = text.split_once('/') else {
        let message = format!("has no prefix length: {text:?}");
        return Err(Misfit::new(message).help("such as 10.9.0.2/24 or fd00:9::2/64"));
    };
    let address = wire(address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = length
        .parse()
        .ok()
        .filter(|length| (1..=longest).contains(length));
    let Some(prefix_length) = prefix_length else {
        return Err(Misfit::new(format!(
            "must have a prefix length of 1 to {longest}, not {length:?}"
        )));
    };
    match edge_of_subnet(address, longest - prefix_length) {
        Some(what) => Err(cannot_be(address, what).help("give the port a host's address")),
        None => Ok(PortAddress {
            address,
            prefix_length,
        }),
    }
}

/// A VIP, or a prefix of them.
pub(super) fn vips(value: &DeValue<'_>) -> Result<Prefix, Misfit> {
    let vips = if string(value)?.contains('/') {
        network(value)?
    } else {
        whole(host(value)?)
    };
    let (widest, address) = (widest_vips(vips.address), vips.address);
    if vips.length < widest {
        let message = format!("must have a prefix length of {widest} or more, not {vips}");
        return Err(Misfit::new(message).help("every address of it is answered for"));
    }
    match not_a_host(address).or(address.is_loopback().then_some("a loopback address")) {
        Some(what) => Err(cannot_be(address, what)),
        None => Ok(vips),
    }
}

/// A local address of full NAT, or a small prefix of them.
pub(super) fn locals(value: &DeValue<'_>) -> Result<Prefix, Misfit> {
    let locals = if string(value)?.contains('/') {
        network(value)?
    } else {
        whole(host(value)?)
    };
    wire(&locals.address.to_string())?;
    if locals.count() > 256 {
        let least = if locals.address.is_ipv4() { 24 } else { 120 };
        let message = format!("must have a prefix length of {least} or more, not {locals}");
        return Err(Misfit::new(message).help("every address of it is answered for"));
    }
    Ok(locals)
}

/// `[lowest, highest]` of ports.
pub(super) fn port_range(value: &DeValue<'_>) -> Result<(u16, u16), Misfit> {
    let why = "the lowest and the highest, as in [1024, 65535]";
    let Some([low, high]) = value.as_array().map(|array| &**array) else {
        return Err(Misfit::new("must be an array of two integers").help(why));
    };
    let low: u16 = integer(1..=65_535, why)(low.get_ref())?;
    let high = integer(1..=65_535, why)(high.get_ref())?;
    if low > high {
        let message = format!("must not begin above its end: [{low}, {high}]");
        return Err(Misfit::new(message).help(why));
    }
    Ok((low, high))
}

/// The shortest prefix of VIPs: a mistyped length must not take a network over.
fn widest_vips(address: IpAddr) -> u8 {
    if address.is_ipv4() { 16 } else { 48 }
}

/// The prefix of one address.
fn whole(address: IpAddr) -> Prefix {
    let length = if address.is_ipv4() { 32 } else { 128 };
    Prefix { address, length }
}

/// A prefix of clients' addresses; an address alone is a prefix of its whole length.
pub(super) fn network(value: &DeValue<'_>) -> Result<Prefix, Misfit> {
    let text = string(value)?;
    let (host, length) = match text.split_once('/') {
        Some((host, length)) => (host, Some(length)),
        None => (text, None),
    };
    let host = address(host)?;
    let longest = if host.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(length) => length
            .parse()
            .ok()
            .filter(|length| (0..=longest).contains(length))
            .ok_or_else(|| {
                Misfit::new(format!(
                    "must have a prefix length of 0 to {longest}, not {length:?}"
                ))
            })?,
    };
    let prefix = Prefix {
        address: first_of(host, length),
        length,
    };
    if prefix.address == host {
        return Ok(prefix);
    }
    let message = format!("has bits set beyond its length: {text:?}");
    Err(Misfit::new(message).help(format!("write {prefix}, or {host} for that one address")))
}

/// The first address of the prefix of so many bits that `address` is in.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// A subnet of unicast addresses, its host bits clear.
pub(super) fn prefix(value: &DeValue<'_>) -> Result<Prefix, Misfit> {
    let text = string(value)?;
    let Some((address, length)) = text.split_once('/') else {
        let message = format!("has no prefix length: {text:?}");
        return Err(Misfit::new(message).help("such as 10.99.0.0/16 or fd00:99::/64"));
    };
    let address = wire(address)?;
    let (bits, longest) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let length = length.parse().ok().filter(|it| (1..=longest).contains(it));
    let Some(length) = length else {
        let message = format!("must have a prefix length of 1 to {longest}: {text:?}");
        return Err(Misfit::new(message));
    };
    if bits.trailing_zeros() < u32::from(longest - length) {
        let message = format!("has bits beyond its prefix length: {text:?}");
        return Err(Misfit::new(message).help("the rest of the address is the flow's"));
    }
    Ok(Prefix { address, length })
}

/// What `address` is in a subnet with so many host bits, unless a host's: RFC 1122 section 3.2.1.3
/// and RFC 3021 for IPv4, RFC 4291 section 2.6.1 and RFC 6164 for IPv6.
fn edge_of_subnet(address: IpAddr, host_bits: u8) -> Option<&'static str> {
    let (bits, is_v4) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let mask = (1_u128 << host_bits) - 1;
    match bits & mask {
        _ if host_bits < 2 => None,
        0 if is_v4 => Some("the address of its subnet itself"),
        0 => Some("the anycast address of its subnet's routers"),
        host if is_v4 && host == mask => Some("the broadcast address of its subnet"),
        _ => None,
    }
}

/// An address and port to listen on.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Misfit> {
    let text = string(value)?;
    text.parse().map_err(|_| {
        let message = format!("is no address with a port: {text:?}");
        Misfit::new(message)
            .help("such as 10.8.0.2:7470 or [fd00:8::2]:7470; names are not resolved")
    })
}

/// `[v4, v6]`: the shortest prefix lengths that a source may have.
pub(super) fn widest_prefix(value: &DeValue<'_>) -> Result<(u8, u8), Misfit> {
    let why = "two prefix lengths, for IPv4 and IPv6, as in [8, 32]; at 0 one affinity would take every client";
    prefix_lengths(value, why)
}

/// `[v4, v6]`: the prefix lengths to which addresses are cut.
pub(super) fn mask(value: &DeValue<'_>) -> Result<(u8, u8), Misfit> {
    let why =
        "two prefix lengths, for IPv4 and IPv6, as in [24, 56]; leave it out for whole addresses";
    prefix_lengths(value, why)
}

fn prefix_lengths(value: &DeValue<'_>, why: &'static str) -> Result<(u8, u8), Misfit> {
    let Some([v4, v6]) = value.as_array().map(|array| &**array) else {
        return Err(Misfit::new("must be an array of two integers").help(why));
    };
    let v4 = integer(1..=32, why)(v4.get_ref())?;
    let v6 = integer(1..=128, why)(v6.get_ref())?;
    Ok((v4, v6))
}
