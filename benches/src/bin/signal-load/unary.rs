//! Starts call by call: as many at once as are asked for, or one after the other beside a
//! background of small batches.

use crate::{
    Report, Target,
    batched::Stream,
    clients::{is_granted, start},
    connection::connect,
};
use hdrhistogram::Histogram;
use std::{
    cell::{Cell, RefCell},
    error::Error,
    rc::Rc,
    time::{Duration, Instant},
};
use tether_api::v1::{affinity_client::AffinityClient, signal::Operation};
use tether_benches::meter::{Percentiles, histogram};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::{StreamExt as _, wrappers::IntervalStream};
use tonic::transport::Channel;

/// How often the background sends a batch.
const TICK: Duration = Duration::from_millis(1);
/// The clients of the background come round again.
const BACKGROUND_CLIENTS: u32 = 1 << 16;

/// What calls have in common, on one thread.
struct Calls {
    until: Instant,
    next: Cell<u32>,
    refused: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

/// Calls for so many seconds.
pub(crate) async fn load(
    target: &Target,
    seconds: f64,
    at_once: u32,
    background: Option<u32>,
) -> Result<Report, Box<dyn Error>> {
    let client = connect(target).await?;
    let began = Instant::now();
    let calls = Rc::new(Calls {
        until: began + Duration::from_secs_f64(seconds),
        next: Cell::new(0),
        refused: Cell::new(0),
        latencies: RefCell::new(histogram()),
    });
    match background {
        None => {
            let callers = all(&calls, target, &client, at_once);
            LocalSet::new().run_until(callers).await?;
        }
        Some(per_second) => {
            let caller = calls.one_after_the_other(target, client);
            let (calling, background) =
                tokio::join!(caller, send_background(target, per_second, calls.until));
            calling.and(background)?;
        }
    }
    let latencies = calls.latencies.borrow();
    let seconds = began.elapsed().as_secs_f64();
    Ok(Report {
        latency_ns: Some(Percentiles::of(&latencies)),
        latencies: Some(latencies.len()),
        ..Report::new(latencies.len(), calls.refused.get(), seconds)
    })
}

/// Calls side by side on this thread.
async fn all(
    calls: &Rc<Calls>,
    target: &Target,
    client: &AffinityClient<Channel>,
    at_once: u32,
) -> Result<(), Box<dyn Error>> {
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (calls, target, client) = (Rc::clone(calls), target.clone(), client.clone());
        callers.spawn_local(async move { calls.one_after_the_other(&target, client).await });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(())
}

impl Calls {
    async fn one_after_the_other(
        &self,
        target: &Target,
        mut client: AffinityClient<Channel>,
    ) -> Result<(), Box<dyn Error>> {
        while Instant::now() < self.until {
            let number = self.next.replace(self.next.get() + 1);
            let request = start(target.destination, number);
            let began = Instant::now();
            let outcome = client.start(request).await?.into_inner();
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.latencies.borrow_mut().saturating_record(took);
            let refused = u64::from(!is_granted(outcome.code()));
            self.refused.set(self.refused.get() + refused);
        }
        Ok(())
    }
}

/// So many signals each second, in a batch for each tick.
async fn send_background(
    target: &Target,
    per_second: u32,
    until: Instant,
) -> Result<(), Box<dyn Error>> {
    let mut stream = Stream::open(target).await?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut ticks = IntervalStream::new(ticks);
    let each = (per_second / 1000).max(1);
    let mut first = 0;
    while ticks.next().await.is_some() && Instant::now() < until {
        let clients = first..first + each;
        stream.send(target, clients, Operation::Start).await?;
        first = (first + each) % BACKGROUND_CLIENTS;
    }
    stream.settle().await
}
