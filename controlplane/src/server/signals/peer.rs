//! Who is at the other end of a connection (contract rule P1): its address, or the names in its
//! certificate, whose chain and key rustls has verified by then.

use crate::signal::Identity;
use tonic::{Request, Status};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// What a connection's identity is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The address that it comes from (`auth = "address"`).
    Address,
    /// Its certificate (`auth = "mtls"`).
    Certificate,
}

impl Proof {
    /// The identity behind a call.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`: the connection is gone, or its certificate has no name.
    pub(super) fn identity<T>(self, request: &Request<T>) -> Result<Identity, Status> {
        match self {
            Self::Address => address(request),
            Self::Certificate => certificate(request),
        }
    }
}

fn address<T>(request: &Request<T>) -> Result<Identity, Status> {
    let peer = request.remote_addr();
    let peer =
        peer.ok_or_else(|| Status::unauthenticated("the connection has no peer any more"))?;
    Ok(Identity::Address(peer.ip().to_canonical()))
}

fn certificate<T>(request: &Request<T>) -> Result<Identity, Status> {
    let chain = request.peer_certs();
    let own = chain.as_ref().and_then(|chain| chain.first());
    match own.map(|own| names(own)) {
        Some(names) if !names.is_empty() => Ok(Identity::Certificate(names)),
        _ => Err(Status::unauthenticated(
            "the client certificate names nobody: give it the backend's identity as a DNS name or \
             URI among its subject alternative names, or as its common name",
        )),
    }
}

/// The DNS names and URIs among the subject alternative names (RFC 5280, section 4.2.1.6), and the
/// common names. None of a certificate that is not one.
fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|it| &it.value.general_names);
    let alternative = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = alternative.chain(common).map(str::to_owned).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(sans: &[SanType], common: Option<&str>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = sans.to_vec();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_has_the_names_of_its_san_and_its_subject() {
        let sans = [
            SanType::DnsName("shop-1".try_into().unwrap()),
            SanType::URI("spiffe://shop/1".try_into().unwrap()),
            SanType::IpAddress("10.8.0.11".parse().unwrap()),
        ];
        let found = names(&certificate(&sans, Some("shop-one")));
        assert_eq!(found, ["shop-1", "spiffe://shop/1", "shop-one"]);
    }

    #[test]
    fn a_certificate_may_have_no_name() {
        assert!(names(&certificate(&[], None)).is_empty());
        assert!(names(b"no certificate").is_empty());
    }

    #[test]
    fn a_peer_is_known_by_its_ipv4_address_on_a_dual_stack_listener() {
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(tonic::transport::server::TcpConnectInfo {
                local_addr: None,
                remote_addr: Some("[::ffff:10.8.0.11]:40000".parse().unwrap()),
            });
        let identity = Proof::Address.identity(&request).unwrap();
        assert_eq!(identity, Identity::Address("10.8.0.11".parse().unwrap()));
        assert!(Proof::Certificate.identity(&request).is_err());
    }
}
