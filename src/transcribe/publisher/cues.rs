//! Cues of WebVTT (W3C, *WebVTT: The Web Video Text Tracks Format*), SubRip and the JSON transcripts
//! of Podcasting 2.0. Tolerant: what is no cue is passed over.

use serde::Deserialize;

/// Most cues of one transcript: a day with one a second.
const MAX_CUES: usize = 86_400;

/// Some words and their time in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cue {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
}

/// WebVTT and SubRip differ in their decimal sign and in what stands around the cues, none of which
/// has an arrow: every block of lines with an arrow is a cue.
pub(super) fn from_blocks(text: &str) -> Vec<Cue> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let blocks = text.split("\n\n").filter_map(block);
    in_order(blocks.take(MAX_CUES).collect())
}

fn block(block: &str) -> Option<Cue> {
    let block = block.trim_matches('\n');
    if block.starts_with("NOTE") || block.starts_with("STYLE") {
        return None;
    }
    let mut lines = block.lines().skip_while(|line| !line.contains("-->"));
    let (start, rest) = lines.next()?.split_once("-->")?;
    // Settings of the cue follow its end.
    let end = rest.split_whitespace().next()?;
    let text = lines.map(plain).collect::<Vec<_>>().join(" ");
    cue(seconds(start.trim())?, seconds(end)?, &text)
}

fn cue(start: f64, end: f64, text: &str) -> Option<Cue> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_usable = start.is_finite() && end.is_finite() && start >= 0.0 && !text.is_empty();
    is_usable.then(|| Cue {
        start,
        end: end.max(start),
        text,
    })
}

fn in_order(mut cues: Vec<Cue>) -> Vec<Cue> {
    cues.sort_by(|one, other| one.start.total_cmp(&other.start));
    cues
}

/// `1:02:03.500`, `02:03,500`
fn seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut parts = 0;
    for part in text.split(':') {
        let part = part.replace(',', ".");
        if !part
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return None;
        }
        seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
        parts += 1;
    }
    (2..=3).contains(&parts).then_some(seconds)
}

/// A line without its tags and entities.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        match tag.split_once('>') {
            Some((_, after)) => rest = after,
            // No tag after all, and none behind it.
            None => {
                text.push('<');
                rest = tag;
                break;
            }
        }
    }
    text.push_str(rest);
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", " ")
        .replace("&lrm;", "")
        .replace("&rlm;", "")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// Podcasting 2.0's JSON.
pub(super) fn from_json(bytes: &[u8]) -> Result<Vec<Cue>, String> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        segments: Vec<Part>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Part {
        start_time: f64,
        #[serde(default)]
        end_time: Option<f64>,
        body: String,
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let cues = file.segments.into_iter().take(MAX_CUES).filter_map(|part| {
        cue(
            part.start_time,
            part.end_time.unwrap_or(part.start_time),
            &part.body,
        )
    });
    Ok(in_order(cues.collect()))
}
