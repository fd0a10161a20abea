//! What the shop answers. Every answer names the server, so that one sees who served.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame},
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue, SET_COOKIE},
};
use serde_json::{Value, json};
use tether_client::{Affinity, Client, Error, Options, Outcome, Pending};

use crate::sessions::{Session, Sessions};

/// A customer does not wait longer for the forwarder.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a download is made of.
const CHUNK: &[u8] = &[b'x'; 64 * 1024];

type Body = BoxBody<Bytes, Infallible>;
/// Local and peer address of the connection that was accepted.
type Addresses = (SocketAddr, SocketAddr);

/// The whole shop.
#[derive(Debug)]
pub(crate) struct Shop {
    name: String,
    tether: Client,
    options: Options,
    sessions: Mutex<Sessions>,
}

impl Shop {
    pub(crate) fn new(name: String, tether: Client, options: Options) -> Self {
        Self {
            name,
            tether,
            options,
            sessions: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The carts end with this process, and so do the affinities.
    pub(crate) async fn close(&self) {
        let sessions = self.sessions().close_all();
        let ends: Vec<_> = sessions
            .into_iter()
            .map(|session| session.affinity.end())
            .collect();
        let said = async {
            for end in ends {
                drop(end.await);
            }
        };
        drop(tokio::time::timeout(PATIENCE, said).await);
    }

    pub(crate) async fn answer<B>(
        &self,
        addresses: Addresses,
        request: Request<B>,
    ) -> Result<Response<Body>, Infallible> {
        let query = Query(request.uri().query().unwrap_or_default());
        let session = session_id(&request);
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => self.who_am_i(addresses),
            (&Method::GET, "/health") => self.say(StatusCode::OK, json!({"healthy": true})),
            (&Method::POST, "/login") => self.login(addresses, session, &query).await,
            (&Method::GET, "/cart") => self.cart(session, None),
            (&Method::POST, "/cart") => self.cart(session, query.get("item")),
            (&Method::POST, "/logout") => self.logout(session).await,
            (&Method::GET, "/download") => self.download(&query),
            _ => self.refuse(StatusCode::NOT_FOUND, "no such page"),
        };
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert("x-server", name);
        }
        Ok(response)
    }

    fn who_am_i(&self, (local, peer): Addresses) -> Response<Body> {
        self.say(
            StatusCode::OK,
            json!({"local": local.to_string(), "client": peer.to_string()}),
        )
    }

    /// Who logs in again keeps the cart; the affinity is refreshed.
    async fn login(
        &self,
        addresses: Addresses,
        id: Option<&str>,
        query: &Query<'_>,
    ) -> Response<Body> {
        let options = match query.options(self.options) {
            Ok(options) => options,
            Err(advice) => return self.refuse(StatusCode::BAD_REQUEST, advice),
        };
        let affinity = self.tether.start_with(&addresses, options);
        let started = affinity.started();
        let id = self.enter(id, affinity);
        let mut body = in_json(in_time(started).await);
        body["session"] = json!(id);
        let mut response = self.say(StatusCode::OK, body);
        if let Ok(cookie) = HeaderValue::from_str(&format!("session={id}; Path=/; HttpOnly")) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }

    fn enter(&self, id: Option<&str>, affinity: Affinity) -> String {
        let mut sessions = self.sessions();
        if let Some((id, session)) = id.and_then(|id| Some((id, sessions.get(id)?))) {
            session.affinity = affinity;
            return id.to_owned();
        }
        sessions.open(affinity)
    }

    fn cart(&self, id: Option<&str>, item: Option<&str>) -> Response<Body> {
        let mut sessions = self.sessions();
        let Some(session) = id.and_then(|id| sessions.get(id)) else {
            return self.refuse(StatusCode::NOT_FOUND, "no such session here");
        };
        session.affinity.touch();
        session.cart.extend(item.map(str::to_owned));
        self.say(StatusCode::OK, json!({"cart": session.cart}))
    }

    async fn logout(&self, id: Option<&str>) -> Response<Body> {
        let session = id.and_then(|id| self.sessions().close(id));
        let Some(Session { cart, affinity }) = session else {
            return self.refuse(StatusCode::NOT_FOUND, "no such session here");
        };
        let mut body = in_json(in_time(affinity.end()).await);
        body["cart"] = json!(cart);
        self.say(StatusCode::OK, body)
    }

    fn download(&self, query: &Query<'_>) -> Response<Body> {
        let Some(bytes) = query.get("bytes").and_then(|text| text.parse().ok()) else {
            return self.refuse(
                StatusCode::BAD_REQUEST,
                "say how many: /download?bytes=100000000",
            );
        };
        let stream = StreamBody::new(tokio_stream::iter(Chunks { bytes }));
        let mut response = Response::new(BodyExt::boxed(stream));
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        response
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response<Body> {
        self.say(status, json!({"error": why}))
    }

    fn say(&self, status: StatusCode, mut body: Value) -> Response<Body> {
        body["server"] = json!(self.name);
        let text = Full::from(format!("{body}\n"));
        let mut response = Response::new(BodyExt::boxed(text));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parameters behind the question mark.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    fn options(&self, options: Options) -> Result<Options, &'static str> {
        let options = match self.get("duration_ms").map(str::parse) {
            None => options,
            Some(Ok(ms)) => options.duration(Duration::from_millis(ms)),
            Some(Err(_)) => return Err("duration_ms: a whole number of milliseconds"),
        };
        match self.get("kind") {
            None | Some("ip") => Ok(options),
            Some("ip_port") => Ok(options.ip_port()),
            Some(_) => Err("kind: ip or ip_port"),
        }
    }
}

fn session_id<B>(request: &Request<B>) -> Option<&str> {
    let cookies = request
        .headers()
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let mut pairs = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| name.trim() == "session")
        .map(|(_, id)| id.trim())
}

async fn in_time(pending: Pending) -> Result<Outcome, Error> {
    let waited = tokio::time::timeout(PATIENCE, pending).await;
    waited.unwrap_or(Err(Error::Timeout(PATIENCE)))
}

fn in_json(answer: Result<Outcome, Error>) -> Value {
    let ms = |span: Option<Duration>| {
        span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    };
    match answer {
        Ok(outcome) => json!({
            "code": outcome.code.as_str_name(),
            "granted_ms": ms(outcome.granted),
            "remaining_ms": ms(outcome.remaining),
            "generation": outcome.generation,
            "epoch": outcome.epoch,
            "owner": outcome.owner,
            "detail": outcome.detail,
        }),
        // The customer is served all the same, by whichever server comes next.
        Err(error) => json!({"code": Value::Null, "detail": error.to_string()}),
    }
}

/// So many bytes, one chunk at a time.
struct Chunks {
    bytes: u64,
}

impl Iterator for Chunks {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(self.bytes)
            .unwrap_or(usize::MAX)
            .min(CHUNK.len());
        self.bytes -= length as u64;
        (length > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..length]))))
    }
}
