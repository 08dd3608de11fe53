//! TLS with a certificate and a key that are credentials: either both or none.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{ServerConfig, pki_types::pem::PemObject};
use std::{path::Path, sync::Arc};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// The chain of certificates, the host's own first, in PEM.
const CERTIFICATE: &str = "bitbuilder.webhook-certificate";
/// The private key of the first one, in PEM.
const KEY: &str = "bitbuilder.webhook-key";

/// Why there can be no TLS although it is asked for.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// One is there without the other.
    #[error("there is {there} and no {missing}")]
    Half {
        /// The one.
        there: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// It holds something else. What, is not said.
    #[error("{name} cannot be used")]
    Pem {
        /// Which credential.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        cause: pem::Error,
    },
    /// They do not fit each other.
    #[error("{CERTIFICATE} and {KEY} cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// TLS if the credentials say so.
pub(crate) fn read(directory: Option<&Path>) -> Result<Option<TlsAcceptor>, TlsError> {
    let find = |name| directory.map(|directory| directory.join(name)).filter(|path| path.exists());
    let (certificate, key) = match (find(CERTIFICATE), find(KEY)) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(TlsError::Half { there: CERTIFICATE, missing: KEY }),
        (None, Some(_)) => return Err(TlsError::Half { there: KEY, missing: CERTIFICATE }),
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|cause| TlsError::Pem { name: CERTIFICATE, cause })?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|cause| TlsError::Pem { name: KEY, cause })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each connection carries one request; there is nothing to resume.
    config.send_tls13_tickets = 0;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_it_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(None), Ok(None)) && matches!(read(Some(directory.path())), Ok(None)));
        std::fs::write(directory.path().join(CERTIFICATE), "nonsense").unwrap();
        assert!(matches!(read(Some(directory.path())), Err(TlsError::Half { missing: KEY, .. })));
        std::fs::write(directory.path().join(KEY), "nonsense").unwrap();
        let refused = read(Some(directory.path())).err().unwrap();
        assert!(!runtime::chain(&refused).contains("nonsense"), "{refused:?}");
    }
}
