//! What machines read: server reflection, as `grpcurl` needs it, and the pages of metrics and health.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tether_client::Options;
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::testbed::{
    self, namespace::Namespace, server::FORWARDER, setup::Setup, signals::on_runtime, vip::SHOP,
};

fn reflect(host: &Namespace, question: MessageRequest) -> MessageResponse {
    on_runtime(host, async || {
        let channel = Endpoint::from_static(FORWARDER).connect().await.unwrap();
        let request = ServerReflectionRequest {
            message_request: Some(question),
            ..ServerReflectionRequest::default()
        };
        let mut client = ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::once(request));
        let answer = answers.await.unwrap().into_inner().message().await;
        answer.unwrap().unwrap().message_response.unwrap()
    })
}

#[test]
fn reflection_lists_and_describes_the_affinity_service() {
    testbed::run(Setup::new(), |bed| {
        let host = bed.server("server-1").host;
        let MessageResponse::ListServicesResponse(list) =
            reflect(host, MessageRequest::ListServices(String::new()))
        else {
            panic!("not a list of services");
        };
        let names: Vec<_> = list.service.iter().map(|it| it.name.as_str()).collect();
        assert!(names.contains(&"tether.v1.Affinity"), "{names:?}");
        let symbol = MessageRequest::FileContainingSymbol("tether.v1.StartRequest".into());
        let MessageResponse::FileDescriptorResponse(files) = reflect(host, symbol) else {
            panic!("not a file");
        };
        assert!(!files.file_descriptor_proto.is_empty());
    });
}

pub fn get(host: &Namespace, path: &str) -> String {
    let mut stream = host.inside(|| TcpStream::connect("10.8.0.2:9470")).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn the_metrics_page_counts_and_names_no_client() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client("10.9.0.33");
        let _bound = bed
            .server("server-1")
            .bind_source(SHOP, "10.9.0.33", Options::new());
        client.reach(SHOP);
        let host = &bed.network.forwarder;
        for path in ["/healthz", "/readyz"] {
            let page = get(host, path);
            assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        }
        let page = get(host, "/metrics");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("# TYPE tether_"), "{page}");
        assert!(page.contains("server-1"), "{page}");
        assert!(!page.contains("10.9.0.33"), "section 8: {page}");
    });
}
