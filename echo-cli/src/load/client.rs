//! A client that streams one answer and notes when its pieces came.

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A server with OpenAI's routes.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    authority: String,
    key: Option<String>,
}

/// One answer, as it came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) prompt: usize,
    pub(crate) text: String,
    /// Tokens, as the server counts them; pieces of text where it does not.
    pub(crate) tokens: usize,
    pub(crate) first: Duration,
    /// Between each two pieces of text.
    pub(crate) gaps: Vec<Duration>,
}

impl Endpoint {
    pub(crate) fn new(url: &str, key: Option<&str>) -> Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url}: want http://…"))?;
        let authority = rest.trim_end_matches("/v1").trim_end_matches('/').to_owned();
        Ok(Endpoint { authority, key: key.map(str::to_owned) })
    }

    /// Streams the answer to `body`, which asks the prompt number `prompt`.
    pub(crate) async fn ask(&self, body: &Value, prompt: usize) -> Result<Heard> {
        let start = Instant::now();
        let mut request = Request::post("/v1/chat/completions")
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        let connecting = TcpStream::connect(&self.authority).await;
        let socket = connecting.with_context(|| format!("no server at {}", self.authority))?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut heard =
            Heard { prompt, text: String::new(), tokens: 0, first: Duration::ZERO, gaps: vec![] };
        let (mut pending, mut last, mut counted) = (Vec::new(), start, None);
        while let Some(frame) = body.frame().await {
            pending.extend_from_slice(frame?.data_ref().map_or(&[], |data| data));
            while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data: ") else { continue };
                let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
                if !event["error"].is_null() {
                    bail!("{}: {}", self.authority, event["error"]["message"]);
                }
                counted = event["usage"]["completion_tokens"].as_u64().or(counted);
                let text = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
                if text.is_empty() {
                    continue;
                }
                let now = Instant::now();
                match heard.tokens {
                    0 => heard.first = now - start,
                    _ => heard.gaps.push(now - last),
                }
                last = now;
                heard.tokens += 1;
                heard.text.push_str(text);
            }
        }
        if status != StatusCode::OK {
            bail!("{} answered {status}: {}", self.authority, String::from_utf8_lossy(&pending));
        }
        heard.tokens = counted.map_or(heard.tokens, |n| n as usize);
        Ok(heard)
    }
}
