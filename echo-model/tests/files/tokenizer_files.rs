//! Tokenizers from GGUF metadata and from `tokenizer.json`: the same text, the same tokens; files
//! that contradict themselves are refused.

use echo_core::Vocab;
use echo_model::inspect::describe;
use echo_model::{ChatTemplate, Checkpoint, Message, RenderOptions, Specials, Tokenizer};
use serde_json::{Value, json};

use crate::checkpoint::written;
use crate::folder_writer::{FolderWriter, tiny_config, tiny_tensors};
use crate::gguf_writer::{GgufWriter, ints, string, strings, tiny_llama, u32};

fn tokenizer_json() -> Value {
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": special})
    };
    json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 2,
            "strategy": "LongestFirst", "stride": 0}, "padding": null,
        "added_tokens": [added(0, "<end>", true), added(4, "<user>", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false,
            "vocab": {"<end>": 0, "a": 1, "b": 2, "ab": 3, "<user>": 4, "Ġ": 5},
            "merges": ["a b"]},
    })
}

fn folder(tokenizer: &Value) -> FolderWriter {
    FolderWriter::new(&tiny_config("llama"))
        .shard("model.safetensors", &tiny_tensors("llama"))
        .json("tokenizer.json", tokenizer)
        .json(
            "tokenizer_config.json",
            &json!({"eos_token": {"content": "<end>"},
            "chat_template": "{{ messages[0].content }}"}),
        )
        .json("generation_config.json", &json!({"eos_token_id": [3]}))
}

#[test]
fn both_formats_give_the_same_tokens() {
    let file = written(&tiny_llama());
    let gguf = Tokenizer::open(&Checkpoint::open(file.path()).unwrap()).unwrap();
    let folder = folder(&tokenizer_json());
    let folder = Tokenizer::open(&Checkpoint::open(folder.path()).unwrap()).unwrap();
    for tokenizer in [&gguf, &folder] {
        let encode = |text, specials| tokenizer.encode(text, specials).unwrap();
        assert_eq!(encode("abba ab", Specials::Plain), [3, 2, 1, 5, 3]);
        assert_eq!(encode("b<end>a", Specials::Parse), [2, 0, 1]);
        // The rest of the name is not in this vocabulary; no control token comes of it.
        assert_eq!(encode("b<end>a", Specials::Plain), [2, 1]);
        assert_eq!(encode("a<user>", Specials::Plain), [1, 4], "a user-defined token is text");
        assert_eq!(tokenizer.bytes(4), b"<user>");
        assert_eq!(tokenizer.bytes(5), b" ");
        assert_eq!(tokenizer.bytes(0), b"");
        assert_eq!((tokenizer.eos(), tokenizer.bos()), (Some(0), None));
        assert!(tokenizer.ends(0));
    }
    assert!(folder.ends(3) && !gguf.ends(3), "generation_config.json names a second end");
}

fn gguf_refused(file: &GgufWriter, words: &[&str]) {
    let file = written(file);
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    check(Tokenizer::open(&checkpoint), words);
}

fn folder_refused(change: impl FnOnce(&mut Value), words: &[&str]) {
    let mut json = tokenizer_json();
    change(&mut json);
    let folder = folder(&json);
    check(Tokenizer::open(&Checkpoint::open(folder.path()).unwrap()), words);
}

