//! Listing a tree in byte order of the keys.
//!
//! That order is not the order of the names folder by folder: `a-b/x` comes before `a/x`, because
//! `-` sorts before `/`. It is, though, the order of the names where a folder's name is taken with
//! its slash.

use std::collections::BinaryHeap;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use super::super::key;
use super::tree::{Problem, Tree, is_absent};

/// Names that are held at once for each level of the tree; a larger folder is read several times.
const BATCH: usize = 4096;

/// Up to `limit` keys that start with `prefix` and come after `after`, in byte order.
pub(super) fn list(
    tree: &Tree,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Problem> {
    let base = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    if let Some(folder) = base.strip_suffix('/') {
        // What can be no key has none below it; what is a link holds no objects of ours.
        let is_folder = key::problem_of(folder).is_none()
            && tree
                .find(folder)
                .is_ok_and(|found| found.is_some_and(|found| found.is_dir()));
        if !is_folder {
            return Ok(Vec::new());
        }
    }
    let mut walk = Walk {
        prefix,
        after: after.unwrap_or_default(),
        limit,
        batch: BATCH,
        found: Vec::new(),
    };
    walk.visit(&tree.root().join(base), base)?;
    Ok(walk.found)
}

struct Walk<'a> {
    prefix: &'a str,
    /// Empty for no bound: no key is empty, so every key comes after it.
    after: &'a str,
    limit: usize,
    batch: usize,
    found: Vec<String>,
}

impl Walk<'_> {
    /// Collects what `folder` holds; `base` is its key with a slash, or empty for the root.
    fn visit(&mut self, folder: &Path, base: &str) -> io::Result<()> {
        let mut last = None;
        loop {
            let entries = self.smallest(folder, base, last.as_deref())?;
            for entry in &entries {
                if self.found.len() >= self.limit {
                    return Ok(());
                }
                match entry.strip_suffix('/') {
                    Some(path) => self.visit(&folder.join(&path[base.len()..]), entry)?,
                    None => self.found.push(entry.clone()),
                }
            }
            if entries.len() < self.batch {
                return Ok(());
            }
            last = entries.into_iter().next_back();
        }
    }

    /// The first entries of `folder` that matter and come after `last`, in order.
    fn smallest(&self, folder: &Path, base: &str, last: Option<&str>) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            // Deleted since its name was read.
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut smallest = BinaryHeap::new();
        for entry in entries {
            let Some(entry) = entry_key(&entry?, base)? else {
                continue;
            };
            if self.matters(&entry) && last.is_none_or(|last| entry.as_str() > last) {
                smallest.push(entry);
                if smallest.len() > self.batch {
                    smallest.pop();
                }
            }
        }
        Ok(smallest.into_sorted_vec())
    }

    /// Whether an object belongs into the answer, or a folder may hold one that does.
    fn matters(&self, entry: &str) -> bool {
        let is_folder = entry.ends_with('/');
        let inside =
            entry.starts_with(self.prefix) || (is_folder && self.prefix.starts_with(entry));
        let later = entry > self.after || (is_folder && self.after.starts_with(entry));
        inside && later
    }
}

/// The key of an object, or of a folder with its slash; `None` for what no key can name.
fn entry_key(entry: &DirEntry, base: &str) -> io::Result<Option<String>> {
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        return Ok(None);
    };
    let key = format!("{base}{name}");
    if key::problem_of(&key).is_some() {
        return Ok(None);
    }
    let kind = entry.file_type()?;
    Ok(if kind.is_dir() {
        Some(key + "/")
    } else {
        kind.is_file().then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_larger_than_the_batch_is_read_in_turns() {
        let root = tempfile::tempdir().unwrap();
        let mut expected: Vec<String> = (0..23).map(|n| format!("f{n}/x")).collect();
        for key in &expected {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        expected.sort();
        for batch in [1, 2, 23, 24] {
            let mut walk = Walk {
                prefix: "",
                after: "",
                limit: 100,
                batch,
                found: Vec::new(),
            };
            walk.visit(root.path(), "").unwrap();
            assert_eq!(walk.found, expected, "in batches of {batch}");
        }
    }
}
