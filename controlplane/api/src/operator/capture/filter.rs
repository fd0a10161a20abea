//! The language of capture filters: terms that must all hold.
//!
//! ```text
//! filter  = term *(["and"] term)
//! term    = ["not"] test
//! test    = "tcp" | "udp" | "icmp" | "arp" | "in" | "out" | "dropped"
//!         | ("host" | "src" | "dst") ADDRESS | "net" ADDRESS/LENGTH | "port" NUMBER
//!         | ("service" | "backend" | "fate") NAME
//! ```

use std::{fmt, net::IpAddr, str::FromStr};

/// Terms at most: each is asked of every frame.
const TERMS: usize = 16;

const WORDS: &str = "tcp, udp, icmp, arp, in, out, dropped, host ADDRESS, src ADDRESS, dst ADDRESS, \
                     net ADDRESS/LENGTH, port NUMBER, service NAME, backend NAME, fate NAME; \
                     each may follow \"not\", and all must hold";

/// Which frames to capture: those for which all terms hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFilter(pub Vec<CaptureTerm>);

/// A test, or that it must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureTerm {
    /// Whether it must fail.
    pub negated: bool,
    /// The test.
    pub test: CaptureTest,
}

/// What a frame or its packet may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureTest {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// ARP.
    Arp,
    /// It came.
    In,
    /// It left.
    Out,
    /// Its packet was dropped.
    Dropped,
    /// From or to this address.
    Host(IpAddr),
    /// From this address.
    Src(IpAddr),
    /// To this address.
    Dst(IpAddr),
    /// From or to an address under this prefix.
    Net(IpAddr, u8),
    /// From or to this port.
    Port(u16),
    /// Of the service of this name.
    Service(String),
    /// Of a backend of this name.
    Backend(String),
    /// This became of its packet.
    Fate(String),
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter {
    filter: String,
    /// In characters.
    at: usize,
    len: usize,
    message: String,
}

impl BadFilter {
    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The first character that is wrong, and how many are.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        (self.at, self.len)
    }
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter: String = self.filter.chars().map(one_column).collect();
        let (at, carets) = (" ".repeat(self.at), "^".repeat(self.len.max(1)));
        write!(
            f,
            "{}\n  {filter}\n  {at}{carets}\n  words: {WORDS}",
            self.message
        )
    }
}

/// Tabs and the like would move the caret.
fn one_column(c: char) -> char {
    if c.is_whitespace() || c.is_control() {
        ' '
    } else {
        c
    }
}

impl std::error::Error for BadFilter {}

/// A word of the filter, with its place in characters.
#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

/// The words of a filter, one after another.
struct Words<'a> {
    filter: &'a str,
    rest: std::vec::IntoIter<Word<'a>>,
}

impl<'a> Words<'a> {
    fn of(filter: &'a str) -> Self {
        let mut words = Vec::new();
        let mut start = None;
        let ends = filter.char_indices().chain([(filter.len(), ' ')]);
        for (at, (byte, c)) in ends.enumerate() {
            match (start, c.is_whitespace()) {
                (None, false) => start = Some((at, byte)),
                (Some((at, from)), true) => {
                    let text = filter.get(from..byte).unwrap_or_default();
                    words.push(Word { text, at });
                    start = None;
                }
                _ => {}
            }
        }
        Self {
            filter,
            rest: words.into_iter(),
        }
    }

    fn bad(&self, word: Word<'_>, message: String) -> BadFilter {
        BadFilter {
            filter: self.filter.to_owned(),
            at: word.at,
            len: word.text.chars().count(),
            message,
        }
    }

    /// The filter ends where something must follow.
    fn ends(&self, message: String) -> BadFilter {
        let text = self.filter.trim_end();
        BadFilter {
            filter: text.to_owned(),
            at: text.chars().count() + 1,
            len: 1,
            message,
        }
    }

