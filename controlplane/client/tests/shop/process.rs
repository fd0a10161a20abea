//! The shop as a process: it serves whatever the forwarder does, and shows its certificate.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    ask,
    authority::{Authority, Files},
    forwarder::{Forwarder, PATIENCE},
};

/// The example, built at most once, with the whole workspace as all its tests are: `cargo test --test shop`
/// alone would not build it.
fn program() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let directory = own.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--manifest-path",
        ]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        cargo.arg("--target-dir").arg(directory.parent().unwrap());
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        // What `cargo test` says of this package would have build scripts of others run again.
        let names = std::env::vars().map(|(name, _)| name);
        for name in names.filter(|name| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            cargo.env_remove(name);
        }
        assert!(cargo.status().unwrap().success(), "{cargo:?}");
        directory.join("examples/shop")
    })
}

/// A shop that runs; killed when dropped.
struct Shop {
    address: SocketAddr,
    process: Child,
}

fn command(listen: SocketAddr, tether: &str) -> Command {
    let mut command = Command::new(program());
    command.arg("--name").arg("shop-1");
    command.arg("--listen").arg(listen.to_string());
    command.arg("--tether").arg(tether);
    command.env("RUST_LOG", "warn");
    command
}

impl Shop {
    fn open(tether: &str, more: impl FnOnce(&mut Command)) -> Self {
        let mut address = Forwarder::free_address();
        address.set_port(8080);
        let mut command = command(address, tether);
        more(&mut command);
        let shop = Self {
            address,
            process: command.spawn().unwrap(),
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "the shop does not open");
            thread::sleep(Duration::from_millis(10));
        }
        shop
    }

    /// The code of a login, and its cookie; it is served whatever the code is.
    fn login(&self) -> (Value, String) {
        let login = ask(self.address, "POST /login", "");
        assert_eq!(login.status, 200);
        (login.json()["code"].clone(), login.cookie())
    }

    fn terminate(mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "the shop does not close");
            thread::sleep(Duration::from_millis(10));
        }
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn it_serves_while_the_forwarder_is_absent_silent_or_gone_again() {
    let address = Forwarder::free_address();
    let shop = Shop::open(&format!("http://{address}"), |_| {});
    let (code, cookie) = shop.login();
    assert_eq!(code, Value::Null, "absent");
    assert_eq!(
        ask(shop.address, "POST /cart?item=shoes", &cookie).status,
        200
    );

    // Connections go into its backlog, and never a word comes out of them.
    let silent = TcpListener::bind(address).unwrap();
    drop(silent.accept().unwrap());
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(shop.address, "GET /cart", &cookie).status, 200);
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(shop.login().0, Value::Null, "silent");
    drop(silent);

    let forwarder = Forwarder::start_at(address, 1);
    drop(forwarder.wait_until(|heard| heard.signals().count() > 0));
    let began = Instant::now();
    while shop.login().0 == Value::Null {
        assert!(
            began.elapsed() < PATIENCE,
            "the forwarder is back, but not for the shop"
        );
    }
    forwarder.stop();
    assert_eq!(shop.login().0, Value::Null, "gone again");
    let cart = ask(shop.address, "GET /cart", &cookie).json();
    assert_eq!(cart["cart"], json!(["shoes"]));
    shop.terminate();
}

#[test]
fn p1_it_shows_its_certificate_and_ends_what_it_holds_when_it_ends() {
    let authority = Authority::new();
    let forwarder = authority.forwarder(&authority.sign("forwarder"));
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let shop = Shop::open(&format!("https://{}", forwarder.address), |command| {
        for (flag, file) in [
            ("--tls-ca", "ca.pem"),
            ("--tls-certificate", "shop.pem"),
            ("--tls-key", "shop.key"),
        ] {
            command.arg(flag).arg(files.path(file));
        }
        command.args(["--tls-server-name", "forwarder"]);
    });
    assert_eq!(shop.login().0, json!("CREATED"));
    shop.terminate();
    assert!(forwarder.heard().said()[1].starts_with("end "));
}

#[test]
fn it_names_the_file_that_it_cannot_use() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority.sign("shop-1"));
    let mut shop = command(Forwarder::free_address(), "https://127.0.0.1:1");
    shop.arg("--tls-ca").arg(files.path("ca.pem"));
    shop.arg("--tls-certificate").arg(files.path("shop.pem"));
    let incomplete = shop.stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&incomplete.stderr).into_owned();
    assert!(
        !incomplete.status.success() && text.contains("--tls-key"),
        "{text}"
    );
    let failed = shop.arg("--tls-key").arg("nowhere.key").output().unwrap();
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        !failed.status.success() && text.contains("nowhere.key"),
        "{text}"
    );
}

#[test]
fn behind_a_proxy_header_the_customer_is_the_one_that_it_names() {
    let forwarder = Forwarder::start(1);
    let shop = Shop::open(&forwarder.uri(), |command| {
        command.arg("--proxy-protocol");
    });
    let line = "PROXY TCP6 2001:db8:7::7 2001:db8:80::80 5000 80\r\n";
    let login = ask(shop.address, &format!("{line}POST /login?kind=ip_port"), "");
    assert_eq!(login.json()["code"], json!("CREATED"));
    let seen = ask(shop.address, &format!("{line}GET /"), "").json();
    assert_eq!(seen["client"], json!("[2001:db8:7::7]:5000"));
    assert_eq!(seen["local"], json!("[2001:db8:80::80]:80"));
    assert_eq!(forwarder.heard().said(), ["start [2001:db8:7::7]:5000"]);

    let mut plain = TcpStream::connect(shop.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Closed, or reset because the shop has not read all.
    drop(plain.read_to_end(&mut answer));
    assert_eq!(answer, b"");
    shop.terminate();
}
