//! A server in Python, with stock gRPC: the example `controlplane/client/examples/python/shop.py`.

#[path = "../edge/python/interpreter.rs"]
mod interpreter;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
};

use serde_json::Value;
use tether_api::operator::Affinity;

use crate::testbed::{
    self, Testbed,
    namespace::Namespace,
    setup::Setup,
    vip::SHOP,
    wait::{SOON, wait_for, wait_until},
};
use interpreter::interpreter;

/// A shop that runs; killed when dropped.
struct Shop(Child);

impl Shop {
    fn open(host: &Namespace, name: &str) -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/client/examples/python/shop.py"
        );
        let mut command = host.command(Path::new(interpreter()));
        command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
        command
            .args(["--listen", "[::]:80", "--name", name])
            .stdout(Stdio::null());
        let shop = Self(command.spawn().unwrap());
        wait_until("the shop to open", SOON, || {
            host.inside(|| TcpStream::connect("127.0.0.1:80").is_ok())
        });
        shop
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a new connection of the client to the VIP says to a request, and its cookie; `None`: it
/// reached another server, which does not speak HTTP.
fn ask(bed: &Testbed<'_>, request: &str, cookie: &str) -> Option<(Value, String)> {
    let connect = || TcpStream::connect(SHOP.address);
    let mut stream = bed.network.client.inside(connect).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: shop\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    // The others say their name at once, and then wait for more.
    let mut first = [0; 7];
    stream.read_exact(&mut first).unwrap();
    if first != *b"HTTP/1." {
        return None;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let cookie = head.lines().find_map(|it| it.strip_prefix("Set-Cookie: "));
    let cookie = cookie.unwrap_or_default().split(';').next()?;
    Some((serde_json::from_str(body).unwrap(), cookie.to_owned()))
}

#[test]
fn s5_a_server_in_python_gets_its_clients_back() {
    testbed::run(Setup::new(), |bed| {
        bed.servers[0].kill();
        let name = bed.servers[0].name.clone();
        let _shop = Shop::open(bed.servers[0].host, &name);
        // Ports differ, and so do the servers that they are balanced to.
        let (login, cookie) = wait_for("a connection to reach the shop", SOON, || {
            ask(bed, "POST /login", "")
        });
        assert_eq!(login["code"], "CREATED", "{login}");
        assert_eq!(login["owner"], name.as_str(), "{login}");
        for item in 1..=20 {
            let cart = ask(bed, "POST /cart?item=shoes", &cookie);
            let (cart, _) = cart.expect("the server that has the cart");
            assert_eq!(cart["cart"].as_array().unwrap().len(), item, "{cart}");
        }
        let held: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
        assert_eq!((held.len(), held[0].owner.as_str()), (1, name.as_str()));

        let (logout, _) = ask(bed, "POST /logout", &cookie).unwrap();
        assert_eq!(logout["code"], "ENDED", "{logout}");
        wait_until("a connection to be balanced elsewhere", SOON, || {
            ask(bed, "GET /", "").is_none()
        });
    });
}