    fn next(&mut self, after: Word<'_>, what: &str) -> Result<Word<'a>, BadFilter> {
        let next = self.rest.next();
        next.ok_or_else(|| self.ends(format!("after {:?} there must be {what}", after.text)))
    }

    fn test(&mut self, word: Word<'a>) -> Result<CaptureTest, BadFilter> {
        Ok(match word.text {
            "tcp" => CaptureTest::Tcp,
            "udp" => CaptureTest::Udp,
            "icmp" => CaptureTest::Icmp,
            "arp" => CaptureTest::Arp,
            "in" => CaptureTest::In,
            "out" => CaptureTest::Out,
            "dropped" => CaptureTest::Dropped,
            "host" => CaptureTest::Host(self.address(word)?),
            "src" => CaptureTest::Src(self.address(word)?),
            "dst" => CaptureTest::Dst(self.address(word)?),
            "net" => self.net(word)?,
            "port" => self.port(word)?,
            "service" => CaptureTest::Service(self.name(word)?),
            "backend" => CaptureTest::Backend(self.name(word)?),
            "fate" => CaptureTest::Fate(self.name(word)?),
            "or" => {
                let message = "there is no \"or\": all terms of a filter must hold".to_owned();
                return Err(self.bad(word, message));
            }
            other => {
                let message = format!("{other:?} is no word of a filter");
                return Err(self.bad(word, message));
            }
        })
    }

    fn address(&mut self, after: Word<'_>) -> Result<IpAddr, BadFilter> {
        let word = self.next(after, "an address")?;
        let address: Result<IpAddr, _> = word.text.parse();
        address.map(|it| it.to_canonical()).map_err(|_| {
            let message = format!(
                "{:?} is not an address such as 10.1.2.3 or fd00::1",
                word.text
            );
            self.bad(word, message)
        })
    }

    fn net(&mut self, after: Word<'_>) -> Result<CaptureTest, BadFilter> {
        let word = self.next(after, "a prefix")?;
        net(word.text).ok_or_else(|| {
            let message = format!(
                "{:?} is not a prefix such as 10.1.0.0/16 or fd00::/8",
                word.text
            );
            self.bad(word, message)
        })
    }

    fn port(&mut self, after: Word<'_>) -> Result<CaptureTest, BadFilter> {
        let word = self.next(after, "a port number")?;
        let port = word.text.parse().map(CaptureTest::Port);
        port.map_err(|_| {
            let message = format!("{:?} is not a port number from 0 to 65535", word.text);
            self.bad(word, message)
        })
    }

    fn name(&mut self, after: Word<'_>) -> Result<String, BadFilter> {
        let word = self.next(after, "a name")?;
        Ok(word.text.to_owned())
    }
}

fn net(text: &str) -> Option<CaptureTest> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    (length <= bits).then_some(CaptureTest::Net(address, length))
}

impl FromStr for CaptureFilter {
    type Err = BadFilter;

    fn from_str(filter: &str) -> Result<Self, BadFilter> {
        let mut words = Words::of(filter);
        let mut terms: Vec<CaptureTerm> = Vec::new();
        while let Some(first) = words.rest.next() {
            let mut word = first;
            if word.text == "and" {
                if terms.is_empty() {
                    let message = "\"and\" stands between two terms".to_owned();
                    return Err(words.bad(word, message));
                }
                word = words.next(first, "a term")?;
            }
            let mut negated = false;
            while word.text == "not" {
                negated = !negated;
                word = words.next(word, "a term")?;
            }
            let test = words.test(word)?;
            let term = CaptureTerm { negated, test };
            if let Some(why) = contradiction(&terms, &term) {
                return Err(words.bad(word, why));
            }
            if terms.len() == TERMS {
                let message = format!("a filter has {TERMS} terms at most");
                return Err(words.bad(word, message));
            }
            terms.push(term);
        }
        Ok(Self(terms))
    }
}

/// Why no frame can match any more.
fn contradiction(terms: &[CaptureTerm], new: &CaptureTerm) -> Option<String> {
    let excludes = |term: &&CaptureTerm| {
        let (a, b) = (kind(&term.test), kind(&new.test));
        match (term.negated, new.negated) {
            (false, false) => a.is_some() && a == b && term.test != new.test,
            (a, b) => a != b && term.test == new.test,
        }
    };
    let other = terms.iter().find(excludes)?;
    Some(format!("no frame is both {other} and {new}"))
}

/// Of a kind, a frame has one.
fn kind(test: &CaptureTest) -> Option<u8> {
    match test {
        CaptureTest::Tcp | CaptureTest::Udp | CaptureTest::Icmp | CaptureTest::Arp => Some(0),
        CaptureTest::In | CaptureTest::Out => Some(1),
        CaptureTest::Src(_) => Some(2),
        CaptureTest::Dst(_) => Some(3),
        CaptureTest::Service(_) => Some(4),
        CaptureTest::Backend(_) => Some(5),
        CaptureTest::Fate(_) => Some(6),
        CaptureTest::Dropped
        | CaptureTest::Host(_)
        | CaptureTest::Net(..)
        | CaptureTest::Port(_) => None,
    }
}

impl fmt::Display for CaptureFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        self.0.iter().try_for_each(|term| {
            write!(f, "{between}{term}")?;
            between = " and ";
            Ok(())
        })
    }
}

impl fmt::Display for CaptureTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("not ")?;
        }
        match &self.test {
            CaptureTest::Tcp => f.write_str("tcp"),
            CaptureTest::Udp => f.write_str("udp"),
            CaptureTest::Icmp => f.write_str("icmp"),
            CaptureTest::Arp => f.write_str("arp"),
            CaptureTest::In => f.write_str("in"),
            CaptureTest::Out => f.write_str("out"),
            CaptureTest::Dropped => f.write_str("dropped"),
            CaptureTest::Host(address) => write!(f, "host {address}"),
            CaptureTest::Src(address) => write!(f, "src {address}"),
            CaptureTest::Dst(address) => write!(f, "dst {address}"),
            CaptureTest::Net(address, length) => write!(f, "net {address}/{length}"),
            CaptureTest::Port(port) => write!(f, "port {port}"),
            CaptureTest::Service(name) => write!(f, "service {name}"),
            CaptureTest::Backend(name) => write!(f, "backend {name}"),
            CaptureTest::Fate(name) => write!(f, "fate {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
