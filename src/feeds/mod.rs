//! What episodes exist: the catalog of feeds, and crawling them.
