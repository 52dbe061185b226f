//! What the address of a media file tells: whether it is audio, who serves it, what its name is.

use url::Url;

use crate::runtime::http::safe_url::is_secret_parameter;

/// What an address or a MIME type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Audio or video.
    Media,
    /// Nothing can be told.
    Unknown,
    /// Something else: a page, a picture, a playlist.
    Other,
}

const MEDIA_EXTENSIONS: [&str; 17] = [
    "mp3", "m4a", "m4b", "mp4", "m4v", "mov", "aac", "ogg", "oga", "opus", "flac", "wav", "aif",
    "aiff", "mka", "mkv", "webm",
];
const OTHER_EXTENSIONS: [&str; 16] = [
    "pdf", "epub", "jpg", "jpeg", "png", "gif", "webp", "htm", "html", "txt", "zip", "torrent",
    "m3u", "m3u8", "pls", "xspf",
];

/// What a MIME type promises; parameters and letter case do not matter.
pub fn kind_of_type(media_type: &str) -> MediaKind {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    match essence.split_once('/') {
        Some((_, "mpegurl" | "x-mpegurl" | "vnd.apple.mpegurl" | "x-scpls")) => MediaKind::Other,
        Some(("audio" | "video", _)) | Some((_, "ogg" | "mp3" | "mp4" | "mpeg")) => {
            MediaKind::Media
        }
        Some((_, "octet-stream" | "x-download" | "force-download")) | None => MediaKind::Unknown,
        Some(_) => MediaKind::Other,
    }
}

/// What the extension of the file promises.
pub fn kind_of_url(url: &Url) -> MediaKind {
    let file = url.path().rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = file.rsplit_once('.') else {
        return MediaKind::Unknown;
    };
    let extension = extension.to_ascii_lowercase();
    if MEDIA_EXTENSIONS.contains(&extension.as_str()) {
        MediaKind::Media
    } else if OTHER_EXTENSIONS.contains(&extension.as_str()) {
        MediaKind::Other
    } else {
        MediaKind::Unknown
    }
}

/// The host that probably serves the bytes.
///
/// Publishers put measuring services in front of the file's address:
/// `https://dts.podtrac.com/redirect.mp3/traffic.megaphone.fm/X.mp3`. The innermost host that stands as
/// a path segment is taken. For grouping and display only: every request goes where the feed says.
pub fn serving_host(url: &str) -> Option<String> {
    Some(unwrapped(&Url::parse(url).ok()?)?.0)
}

/// A stable identifier for an episode whose feed gives none.
///
/// `url:` and the address without scheme, measuring services and fragment. The query is dropped where
/// the path already names a media file, for it then carries tokens and campaign marks that change from
/// day to day; otherwise it is kept but for tokens, for it then says which file is meant.
pub fn derived_guid(url: &Url) -> Option<String> {
    let (host, path) = unwrapped(url)?;
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let query = match kind_of_url(url) {
        MediaKind::Media => String::new(),
        _ => lasting_query(url),
    };
    Some(format!("url:{host}{port}{path}{query}"))
}

/// The query without the parameters that carry secrets, which change and must not become a name; with
/// its `?`, or empty.
pub fn lasting_query(url: &Url) -> String {
    let query = url.query().unwrap_or_default();
    let lasting: Vec<&str> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !is_secret_parameter(parameter))
        .collect();
    match lasting.is_empty() {
        true => String::new(),
        false => format!("?{}", lasting.join("&")),
    }
}

/// What stays the same of a file's address while measuring services and tokens change.
pub fn file_key(url: &str) -> String {
    let key = Url::parse(url).ok().as_ref().and_then(derived_guid);
    key.unwrap_or_else(|| url.to_owned())
}

/// The address of the innermost host, without the measuring services in front of it, or `None` where
/// there are none. What the innermost host answers may still differ from what the chain leads to.
pub fn without_prefixes(url: &Url) -> Option<Url> {
    let (host, path) = unwrapped(url)?;
    if url.path() == path {
        return None;
    }
    let mut bare = url.clone();
    bare.set_path(path);
    bare.set_host(Some(&host)).ok()?;
    // Ports and credentials are those of the outermost host.
    bare.set_port(None).ok()?;
    bare.set_username("").ok()?;
    bare.set_password(None).ok()?;
    Some(bare)
}

