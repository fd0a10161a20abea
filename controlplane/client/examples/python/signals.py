#!/usr/bin/env python3
"""Every call of the signal protocol: a stream of batches, a listing, and events as they happen.

    python3 signals.py --tether 10.8.0.2:7470 --service shop 10.1.2.3 10.1.2.4:5000 10.1.0.0/16

It starts an affinity of each source, extends the first, lists them and ends all. What it hears it
prints as JSON, one object in each line.
"""

import argparse
import ipaddress
import json
import sys
import queue
import threading

import grpc

import tether_v1 as tether

BATCH_MAX = 4096
HOUR_MS = 3_600_000
# Events are on their way when the outcome is there; those of what was refused never come.
PATIENCE = 5


def say(**what):
    # One write a line: events are said by a thread of their own.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def source_fields(text):
    """An address, address and port, or prefix as a batch has it: bytes in network order."""
    if "/" in text:
        subnet = ipaddress.ip_interface(text)
        return {"source": subnet.ip.packed, "prefix_length": subnet.network.prefixlen}
    host, colon, port = text.rpartition(":")
    if colon and (host.startswith("[") or ":" not in host):
        address = ipaddress.ip_address(host.strip("[]"))
        return {"source": address.packed, "source_port": int(port)}
    return {"source": ipaddress.ip_address(text).packed}


class Session:
    """A `Signals` stream: batches go out in order, and are answered in order (contract rule S3)."""

    def __init__(self, stub, service):
        self.service = service
        self.sequence = 0
        self.batches = queue.Queue()
        self.answers = stub.Signals(iter(self.batches.get, None))

    def send(self, signals):
        """Sends a batch and waits for its outcomes. One that has many to send would not wait."""
        assert len(signals) <= BATCH_MAX
        self.sequence += 1
        batch = tether.messages.SignalBatch(
            sequence=self.sequence,
            boot_id=tether.BOOT_ID,
            services=[self.service],
            signals=signals,
        )
        self.batches.put(batch)
        answer = next(self.answers)
        assert answer.sequence == self.sequence
        assert len(answer.outcomes) == len(signals)
        return answer

    def close(self):
        self.batches.put(None)
        for answer in self.answers:
            raise AssertionError(f"nobody asked for {answer}")


def signal(operation, source, **more):
    # 1: the first of the batch's services.
    number = tether.messages.Signal.Operation.Value(operation)
    return tether.messages.Signal(operation=number, service_index=1, **source_fields(source), **more)


def report(what, sources, outcomes):
    for source, outcome in zip(sources, outcomes):
        # The key is told where it is not what was sent: host bits are cleared (contract rule S4).
        say(
            what=what,
            source=outcome.key or source,
            code=tether.code(outcome),
            granted_ms=outcome.granted_ms,
            remaining_ms=outcome.remaining_ms,
            detail=outcome.detail,
        )


def watch(events, ends):
    """Says what happens, until so many have ended."""
    try:
        for event in events:
            kind = tether.messages.Event.Kind.Name(event.kind)
            source, reason = event.affinity.source, event.reason
            say(what="event", kind=kind, source=source, reason=reason)
            ends -= kind == "ENDED"
            if ends == 0:
                return
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.CANCELLED:
            say(what="event", error=error.code().name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", required=True, help="name of the service")
    parser.add_argument("source", nargs="+", help="10.1.2.3, 10.1.2.3:5000, 10.1.0.0/16")
    tether.add_arguments(parser)
    arguments = parser.parse_args()
    sources = arguments.source
    stub = tether.connect(arguments)

    # Once the headers are there, nothing that happens is missed (contract rule S8).
    events = stub.Watch(tether.messages.WatchRequest(service=arguments.service))
    events.initial_metadata()
    watcher = threading.Thread(target=watch, args=(events, len(sources)))
    watcher.start()

    session = Session(stub, arguments.service)
    # A batch of nothing tells our boot id, and the epoch: a new one means that the forwarder's table
    # may have lost something, and that all that is held is to be started again (contract rule L3).
    say(what="hello", epoch=session.send([]).epoch)

    started = session.send([signal("START", source) for source in sources]).outcomes
    report("start", sources, started)
    extend = signal("EXTEND", sources[0], duration_ms=HOUR_MS, generation=started[0].generation)
    report("extend", sources[:1], session.send([extend]).outcomes)
    for entry in stub.List(tether.messages.ListRequest(service=arguments.service)):
        state = tether.messages.AffinityEntry.State.Name(entry.state)
        say(what="entry", source=entry.source, owner=entry.owner, state=state)
    pairs = zip(sources, started)
    ends = [signal("END", source, generation=outcome.generation) for source, outcome in pairs]
    report("end", sources, session.send(ends).outcomes)
    session.close()

    watcher.join(PATIENCE)
    events.cancel()
    watcher.join()


if __name__ == "__main__":
    main()
