"""The messages and the stub of the signal protocol, and a channel to the forwarder.

They are generated when this is imported. A project of its own would do that once, when it is built:

    python3 -m grpc_tools.protoc -I controlplane/api/proto \\
        --python_out=. --grpc_python_out=. tether/v1/affinity.proto

Debian: python3-grpcio, protobuf-compiler, protobuf-compiler-grpc. PyPI: grpcio, grpcio-tools.
"""

import importlib.util
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "api" / "proto"

# This life of the process (contract rule S7): a new one ends this backend's older affinities.
BOOT_ID = secrets.randbits(64) | 1


def _generate(into):
    protoc, plugin = shutil.which("protoc"), shutil.which("grpc_python_plugin")
    if protoc and plugin:
        command = [protoc, f"--plugin=protoc-gen-grpc_python={plugin}"]
    elif importlib.util.find_spec("grpc_tools"):
        command = [sys.executable, "-m", "grpc_tools.protoc"]
    else:
        sys.exit("no protoc with grpc_python_plugin, and no grpc_tools: install protobuf-compiler-grpc or grpcio-tools")
    out = [f"--python_out={into}", f"--grpc_python_out={into}"]
    subprocess.run([*command, "-I", str(PROTO), *out, "tether/v1/affinity.proto"], check=True)


with tempfile.TemporaryDirectory() as directory:
    _generate(directory)
    sys.path.insert(0, directory)
    from tether.v1 import affinity_pb2 as messages
    from tether.v1 import affinity_pb2_grpc as stubs

    sys.path.remove(directory)


def add_arguments(parser):
    """How the forwarder is reached: all of --tls-* where it has auth = "mtls", else none of them."""
    parser.add_argument("--tether", default="10.8.0.2:7470", help="the forwarder's signal address")
    parser.add_argument("--tls-ca", help="who signs the forwarder's certificate")
    parser.add_argument("--tls-certificate", help="this server's certificate")
    parser.add_argument("--tls-key", help="its key")
    parser.add_argument("--tls-server-name", help="the name in the forwarder's certificate")


def connect(arguments):
    """A stub that connects, and connects again, by itself."""
    if arguments.tls_ca is None:
        return stubs.AffinityStub(grpc.insecure_channel(arguments.tether))
    paths = (arguments.tls_ca, arguments.tls_key, arguments.tls_certificate)
    credentials = grpc.ssl_channel_credentials(*(pathlib.Path(path).read_bytes() for path in paths))
    options = []
    if arguments.tls_server_name:
        options.append(("grpc.ssl_target_name_override", arguments.tls_server_name))
    return stubs.AffinityStub(grpc.secure_channel(arguments.tether, credentials, options))


def code(outcome):
    """The name of an outcome, such as CREATED."""
    return messages.OutcomeCode.Name(outcome.code)