/// The innermost host and the path on it.
fn unwrapped(url: &Url) -> Option<(String, &str)> {
    let path = url.path();
    let mut found = (url.host_str()?.to_owned(), path);
    let mut from = 0;
    for segment in path.split('/') {
        let to = from + segment.len();
        // The last segment is the file's name and never a host.
        if to < path.len() && is_host(segment) {
            found = (segment.to_ascii_lowercase(), &path[to..]);
        }
        from = to + 1;
    }
    Some(found)
}

/// A name under a known public suffix; `redirect.mp3` is none.
fn is_host(segment: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if !segment.contains('.') || !segment.bytes().all(legal) {
        return false;
    }
    let name = segment.to_ascii_lowercase();
    psl::domain(name.as_bytes()).is_some_and(|domain| domain.suffix().is_known())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn types_and_extensions_are_hints() {
        for media in [
            "audio/mpeg",
            "AUDIO/MPEG; charset=x",
            "video/mp4",
            "application/ogg",
        ] {
            assert_eq!(kind_of_type(media), MediaKind::Media, "{media}");
        }
        for unknown in ["", "mp3", "application/octet-stream"] {
            assert_eq!(kind_of_type(unknown), MediaKind::Unknown, "{unknown}");
        }
        for other in ["image/jpeg", "application/pdf", "audio/x-mpegurl"] {
            assert_eq!(kind_of_type(other), MediaKind::Other, "{other}");
        }
        assert_eq!(
            kind_of_url(&url("https://a.com/x.MP3?y=z.pdf")),
            MediaKind::Media
        );
        assert_eq!(kind_of_url(&url("https://a.com/x.m3u8")), MediaKind::Other);
        assert_eq!(
            kind_of_url(&url("https://a.com/play/5")),
            MediaKind::Unknown
        );
    }

    #[test]
    fn the_innermost_host_serves() {
        let host = |text| serving_host(text).unwrap();
        let wrapped =
            "https://dts.podtrac.com/redirect.mp3/pdst.fm/e/Traffic.Megaphone.fm/X.mp3?a=b";
        assert_eq!(host(wrapped), "traffic.megaphone.fm");
        assert_eq!(
            host("https://pfx.example.com/s/https://cdn.example.org/x.mp3"),
            "cdn.example.org"
        );
        assert_eq!(
            host("https://a.libsyn.com/secure/show/ep1.final.mp3"),
            "a.libsyn.com"
        );
    }

    #[test]
    fn prefixes_are_taken_off_whole() {
        let bare = |text: &str| without_prefixes(&url(text)).map(|url| url.to_string());
        assert_eq!(
            bare("https://me:pw@chtbl.com:8443/track/1/pdst.fm/e/traffic.megaphone.fm/X.mp3?a=b")
                .as_deref(),
            Some("https://traffic.megaphone.fm/X.mp3?a=b")
        );
        assert_eq!(bare("https://traffic.megaphone.fm/X.mp3"), None);
    }

    #[test]
    fn derived_guids_ignore_what_changes() {
        let guid = |text| derived_guid(&url(text)).unwrap();
        let plain = guid("https://traffic.megaphone.fm/X.mp3");
        assert_eq!(plain, "url:traffic.megaphone.fm/X.mp3");
        assert_eq!(
            guid("http://pdst.fm/e/traffic.megaphone.fm/X.mp3?updated=5#t"),
            plain
        );
        assert_eq!(
            guid("https://a.com/get?id=1&token=T&b"),
            "url:a.com/get?id=1&b"
        );
        assert_eq!(guid("https://a.com/get?token=T"), "url:a.com/get");
        assert_ne!(
            guid("https://a.com:8443/1.mp3"),
            guid("https://a.com/1.mp3")
        );
        assert_ne!(
            guid("https://a.com/play?id=1"),
            guid("https://a.com/play?id=2")
        );
    }
}