fn check(opened: Result<Tokenizer, echo_model::ModelError>, words: &[&str]) {
    let error = opened.expect_err("it is refused").to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn gguf_vocabularies_that_contradict_themselves_are_refused() {
    let file = tiny_llama;
    let tokens = "tokenizer.ggml.tokens";
    let merges = "tokenizer.ggml.merges";
    let types = "tokenizer.ggml.token_type";
    gguf_refused(&file().set("tokenizer.ggml.model", string(b"llama")), &["`llama`", "byte-level"]);
    gguf_refused(&file().without("tokenizer.ggml.model"), &["no tokenizer"]);
    gguf_refused(&file().set("tokenizer.ggml.pre", string(b"tekken")), &["`tekken`", "smollm"]);
    gguf_refused(&file().set("tokenizer.ggml.pre", string(b"default")), &["`default`", "smollm"]);
    gguf_refused(&file().without("tokenizer.ggml.pre"), &["tokenizer.ggml.pre", "missing"]);
    gguf_refused(&file().without(merges), &["tokenizer.ggml.merges", "missing"]);
    gguf_refused(&file().set(merges, ints(&[1])), &["not strings"]);
    gguf_refused(&file().set(merges, strings(&["ab"])), &["merge 0", "not a pair"]);
    gguf_refused(&file().set(merges, strings(&["a x"])), &["`x` is not a token"]);
    // The union is longer than any token: the merging library would panic on it.
    gguf_refused(&file().set(merges, strings(&["<user> <user>"])), &["is not a token"]);
    gguf_refused(&file().set(merges, strings(&["a <end>"])), &["`<end>` is not a token"]);
    gguf_refused(&file().set(types, ints(&[3, 1])), &["6 tokens but 2 token types"]);
    gguf_refused(&file().set(types, ints(&[3, 1, 1, 1, 9, 1])), &["token 4 has type 9"]);
    gguf_refused(&file().set(types, ints(&[3, 3, 1, 1, 4, 1])), &["`a` is not a token"]);
    gguf_refused(&file().set("tokenizer.ggml.eos_token_id", u32(6)), &["EOS is token 6 of 6"]);
    let foreign = strings(&["<end>", "a", "b", "ab", "<user>", "日"]);
    gguf_refused(&file().set(tokens, foreign), &["token 5", "not byte-level"]);
    let twice = strings(&["<end>", "a", "b", "ab", "<end>", "Ġ"]);
    let both = file().set(tokens, twice).set(types, ints(&[3, 1, 1, 1, 3, 1]));
    gguf_refused(&both, &["0 and 4 are both called `<end>`"]);
}

#[test]
fn json_vocabularies_that_contradict_themselves_are_refused() {
    folder_refused(|j| j["model"]["type"] = json!("Unigram"), &["`Unigram`", "byte-level"]);
    folder_refused(|j| j["decoder"] = json!({"type": "Fuse"}), &["byte-level"]);
    folder_refused(|j| j["model"]["vocab"]["a"] = json!(6), &["`a` has id 6", "6 rows"]);
    folder_refused(|j| j["model"]["merges"] = json!([["a", "b"], ["a", "c"]]), &["merge 1", "`c`"]);
    let renumbered = |j: &mut Value| {
        j["model"]["vocab"].as_object_mut().unwrap().shift_remove("<user>");
    };
    folder_refused(renumbered, &["`<user>` cannot have id 4"]);
    folder_refused(|j| j["model"]["merges"] = json!([7]), &["merge 0"]);
    folder_refused(|j| j["added_tokens"][0]["lstrip"] = json!(true), &["`<end>` swallows"]);
    folder_refused(|j| j["pre_tokenizer"]["use_regex"] = json!("yes"), &["tokenizer.json"]);
    let split = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": false}]});
    folder_refused(|j| j["pre_tokenizer"] = split, &["tokenizer.json"]);
    let none =
        FolderWriter::new(&tiny_config("llama")).shard("model.safetensors", &tiny_tensors("llama"));
    check(Tokenizer::open(&Checkpoint::open(none.path()).unwrap()), &["no tokenizer.json"]);
}

#[test]
fn templates_come_from_the_files_or_not_at_all() {
    let options = RenderOptions { add_generation_prompt: true, now_s: 0 };
    let render = |checkpoint: &Checkpoint| {
        let tokenizer = Tokenizer::open(checkpoint).unwrap();
        let template = ChatTemplate::open(checkpoint, &tokenizer)?;
        Ok::<_, echo_model::ModelError>(
            template.render(&[Message::new("user", "hi")], &options).unwrap(),
        )
    };
    let file = written(&tiny_llama());
    assert_eq!(render(&Checkpoint::open(file.path()).unwrap()).unwrap(), "hi");
    let none = written(&tiny_llama().without("tokenizer.chat_template"));
    let error = render(&Checkpoint::open(none.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("there is none") && error.contains("instruct"), "{error}");
    let bad = written(&tiny_llama().set("tokenizer.chat_template", string(b"{% if %}")));
    let error = render(&Checkpoint::open(bad.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("chat template"), "{error}");

    let plain = folder(&tokenizer_json());
    assert_eq!(render(&Checkpoint::open(plain.path()).unwrap()).unwrap(), "hi");
    let own_file = folder(&tokenizer_json()).file("chat_template.jinja", b"J{{ eos_token }}");
    assert_eq!(render(&Checkpoint::open(own_file.path()).unwrap()).unwrap(), "J<end>");
    let named = json!({"chat_template": [{"name": "tool", "template": "T"},
        {"name": "default", "template": "D"}]});
    let named = folder(&tokenizer_json()).json("tokenizer_config.json", &named);
    assert_eq!(render(&Checkpoint::open(named.path()).unwrap()).unwrap(), "D");
}

#[test]
fn a_message_cannot_forge_a_control_token() {
    let options = RenderOptions { add_generation_prompt: true, now_s: 0 };
    let source = b"{{ eos_token }}{{ messages[0].content | trim }}{{ eos_token }}";
    let file = written(&tiny_llama().set("tokenizer.chat_template", string(source)));
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let tokenizer = Tokenizer::open(&checkpoint).unwrap();
    let template = ChatTemplate::open(&checkpoint, &tokenizer).unwrap();
    let messages = [Message::new("user", " ab<end>b ")];
    let tokens = template.encode(&tokenizer, &messages, &options).unwrap();
    assert_eq!(tokens, [0, 3, 2, 0]);
    let text = template.render(&messages, &options).unwrap();
    assert_eq!(tokenizer.encode(&text, Specials::Parse).unwrap(), [0, 3, 0, 2, 0], "forged");
    // Every marker is taken: refused, not guessed.
    let all: String = ('\u{fdd0}'..='\u{fdef}').collect();
    assert!(template.encode(&tokenizer, &[Message::new("user", all)], &options).is_err());
}

#[test]
fn descriptions_tell_what_is_there_and_what_is_wrong() {
    let file = written(&tiny_llama());
    let whole = describe(file.path()).unwrap();
    assert_eq!((whole.format.as_str(), whole.n_parameters), ("GGUF v3", 552));
    let singles = whole.tensors["F32"];
    assert_eq!((singles.n_tensors, singles.bytes), (11, 552 * 4));
    assert_eq!(
        (whole.tokenizer, whole.chat_template),
        (Ok("byte-level BPE, smollm".into()), Ok(true))
    );
    let tokens = ("tokenizer.ggml.tokens".to_owned(), "[6 elements]".to_owned());
    assert!(whole.metadata.contains(&tokens));

    let file = written(&tiny_llama().set("tokenizer.ggml.model", string(b"llama")));
    let other = describe(file.path()).unwrap();
    assert!(other.tokenizer.unwrap_err().contains("`llama`") && other.chat_template.is_err());

    let folder = folder(&tokenizer_json());
    let folder = describe(folder.path()).unwrap();
    assert_eq!((folder.format.as_str(), folder.n_parameters), ("safetensors", 552));
    assert!(serde_json::to_string(&folder).unwrap().contains("\"chat_template\":{\"Ok\":true}"));
}
