//! What a `model.bin` says of itself, read without its weights.
//!
//! CTranslate2 trusts a model's other files: an absent list in `config.json` or a token id behind
//! the end of the weights makes it read memory that is not its own. So everything it takes on
//! trust is checked here before it sees the files.
//!
//! The format, all little-endian: `u32` version, string specification, `u32` revision, `u32`
//! number of variables; each a string name, `u8` rank, `u32` dimensions, `u8` type, `u32` bytes
//! and the bytes; then `u32` number of aliases, each two strings. A string is its `u16` length,
//! a zero at the end included, and its bytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use serde_json::Value;

use super::model::ModelFiles;

/// The specification of Whisper models.
const WHISPER: &str = "WhisperSpec";
/// One row a token.
const EMBEDDINGS: &str = "decoder/embeddings/weight";
/// What the names of a decoder layer's variables begin with, before its number.
const DECODER_LAYER: &str = "decoder/layer_";
/// First version with types, and the newest this code knows the layout of.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;

/// What to do about files that do not fit together.
const CONVERT_AGAIN: &str = "download or convert the model again";

/// Checks a model's files and gives the vocabulary, in the order of the ids; the error says what
/// is wrong and what to do.
pub(super) fn check(files: &ModelFiles) -> Result<Vec<String>, String> {
    let Shape { rows, layers } = shape(&files.model())?;
    let vocabulary = read_vocabulary(&files.vocabulary())?;
    if vocabulary.len() > rows as usize {
        return Err(format!(
            "its vocabulary has {} tokens and its weights have {rows}, so they are of different \
             models; {CONVERT_AGAIN}",
            vocabulary.len()
        ));
    }
    let config = read_json(&files.config())?;
    check_config(&config, &vocabulary)?;
    check_alignment(&config, layers)?;
    check_tokenizer(&files.tokenizer(), &vocabulary)?;
    Ok(vocabulary)
}

/// What the weights are for.
struct Shape {
    /// Tokens.
    rows: u32,
    /// Of the decoder.
    layers: u64,
}

fn shape(path: &Path) -> Result<Shape, String> {
    let mut header = Header::open(path).map_err(|error| format!("model.bin: {error}"))?;
    header.shape().map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let length = header.length;
            format!("model.bin ends early, after {length} bytes; {CONVERT_AGAIN}")
        }
        _ => format!("model.bin: {error}"),
    })
}

struct Header {
    reader: BufReader<File>,
    length: u64,
}

impl Header {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            length: file.metadata()?.len(),
            reader: BufReader::new(file),
        })
    }

    fn shape(&mut self) -> io::Result<Shape> {
        self.preamble()?;
        let mut rows = None;
        let mut layers = 0;
        for _ in 0..self.u32()? {
            let (name, dimensions) = self.variable()?;
            if name == EMBEDDINGS {
                rows = dimensions.first().copied();
            }
            layers = layers.max(layer(&name).map_or(0, |layer| layer + 1));
        }
        let rows =
            rows.ok_or_else(|| invalid(format!("it has no {EMBEDDINGS}; {CONVERT_AGAIN}")))?;
        Ok(Shape { rows, layers })
    }

    fn preamble(&mut self) -> io::Result<()> {
        let version = self.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(invalid(format!(
                "it is no CTranslate2 model of a version from {} to {}; {CONVERT_AGAIN}",
                VERSIONS.start(),
                VERSIONS.end()
            )));
        }
        let specification = self.string()?;
        if specification != WHISPER {
            return Err(invalid(format!(
                "it holds no Whisper model but a {specification:?}; give another one"
            )));
        }
        self.u32().map(drop)
    }

    /// Reads a variable's name and dimensions and skips its bytes.
    fn variable(&mut self) -> io::Result<(String, Vec<u32>)> {
        let name = self.string()?;
        let rank = self.u8()?;
        let dimensions = (0..rank).map(|_| self.u32()).collect::<io::Result<_>>()?;
        self.u8()?;
        let bytes = self.u32()?;
        self.reader.seek_relative(bytes.into())?;
        if self.reader.stream_position()? > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((name, dimensions))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u8(&mut self) -> io::Result<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn string(&mut self) -> io::Result<String> {
        let length = self.bytes().map(u16::from_le_bytes)?;
        let mut bytes = vec![0; length.into()];
        self.reader.read_exact(&mut bytes)?;
        match bytes.pop() {
            Some(0) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            _ => Err(invalid(format!("it is damaged; {CONVERT_AGAIN}"))),
        }
    }
}

