//! A small static web server on loopback, for the demo's feed and audio.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// One file to serve.
#[derive(Debug, Clone)]
pub(crate) struct ServedFile {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Bytes,
}

/// The running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct DemoServer {
    _accepting: AbortOnDropHandle<()>,
}

/// Binds a free loopback port, so that the files can name their own address.
pub(crate) async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves `files` by path until the returned value is dropped.
pub(crate) fn serve(listener: TcpListener, files: HashMap<String, ServedFile>) -> DemoServer {
    let files = Arc::new(files);
    DemoServer {
        _accepting: AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let files = Arc::clone(&files);
                let service = service_fn(move |request| {
                    let response = answer(&files, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(async move {
                    // A client that hangs up is its own affair.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })),
    }
}

fn answer(
    files: &HashMap<String, ServedFile>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let Some(file) = files.get(request.uri().path()) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let content_type = hyper::header::HeaderValue::from_static(file.content_type);
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, content_type);
    *response.body_mut() = Full::new(file.bytes.clone());
    response
}
