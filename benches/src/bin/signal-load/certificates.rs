//! An authority of this run's own, and what it signs.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{error::Error, fs, path::Path};

/// The server that signals: the identity of the one backend.
const SERVER: &str = "shop-1";
/// The forwarder's name in its certificate.
pub(crate) const FORWARDER: &str = "forwarder";

/// Writes `ca.pem`, and certificate and key of `forwarder` and of `server`.
pub(crate) fn write(directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::create_dir_all(directory)?;
    fs::write(directory.join("ca.pem"), authority.pem())?;
    for (file, name) in [("forwarder", FORWARDER), ("server", SERVER)] {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new([name.to_owned()])?;
        let certificate = params.signed_by(&key, &authority)?;
        fs::write(directory.join(format!("{file}.pem")), certificate.pem())?;
        fs::write(directory.join(format!("{file}.key")), key.serialize_pem())?;
    }
    Ok(())
}