/// The decoder's layer that a variable belongs to.
fn layer(name: &str) -> Option<u64> {
    let (layer, _) = name.strip_prefix(DECODER_LAYER)?.split_once('/')?;
    layer.parse::<u32>().ok().map(u64::from)
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// `vocabulary.json` is a list of strings, `vocabulary.txt` a line a token.
fn read_vocabulary(path: &Path) -> Result<Vec<String>, String> {
    let name = name(path);
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return serde_json::from_str(&text)
            .map_err(|error| format!("{name} is no list of tokens: {error}; {CONVERT_AGAIN}"));
    }
    // Not `lines`, which would take a carriage return from the token that is one.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.split('\n').map(str::to_owned).collect())
}

/// Lists of token ids that are read without a look whether they are there; languages by models
/// that know several, which is those with an empty token.
fn check_config(config: &Value, vocabulary: &[String]) -> Result<(), String> {
    let is_multilingual = vocabulary.iter().any(String::is_empty);
    for list in ["suppress_ids", "suppress_ids_begin", "lang_ids"] {
        let is_list = match config.get(list) {
            Some(Value::Array(ids)) => ids.iter().all(|id| is_token(id, vocabulary)),
            Some(Value::Null) => true,
            Some(_) => false,
            None => list == "lang_ids" && !is_multilingual,
        };
        if !is_list {
            return Err(format!(
                "config.json has no list {list} of the vocabulary's ids; {CONVERT_AGAIN}"
            ));
        }
    }
    Ok(())
}

/// The attention heads that tell when words were said, as pairs of layer and head. CTranslate2 writes to
/// the place of each layer, wherever that is.
fn check_alignment(config: &Value, layers: u64) -> Result<(), String> {
    let is_head = |head: &Value| {
        let pair = head.as_array().map(Vec::as_slice);
        matches!(pair, Some([layer, head])
            if layer.as_u64().is_some_and(|layer| layer < layers)
            && head.as_u64().is_some_and(|head| head < MOST_HEADS))
    };
    let heads = config.get("alignment_heads").and_then(Value::as_array);
    match heads.is_some_and(|heads| !heads.is_empty() && heads.iter().all(is_head)) {
        true => Ok(()),
        false => Err(format!(
            "config.json has no list alignment_heads of heads in the {layers} layers of the \
             weights; {CONVERT_AGAIN}"
        )),
    }
}

/// Attention heads of the largest Whisper, and some.
const MOST_HEADS: u64 = 64;

fn is_token(id: &Value, vocabulary: &[String]) -> bool {
    id.as_u64().is_some_and(|id| id < vocabulary.len() as u64)
}

