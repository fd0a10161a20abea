//! What a journal and a snapshot consist of, as bytes.
//!
//! ```text
//! record   tag:8  fields..       a field is a number of 7 bits a byte, the lowest first, or bytes
//! source   family:1 port:1 (flags), 4 or 16 bytes, prefix:8, the port where there is one
//! ```
//!
//! Backends have names: the numbers of tables are of one life. A file defines the number of a
//! backend before it first uses it; it stands for the backend's service too.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};
use tether_dataplane::tables::affinity::Source;

/// One thing that is written down. Times are relative to the stamp of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A number of this file for a backend, over what the number meant before.
    Define {
        /// The number.
        number: u16,
        /// The name of its service.
        service: &'a str,
        /// Its name.
        backend: &'a str,
    },
    /// The lives of a backend's process (contract rule S7).
    Boot {
        /// Whose.
        owner: u16,
        /// The boot id of the life that speaks.
        current: u64,
        /// That of the one before.
        previous: u64,
    },
    /// An affinity as it is now.
    Put(Put),
    /// Packets have moved the deadline of an affinity.
    Touch {
        /// Which.
        name: Name,
        /// How far away the deadline is now.
        remaining_ms: u64,
    },
    /// An affinity is over.
    End(Name),
    /// Nothing follows: of a snapshot, that it is whole; of a journal, that the daemon stopped in order.
    Last,
}

/// Which affinity: none but the one of this generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The number of its owner, which says the service.
    pub(crate) owner: u16,
    /// Whom it binds.
    pub(crate) source: Source,
    /// Which of those that the key has had.
    pub(crate) generation: u64,
}

/// All of an affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    /// Which.
    pub(crate) name: Name,
    /// How far ahead of now a packet puts the deadline; `None`: until ended.
    pub(crate) duration_ms: Option<u64>,
    /// How far away the deadline is; `None`: there is none.
    pub(crate) remaining_ms: Option<u64>,
    /// How long ago it was started.
    pub(crate) age_ms: u64,
    /// The life of its owner that started it; 0: not stated.
    pub(crate) boot_id: u64,
    /// It survives a new life of its owner.
    pub(crate) keep_on_reboot: bool,
}

/// A record that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Senseless;

const DEFINE: u8 = 1;
const BOOT: u8 = 2;
const PUT: u8 = 3;
const TOUCH: u8 = 4;
const END: u8 = 5;
const LAST: u8 = 6;

const V6: u8 = 1;
const HAS_PORT: u8 = 2;
const KEEP: u8 = 4;
const HAS_DURATION: u8 = 8;
const HAS_DEADLINE: u8 = 16;

impl Record<'_> {
    /// Appends it.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Define {
                number,
                service,
                backend,
            } => {
                to.push(DEFINE);
                write_number(to, u64::from(*number));
                write_text(to, service);
                write_text(to, backend);
            }
            Self::Boot {
                owner,
                current,
                previous,
            } => {
                to.push(BOOT);
                for number in [u64::from(*owner), *current, *previous] {
                    write_number(to, number);
                }
            }
            Self::Put(put) => put.write(to),
            Self::Touch { name, remaining_ms } => {
                to.push(TOUCH);
                name.write(to, 0);
                write_number(to, *remaining_ms);
            }
            Self::End(name) => {
                to.push(END);
                name.write(to, 0);
            }
            Self::Last => to.push(LAST),
        }
    }
}

impl Put {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(PUT);
        let keep = if self.keep_on_reboot { KEEP } else { 0 };
        let duration = self.duration_ms.map_or(0, |_| HAS_DURATION);
        let deadline = self.remaining_ms.map_or(0, |_| HAS_DEADLINE);
        self.name.write(to, keep | duration | deadline);
        for number in [self.duration_ms, self.remaining_ms].into_iter().flatten() {
            write_number(to, number);
        }
        write_number(to, self.age_ms);
        write_number(to, self.boot_id);
    }
}

impl Name {
    fn write(&self, to: &mut Vec<u8>, flags: u8) {
        let source = self.source;
        let port = source.port().map_or(0, |_| HAS_PORT);
        match source.address() {
            IpAddr::V4(v4) => {
                to.push(flags | port);
                to.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                to.push(flags | port | V6);
                to.extend(v6.octets());
            }
        }
        to.push(source.prefix());
        if let Some(port) = source.port() {
            write_number(to, port.get().into());
        }
        write_number(to, u64::from(self.owner));
        write_number(to, self.generation);
    }
}

/// The bytes of a batch that are still to be read.
#[derive(Debug)]
pub(crate) struct Reading<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Reading<'a> {
    type Item = Result<Record<'a>, Senseless>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            // Where the next one would begin is not known.
            self.0 = &[];
        }
        Some(record)
    }
}

