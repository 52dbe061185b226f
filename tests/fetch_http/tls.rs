//! Certificates, and what is agreed on before the first request.

use std::sync::Arc;
use std::time::Duration;

use podrun::domain::{Disposition, FailureClass};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::bench::Bench;
use crate::server::{RawServer, answer, mp3, redirect};

/// An authority of this test alone.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's certificate for `name`, good until `year`.
    fn server(&self, name: &str, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(&certificate, &key, &[])
    }
}

fn acceptor(certificate: &Certificate, key: &KeyPair, protocols: &[&[u8]]) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Trusts `authority`, and gives a handshake on a busy machine its time.
fn trusting(authority: &Authority) -> Bench {
    let mut bench = Bench::new();
    bench.roots = vec![authority.pem.clone().into_bytes()];
    bench.http.connect_timeout = Duration::from_secs(10);
    bench.http.first_byte_timeout = Duration::from_secs(10);
    bench
}

async fn serving(acceptor: TlsAcceptor) -> RawServer {
    RawServer::start_with(Some(acceptor), |_, _| answer("200 OK", "", &mp3(10))).await
}

#[tokio::test]
async fn case_069_a_bad_certificate_is_a_failure_of_its_own() {
    let authority = Authority::new();
    let bench = trusting(&authority);
    let good = serving(authority.server("127.0.0.1", 2200)).await;
    bench.download(&good.url("/e.mp3")).await.unwrap();

    let expired = serving(authority.server("127.0.0.1", 2021)).await;
    let other_host = serving(authority.server("other.example", 2200)).await;
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        serving(acceptor(&params.self_signed(&key).unwrap(), &key, &[])).await
    };
    for server in [expired, other_host, self_signed] {
        let bench = trusting(&authority);
        let failure = bench.fails(&server.url("/e.mp3")).await;
        assert_eq!(failure.class, FailureClass::Tls, "{failure}");
        assert_eq!(failure.class.disposition(), Disposition::Permanent);
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn case_069_what_is_no_tls_at_all_is_a_tls_failure() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        // Until the client has read it and left.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let failure = trusting(&Authority::new()).fails(&url).await;
    assert_eq!(failure.class, FailureClass::Tls);
    plain.await.unwrap();
}

#[tokio::test]
async fn case_068_a_server_that_offers_http_2_is_asked_in_http_1_1() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    // It prefers HTTP/2 and refuses whoever does not name a protocol that it has.
    let server = serving(acceptor(&certificate, &key, &[b"h2", b"http/1.1"])).await;
    trusting(&authority)
        .download(&server.url("/e.mp3"))
        .await
        .unwrap();
    let head = &server.requests()[0].head;
    assert!(head.starts_with("GET /e.mp3 HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn case_091_a_redirect_from_https_to_http_is_refused_unless_allowed() {
    let plain = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let target = plain.url("/e.mp3");
    let authority = Authority::new();
    let acceptor = authority.server("127.0.0.1", 2200);
    let server =
        RawServer::start_with(Some(acceptor), move |_, _| redirect("302 Found", &target)).await;
    let mut bench = trusting(&authority);
    let failure = bench.fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::Redirect);
    assert!(
        failure.message.contains("http.allow_https_downgrade"),
        "{failure}"
    );
    assert!(plain.requests().is_empty());

    bench.http.allow_https_downgrade = true;
    bench.download(&server.url("/e.mp3")).await.unwrap();
}
