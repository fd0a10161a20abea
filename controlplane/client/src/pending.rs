//! An outcome that is not there yet: wait for it, await it, or let it go.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{Error, Outcome};

/// What a call gives.
pub(crate) type Answer = Result<Outcome, Error>;

/// An outcome to come. Clones see the same one; dropping it changes nothing.
#[derive(Clone, Debug)]
#[must_use = "drop it if the outcome does not matter"]
pub struct Pending(Arc<Shared>);

/// The other end: a promise that is dropped was broken, and says [`Error::Closed`].
#[derive(Debug)]
pub(crate) struct Promise(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    wakers: Vec<Waker>,
}

/// A promise, and what it promises.
pub(crate) fn promise() -> (Promise, Pending) {
    let shared = Arc::new(Shared::default());
    (Promise(Arc::clone(&shared)), Pending(shared))
}

impl Promise {
    pub(crate) fn keep(self, answer: Answer) {
        self.0.resolve(answer);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.resolve(Err(Error::Closed));
    }
}

impl Shared {
    /// The first answer counts.
    fn resolve(&self, answer: Answer) {
        let mut state = self.lock();
        if state.answer.is_none() {
            state.answer = Some(answer);
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            self.arrived.notify_all();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    pub(crate) fn failed(error: Error) -> Self {
        let (promise, pending) = promise();
        promise.keep(Err(error));
        pending
    }

    /// The outcome, if it has come.
    #[must_use]
    pub fn now(&self) -> Option<Result<Outcome, Error>> {
        self.0.lock().answer.clone()
    }

    /// Blocks the calling thread until the outcome has come; [`Error::Timeout`] if it has not.
    pub fn wait(&self, timeout: Duration) -> Result<Outcome, Error> {
        let absent = |state: &mut State| state.answer.is_none();
        let waited = self
            .0
            .arrived
            .wait_timeout_while(self.0.lock(), timeout, absent);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.answer.clone().unwrap_or(Err(Error::Timeout(timeout)))
    }
}

impl Future for Pending {
    type Output = Result<Outcome, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        if let Some(answer) = &state.answer {
            return Poll::Ready(answer.clone());
        }
        if !state
            .wakers
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
        thread,
    };

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn waiting_ends_with_the_answer_or_in_time() {
        let (promise, pending) = promise();
        let short = Duration::from_millis(1);
        assert!(matches!(pending.wait(short), Err(Error::Timeout(t)) if t == short));
        let thread = thread::spawn(move || promise.keep(Err(Error::Busy)));
        assert!(matches!(
            pending.wait(Duration::from_mins(1)),
            Err(Error::Busy)
        ));
        thread.join().unwrap();
        assert!(
            matches!(pending.now(), Some(Err(Error::Busy))),
            "the answer that was kept"
        );
    }

    #[test]
    fn a_broken_promise_is_told() {
        let (promise, pending) = promise();
        drop(promise);
        assert!(matches!(pending.now(), Some(Err(Error::Closed))));
    }

    #[test]
    fn every_task_that_awaits_is_woken_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let (promise, mut pending) = promise();
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        promise.keep(Err(Error::Busy));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut pending).poll(&mut context).is_ready());
    }
}
