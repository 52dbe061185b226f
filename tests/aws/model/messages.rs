//! What a queue has to do: copies of messages that are there, hidden or set aside.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use podrun::checkpoint::Subject;
use podrun::queue::{Receipt, Settlement};

#[derive(Debug)]
struct Copy {
    visible_from: DateTime<Utc>,
    receipt: Option<Receipt>,
}

/// The copies of every message.
#[derive(Debug)]
pub(super) struct Messages {
    deduplicates: bool,
    live: HashMap<Subject, Vec<Copy>>,
    dead: HashMap<Subject, u64>,
}

impl Messages {
    pub(super) fn new(deduplicates: bool) -> Self {
        Self {
            deduplicates,
            live: HashMap::new(),
            dead: HashMap::new(),
        }
    }

    /// How many are added.
    pub(super) fn send(&mut self, subjects: &[Subject], now: DateTime<Utc>) -> u64 {
        let mut added = 0;
        for subject in subjects {
            let copies = self.live.entry(subject.clone()).or_default();
            if self.deduplicates {
                if !copies.is_empty() {
                    continue;
                }
                self.dead.remove(subject);
            }
            copies.push(Copy {
                visible_from: now,
                receipt: None,
            });
            added += 1;
        }
        added
    }

    /// Adds copies that a repeated call made.
    pub(super) fn repeated(&mut self, subjects: &[Subject], now: DateTime<Utc>) {
        self.send(subjects, now);
    }

    /// Whether such a delivery may happen.
    pub(super) fn receive(
        &mut self,
        subject: &Subject,
        receipt: &Receipt,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let copies = self.live.entry(subject.clone()).or_default();
        let copy = copies.iter_mut().find(|copy| copy.visible_from <= now);
        let copy = copy.ok_or_else(|| format!("{subject} came although it is hidden or gone"))?;
        copy.visible_from = now + lease;
        copy.receipt = Some(receipt.clone());
        Ok(())
    }

    /// Whether the receipt is still good.
    pub(super) fn extend(
        &mut self,
        subject: &Subject,
        receipt: &Receipt,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> bool {
        let copy = self.copy(subject, receipt);
        copy.map(|(copies, index)| copies[index].visible_from = now + lease)
            .is_some()
    }

    /// Whether the receipt was still good.
    pub(super) fn settle(
        &mut self,
        subject: &Subject,
        receipt: &Receipt,
        settlement: &Settlement,
        now: DateTime<Utc>,
    ) -> bool {
        let Some((copies, index)) = self.copy(subject, receipt) else {
            return false;
        };
        match settlement {
            Settlement::Again(delay) => copies[index].visible_from = now + *delay,
            Settlement::Done => drop(copies.remove(index)),
            Settlement::Dead(_) => {
                copies.remove(index);
                *self.dead.entry(subject.clone()).or_default() += 1;
            }
        }
        true
    }

    /// Copies that are to be worked on.
    pub(super) fn outstanding(&self) -> u64 {
        self.live.values().map(|copies| copies.len() as u64).sum()
    }

    /// Copies that were set aside.
    pub(super) fn dead(&self) -> u64 {
        self.dead.values().sum()
    }

    fn copy(&mut self, subject: &Subject, receipt: &Receipt) -> Option<(&mut Vec<Copy>, usize)> {
        let copies = self.live.get_mut(subject)?;
        let index = copies
            .iter()
            .position(|copy| copy.receipt.as_ref() == Some(receipt))?;
        Some((copies, index))
    }
}
