//! The known ways to cut a text into words before merging, by the names GGUF gives them.

use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior};

/// Longest run of white space a text may have. The engine behind the patterns steps back over such
/// a run; after a million steps it gives up without a word and leaves the rest of the text uncut.
pub(super) const SPACES_MAX: usize = 1 << 17;

/// How one family of vocabularies cuts texts.
pub(super) struct Pre {
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) words: PreTokenizerWrapper,
    /// Whether a word that is a token is left unmerged.
    pub(super) ignore_merges: bool,
    /// Whether prompts begin with BOS where the file does not say.
    pub(super) adds_bos: bool,
}

/// Llama 3's words: digits in threes.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Qwen2's words: digits one by one.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// The words of the vocabulary called `name` in `tokenizer.ggml.pre`.
pub(super) fn named(name: &str) -> Result<Pre, String> {
    let plain = |words| Pre { normalizer: None, words, ignore_merges: false, adds_bos: false };
    match name {
        "gpt-2" | "gpt2" => Ok(plain(byte_level(true).into())),
        "smollm" => {
            let digits = Digits::new(true).into();
            Ok(plain(Sequence::new(vec![digits, byte_level(true).into()]).into()))
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            Ok(Pre { ignore_merges: true, adds_bos: true, ..plain(split(LLAMA3)?) })
        }
        "qwen2" => Ok(Pre { normalizer: Some(NFC.into()), ..plain(split(QWEN2)?) }),
        _ => Err(format!(
            "pre-tokenizer `{name}` is not supported; supported are gpt-2, smollm, llama-bpe and \
             qwen2"
        )),
    }
}

fn byte_level(splits: bool) -> ByteLevel {
    ByteLevel::new(false, false, splits)
}

fn split(pattern: &str) -> Result<PreTokenizerWrapper, String> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    let words = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| error.to_string())?;
    Ok(Sequence::new(vec![words.into(), byte_level(false).into()]).into())
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    /// The words of `text`, as ranges of its bytes.
    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut cut = PreTokenizedString::from(text);
        named(name).unwrap().words.pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (from, to), _)| &text[from..to]).collect()
    }

    #[test]
    fn families_differ_in_digits_and_contractions() {
        assert_eq!(words("gpt-2", "I'm 1234!"), ["I", "'m", " 1234", "!"]);
        assert_eq!(words("smollm", "I'm 1234!"), ["I", "'m", " ", "1", "2", "3", "4", "!"]);
        assert_eq!(words("llama-bpe", "I'M 1234!"), ["I", "'M", " ", "123", "4", "!"]);
        assert_eq!(words("qwen2", "I'M 12!\n\n x"), ["I", "'M", " ", "1", "2", "!\n\n", " x"]);
        assert_eq!(words("gpt-2", "I'M")[1], "'", "upper case is no contraction in GPT-2");
    }

    #[test]
    fn long_runs_do_not_end_the_search() {
        for name in ["gpt-2", "smollm", "llama-bpe", "qwen2"] {
            for space in [" ", "\n", "\t", "\u{3000}", " \n"] {
                let run = space.repeat(SPACES_MAX / space.chars().count());
                let text = format!("a{run}x yz");
                let found = words(name, &text);
                assert_eq!(found[0], "a", "{name} {space:?}");
                assert_eq!(found[found.len() - 1], " yz", "{name} {space:?}");
                assert!(found[found.len() - 2].ends_with('x') && found.len() < 6, "{name}");
            }
            let text = "a".repeat(1 << 20) + " b";
            assert_eq!(words(name, &text)[1..], [" b"], "{name}");
        }
        // Longer runs do end it, silently, which is why they are refused.
        let text = " ".repeat(1 << 20) + "x yz";
        assert_ne!(words("gpt-2", &text).last(), Some(&" yz"));
    }

    #[test]
    fn others_are_refused_with_the_known_ones() {
        let error = named("tekken").err().unwrap();
        assert!(error.contains("`tekken`") && error.contains("smollm"), "{error}");
    }
}
