"""As much of grpcurl as the documentation shows, made of stock grpcio: it knows the protocol by
server reflection alone.

    grpcurl.py [-plaintext | -cacert FILE -cert FILE -key FILE -servername NAME] [-d JSON] ADDRESS SERVICE/METHOD
    grpcurl.py [...] ADDRESS list
"""

import argparse
import json
import pathlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format

SERVICE = "grpc.reflection.v1.ServerReflection"
# What is needed of grpc/reflection/v1/reflection.proto, which Debian's grpcio comes without.
REFLECTION = """
name: "reflection.proto" package: "grpc.reflection.v1" syntax: "proto3"
message_type {
  name: "Request"
  field { name: "symbol" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "list" number: 7 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  oneof_decl { name: "asked" }
}
message_type { name: "Files" field { name: "file" number: 1 type: TYPE_BYTES label: LABEL_REPEATED } }
message_type { name: "Service" field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type {
  name: "Services"
  field {
    name: "service" number: 1 type: TYPE_MESSAGE type_name: ".grpc.reflection.v1.Service"
    label: LABEL_REPEATED
  }
}
message_type {
  name: "Response"
  field {
    name: "files" number: 4 type: TYPE_MESSAGE type_name: ".grpc.reflection.v1.Files"
    label: LABEL_OPTIONAL
  }
  field {
    name: "services" number: 6 type: TYPE_MESSAGE type_name: ".grpc.reflection.v1.Services"
    label: LABEL_OPTIONAL
  }
}
"""

POOL = descriptor_pool.DescriptorPool()
POOL.Add(text_format.Parse(REFLECTION, descriptor_pb2.FileDescriptorProto()))


def message(name):
    descriptor = POOL.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(POOL).GetPrototype(descriptor)


def reflect(channel, **asked):
    request, response = message("grpc.reflection.v1.Request"), message("grpc.reflection.v1.Response")
    call = channel.stream_stream(
        f"/{SERVICE}/ServerReflectionInfo", request.SerializeToString, response.FromString
    )
    return next(call(iter([request(**asked)])))


def methods(channel, service):
    """The methods of a service, whose messages are in the pool from then on."""
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in reflect(channel, symbol=service).files.file
    ]
    for file in files:
        POOL.Add(file)
    services = {f"{file.package}.{it.name}": it for file in files for it in file.service}
    return {method.name: method for method in services[service].method}


def call(channel, name, data):
    service, _, method = name.rpartition("/")
    method = methods(channel, service)[method]
    request = message(method.input_type.lstrip("."))
    answer = message(method.output_type.lstrip("."))
    request, path = json_format.Parse(data, request()), f"/{service}/{method.name}"
    if method.server_streaming:
        stub = channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        return stub(request, timeout=10)
    stub = channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
    return [stub(request, timeout=10)]


def open_channel(arguments):
    if arguments.plaintext:
        return grpc.insecure_channel(arguments.address)
    files = (arguments.cacert, arguments.key, arguments.cert)
    credentials = grpc.ssl_channel_credentials(*(pathlib.Path(it).read_bytes() for it in files))
    options = [("grpc.ssl_target_name_override", arguments.servername)]
    return grpc.secure_channel(arguments.address, credentials, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("-plaintext", action="store_true")
    for flag in ("-cacert", "-cert", "-key", "-servername"):
        parser.add_argument(flag)
    parser.add_argument("-d", default="{}")
    parser.add_argument("address")
    parser.add_argument("method")
    arguments = parser.parse_args()
    channel = open_channel(arguments)
    if arguments.method == "list":
        names = [service.name for service in reflect(channel, list="*").services.service]
        print("\n".join(sorted(names)))
        return
    for answer in call(channel, arguments.method, arguments.d):
        print(json.dumps(json_format.MessageToDict(answer), indent=2))


if __name__ == "__main__":
    main()
