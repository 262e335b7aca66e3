//! The flags of `echo-llm serve`, and what they make of a server's options.

use crate::counts::{count, count_from_1, seconds, within};
use crate::engine_args::EngineArgs;
use crate::{MEMORY, model};
use anyhow::{Context, Result, bail};
use clap::Args;
use echo_runtime::Options;
use echo_serve::ServeOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the model is served. Names in brackets are those of other engines.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// A TOML file whose keys are the names of these flags; flags given here win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on; others than this machine's own ask for an API key
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one and prints it
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Address of a second listener, as 127.0.0.1:9090, that tells `/metrics`, `/health` and
    /// `/ready` alone and asks for no key
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_address: Option<SocketAddr>,
    /// The model's name for clients; its file's name if not given
    #[arg(long)]
    served_model_name: Option<String>,
    /// A key that clients must send; given several times, each is a client of its own. Also read
    /// from the variable `ECHO_API_KEY`
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,
    /// A file of keys, one a line
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let other machines in without a key
    #[arg(long)]
    insecure: bool,
    /// A further name by which clients may call this server while it asks for no key
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Requests decoded at once
    #[arg(
        long,
        visible_alias = "max-running-requests",
        default_value_t = 64,
        value_parser = count_from_1
    )]
    pub(crate) max_num_seqs: usize,
    /// Requests that may wait for a place; more are told to come again
    #[arg(long, visible_alias = "max-queue-size", default_value_t = 512, value_parser = count)]
    max_queued_requests: usize,
    /// Prompt tokens read in one step
    #[arg(
        long,
        visible_aliases = ["chunked-prefill-size", "max-num-batched-tokens"],
        default_value_t = 512,
        value_parser = count_from_1
    )]
    max_prefill_tokens: usize,
    /// Read every prompt anew
    #[arg(long, visible_aliases = ["disable-radix-cache", "no-enable-prefix-caching"])]
    no_prefix_cache: bool,
    /// Tokens of one answer at most; what the context holds if not given
    #[arg(long, value_parser = count_from_1)]
    max_tokens: Option<usize>,
    /// Answers to one prompt at most
    #[arg(long, default_value_t = 8, value_parser = count_from_1)]
    max_n: usize,
    /// Bytes of a request's body at most
    #[arg(long, default_value_t = 2 << 20, value_parser = within(1..=1 << 30))]
    max_body_bytes: usize,
    /// Log-probabilities that all answers on their way may list together
    #[arg(long, default_value_t = 1 << 20, value_parser = within(0..=1 << 30))]
    max_listed_logprobs: usize,
    /// Connections at once
    #[arg(long, default_value_t = 1024, value_parser = count_from_1)]
    max_connections: usize,
    /// Connections of one address at once; those of this machine are not counted
    #[arg(long, default_value_t = 64, value_parser = count_from_1)]
    max_connections_per_peer: usize,
    /// Seconds until an answer must have begun: waiting for a place and reading the prompt
    #[arg(long, default_value = "30", value_parser = seconds)]
    queue_timeout: Duration,
    /// Seconds an answer may take
    #[arg(long, default_value = "600", value_parser = seconds)]
    request_timeout: Duration,
    /// Seconds a client may leave a stream unread
    #[arg(long, default_value = "30", value_parser = seconds)]
    stall_timeout: Duration,
    /// Seconds running requests have after SIGTERM or Ctrl-C; a second signal ends them at once
    #[arg(long, visible_alias = "shutdown-timeout", default_value = "30", value_parser = seconds)]
    drain_timeout: Duration,
    /// Seconds between the moment `/ready` says no and the first request that is refused
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    ready_delay: Duration,
}

impl ServeArgs {
    /// How the engine queues and reads prompts.
    pub(crate) fn engine_options(&self) -> Options {
        Options {
            has_memory: || MEMORY.is_whole(),
            queue_max: self.max_queued_requests,
            prompt_rows_max: self.max_prefill_tokens,
            prefix_cache: !self.no_prefix_cache,
            ..Options::default()
        }
    }

    /// How the server behaves, for the model at `path`. `key` is the environment's.
    pub(crate) fn options(&self, path: &Path, key: Option<String>) -> Result<ServeOptions> {
        let name = self.served_model_name.clone();
        let mut api_keys = self.api_key.clone();
        api_keys.extend(key);
        if let Some(path) = &self.api_key_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{}: the keys can't be read", path.display()))?;
            let keys = text.lines().map(str::trim).filter(|key| !key.is_empty());
            let known = api_keys.len();
            api_keys.extend(keys.map(str::to_owned));
            if api_keys.len() == known {
                bail!("{}: there is no key in it; write one on a line", path.display());
            }
        }
        Ok(ServeOptions {
            api_keys,
            insecure: self.insecure,
            hosts: [vec![self.host.clone()], self.allowed_host.clone()].concat(),
            body_max: self.max_body_bytes,
            n_max: self.max_n,
            tokens_max: self.max_tokens,
            scores_max: self.max_listed_logprobs,
            connections_max: self.max_connections,
            peer_connections_max: self.max_connections_per_peer,
            queue_deadline: self.queue_timeout,
            total_deadline: self.request_timeout,
            stall_deadline: self.stall_timeout,
            drain_deadline: self.drain_timeout,
            ready_delay: self.ready_delay,
            ..ServeOptions::new(name.unwrap_or_else(|| model::short_name(path)))
        })
    }
}
