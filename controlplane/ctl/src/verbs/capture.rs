//! `capture`: frames as they come and leave, as lines or into a file, until ^C or enough.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tether_api::operator::{CaptureDirection, CapturedFrame, Capturing};

use super::{Session, write_json};
use crate::{arguments::Capture, error::Error, packet, pcapng::PcapngFile, units::count};

/// As shells report a program that ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// Where frames go.
enum Sink<'a> {
    Lines(&'a mut dyn Write),
    Json(&'a mut dyn Write),
    File(PcapngFile<BufWriter<Box<dyn Write + 'a>>>, String),
}

/// A frame with its time in words.
#[derive(Serialize)]
struct Timed<'a> {
    time: String,
    #[serde(flatten)]
    frame: &'a CapturedFrame,
}

impl Session<'_> {
    pub(super) fn capture(&mut self, options: &Capture) -> Result<ExitCode, Error> {
        let request = options.request()?;
        end_by_signal(self.daemon.stream()?)?;
        let begun = self.daemon.begin_capture(&request)?;
        let is_quiet = options.write.as_deref() == Some(Path::new("-"));
        let (json, out) = (self.json, &mut *self.out);
        tell(&begun, &options.filter());
        let mut sink = match &options.write {
            Some(path) => Sink::file(path, &mut *out, &begun, &options.filter())?,
            None if json => Sink::Json(&mut *out),
            None => Sink::Lines(&mut *out),
        };
        let end = self.daemon.capture(|frame, is_last_for_now| {
            sink.write(&frame)?;
            if is_last_for_now {
                sink.flush()
            } else {
                Ok(())
            }
        })?;
        sink.flush()?;
        drop(sink);
        if json && !is_quiet {
            write_json(self.out, &end)?;
            self.text("\n")?;
        } else {
            let (captured, missed) = (count(end.captured), count(end.missed));
            say(&format!("{captured} frames captured, {missed} missed"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(begun: &Capturing, filter: &str) {
    let ports = begun.ports.join(", ");
    let filter = match filter {
        "" => String::new(),
        filter => format!(" what is {filter}"),
    };
    say(&format!(
        "capturing{filter} on {ports}, {} bytes of each frame; ^C ends it",
        begun.snap_length
    ));
}

/// On stderr, as frames may go to stdout.
fn say(text: &str) {
    // Nothing is left to tell it to if stderr is gone.
    let _ = writeln!(io::stderr(), "tetherctl: {text}");
}

/// The first signal closes our half of the connection, and the daemon tells what is left; the second
/// one is not waited for.
fn end_by_signal(stream: UnixStream) -> Result<(), Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::Lost)?;
    thread::spawn(move || {
        for (number, _) in signals.forever().enumerate() {
            if number > 0 || stream.shutdown(std::net::Shutdown::Write).is_err() {
                std::process::exit(INTERRUPTED);
            }
        }
    });
    Ok(())
}

impl<'a> Sink<'a> {
    fn file(
        path: &Path,
        out: &'a mut dyn Write,
        begun: &Capturing,
        filter: &str,
    ) -> Result<Self, Error> {
        let name = path.display().to_string();
        let to: Box<dyn Write + 'a> = if path == Path::new("-") {
            Box::new(out)
        } else {
            let file = File::create(path);
            Box::new(file.map_err(|error| Error::Written(name.clone(), error))?)
        };
        let file = PcapngFile::begin(BufWriter::new(to), begun, filter);
        let file = file.map_err(|error| Error::Written(name.clone(), unwrapped(error)))?;
        Ok(Self::File(file, name))
    }

    fn write(&mut self, frame: &CapturedFrame) -> Result<(), Error> {
        match self {
            Self::Lines(out) => out.write_all(line(frame).as_bytes()).map_err(Error::Output),
            Self::Json(out) => {
                let time = time(frame.time_ns);
                write_json(*out, &Timed { time, frame })?;
                out.write_all(b"\n").map_err(Error::Output)
            }
            Self::File(file, name) => file
                .write(frame)
                .map_err(|error| Error::Written(name.clone(), unwrapped(error))),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        match self {
            Self::Lines(out) | Self::Json(out) => out.flush().map_err(Error::Output),
            Self::File(file, name) => {
                let flushed = file.out().flush();
                flushed.map_err(|error| Error::Written(name.clone(), error))
            }
        }
    }
}

fn unwrapped(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

fn line(frame: &CapturedFrame) -> String {
    let direction = match frame.direction {
        CaptureDirection::In => "in ",
        CaptureDirection::Out => "out",
    };
    format!(
        "{} {} {direction} {}, {} bytes: {}\n",
        time(frame.time_ns),
        frame.port,
        packet::text(&frame.bytes.0),
        frame.length,
        frame.comment(),
    )
}

fn time(time_ns: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns);
    humantime::format_rfc3339_micros(time).to_string()
}
