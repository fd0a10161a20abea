//! The shop of the examples, over real connections, with and without a forwarder.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../client/authority.rs"]
#[allow(dead_code, reason = "the library's own tests use the rest")]
mod authority;
#[path = "../client/forwarder.rs"]
#[allow(dead_code, reason = "the library's own tests use the rest")]
mod forwarder;
mod process;
#[path = "../../examples/shop/routes.rs"]
#[allow(dead_code, reason = "its main uses the rest")]
mod routes;
#[path = "../../examples/shop/sessions.rs"]
mod sessions;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use forwarder::{Forwarder, PATIENCE};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use routes::Shop;
use serde_json::{Value, json};
use tether_client::{Client, Options, OutcomeCode};
use tokio::net::TcpListener;

/// A shop on loopback; its thread ends with the test's process.
fn open_shop(name: &str, forwarder: &str, listen: &str) -> SocketAddr {
    let tether = Client::builder(forwarder).connect().unwrap();
    let options = Options::new().duration(std::time::Duration::from_secs(30));
    let shop = Arc::new(Shop::new(name.to_owned(), tether, options));
    let listen = listen.to_owned();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind(listen).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let addresses = (stream.local_addr().unwrap(), peer);
                let shop = Arc::clone(&shop);
                tokio::spawn(http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let shop = Arc::clone(&shop);
                        async move { shop.answer(addresses, request).await }
                    }),
                ));
            }
        });
    });
    told.recv().unwrap()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn cookie(&self) -> String {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        line.unwrap().split(';').next().unwrap().to_owned()
    }
}

fn ask(shop: SocketAddr, request: &str, cookie: &str) -> Answer {
    let mut stream = TcpStream::connect(shop).unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: shop\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let body = answer.split_off(end);
    let head = String::from_utf8(answer).unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body,
    }
}

#[test]
fn a_customer_logs_in_buys_and_logs_out() {
    let forwarder = Forwarder::start(5);
    let shop = open_shop("shop-1", &forwarder.uri(), "127.0.0.1:0");
    let login = ask(shop, "POST /login", "");
    let granted = login.json();
    assert_eq!((login.status, &granted["code"]), (200, &json!("CREATED")));
    assert_eq!(
        (&granted["granted_ms"], &granted["epoch"]),
        (&json!(30_000), &json!(5))
    );
    assert!(
        login.head.contains("x-server: shop-1\r\n"),
        "{}",
        login.head
    );
    let cookie = login.cookie();
    assert_eq!(
        ask(shop, "POST /cart?item=shoes", &cookie).json()["cart"],
        json!(["shoes"])
    );
    let cart = ask(shop, "GET /cart", &format!("theme=dark; {cookie}")).json();
    assert_eq!(cart, json!({"cart": ["shoes"], "server": "shop-1"}));

    let elsewhere = open_shop("shop-2", &forwarder.uri(), "[::1]:0");
    let lost = ask(elsewhere, "GET /cart", &cookie);
    assert_eq!(
        (lost.status, &lost.json()["error"]),
        (404, &json!("no such session here"))
    );

    let logout = ask(shop, "POST /logout", &cookie).json();
    assert_eq!(
        (&logout["code"], &logout["cart"]),
        (&json!("ENDED"), &json!(["shoes"]))
    );
    assert_eq!(ask(shop, "GET /cart", &cookie).status, 404);
    assert_eq!(
        forwarder.heard().said(),
        ["start 127.0.0.1", "end 127.0.0.1"]
    );
}

#[test]
fn who_logs_in_again_keeps_the_cart_and_one_affinity() {
    let forwarder = Forwarder::start(1);
    let shop = open_shop("shop-1", &forwarder.uri(), "127.0.0.1:0");
    let cookie = ask(shop, "POST /login", "").cookie();
    ask(shop, "POST /cart?item=shoes", &cookie);
    let again = ask(shop, "POST /login?duration_ms=1500", &cookie);
    assert_eq!(
        (&again.json()["code"], &again.json()["granted_ms"]),
        (&json!("REFRESHED"), &json!(1500))
    );
    assert_eq!(again.cookie(), cookie);
    assert_eq!(
        ask(shop, "GET /cart", &cookie).json()["cart"],
        json!(["shoes"])
    );
    assert_eq!(ask(shop, "POST /logout", &cookie).json()["code"], "ENDED");
}

#[test]
fn a_login_may_ask_for_the_port_and_says_what_was_refused() {
    let forwarder = Forwarder::start(1);
    forwarder
        .heard()
        .refusals
        .insert("127.0.0.1".into(), OutcomeCode::Conflict);
    let shop = open_shop("shop-1", &forwarder.uri(), "127.0.0.1:0");
    assert_eq!(ask(shop, "POST /login", "").json()["code"], "CONFLICT");
    assert_eq!(
        ask(shop, "POST /login?kind=ip_port", "").json()["code"],
        "CREATED"
    );
    assert!(forwarder.heard().said()[1].starts_with("start 127.0.0.1:"));
    assert_eq!(ask(shop, "POST /login?kind=star", "").status, 400);
    assert_eq!(ask(shop, "POST /login?duration_ms=long", "").status, 400);
}

#[test]
fn the_shop_sells_while_the_forwarder_is_away() {
    let forwarder = Forwarder::start(1);
    let uri = forwarder.uri();
    let address = forwarder.address;
    forwarder.stop();
    let shop = open_shop("shop-1", &uri, "127.0.0.1:0");
    let login = ask(shop, "POST /login", "");
    assert_eq!((login.status, &login.json()["code"]), (200, &Value::Null));
    assert!(
        login.json()["detail"].as_str().unwrap().contains("away"),
        "{}",
        login.json()
    );
    let cookie = login.cookie();
    assert_eq!(ask(shop, "POST /cart?item=shoes", &cookie).status, 200);

    let forwarder = Forwarder::start_at(address, 1);
    let heard = forwarder.wait_until(|heard| heard.signals().count() == 1);
    assert_eq!(
        heard.said(),
        ["start 127.0.0.1"],
        "what is held is asserted when it is back"
    );
}

#[test]
fn a_download_streams_and_a_connection_is_kept_alive() {
    let shop = open_shop("shop-1", "http://127.0.0.1:1", "127.0.0.1:0");
    let download = ask(shop, "GET /download?bytes=1000001", "");
    assert_eq!(download.body.len(), 1_000_001);
    assert!(download.body.iter().all(|byte| *byte == b'x'));
    assert_eq!(ask(shop, "GET /download", "").status, 400);
    assert_eq!(ask(shop, "GET /nowhere", "").status, 404);

    let mut stream = TcpStream::connect(shop).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: shop\r\n\r\n")
            .unwrap();
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    }
}
