//! A tokenizer from a folder's `tokenizer.json`.

use std::collections::HashMap;

use serde_json::Value;

use super::{Class, Entry, Parts};
use crate::folder::Folder;

pub(super) fn parts(folder: &Folder, vocab: usize) -> Result<Parts, String> {
    let json = read(folder, "tokenizer.json")?
        .ok_or("the folder has no tokenizer.json; convert the tokenizer to that format")?;
    let model = &json["model"];
    let kind = model["type"].as_str().unwrap_or("unnamed");
    if kind != "BPE" || !mentions_byte_level(&json) {
        return Err(format!(
            "tokenizer.json: model `{kind}` is not byte-level BPE, which alone is supported"
        ));
    }
    let mut tokens: Vec<Option<Entry>> = Vec::new();
    tokens.resize_with(vocab, || None);
    let ids = model["vocab"].as_object().ok_or("tokenizer.json: `model.vocab` is missing")?;
    for (text, id) in ids {
        let slot = slot(&mut tokens, id, text)?;
        *slot = Some(Entry { text: text.clone(), class: Class::Normal });
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let text =
            added["content"].as_str().ok_or("tokenizer.json: an added token has no content")?;
        let special = added["special"].as_bool().unwrap_or(false);
        let trims = ["lstrip", "rstrip", "single_word"];
        if special && trims.iter().any(|trim| added[*trim] == true) {
            return Err(format!(
                "tokenizer.json: control token `{text}` swallows its surroundings, which is not \
                 supported"
            ));
        }
        let class = if special { Class::Control } else { Class::Literal };
        *slot(&mut tokens, &added["id"], text)? = Some(Entry { text: text.to_owned(), class });
    }
    check_merges(&model["merges"], |token| ids.contains_key(token))?;

    let inner: tokenizers::Tokenizer =
        serde_json::from_value(json).map_err(|error| format!("tokenizer.json: {error}"))?;
    // The crate numbers added tokens itself where the vocabulary does not; it must agree.
    let added = tokens.iter().enumerate().filter_map(|(id, entry)| Some((id, entry.as_ref()?)));
    for (id, entry) in added.filter(|(_, entry)| entry.class != Class::Normal) {
        if inner.token_to_id(&entry.text) != Some(id as u32) {
            let text = &entry.text;
            return Err(format!("tokenizer.json: added token `{text}` cannot have id {id}"));
        }
    }
    let config = read(folder, "tokenizer_config.json")?.unwrap_or_default();
    let by_text: HashMap<&str, u32> = tokens
        .iter()
        .enumerate()
        .filter_map(|(id, entry)| Some((entry.as_ref()?.text.as_str(), id as u32)))
        .collect();
    let named = |key: &str| by_text.get(token_text(&config[key])?).copied();
    let (bos, eos) = (named("bos_token"), named("eos_token"));
    // The post-processor decides what a prompt begins with; an empty prompt shows it.
    let start = inner.encode_fast("", true).map_err(|error| error.to_string())?;
    let adds_bos = bos.is_some() && start.get_ids().first().copied() == bos;
    let generation = read(folder, "generation_config.json")?.unwrap_or_default();
    let mut ends = ids_of(&generation["eos_token_id"]);
    ends.extend(ids_of(&folder.config_json()["eos_token_id"]));
    Ok(Parts {
        inner,
        bos,
        eos,
        adds_bos,
        ends,
        kind: "byte-level BPE, tokenizer.json".into(),
        tokens,
    })
}

fn read(folder: &Folder, name: &str) -> Result<Option<Value>, String> {
    folder.json(name).map_err(|error| error.to_string())
}

fn slot<'t>(
    tokens: &'t mut [Option<Entry>],
    id: &Value,
    text: &str,
) -> Result<&'t mut Option<Entry>, String> {
    let vocab = tokens.len();
    let place = id.as_u64().and_then(|id| tokens.get_mut(usize::try_from(id).ok()?));
    place.ok_or_else(|| {
        format!(
            "tokenizer.json: token `{text}` has id {id}; the model has {vocab} rows of embeddings"
        )
    })
}

fn check_merges(merges: &Value, is_token: impl Fn(&str) -> bool) -> Result<(), String> {
    let merges = merges.as_array().ok_or("tokenizer.json: `model.merges` is missing")?;
    for (rank, merge) in merges.iter().enumerate() {
        let pair = match merge {
            Value::String(pair) => pair.split_once(' '),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(left), Value::String(right)] => {
                    Some((left.as_str(), right.as_str()))
                }
                _ => None,
            },
            _ => None,
        };
        let (left, right) = pair.ok_or_else(|| format!("merge {rank} is not a pair of tokens"))?;
        super::check_merge(rank, left, right, &is_token)
            .map_err(|why| format!("tokenizer.json: {why}"))?;
    }
    Ok(())
}

/// Whether words are written in the byte alphabet: some part of the pipeline says so.
fn mentions_byte_level(json: &Value) -> bool {
    let part = |key: &str| {
        let part = &json[key];
        let nested = [&part["pretokenizers"], &part["decoders"]];
        let nested = nested.into_iter().filter_map(Value::as_array).flatten();
        std::iter::once(part).chain(nested).any(|part| part["type"] == "ByteLevel")
    };
    part("pre_tokenizer") && part("decoder")
}

/// A token in `tokenizer_config.json`: its text, or an object that holds it.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id or a list of ids.
fn ids_of(value: &Value) -> Vec<u32> {
    let one = value.as_u64().into_iter();
    let many = value.as_array().into_iter().flatten().filter_map(Value::as_u64);
    one.chain(many).filter_map(|id| u32::try_from(id).ok()).collect()
}
