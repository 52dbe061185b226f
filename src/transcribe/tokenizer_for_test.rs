//! A tokenizer without a file.

use serde_json::{Map, Value, json};

use super::Tokenizer;

/// A Whisper tokenizer without merges: each byte is a token, languages are `en`, `es` and
/// `yue`, timestamps reach to 30 s.
///
/// # Panics
///
/// Never: its parts are constants.
pub fn tokenizer_for_test() -> Tokenizer {
    let mut names = vec![
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|en|>",
        "<|es|>",
        "<|yue|>",
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ];
    let timestamps: Vec<String> = (0..=1500)
        .map(|step| format!("<|{:.2}|>", f64::from(step) * Tokenizer::TIME_PRECISION))
        .collect();
    names.extend(timestamps.iter().map(String::as_str));
    let mut vocabulary: Map<String, Value> = byte_tokens().zip(0u32..).map(entry).collect();
    vocabulary.insert(String::new(), json!(256));
    let added: Vec<Value> = names.iter().zip(257u32..).map(added_token).collect();
    let document = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    let inner = tokenizers::Tokenizer::from_bytes(document.to_string())
        .expect("the document is a constant in the format of the crate");
    Tokenizer::try_new(inner).expect("every special token is in the list above")
}

/// GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes.
fn byte_tokens() -> impl Iterator<Item = String> {
    let mut next = 256u32;
    (0u32..256).map(move |byte| {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or_default().to_string()
    })
}

fn entry((token, id): (String, u32)) -> (String, Value) {
    (token, json!(id))
}

fn added_token((content, id): (&&str, u32)) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true,
    })
}
