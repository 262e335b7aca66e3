//! A tokenizer from GGUF metadata.

use std::collections::HashMap;

use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Vocab};

use super::{Class, Entry, Parts, pre};
use crate::gguf::{Array, Gguf, GgufError};

pub(super) fn parts(gguf: &Gguf, vocab: usize) -> Result<Parts, String> {
    let model = keyed(gguf.string("tokenizer.ggml.model"))?
        .ok_or("the file has no tokenizer (`tokenizer.ggml.model` is missing)")?;
    if model != "gpt2" {
        return Err(format!(
            "tokenizer model `{model}` is not supported; only byte-level BPE (gpt2) is"
        ));
    }
    let pre_name = keyed(gguf.string("tokenizer.ggml.pre"))?.ok_or(
        "`tokenizer.ggml.pre` is missing, so how texts are cut into words is not known; convert \
         the model anew, or take a newer file of it",
    )?;
    let pre = pre::named(pre_name)?;
    let tokens = entries(gguf, vocab)?;
    let ids = mergeable(&tokens);
    let merges = merges(gguf, &ids)?;

    let model = BPE::builder()
        .vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges)
        .ignore_merges(pre.ignore_merges)
        .build()
        .map_err(|error| error.to_string())?;
    let mut inner = tokenizers::Tokenizer::new(model);
    inner.with_normalizer(pre.normalizer).map_err(|error| error.to_string())?;
    inner.with_pre_tokenizer(Some(pre.words));
    let literals = tokens.iter().flatten().filter(|entry| entry.class == Class::Literal);
    let literals =
        literals.map(|entry| AddedToken::from(entry.text.clone(), false).normalized(false));
    inner.add_tokens(literals).map_err(|error| error.to_string())?;

    let id = |key: &str| -> Result<Option<u32>, String> {
        let found = keyed(gguf.count(&format!("tokenizer.ggml.{key}_token_id")))?;
        Ok(found.and_then(|id| u32::try_from(id).ok()))
    };
    let adds_bos = keyed(gguf.flag("tokenizer.ggml.add_bos_token"))?.unwrap_or(pre.adds_bos);
    Ok(Parts {
        inner,
        bos: id("bos")?,
        eos: id("eos")?,
        adds_bos,
        ends: [id("eot")?, id("eom")?].into_iter().flatten().collect(),
        kind: format!("byte-level BPE, {pre_name}"),
        tokens,
    })
}

fn entries(gguf: &Gguf, vocab: usize) -> Result<Vec<Option<Entry>>, String> {
    let strings = need_strings(gguf, "tokenizer.ggml.tokens")?;
    let types = keyed(gguf.array("tokenizer.ggml.token_type"))?;
    let mut types = types.map(|types| types.ints().ok_or("token types are not integers"));
    let mut types = types.take().transpose()?;
    if let Some(types) = &types
        && types.len() != strings.len()
    {
        return Err(format!("{} tokens but {} token types", strings.len(), types.len()));
    }
    if strings.len() > vocab {
        return Err(format!("{} tokens but {vocab} rows of embeddings", strings.len()));
    }
    let strings = strings.strings().ok_or("tokens are not strings")?;
    let mut entries = Vec::with_capacity(strings.len());
    for (id, text) in strings.enumerate() {
        let class = match types.as_mut().and_then(Iterator::next) {
            None | Some(1) => Some(Class::Normal),
            Some(2 | 3) => Some(Class::Control),
            Some(4) => Some(Class::Literal),
            Some(5) => None,
            Some(other) => return Err(format!("token {id} has type {other}, unknown in BPE")),
        };
        let text = std::str::from_utf8(text).map_err(|_| format!("token {id} is not UTF-8"))?;
        entries.push(class.map(|class| Entry { text: text.to_owned(), class }));
    }
    entries.resize_with(vocab, || None);
    Ok(entries)
}

/// Tokens that may come out of a user's text: control tokens are not among them.
fn mergeable(tokens: &[Option<Entry>]) -> HashMap<String, u32> {
    let mut ids = HashMap::new();
    for (id, entry) in tokens.iter().enumerate() {
        if let Some(entry) = entry.as_ref().filter(|entry| entry.class != Class::Control) {
            ids.entry(entry.text.clone()).or_insert(id as u32);
        }
    }
    ids
}

/// The merges, each checked here because the builder assumes that both halves and their union are
/// tokens.
fn merges(gguf: &Gguf, ids: &HashMap<String, u32>) -> Result<Vec<(String, String)>, String> {
    let strings = need_strings(gguf, "tokenizer.ggml.merges")?;
    let strings = strings.strings().ok_or("merges are not strings")?;
    let mut merges = Vec::with_capacity(strings.len());
    for (rank, merge) in strings.enumerate() {
        let pair = std::str::from_utf8(merge).ok().and_then(|merge| merge.split_once(' '));
        let (left, right) = pair.ok_or_else(|| format!("merge {rank} is not a pair of tokens"))?;
        super::check_merge(rank, left, right, |token| ids.contains_key(token))?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}

fn need_strings<'a>(gguf: &'a Gguf, key: &str) -> Result<Array<'a>, String> {
    keyed(gguf.array(key))?.ok_or_else(|| format!("`{key}` is missing"))
}

fn keyed<T>(result: Result<T, GgufError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