impl<'a> Reading<'a> {
    fn record(&mut self) -> Result<Record<'a>, Senseless> {
        Ok(match self.byte()? {
            DEFINE => Record::Define {
                number: self.short()?,
                service: self.text()?,
                backend: self.text()?,
            },
            BOOT => Record::Boot {
                owner: self.short()?,
                current: self.number()?,
                previous: self.number()?,
            },
            PUT => Record::Put(self.put()?),
            TOUCH => Record::Touch {
                name: self.name()?.0,
                remaining_ms: self.number()?,
            },
            END => Record::End(self.name()?.0),
            LAST => Record::Last,
            _ => return Err(Senseless),
        })
    }

    fn put(&mut self) -> Result<Put, Senseless> {
        let (name, flags) = self.name()?;
        let mut optional = |flag| (flags & flag != 0).then(|| self.number()).transpose();
        Ok(Put {
            name,
            duration_ms: optional(HAS_DURATION)?,
            remaining_ms: optional(HAS_DEADLINE)?,
            age_ms: self.number()?,
            boot_id: self.number()?,
            keep_on_reboot: flags & KEEP != 0,
        })
    }

    fn name(&mut self) -> Result<(Name, u8), Senseless> {
        let flags = self.byte()?;
        let address: IpAddr = if flags & V6 == 0 {
            Ipv4Addr::from(self.array::<4>()?).into()
        } else {
            Ipv6Addr::from(self.array::<16>()?).into()
        };
        let prefix = self.byte()?;
        let source = if flags & HAS_PORT == 0 {
            Source::subnet(address, prefix)
        } else {
            let port = NonZeroU16::new(self.short()?).ok_or(Senseless)?;
            Source::host_port(address, port)
        };
        let name = Name {
            source: source.map_err(|_| Senseless)?,
            owner: self.short()?,
            generation: self.number()?,
        };
        Ok((name, flags))
    }

    fn text(&mut self) -> Result<&'a str, Senseless> {
        let length = usize::try_from(self.number()?).map_err(|_| Senseless)?;
        str::from_utf8(self.bytes(length)?).map_err(|_| Senseless)
    }

    fn short(&mut self) -> Result<u16, Senseless> {
        u16::try_from(self.number()?).map_err(|_| Senseless)
    }

    fn number(&mut self) -> Result<u64, Senseless> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Senseless)
    }

    fn byte(&mut self) -> Result<u8, Senseless> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Senseless> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Senseless)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Senseless> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Senseless)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits by design")]
fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn write_text(to: &mut Vec<u8>, text: &str) {
    write_number(to, u64::try_from(text.len()).unwrap_or_default());
    to.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sources() -> impl Strategy<Value = Source> {
        let address = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
        ];
        let made = (address, any::<u16>(), 0..=128_u8);
        made.prop_filter_map(
            "no source",
            |(address, port, prefix)| match NonZeroU16::new(port).filter(|_| prefix % 2 == 0) {
                Some(port) => Source::host_port(address, port).ok(),
                None => Source::subnet(address, prefix).ok(),
            },
        )
    }

    fn names() -> impl Strategy<Value = Name> {
        (any::<u16>(), sources(), any::<u64>()).prop_map(|(owner, source, generation)| Name {
            owner,
            source,
            generation,
        })
    }

    fn records() -> impl Strategy<Value = Record<'static>> {
        let numbers = (any::<Option<u64>>(), any::<Option<u64>>(), any::<u64>());
        let put = (names(), numbers, any::<u64>(), any::<bool>()).prop_map(
            |(name, (duration_ms, remaining_ms, age_ms), boot_id, keep_on_reboot)| {
                Record::Put(Put {
                    name,
                    duration_ms,
                    remaining_ms,
                    age_ms,
                    boot_id,
                    keep_on_reboot,
                })
            },
        );
        prop_oneof![
            put,
            names().prop_map(Record::End),
            (names(), any::<u64>())
                .prop_map(|(name, remaining_ms)| Record::Touch { name, remaining_ms }),
            (any::<u16>(), any::<u64>(), any::<u64>()).prop_map(|(owner, current, previous)| {
                Record::Boot {
                    owner,
                    current,
                    previous,
                }
            }),
            any::<u16>().prop_map(|number| Record::Define {
                number,
                service: "schön",
                backend: "",
            }),
            Just(Record::Last),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in prop::collection::vec(records(), 0..20)) {
            let mut bytes = Vec::new();
            for record in &records {
                record.write(&mut bytes);
            }
            let read: Result<Vec<_>, _> = Reading(&bytes).collect();
            prop_assert_eq!(read, Ok(records));
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reading(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn a_record_is_small() {
        let put = Put {
            name: Name {
                owner: 300,
                source: Source::host([192, 0, 2, 7].into()).unwrap(),
                generation: 1_000_000,
            },
            duration_ms: Some(1_800_000),
            remaining_ms: Some(1_700_000),
            age_ms: 100_000,
            boot_id: 0,
            keep_on_reboot: false,
        };
        let mut bytes = Vec::new();
        Record::Put(put).write(&mut bytes);
        assert!(bytes.len() <= 24, "{}", bytes.len());
    }
}
