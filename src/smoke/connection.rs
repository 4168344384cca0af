//! The way to the service: plain HTTP/2, or TLS by files as an operator has them.

use std::{path::PathBuf, sync::Arc};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{Asked, SmokeFailed};

/// How a service over TLS is met. Files in PEM.
#[derive(Debug)]
pub(crate) struct Tls {
    /// The authorities that are trusted.
    pub(crate) ca: PathBuf,
    /// What the caller proves itself with.
    pub(crate) own: Option<OwnCertificate>,
}

/// A client's certificate.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    /// The certificate, then what leads from it to its authority.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// A channel to the service, connected.
pub(super) async fn connect(asked: &Asked) -> Result<Channel, SmokeFailed> {
    let address = &asked.address;
    let wrong = |what: &str| SmokeFailed(format!("{address} {what}"));
    let uri: Uri = address.parse().map_err(|_| wrong("is no URL"))?;
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("must begin with http:// or https://")),
    };
    let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
        return Err(wrong("must name a host and a port"));
    };
    let unreachable = failed(&format!("{address} can't be reached"));
    // To tonic it is plain: TLS is this file's own. What is sent says https.
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
        .map_err(|_| wrong("is no URL"))?
        .timeout(asked.patience)
        .connect_timeout(asked.patience);
    let tls = match (https, &asked.tls) {
        (false, None) => return endpoint.connect().await.map_err(unreachable),
        (false, Some(_)) => return Err(wrong("is a plain address, which needs no certificates")),
        (true, None) => return Err(wrong("needs the authority of its certificate: --ca-file")),
        (true, Some(tls)) => config(tls)?,
    };
    let name = host.trim_matches(['[', ']']).to_owned();
    let server = ServerName::try_from(name).map_err(|_| wrong("names a host that can't be"))?;
    let (connector, target) = (TlsConnector::from(Arc::new(tls)), format!("{host}:{port}"));
    let connect = service_fn(move |_: Uri| {
        let (connector, target, server) = (connector.clone(), target.clone(), server.clone());
        async move {
            let stream = TcpStream::connect(target).await?;
            connector.connect(server, stream).await.map(TokioIo::new)
        }
    });
    endpoint.origin(uri).connect_with_connector(connect).await.map_err(unreachable)
}

fn config(tls: &Tls) -> Result<ClientConfig, SmokeFailed> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(failed(&format!("{} can't be used", tls.ca.display())))?;
    }
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&versions)
        .map_err(failed("starting TLS"))?
        .with_root_certificates(roots);
    let mut config = match &tls.own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key)
                .map_err(failed(&format!("{} holds no readable key", own.key.display())))?;
            builder
                .with_client_auth_cert(certificates(&own.certificate)?, key)
                .map_err(failed(&format!("{} can't be used", own.certificate.display())))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, SmokeFailed> {
    let unreadable = format!("{} holds no readable certificate", path.display());
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(&unreadable))?;
    if read.is_empty() { Err(SmokeFailed(unreadable)) } else { Ok(read) }
}

/// Anything that went wrong, in the course of what, with its causes.
fn failed<E: std::error::Error>(doing: &str) -> impl Fn(E) -> SmokeFailed + use<E> {
    let doing = doing.to_owned();
    move |error| {
        let mut sentence = doing.clone();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(one) = cause {
            let words = one.to_string();
            // Some say no more than their cause does.
            if !sentence.ends_with(&words) {
                sentence = format!("{sentence}: {words}");
            }
            cause = one.source();
        }
        SmokeFailed(sentence)
    }
}
