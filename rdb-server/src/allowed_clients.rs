use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Takes clients whose certificate an authority has signed, and among them those of certain names.
#[derive(Debug)]
pub(crate) struct AllowedClients {
    authorities: Arc<dyn ClientCertVerifier>,
    /// Empty for any.
    names: Vec<String>,
}

impl AllowedClients {
    pub(crate) fn new(authorities: Arc<dyn ClientCertVerifier>, names: &[String]) -> Self {
        Self { authorities, names: names.into() }
    }

    fn allows(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        if self.names.is_empty() {
            return Ok(true);
        }
        let names = names(certificate).ok_or(CertificateError::BadEncoding)?;
        let is_allowed = self.names.iter().any(|allowed| names.iter().any(|name| name.is(allowed)));
        if !is_allowed {
            let names: Vec<_> = names.iter().map(Name::text).collect();
            tracing::info!(?names, "refused a client: none of its names is allowed");
        }
        Ok(is_allowed)
    }
}

/// What a certificate calls its owner.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Dns(String),
    /// A URI or a common name.
    Exact(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Dns(name) | Self::Exact(name) => name,
        }
    }

    fn is(&self, allowed: &str) -> bool {
        match self {
            Self::Dns(name) => name.eq_ignore_ascii_case(allowed),
            Self::Exact(name) => name == allowed,
        }
    }
}

fn names(certificate: &CertificateDer<'_>) -> Option<Vec<Name>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<Name> = common.map(|name| Name::Exact(name.to_owned())).collect();
    if let Some(alternative) = certificate.subject_alternative_name().ok()? {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
            GeneralName::URI(name) => Some(Name::Exact((*name).to_owned())),
            _ => None,
        }));
    }
    Some(names)
}

impl ClientCertVerifier for AllowedClients {
    fn offer_client_auth(&self) -> bool {
        self.authorities.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.authorities.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The authorities first: before, the names are anyone's to choose.
        let verified = self.authorities.verify_client_cert(end_entity, intermediates, now)?;
        if self.allows(end_entity)? {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.authorities.requires_raw_public_keys()
    }
}
