#!/usr/bin/env python3
"""A shop with carts in memory, which keeps its customers by Tether: one unary call for each.

    python3 shop.py --listen 10.9.0.100:80 --name shop-1 --tether 10.8.0.2:7470

    POST /login          opens a session and binds the customer's address to this process
    POST /cart?item=X    puts X into the cart
    POST /logout         ends the session and the affinity

While the forwarder is away, the shop goes on to sell.
"""

import argparse
import collections
import http.cookies
import http.server
import ipaddress
import json
import secrets
import socket
import sys
import threading
import urllib.parse

import grpc

import tether_v1 as tether

# A customer does not wait longer for the forwarder.
PATIENCE = 0.5


def as_text(address):
    """10.9.0.100:80 or [fd00::100]:80, from what the socket says."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Sessions:
    """Who is logged in here: the cart of each, and the client that it holds.

    Several sessions may come from one address. They share an affinity, which ends with the last.
    """

    def __init__(self):
        self.by_id = {}
        self.holds = collections.Counter()
        self.lock = threading.Lock()

    def open(self, client):
        session = secrets.token_hex(16)
        with self.lock:
            self.by_id[session] = {"cart": [], "client": client}
            self.holds[client] += 1
        return session

    def put(self, session, item):
        """The cart with the item in it, or None."""
        with self.lock:
            found = self.by_id.get(session)
            if found is None:
                return None
            found["cart"] += [item] if item else []
            return list(found["cart"])

    def close(self, session):
        """The session, and whether it was its client's last; None if there is none."""
        with self.lock:
            found = self.by_id.pop(session, None)
            if found is None:
                return None
            self.holds[found["client"]] -= 1
            is_last = not self.holds[found["client"]]
            if is_last:
                del self.holds[found["client"]]
            return found, is_last


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.say(200, {})

    def do_POST(self):
        path, _, query = self.path.partition("?")
        item = dict(urllib.parse.parse_qsl(query)).get("item")
        actions = {"/login": self.login, "/cart": lambda: self.cart(item), "/logout": self.logout}
        actions.get(path, lambda: self.say(404, {"error": "no such page"}))()

    def login(self):
        # The two addresses of the accepted socket are enough: what the customer addressed, and
        # where the customer comes from (contract rule S5).
        destination, source = as_text(self.connection.getsockname()), self.client_address[0]
        request = tether.messages.StartRequest(
            destination=destination, source=source, boot_id=tether.BOOT_ID
        )
        answer = self.signal(self.server.tether.Start, request)
        session = self.server.sessions.open((destination, source))
        self.say(200, answer, {"Set-Cookie": f"session={session}; Path=/; HttpOnly"})

    def cart(self, item):
        cart = self.server.sessions.put(self.session_id(), item)
        if cart is None:
            return self.say(404, {"error": "no such session here"})
        return self.say(200, {"cart": cart})

    def logout(self):
        closed = self.server.sessions.close(self.session_id())
        if closed is None:
            return self.say(404, {"error": "no such session here"})
        session, is_last = closed
        if not is_last:
            answer = {"code": None, "detail": "another session of this address goes on"}
            return self.say(200, {**answer, "cart": session["cart"]})
        destination, source = session["client"]
        request = tether.messages.EndRequest(destination=destination, source=source)
        answer = self.signal(self.server.tether.End, request)
        return self.say(200, {**answer, "cart": session["cart"]})

    def signal(self, call, request):
        """A refusal is an outcome; an error is a forwarder that is away: the shop serves anyhow."""
        try:
            outcome = call(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            return {"code": None, "detail": f"{error.code().name}: {error.details()}"}
        answer = {"code": tether.code(outcome), "key": outcome.key, "owner": outcome.owner}
        return {**answer, "granted_ms": outcome.granted_ms, "detail": outcome.detail}

    def session_id(self):
        cookie = http.cookies.SimpleCookie(self.headers.get("Cookie")).get("session")
        return cookie and cookie.value

    def say(self, status, body, headers=None):
        text = json.dumps({**body, "server": self.server.name}).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--name", required=True, help="name of this server, in every answer")
    tether.add_arguments(parser)
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    host = ipaddress.ip_address(host.strip("[]"))
    server_class = http.server.ThreadingHTTPServer
    server_class.address_family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    server = server_class((str(host), int(port)), Shop)
    server.name, server.tether, server.sessions = arguments.name, tether.connect(arguments), Sessions()
    print(f"{arguments.name} listens on {as_text(server.server_address)}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
