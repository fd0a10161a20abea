//! Version 1: a line of text (section 2.1 of the specification).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{self, FromStr},
};

use super::{Error, Header, Transport};

/// The longest line, in bytes with its CR LF.
pub(super) const LEN_MAX: usize = 107;
/// The shortest: `PROXY UNKNOWN`, CR, LF.
pub(super) const LEN_MIN: usize = 15;

/// Reads a line, which begins as one does as far as it is there.
pub(super) fn parse_line(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let within = &bytes[..bytes.len().min(LEN_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() {
            ..LEN_MAX => Ok(None),
            _ => Err(Error::line(within, "no CR LF")),
        };
    };
    let line = &within[..end];
    let text = line
        .strip_suffix(b"\r")
        .ok_or_else(|| Error::line(line, "it ends with LF alone"))?;
    let header = read(text).map_err(|reason| Error::line(text, reason))?;
    Ok(Some((header, end + 1)))
}

/// How many bytes a line that has not ended has at least beyond these.
pub(super) fn missing(bytes: &[u8]) -> usize {
    let end = if bytes.last() == Some(&b'\r') { 1 } else { 2 };
    LEN_MIN.saturating_sub(bytes.len()).max(end)
}

/// What the line says, or what is wrong with it.
fn read(line: &[u8]) -> Result<Header, &'static str> {
    let text = str::from_utf8(line).map_err(|_| "not ASCII")?;
    if text.contains('\r') {
        return Err("a CR within");
    }
    let rest = text.strip_prefix("PROXY ").unwrap_or_default();
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(Header::Local);
    }
    let fields: Vec<&str> = rest.split(' ').collect();
    match fields[..] {
        ["TCP4", source, destination, from, to] => {
            proxied::<Ipv4Addr>([source, destination], [from, to])
        }
        ["TCP6", source, destination, from, to] => {
            proxied::<Ipv6Addr>([source, destination], [from, to])
        }
        ["TCP4" | "TCP6", ..] => Err("not two addresses and two ports, with one space between"),
        _ => Err("neither TCP4, TCP6 nor UNKNOWN"),
    }
}

fn proxied<A: FromStr + Into<IpAddr>>(
    addresses: [&str; 2],
    ports: [&str; 2],
) -> Result<Header, &'static str> {
    let end = |index: usize| -> Result<_, &'static str> {
        let address = addresses[index].parse::<A>();
        let address = address.map_err(|_| "an address is none of its family")?;
        Ok(SocketAddr::new(address.into(), port(ports[index])?))
    };
    Ok(Header::Proxied {
        transport: Transport::Stream,
        source: end(0)?,
        destination: end(1)?,
    })
}

/// Decimal, without leading zeros.
fn port(text: &str) -> Result<u16, &'static str> {
    let is_plain = text.bytes().all(|it| it.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    let port = text.parse().ok().filter(|_| is_plain && is_short);
    port.ok_or("a port is no number of 0 to 65535")
}