/// Prompts are made with the tokenizer's ids and read with the vocabulary's.
fn check_tokenizer(path: &Path, vocabulary: &[String]) -> Result<(), String> {
    let tokenizer = read_json(path)?;
    let added = tokenizer.get("added_tokens").and_then(Value::as_array);
    for token in added.into_iter().flatten() {
        let (id, content) = (token.get("id"), token.get("content"));
        let (Some(id), Some(content)) =
            (id.and_then(Value::as_u64), content.and_then(Value::as_str))
        else {
            continue;
        };
        let is_checked = ["<|startoftranscript|>", "<|notimestamps|>"].contains(&content);
        if is_checked
            && vocabulary
                .get(id as usize)
                .is_none_or(|known| known != content)
        {
            return Err(format!(
                "tokenizer.json and the vocabulary disagree on {content}, so they are of \
                 different models; copy tokenizer.json from the model it was converted from"
            ));
        }
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value, String> {
    let name = name(path);
    let bytes = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}; {CONVERT_AGAIN}"))
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const TOKENS: [&str; 4] = ["a", "", "<|startoftranscript|>", "<|notimestamps|>"];
    const CONFIG: &str = r#"{"suppress_ids": [0], "suppress_ids_begin": null, "lang_ids": [1],
        "alignment_heads": [[0, 7]]}"#;

    /// A folder of files that fit together, to break one of them.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("model.bin", model("WhisperSpec", 4));
            folder.write("vocabulary.json", serde_json::to_vec(&TOKENS).unwrap());
            folder.write("config.json", CONFIG);
            folder.write("tokenizer.json", tokenizer(2));
            folder
        }

        fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn check(&self) -> Result<Vec<String>, String> {
            check(&ModelFiles::in_directory(self.0.path(), "test").unwrap())
        }

        fn problem(&self) -> String {
            self.check().unwrap_err()
        }
    }

    fn tokenizer(start: u32) -> String {
        format!(r#"{{"added_tokens": [{{"id": {start}, "content": "<|startoftranscript|>"}}]}}"#)
    }

    fn string(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len() + 1).unwrap();
        [&length.to_le_bytes()[..], text.as_bytes(), &[0]].concat()
    }

    /// Two variables: a scalar of the only decoder layer, and embeddings of `rows` rows of two bytes.
    fn model(specification: &str, rows: u32) -> Vec<u8> {
        let u32s = |values: &[u32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let bytes = vec![1; rows as usize * 2];
        let scalar = [
            string("decoder/layer_0/scale"),
            vec![0, 0],
            u32s(&[4]),
            vec![0; 4],
        ]
        .concat();
        let shape = [vec![2], u32s(&[rows, 2]), vec![1], u32s(&[rows * 2])].concat();
        [
            u32s(&[6]),
            string(specification),
            u32s(&[3, 2]),
            scalar,
            string(EMBEDDINGS),
            shape,
            bytes,
            u32s(&[0]),
        ]
        .concat()
    }

    #[test]
    fn files_that_fit_together_pass() {
        let folder = Folder::new();
        assert_eq!(folder.check().unwrap(), TOKENS);
        std::fs::remove_file(folder.0.path().join("vocabulary.json")).unwrap();
        folder.write("vocabulary.txt", TOKENS.join("\n") + "\n");
        assert_eq!(folder.check().unwrap(), TOKENS);
    }

    #[test]
    fn a_model_cut_anywhere_is_told() {
        let folder = Folder::new();
        let whole = model("WhisperSpec", 4);
        // All but the aliases at the end, which CTranslate2 misses by itself.
        for length in 0..whole.len() - 4 {
            folder.write("model.bin", &whole[..length]);
            let problem = folder.problem();
            let expected = format!("model.bin ends early, after {length} bytes");
            assert!(problem.starts_with(&expected), "{length}: {problem}");
        }
    }

    #[test]
    fn garbage_and_other_models_are_told() {
        let folder = Folder::new();
        folder.write("model.bin", [0xa5; 4096]);
        assert!(folder.problem().contains("no CTranslate2 model"));
        folder.write("model.bin", model("TransformerSpec", 4));
        assert!(folder.problem().contains("but a \"TransformerSpec\""));
        let mut damaged = model("WhisperSpec", 4);
        damaged[4] = 3;
        folder.write("model.bin", damaged);
        assert!(folder.problem().contains("it is damaged"));
    }

    #[test]
    fn a_vocabulary_of_another_model_is_told() {
        let folder = Folder::new();
        folder.write("model.bin", model("WhisperSpec", 3));
        let expected = "its vocabulary has 4 tokens and its weights have 3";
        assert!(folder.problem().starts_with(expected));
        folder.write("vocabulary.json", "{}");
        assert!(
            folder
                .problem()
                .starts_with("vocabulary.json is no list of tokens")
        );
    }

    #[test]
    fn a_config_without_its_lists_is_told() {
        let folder = Folder::new();
        for broken in [
            "{}".to_owned(),
            CONFIG.replace("[1]", "[99]"),
            CONFIG.replace("null", "\"none\""),
            CONFIG.replace("lang_ids", "languages"),
            CONFIG.replace("alignment_heads", "heads"),
            CONFIG.replace("[[0, 7]]", "[]"),
            CONFIG.replace("[0, 7]", "[1, 7]"),
            CONFIG.replace("[0, 7]", "[0, 64]"),
            CONFIG.replace("[0, 7]", "[0]"),
        ] {
            folder.write("config.json", broken);
            assert!(folder.problem().contains("config.json has no list"));
        }
        folder.write("config.json", "[");
        assert!(folder.problem().starts_with("config.json: EOF"));
        // An English model has no empty token, and needs no languages.
        folder.write("config.json", CONFIG.replace("lang_ids", "languages"));
        let tokens = ["a", "b", "<|startoftranscript|>", "<|notimestamps|>"];
        folder.write("vocabulary.json", serde_json::to_vec(&tokens).unwrap());
        assert!(folder.check().is_ok());
    }

    #[test]
    fn a_tokenizer_of_another_model_is_told() {
        let folder = Folder::new();
        folder.write("tokenizer.json", tokenizer(1));
        let expected = "tokenizer.json and the vocabulary disagree on <|startoftranscript|>";
        assert!(folder.problem().starts_with(expected));
    }
}
