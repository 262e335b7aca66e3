//! A client that streams one answer and notes when its pieces came.

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, header};
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

/// One answer, whole, as it came.
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
        let Some(rest) = url.strip_prefix("http://") else {
            let is_secure = url.starts_with("https://");
            let why = if is_secure { "https is not spoken here; " } else { "" };
            bail!("{url}: {why}give http://HOST:PORT");
        };
        let rest = rest.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let authority = if rest.contains(':') { rest } else { format!("{rest}:80") };
        Ok(Endpoint { authority, key: key.map(str::to_owned) })
    }

    /// The name of the model it serves, and whose it is: Echo's servers say `echo`.
    pub(crate) async fn model(&self) -> Result<(String, String)> {
        let response = self.send("GET", "/v1/models", String::new()).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let listed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let model = &listed["data"][0];
        let Some(name) = model["id"].as_str().filter(|_| status == StatusCode::OK) else {
            let said = String::from_utf8_lossy(&body);
            bail!("{} answered {status} to /v1/models: {said}", self.authority);
        };
        Ok((name.to_owned(), model["owned_by"].as_str().unwrap_or_default().to_owned()))
    }

    /// Streams the answer to `body`, which asks the prompt number `prompt`. An answer that is
    /// refused, breaks off or has no reason for its end is an error.
    pub(crate) async fn ask(&self, body: &Value, prompt: usize) -> Result<Heard> {
        let start = Instant::now();
        let response = self.send("POST", "/v1/chat/completions", body.to_string()).await?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut answer = Answer::new(prompt, start);
        let mut pending = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.with_context(|| format!("{}: an answer broke off", self.authority))?;
            pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if status != StatusCode::OK {
                continue;
            }
            while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let told = line.strip_prefix(b"data: ").map_or(Ok(()), |data| answer.hear(data));
                told.with_context(|| self.authority.clone())?;
            }
        }
        if status != StatusCode::OK {
            bail!("{} answered {status}: {}", self.authority, String::from_utf8_lossy(&pending));
        }
        answer.whole().with_context(|| self.authority.clone())
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let connecting = TcpStream::connect(&self.authority).await;
        let socket = connecting.with_context(|| format!("no server at {}", self.authority))?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

/// An answer as far as it has come.
struct Answer {
    heard: Heard,
    start: Instant,
    last: Instant,
    /// Tokens as the server counts them.
    counted: Option<u64>,
    has_reason: bool,
    is_done: bool,
}

impl Answer {
    fn new(prompt: usize, start: Instant) -> Self {
        let heard =
            Heard { prompt, text: String::new(), tokens: 0, first: Duration::ZERO, gaps: vec![] };
        Answer { heard, start, last: start, counted: None, has_reason: false, is_done: false }
    }

    /// Takes in what one event carries.
    fn hear(&mut self, data: &[u8]) -> Result<()> {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data).context("an event is no JSON")?;
        if !event["error"].is_null() {
            bail!("an answer was cut: {}", event["error"]["message"]);
        }
        let choice = &event["choices"][0];
        self.counted = event["usage"]["completion_tokens"].as_u64().or(self.counted);
        self.has_reason |= choice["finish_reason"].is_string();
        let text = choice["delta"]["content"].as_str().unwrap_or_default();
        if !text.is_empty() {
            let (now, heard) = (Instant::now(), &mut self.heard);
            match heard.tokens {
                0 => heard.first = now - self.start,
                _ => heard.gaps.push(now - self.last),
            }
            self.last = now;
            heard.tokens += 1;
            heard.text.push_str(text);
        }
        Ok(())
    }

    fn whole(self) -> Result<Heard> {
        let Answer { mut heard, counted, has_reason, is_done, .. } = self;
        if !is_done || !has_reason {
            let text = &heard.text;
            bail!("an answer broke off without a reason after {text:?}");
        }
        heard.tokens = counted.map_or(heard.tokens, |n| n as usize);
        Ok(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(events: &[&str]) -> Result<Heard> {
        let mut answer = Answer::new(0, Instant::now());
        for event in events {
            answer.hear(event.as_bytes())?;
        }
        answer.whole()
    }

    #[test]
    fn only_whole_answers_count() {
        let piece = r#"{"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}"#;
        let end = r#"{"choices": [{"delta": {}, "finish_reason": "stop"}]}"#;
        let usage = r#"{"choices": [], "usage": {"completion_tokens": 5}}"#;
        let heard = hear(&[piece, piece, end, "[DONE]\r"]).expect("it is whole");
        assert_eq!((heard.text.as_str(), heard.tokens, heard.gaps.len()), ("aa", 2, 1));
        assert_eq!(hear(&[piece, end, usage, "[DONE]"]).expect("it is whole").tokens, 5);
        for cut in [&[piece][..], &[piece, end], &[piece, "[DONE]"], &["no JSON"]] {
            assert!(hear(cut).is_err(), "{cut:?}");
        }
        let error = hear(&[piece, r#"{"error": {"message": "why"}}"#]).expect_err("it was cut");
        assert!(error.to_string().contains("why"), "{error}");
    }
}
