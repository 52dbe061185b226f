//! What was wrong with a feed and was put right.

use std::collections::BTreeMap;

/// A mistake that the reader works around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Repair {
    /// The text is in another encoding than its byte order mark, header or declaration says, or its
    /// labels disagree.
    Encoding,
    /// Bytes that mean nothing in the text's encoding.
    UndecodableBytes,
    /// Control characters, which XML forbids.
    ControlCharacters,
    /// The document ends in the middle.
    Truncated,
    /// Markup that begins and does not end, or a `<` that begins none.
    BrokenMarkup,
    /// Elements without an end tag.
    UnclosedElement,
    /// End tags without an element.
    StrayEndTag,
    /// `&` that begins no reference, or a reference to nothing known.
    BadReference,
    /// Prefixes whose namespace is not declared.
    UndeclaredPrefix,
    /// More attributes on one tag than anybody needs; the first ones were read.
    TooManyAttributes,
    /// Elements nested deeper than in any feed; those far down were passed over.
    TooDeep,
    /// More items than are read.
    TooManyItems,
    /// Items that stand outside the channel.
    ItemsOutsideChannel,
    /// More than one channel.
    SeveralChannels,
    /// The root element is that of no feed.
    UnknownRoot,
    /// JSON that breaks the rules of JSON Feed.
    JsonField,
}

impl Repair {
    fn text(self) -> &'static str {
        match self {
            Self::Encoding => "the text's encoding is not the one it claims",
            Self::UndecodableBytes => "undecodable bytes were replaced",
            Self::ControlCharacters => "control characters were dropped",
            Self::Truncated => "the feed ends in the middle; what came before was read",
            Self::BrokenMarkup => "broken tags were passed over",
            Self::UnclosedElement => "elements have no end tag",
            Self::StrayEndTag => "end tags belong to no element",
            Self::BadReference => "'&' begin no known reference and were kept as they are",
            Self::UndeclaredPrefix => "elements have an undeclared namespace prefix",
            Self::TooManyAttributes => "tags have too many attributes; the first were read",
            Self::TooDeep => "elements are nested too deep and were passed over",
            Self::TooManyItems => "the feed has more items than are read",
            Self::ItemsOutsideChannel => "items stand outside the channel",
            Self::SeveralChannels => "the feed has more than one channel",
            Self::UnknownRoot => "the root element is none of a feed's",
            Self::JsonField => "JSON fields are missing or of the wrong kind",
        }
    }

    /// Whether a number says more than the fact.
    fn is_countable(self) -> bool {
        !matches!(
            self,
            Self::Encoding
                | Self::Truncated
                | Self::TooManyItems
                | Self::SeveralChannels
                | Self::UnknownRoot
        )
    }
}

/// All repairs of one feed, each with how often it was needed. Empty where the feed is in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repairs(BTreeMap<Repair, usize>);

impl Repairs {
    pub(super) fn add(&mut self, repair: Repair, count: usize) {
        if count > 0 {
            *self.0.entry(repair).or_default() += count;
        }
    }

    pub(super) fn one(&mut self, repair: Repair) {
        self.add(repair, 1);
    }

    /// How often a repair was needed.
    pub fn count(&self, repair: Repair) -> usize {
        self.0.get(&repair).copied().unwrap_or_default()
    }

    /// Whether the feed was in order.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Repair, usize)> + '_ {
        self.0.iter().map(|(repair, count)| (*repair, *count))
    }

    /// A line for each, quoting nothing from the feed.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.iter()
            .map(|(repair, count)| match repair.is_countable() {
                true => format!("{count} {}", repair.text()),
                false => repair.text().to_owned(),
            })
    }
}
