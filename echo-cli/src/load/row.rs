//! What is measured: a server, and whether it may draft.

use super::client::{Endpoint, Heard};
use crate::bench::prompts::Prompt;
use anyhow::Result;
use serde_json::{Value, json};

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Its server's place among the servers.
    pub(crate) server: usize,
    /// Whether an Echo server may draft; others are asked as they are.
    pub(crate) speculative: Option<bool>,
    endpoint: Endpoint,
    model: String,
}

/// The rows of all servers in `urls`, each `URL` or `NAME=URL`: two of an Echo server, one of any
/// other.
pub(crate) async fn rows(urls: &[String], key: Option<&str>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (server, url) in urls.iter().enumerate() {
        let (name, url) = match url.split_once("=http") {
            Some((name, rest)) => (Some(name), format!("http{rest}")),
            None => (None, url.clone()),
        };
        let endpoint = Endpoint::new(&url, key)?;
        let (model, owner) = endpoint.model().await?;
        let row = |name: String, speculative: Option<bool>| {
            let (endpoint, model) = (endpoint.clone(), model.clone());
            Row { name, server, speculative, endpoint, model }
        };
        if owner == "echo" {
            let prefix = name.map_or(String::new(), |name| format!("{name} "));
            rows.push(row(format!("{prefix}plain"), Some(false)));
            rows.push(row(format!("{prefix}auto"), Some(true)));
        } else {
            rows.push(row(name.unwrap_or(&url).to_owned(), None));
        }
    }
    Ok(rows)
}

impl Row {
    /// Asks every prompt once for a token.
    pub(crate) async fn warm_up(&self, prompts: &[Prompt]) -> Result<()> {
        for (nth, prompt) in prompts.iter().enumerate() {
            self.ask(prompt, nth, 1).await?;
        }
        Ok(())
    }

    /// Streams the answer to a prompt.
    pub(crate) async fn ask(
        &self,
        prompt: &Prompt,
        nth: usize,
        max_tokens: usize,
    ) -> Result<Heard> {
        self.endpoint.ask(&self.body(&prompt.turns[0], max_tokens), nth).await
    }

    fn body(&self, question: &str, max_tokens: usize) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": max_tokens, "temperature": 0, "stream": true,
            "stream_options": {"include_usage": true},
        });
        if let Some(speculative) = self.speculative {
            body["speculative"] = json!(speculative);
        }
        body
    }
}
